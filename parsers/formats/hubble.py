r"""Cilium Hubble: flows as JSON, of the exporter's file or `hubble observe -o jsonpb` (and `-o json`).

    {"flow":{"time":"2023-11-14T22:13:20.123456789Z","uuid":"11111111-2222-3333-4444-555555555555","verdict":"DROPPED","drop_reason":133,"drop_reason_desc":"POLICY_DENIED","IP":{"source":"192.0.2.5","destination":"203.0.113.9","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40000,"destination_port":4444,"flags":{"SYN":true}}},"source":{"ID":812,"identity":40123,"namespace":"shop","labels":["k8s:app=web"],"pod_name":"web-0"},"destination":{"identity":2,"labels":["reserved:world"]},"Type":"L3_L4","node_name":"node1","event_type":{"type":1,"sub_type":133},"traffic_direction":"EGRESS"},"node_name":"node1","time":"2023-11-14T22:13:20.123456789Z"}
    {"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"17"},"node_name":"node1","time":"2023-11-14T22:13:22Z"}

The whole object stands under `hubble`, a flow without its envelope as well (under `hubble.flow` where it had one). A
verdict is `event.action`; what policy denied is of the types `connection` and `denied`. Numbers that are zero are left
out by Hubble: a DNS answer without a code is `NOERROR`. Pods, namespaces and labels of both ends stay in `hubble.flow.source`
and `hubble.flow.destination`. In URLs and headers of HTTP flows `[redacted]` stands for passwords, cookies, and what
belongs to a name such as `Authorization`, `X-Auth-Token` or `access_token`. Lines that tell of lost events are events of
the host, `events_lost`. Source: Cilium's documentation, "Hubble Exporter", and its flow definitions.
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.flattened import flattened
from parsers.format import Format
from parsers.json_keys import http_status
from parsers.request_secrets import header_without_secrets, url_without_secrets
from parsers.sensors import inside, text_at, to_texts
from parsers.table import Parsed, Table
from parsers.times import iso
from parsers.values import (
    Value,
    address,
    either,
    http_version,
    integer,
    lowered,
    made,
    mapped,
    of_object,
    port,
    text,
    to_address,
    to_integer,
    to_query,
    url_path,
)

_VERDICTS: Final = {"DROPPED": "denied", "FORWARDED": "allowed", "REDIRECTED": "allowed", "TRANSLATED": "allowed"}
_PORTS: Final = ("TCP", "UDP", "SCTP")
_TRANSPORTS: Final = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp", "ICMPv4": "icmp", "ICMPv6": "ipv6-icmp"}
_PROTOCOLS: Final = ("dns", "http", "kafka")
_SUMMARIES: Final = ("Summary", "summary")
"""Keys of a sentence about the flow, which has the URL again: Hubble's flow definitions call it deprecated."""

_CODES: Final = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
)  # fmt: skip
"""RFC 1035 4.1.1, RFC 2136 2.2."""


def event_type(verdict: Any) -> list[str] | None:
    """Return ECS's types of a flow that was let through or dropped."""
    allowed = _VERDICTS.get(verdict) if isinstance(verdict, str) else None
    return ["connection", allowed] if allowed else None


def transport(l4: Any) -> str | None:
    """Return the transport's name: of the one key that `l4` has."""
    return next((name for key, name in _TRANSPORTS.items() if key in l4), None)


def protocol(l7: Any) -> str | None:
    """Return the protocol that an L7 flow is of."""
    return next((name for name in _PROTOCOLS if name in l7), None)


def response_code(l7: Any) -> str | None:
    """Return a DNS answer's code by its name."""
    if l7.get("type") != "RESPONSE" or not isinstance(l7.get("dns"), dict):
        return None
    code = to_integer(l7["dns"].get("rcode") or 0)
    if code is None or code < 0:
        return None
    return _CODES[code] if code < len(_CODES) else str(code)


def told(flow: Any) -> str:
    """Return a flow in a sentence: verdict, both ends, what it is of, why it was dropped."""
    l4 = inside(flow, "l4")
    ends = [_end(flow, side) for side in ("source", "destination")]
    parts = [
        text_at(flow, "verdict") or "VERDICT_UNKNOWN",
        *ends[:1],
        "->",
        *ends[1:],
        next((key for key in _TRANSPORTS if isinstance(l4, dict) and key in l4), ""),
        _asked(inside(flow, "l7")),
        text_at(flow, "traffic_direction"),
        text_at(flow, "drop_reason_desc"),
    ]
    return " ".join(part for part in parts if part)


def _end(flow: Any, side: str) -> str:
    """Return one end of a flow: its address and port, and its pod."""
    where = text_at(flow, "IP", side) or "?"
    number = next((to_integer(found) for key in _PORTS if (found := inside(flow, "l4", key, f"{side}_port"))), None)
    pod = text_at(flow, side, "pod_name")
    named = f" ({text_at(flow, side, 'namespace')}/{pod})" if pod else ""
    return (f"[{where}]:{number}" if ":" in where else f"{where}:{number}") + named if number else where + named


def _asked(l7: Any) -> str:
    """Return what an L7 flow asked for."""
    query = text_at(l7, "dns", "query")
    return query or " ".join(part for part in (text_at(l7, "http", "method"), text_at(l7, "http", "url")) if part)


def _name(value: Any) -> str | None:
    """Return a DNS name without the dot of the root."""
    return value.removesuffix(".") or None if isinstance(value, str) else None


def _first_name(value: Any) -> str | None:
    names = to_texts(value)
    return _name(names[0]) if names else None


def _first(value: Any) -> str | None:
    found = to_texts(value)
    return found[0] if found else None


