"""What an Engine's event says, as far as that can be believed: its attributes apart from its container's labels.

An Engine writes a container's labels over what it adds to an event itself. So a label `exitCode` or `execID` falsifies
that attribute in every event of its container (`protocols/docker-events.md` section 1.4). An attribute is the Engine's
where the container is known to have no such label: its Engine said all its labels, or an event has shown it
(`pipelines.trail_state.LabelNames`). One that is a label is tagged ATTRIBUTE_FORGED, one of which neither is known
ATTRIBUTE_UNPROVEN; both are kept as claims, and nothing is made of them.
"""

from typing import Any, Final

import msgspec

from parsers.docker_actions import (
    act_of,
    exit_text,
    outcome_of_exit,
    sentence,
    shown,
    signal_name,
    whole_number,
)
from parsers.docker_event import ALWAYS, CONTAINER, OWN_ATTRIBUTES, SECOND_NS, Event, EventRecord, Exec
from parsers.timestamps import LAST_SECOND, rfc3339
from pipelines.enrich.docker import Inspected
from pipelines.state import State
from pipelines.trail_state import LabelNames

ATTRIBUTE_FORGED: Final = "_attribute_forged"
ATTRIBUTE_UNPROVEN: Final = "_attribute_unproven"
EVENT_CUT: Final = "_event_cut"

EXEC_ID: Final = "execID"
EXIT_CODE: Final = "exitCode"

HEALTH: Final = {"healthy": "success", "unhealthy": "failure"}
"""Outcomes of what a container's check found."""


class Attributes(msgspec.Struct):
    """An event's attributes: what the Engine said, what labels forge, what may be either, and what else there is."""

    said: dict[str, str]
    forged: dict[str, str] = {}
    unproven: dict[str, str] = {}
    labels: dict[str, str] = {}


class Said(msgspec.Struct):
    """What a document is made of beside what is known of its container; `own` goes below `tidewaiter.`."""

    message: str
    event: dict[str, Any]
    fields: dict[str, Any] = {}
    own: dict[str, Any] = {}
    tags: list[str] = []
    facts: list[str] = []
    related: dict[str, list[str]] = {}
    rest: dict[str, Any] = {}


def date_of(time_ns: int) -> str:
    """Return a time in nanoseconds as documents have it; empty for 0, and for what is no time."""
    return rfc3339(time_ns) if 0 < time_ns <= LAST_SECOND * SECOND_NS else ""


def answer_about(record: EventRecord) -> Exec | None:
    """Return what the Engine answered about an exec of the event's own container."""
    asked = record.inspected
    if asked is None or not asked.id or asked.container_id != record.event.actor.id:
        return None
    return asked


def attributes_of(record: EventRecord, source: str, inspected: Inspected | None, state: State) -> Attributes:
    """Tell an event's attributes apart, and remember what it shows of its container's labels."""
    event = record.event
    if event.type != CONTAINER or not event.actor.id:
        return Attributes(event.attributes)
    key = (source, event.actor.id)
    names = state.label_names.get(key) or LabelNames()
    after = names.after(event.name, event.attributes, are_all=record.has_all_attributes)
    if event.name == "destroy":
        state.label_names.take(key)
    elif after != names:
        state.label_names.put(key, after)
    whole = inspected is not None and inspected.whole
    marks = (inspected.container.config.labels if inspected is not None else None) or {}
    found = Attributes({})
    for name, value in event.attributes.items():
        if name in ALWAYS:
            found.said[name] = value
        elif name not in OWN_ATTRIBUTES.get(event.name, ()):
            (found.labels if not whole or name in marks else found.said)[name] = value
        elif name in marks or name in after.forged:
            found.forged[name] = value
        else:
            is_said = whole or name in after.free or _is_answered(name, value, record, source, state)
            (found.said if is_said else found.unproven)[name] = value
    return found


def _is_answered(name: str, value: str, record: EventRecord, source: str, state: State) -> bool:
    """Tell whether the Engine's answer about the exec says the same as an attribute.

    Or whether an exec of this id is known to be of this container: no label was written with a number that came later.
    """
    asked = answer_about(record)
    if name == EXEC_ID:
        known = state.execs.get((source, value))
        return (asked is not None and asked.id == value) or (
            known is not None and known.container == record.event.actor.id
        )
    return name == EXIT_CODE and asked is not None and str(asked.exit_code) == value


