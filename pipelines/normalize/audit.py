"""Documents of the collector's own audit records: start, stop and what else it did to the evidence."""

import ipaddress
from collections.abc import Mapping
from typing import Any

import msgspec

from parsers.flattened import flattened
from pipelines.frame import Frame, Origin
from pipelines.normalize.audit_sentences import sentence
from pipelines.normalize.container import fixed_tail
from pipelines.settings import Settings


class AuditRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What an internal producer appends with encoding `audit`: one JSON object."""

    action: str
    outcome: str
    time_ns: int
    details: dict[str, Any] = {}


_decode = msgspec.json.Decoder(AuditRecord).decode


def audit_document(
    payload: memoryview, frame: Frame, origin: Origin, settings: Settings
) -> tuple[dict[str, Any], tuple[int, int] | None, str, dict[str, Any]]:
    """Return `event`'s constant part, the time, the message and the tail; raise msgspec.DecodeError or ValueError."""
    record = _decode(payload)
    if record.outcome not in ("success", "failure", "unknown"):
        raise ValueError("an audit record's outcome is success, failure or unknown")
    time = divmod(record.time_ns, 1_000_000_000) if record.time_ns > 0 else None
    stream = settings.audit_stream
    event = {
        "kind": "event",
        "module": "tidewaiter",
        "dataset": stream.dataset,
        "action": record.action,
        "outcome": record.outcome,
    }
    own: dict[str, Any] = {
        "origin": {"input": origin.input, "transport": origin.transport, "peer": origin.peer},
    }
    if record.details:
        own["fields"] = flattened(record.details)
    tail = {
        "host": {"name": frame.journal.name},
        **_source(record.details),
        "tidewaiter": own,
        **fixed_tail(frame, settings, stream),
    }
    return event, time, sentence(origin.peer, record.action, record.details), tail


def _source(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return `source.ip` where the record is about a peer that has an address; a zone is no part of one."""
    peer = details.get("peer")
    try:
        return {"source": {"ip": str(ipaddress.ip_address(peer.partition("%")[0]))}} if isinstance(peer, str) else {}
    except ValueError:
        return {}
