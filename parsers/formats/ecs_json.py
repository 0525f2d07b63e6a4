r"""ECS as JSON: what Elastic's own logging libraries write, one object per line, its fields nested or with dotted keys.

    {"@timestamp":"2026-11-29T02:00:00.123Z","log.level":"info","message":"cart saved","ecs":{"version":"1.6.0"},"log":{"logger":"shop.cart"},"process":{"pid":7}}
    {"@timestamp":"2026-11-29T02:00:00.123Z","log.level":"ERROR","message":"no stock","ecs.version":"1.2.0","service.name":"shop","error.stack_trace":"java.lang.IllegalStateException: none\n\tat Cart"}

Written by ecs-logging for Java, Python, Go, .NET, Node, PHP, Ruby, by log4j2's EcsLayout and Spring Boot. A line is ECS
when it has `@timestamp` and either `ecs.version`, or `log.level` and `message`. The fields below are taken where their
values are of the field's type; all others stay under `tidewaiter.app`: those of the container, the host, the agent and
the collector (a line cannot say who it is), `event.kind`, `event.module`, `event.dataset`, `event.id`, rules and threats
(a line cannot be an alert), labels and tags. Source: ECS 9.4, ecs-logging's specification.
"""

import re
from typing import Any, Final

from parsers.ecs_types import field_named
from parsers.format import Format
from parsers.table import Table
from parsers.times import any_time, iso
from parsers.timestamps import rfc3339
from parsers.values import (
    Value,
    boolean,
    identifier,
    integer,
    level,
    made,
    number,
    port,
    text,
    to_address,
    to_port,
)

_NAMES: Final = """
    event.{action,category,code,duration,end,outcome,provider,reason,reference,severity,start,type,url}
    error.{code,id,message,stack_trace,type}
    log.{level,logger,origin.file.line,origin.file.name,origin.function}
    process.{args,command_line,entity_id,executable,exit_code,name,parent.name,parent.pid,pid,thread.id,thread.name,title,working_directory}
    service.{address,environment,ephemeral_id,id,name,node.name,state,type,version}
    trace.id transaction.id span.id
    http.{request.body.bytes,request.body.content,request.bytes,request.id,request.method,request.mime_type,request.referrer}
    http.{response.body.bytes,response.body.content,response.bytes,response.mime_type,response.status_code,version}
    url.{domain,extension,fragment,full,original,path,port,query,registered_domain,scheme,subdomain,top_level_domain,username}
    user_agent.{device.name,name,original,os.full,os.name,os.version,version}
    {source,destination,client,server}.{address,bytes,domain,ip,mac,nat.ip,nat.port,packets,port,user.email,user.id,user.name}
    user.{domain,email,full_name,hash,id,name,roles,group.id,group.name}
    user.{effective,target,changes}.{domain,email,full_name,id,name,roles}
    group.{domain,id,name}
    network.{application,bytes,community_id,direction,forwarded_ip,iana_number,name,packets,protocol,transport,type}
    file.{directory,extension,gid,group,hash.md5,hash.sha1,hash.sha256,hash.sha512,mime_type,mode,name,owner,path,size,type,uid}
    dns.{id,op_code,question.class,question.name,question.type,resolved_ip,response_code,type}
    tls.{cipher,client.server_name,established,next_protocol,resumed,version,version_protocol}
    organization.{id,name}
    package.{name,type,version}
"""

_CATEGORIES: Final = frozenset(
    [
        "api",
        "authentication",
        "configuration",
        "database",
        "driver",
        "email",
        "file",
        "host",
        "iam",
        "intrusion_detection",
        "library",
        "malware",
        "network",
        "package",
        "process",
        "registry",
        "session",
        "threat",
        "vulnerability",
        "web",
    ]
)
_TYPES: Final = frozenset(
    [
        "access",
        "admin",
        "allowed",
        "change",
        "connection",
        "creation",
        "deletion",
        "denied",
        "device",
        "end",
        "error",
        "group",
        "indicator",
        "info",
        "installation",
        "protocol",
        "start",
        "user",
    ]
)
_OUTCOMES: Final = frozenset({"success", "failure", "unknown"})
_LISTS: Final = frozenset(
    {"process.args", "dns.resolved_ip", "user.roles", "user.effective.roles", "user.target.roles", "user.changes.roles"}
)
"""Fields of the list above that ECS has as lists, beside category and type."""