def said_of(event: Event, found: Attributes) -> Said:
    """Return what an event says; what an exec is, `pipelines.trails.docker_exec` adds."""
    act = act_of(event.type, event.name)
    said = Said(
        message="",
        event={
            "action": event.name,
            "category": list(act.category),
            "type": list(act.type),
            "outcome": act.outcome,
            "provider": "dockerd",
        },
        own={"docker": {"type": event.type}},
        facts=list(act.facts),
    )
    if not act.category:
        del said.event["category"]
    if event.actor.id and event.type != CONTAINER:
        said.own["docker"]["actor"] = event.actor.id
    for kind, tag in ((found.forged, ATTRIBUTE_FORGED), (found.unproven, ATTRIBUTE_UNPROVEN)):
        if kind:
            said.tags.append(tag)
    rest = {name: value for name, value in found.said.items() if name not in ALWAYS or event.type != CONTAINER}
    if rest:
        said.rest["attributes"] = rest
    if event.others:
        said.rest["event"] = event.others
    if event.scope not in ("", "local"):
        said.rest["scope"] = event.scope
    if event.text and not event.name.startswith("exec_"):
        said.rest["text"] = event.text
    _put_details(said, event, found.said)
    said.message = message_of(event, found.said) + _ending(said)
    return said


def claims_of(found: Attributes) -> dict[str, Any]:
    """Return what `tidewaiter.claimed` holds of attributes that nothing is made of."""
    claimed = found.forged | found.unproven
    return {"docker": claimed} if claimed else {}


def _put_details(said: Said, event: Event, attributes: dict[str, str]) -> None:
    """Put what some kinds of events say into their own fields."""
    match event.type, event.name:
        case "container", "die":
            _put_exit(said, attributes)
        case "container", "kill":
            if "signal" in attributes:
                said.event["reason"] = signal_name(attributes["signal"])
        case "container", "health_status":
            said.event["outcome"] = HEALTH.get(event.text, "unknown")
            said.own["container"] = {"health": event.text} if event.text else {}
        case "container", "resize":
            size = {"rows": whole_number(attributes.get("height")), "columns": whole_number(attributes.get("width"))}
            if size := {name: number for name, number in size.items() if number is not None}:
                said.fields["process"] = {"tty": size}
        case "container", "commit":
            if attributes.get("imageID"):
                said.related["hash"] = [attributes["imageID"].rpartition(":")[2]]
        case "network", _:
            if attributes.get("name"):
                said.fields["network"] = {"name": attributes["name"]}
        case "volume", "mount" | "unmount":
            volume: dict[str, Any] = {"mount_name": event.actor.id}
            if "read/write" in attributes:
                volume["writable"] = attributes["read/write"] == "true"
            said.fields["volume"] = volume
        case "volume", _:
            if event.actor.id:
                said.fields["volume"] = {"mount_name": event.actor.id}


def _put_exit(said: Said, attributes: dict[str, str]) -> None:
    """Put how a container's main process ended, and after how long (whole seconds, as the Engine counts them)."""
    code = whole_number(attributes.get(EXIT_CODE))
    seconds = whole_number(attributes.get("execDuration"))
    if code is not None:
        said.fields["process"] = {"exit_code": code}
        said.event["outcome"] = outcome_of_exit(code)
    if seconds is not None and 0 <= seconds < (1 << 63) // SECOND_NS:
        said.event["duration"] = seconds * SECOND_NS


def _ending(said: Said) -> str:
    code = said.fields.get("process", {}).get("exit_code")
    return f": {exit_text(code)}" if code is not None else ""


def message_of(event: Event, attributes: dict[str, str], command: str = "a process") -> str:
    """Return an event's sentence, in which a text that somebody chose ends where it is shown to; so does `command`."""
    known = {name: shown(value) for name, value in attributes.items()}
    name = attributes.get("name") or (event.actor.id[:12] if event.type == CONTAINER else event.actor.id)
    if "oldName" in attributes:
        known["oldName"] = shown(attributes["oldName"].removeprefix("/"))
    known |= {"name": shown(name), "id": shown(event.actor.id), "text": shown(event.text), "command": command}
    if "container" in attributes:
        known["container"] = shown(attributes["container"][:12])
    if "signal" in attributes:
        known["signal"] = shown(signal_name(attributes["signal"]))
    return sentence(act_of(event.type, event.name), known)