def _addresses(value: Any) -> list[str] | None:
    found = [made for each in to_texts(value) or [] if (made := to_address(each))]
    return found or None


def _url(value: Any) -> str | None:
    return url_without_secrets(value) if isinstance(value, str) and value else None


def _query(value: Any) -> str | None:
    return to_query(_url(value))


def without_secrets(flow: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flow without passwords and tokens of the HTTP request that it tells of."""
    made, l7 = dict(flow), flow.get("l7")
    http = inside(l7, "http")
    if isinstance(l7, dict) and isinstance(http, dict):
        clean = dict(http)
        if isinstance(http.get("url"), str):
            clean["url"] = url_without_secrets(http["url"])
        if isinstance(http.get("headers"), list):
            clean["headers"] = [header_without_secrets(each) for each in http["headers"]]
        made["l7"] = {**l7, "http": clean}
    for name in _SUMMARIES:
        if isinstance(flow.get(name), str):
            made[name] = url_without_secrets(flow[name])
    return made


def complete(found: Mapping[str, Any], parsed: Parsed) -> None:
    """Keep a flow in its envelope, without secrets, and say it in a sentence."""
    flow = without_secrets(found["flow"])
    parsed.message, parsed.fields["hubble"] = told(flow), flattened({**found, "flow": flow})


def complete_bare(found: Mapping[str, Any], parsed: Parsed) -> None:
    """Keep a flow without an envelope."""
    flow = without_secrets(found)
    parsed.message, parsed.fields["hubble"] = told(flow), flattened(flow)


def _is_flow(flow: Any) -> bool:
    return isinstance(flow, dict) and ("IP" in flow or "l4" in flow or "verdict" in flow or "ethernet" in flow)


def _side(at: str, side: str) -> dict[str, Value]:
    return {
        f"{side}.ip": address(f"{at}IP.{side}"),
        f"{side}.address": text(f"{at}IP.{side}"),
        f"{side}.domain": made(_first_name, f"{at}{side}_names"),
        f"{side}.port": port(*(f"{at}l4.{key}.{side}_port" for key in _PORTS)),
    }


def _flows(at: str, present: str) -> dict[str, Value]:
    """Return the fields of a flow whose keys stand behind this; `present` is an object that each has."""
    connection = of_object(lambda _: ["connection"], present)
    return {
        "event.type": either(made(event_type, f"{at}verdict", kind="keyword[]"), connection),
        "event.action": lowered(f"{at}verdict"),
        "event.reason": text(f"{at}drop_reason_desc"),
        "event.duration": integer(f"{at}l7.latency_ns"),
        **_side(at, "source"),
        **_side(at, "destination"),
        "network.type": mapped(f"{at}IP.ipVersion", {"IPv4": "ipv4", "IPv6": "ipv6"}),
        "network.transport": of_object(transport, f"{at}l4"),
        "network.protocol": of_object(protocol, f"{at}l7"),
        "network.direction": mapped(f"{at}traffic_direction", {"INGRESS": "ingress", "EGRESS": "egress"}),
        "dns.question.name": made(_name, f"{at}l7.dns.query"),
        "dns.question.type": made(_first, f"{at}l7.dns.qtypes"),
        "dns.resolved_ip": made(_addresses, f"{at}l7.dns.ips", kind="ip[]"),
        "dns.response_code": of_object(response_code, f"{at}l7"),
        "http.request.method": text(f"{at}l7.http.method"),
        "http.response.status_code": made(http_status, f"{at}l7.http.code", kind="long"),
        "http.version": http_version(f"{at}l7.http.protocol"),
        "url.original": made(_url, f"{at}l7.http.url"),
        "url.path": url_path(f"{at}l7.http.url"),
        "url.query": made(_query, f"{at}l7.http.url"),
        "trace.id": text(f"{at}trace_context.parent.trace_id"),
    }


def _is_bare(found: Mapping[str, Any]) -> bool:
    return _is_flow(found) and "node_name" in found and "IP" in found


FLOW = Table(
    dataset="hubble.flow",
    requires=("flow",),
    accept=lambda found: _is_flow(found["flow"]),
    whole="hubble",
    finish=complete,
    time=iso("flow.time", "time"),
    constants={"event.category": ["network"]},
    fields=_flows("flow.", "flow"),
)
BARE = Table(
    dataset="hubble.flow",
    requires=("IP", "time"),
    accept=_is_bare,
    whole="hubble",
    finish=complete_bare,
    time=iso("time"),
    constants={"event.category": ["network"]},
    fields=_flows("", "IP"),
)
LOST = Table(
    dataset="hubble.agent",
    requires=("lost_events", "node_name"),
    whole="hubble",
    time=iso("time"),
    constants={"event.category": ["host"], "event.type": ["info"], "event.action": "events_lost"},
    fields={"event.reason": text("lost_events.source")},
)
AGENT = Table(
    dataset="hubble.agent",
    requires=("node_name",),
    needs=("event.action",),
    whole="hubble",
    time=iso("time"),
    constants={"event.category": ["host"], "event.type": ["info"]},
    fields={
        "event.action": lowered("agent_event.type", "node_status.state_change", "debug_event.type"),
    },
)


_KINDS: Final = ('"flow"', '"IP"', '"lost_events"', '"agent_event"', '"debug_event"', '"node_status"')


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"node_name"' in line and any(kind in line for kind in _KINDS)


FORMAT = Format(
    title="Hubble flows",
    tables=(FLOW, BARE, LOST, AGENT),
    sniff=_sniff,
    marks=('"node_name"',),
    object_marks=_KINDS,
)