_ALTERNATIVES: Final = re.compile(r"\{([^{}]*)\}")


def spelled_out(names: str) -> list[str]:
    """Return all names of a list in which `a.{b,c}` stands for `a.b` and `a.c`."""
    made: list[str] = []
    for name in names.split():
        found = _ALTERNATIVES.search(name)
        if found is None:
            made.append(name)
        else:
            made += spelled_out(
                " ".join(name[: found.start()] + each + name[found.end() :] for each in found[1].split(","))
            )
    return made


def list_of_texts(value: Any) -> list[str] | None:
    """Return a list of texts, from one or from a list of them."""
    given = value if isinstance(value, list) else [value]
    return given if given and all(isinstance(each, str) and each for each in given) else None


def exact_address(value: Any) -> str | None:
    """Return an address that stands alone; with a port behind it, it is none."""
    return to_address(value) if isinstance(value, str) and (value.isdigit() or to_port(value) is None) else None


def stack_trace(value: Any) -> str | None:
    """Return a stack trace, which may be a list of its lines (ECS loggers' option for Java)."""
    lines = list_of_texts(value)
    return "\n".join(lines) if lines else None


def date(value: Any) -> str | None:
    """Return a time in the one form of our documents."""
    instant = iso("").read(value, 0)
    return rfc3339(instant[0] * 10**9 + instant[1]) if instant else None


def _one_of(allowed: frozenset[str], name: str) -> Value:
    return made(lambda value: value if isinstance(value, str) and value in allowed else None, name)


def _some_of(allowed: frozenset[str], name: str) -> Value:
    def convert(value: Any) -> list[str] | None:
        found = list_of_texts(value)
        return found if found and allowed.issuperset(found) else None

    return made(convert, name, kind="keyword[]")


def _addresses(value: Any) -> list[str] | None:
    found = [exact_address(each) for each in list_of_texts(value) or []]
    return [each for each in found if each] if found and all(found) else None


_SPECIAL: Final = {
    "event.category": _some_of(_CATEGORIES, "event.category"),
    "event.type": _some_of(_TYPES, "event.type"),
    "event.outcome": _one_of(_OUTCOMES, "event.outcome"),
    "log.level": level("log.level"),
    "error.stack_trace": made(stack_trace, "error.stack_trace"),
    "trace.id": text("trace.id", "traceId", "trace_id"),
    "span.id": text("span.id", "spanId", "span_id"),
    "dns.resolved_ip": made(_addresses, "dns.resolved_ip", kind="ip[]"),
}


def _value(name: str) -> Value:
    """Return how a field of ECS is read from the key of its own name."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name in _LISTS:
        return made(list_of_texts, name, kind="keyword[]")
    if name.endswith(".port"):
        return port(name)
    known = field_named(name)
    kind = known.type if known else ""
    if kind == "keyword":
        return identifier(name) if name.endswith((".id", ".code", ".gid", ".uid")) else text(name)
    return {
        "text": text(name),
        "long": integer(name),
        "float": number(name),
        "boolean": boolean(name),
        "ip": made(exact_address, name, kind="ip"),
        "date": made(date, name, kind="date"),
    }[kind]


FIELDS: Final = {name: _value(name) for name in spelled_out(_NAMES)}
_TABLE: Final = Table(
    requires=("@timestamp", "ecs.version"), time=any_time("@timestamp"), message=text("message"), fields=FIELDS
)
_WITHOUT_VERSION: Final = Table(
    requires=("@timestamp", "log.level", "message"),
    time=any_time("@timestamp"),
    message=text("message"),
    fields=FIELDS,
)


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"@timestamp"' in line and ('"log' in line or '"ecs' in line)


FORMAT = Format(title="ECS as JSON", tables=(_TABLE, _WITHOUT_VERSION), sniff=_sniff, rank=4)
