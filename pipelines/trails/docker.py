"""Docker's trail, encoding `docker-event`: who touched which container, as its Engine tells it.

A message is records, one a line (`parsers.docker_event`), which the watcher of an input `docker_events` appends. Whose
container it is, the Engine of that very input says; what is not known yet is waited for like by a line.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from parsers.docker_event import CONTAINER, DATASET, SECOND_NS, Event, EventRecord, GapRecord, read_record
from parsers.facts import in_order
from parsers.flattened import flattened, labels
from parsers.table import Parsed, unique
from parsers.timestamps import LAST_SECOND
from pipelines.decode.forward import Record
from pipelines.enrich import lookups
from pipelines.enrich.bounds import METADATA_CUT, within_bounds
from pipelines.enrich.describe import Described, describe, inspected_container
from pipelines.enrich.docker import Inspected
from pipelines.enrich.engines import Sources, sources_of
from pipelines.frame import Frame, Origin
from pipelines.join import open_line
from pipelines.normalize.container import Line, normalise
from pipelines.normalize.identity import image_of
from pipelines.normalize.parsed import Document, parsed_document
from pipelines.settings import Settings
from pipelines.settled import Settled, Waits
from pipelines.state import OpenLine, State
from pipelines.trails.docker_exec import Place, say_exec
from pipelines.trails.docker_gap import gap_said
from pipelines.trails.docker_said import EVENT_CUT, Attributes, Said, attributes_of, claims_of, said_of
from pipelines.trails.trail import Sent, Trail, json_lines

ENCODING: Final = "docker-event"


class Told(msgspec.Struct):
    """An Engine's word: who passed it on, in which frame, and what documents are made with."""

    frame: Frame
    origin: Origin
    settings: Settings
    state: State


def settle(sent: Sent) -> Iterator[Settled | Waits]:
    """Settle the records of a message."""
    told = Told(sent.frame, sent.origin, sent.settings, sent.state)
    for number, text in enumerate(json_lines(sent.payload)):
        try:
            record = read_record(text)
        except (ValueError, RecursionError) as error:
            yield sent.refused(text, "bad_event", str(error))
            continue
        if isinstance(record, GapRecord):
            yield _gap_document(record, told)
            continue
        described = _described(record.event, told, waits=True)
        if described.awaited is None:
            yield _document(record, described.line, told)
        else:
            came = (Record(None, {}), ENCODING, text)
            line = open_line(sent.state, sent.frame, sent.first + number, sent.origin, came, b"")
            yield Waits(described.awaited, msgspec.structs.replace(line, in_pieces=False))


def waited(line: OpenLine, settings: Settings, state: State) -> Document:
    """Make the document of a record that waited."""
    record = read_record(line.entry)
    told = Told(line.frame, line.origin, settings, state)
    if isinstance(record, GapRecord):
        return _gap_document(record, told)
    return _document(record, _described(record.event, told, waits=False).line, told)


def _described(event: Event, told: Told, *, waits: bool) -> Described:
    """Return what is known of the container that an event is about, and of its Engine's host."""
    line = _line(event.container, event.time, told)
    return describe(line, told.origin, told.settings, told.state.metadata, waits=waits, sources=_sources(told))


def _sources(told: Told) -> Sources:
    """Return who knows the containers: this very Engine, and of those that a kubelet started the cluster."""
    return msgspec.structs.replace(sources_of(told.settings.engines, told.origin.peer), engine=told.origin.input)


def _line(container: str, time_ns: int, told: Told) -> Line:
    """Return what documents have in common, as a line has it that says nothing."""
    fields: dict[str, Any] = {"log": ""}
    if container:
        fields["container_id"] = container
    second, nanosecond = divmod(time_ns, SECOND_NS)
    time = (second, nanosecond) if 0 < second <= LAST_SECOND else None
    line = normalise(Record(time, fields), frame=told.frame, origin=told.origin, tag=b"", settings=told.settings)
    return msgspec.structs.replace(line, stream=None)


def _gap_document(gap: GapRecord, told: Told) -> Document:
    line = _line("", gap.before_ns, told)
    described = describe(line, told.origin, told.settings, told.state.metadata, sources=_sources(told))
    said = gap_said(gap)
    _put_cuts(said, gap)
    return _made(said, described.line, dict(described.line.tail), told)


def _put_cuts(said: Said, record: EventRecord | GapRecord) -> None:
    """Say what the watcher made shorter, and how long it was."""
    if record.cut:
        said.tags.append(EVENT_CUT)
        said.rest |= {"cut": record.cut, "lengths": record.lengths} if record.lengths else {"cut": record.cut}


def _document(record: EventRecord, line: Line, told: Told) -> Document:
    """Make an event's document."""
    event, source = record.event, told.origin.input
    inspected = inspected_container(source, event.container, told.state.metadata) if event.container else None
    found = attributes_of(record, source, inspected, told.state)
    said = said_of(event, found)
    tail = _with_container(line.tail, event, found, inspected)
    if event.type == CONTAINER and event.name.startswith("exec_"):
        about = tail.get("container", {})
        image, name = about.get("image", {}).get("name", ""), about.get("name", "")
        place = Place(source, inspected, image, name, told.settings.probes)
        say_exec(said, record, found, place, told.state)
    _put_cuts(said, record)
    claims = claims_of(found)
    if claims:
        own = tail["tidewaiter"]
        tail["tidewaiter"] = {"claimed": {**own.get("claimed", {}), **flattened(claims)}} | {
            name: value for name, value in own.items() if name != "claimed"
        }
    return _made(said, line, tail, told)


def _with_container(
    tail: dict[str, Any], event: Event, found: Attributes, inspected: Inspected | None
) -> dict[str, Any]:
    """Return a tail with what the event itself says of its container: its name, unless a cluster has another for it.

    And all, where else nothing is known. Of an image it says what it is.
    """
    made, container = dict(tail), dict(tail.get("container", {}))
    if event.type == CONTAINER:
        if found.said.get("name") and "orchestrator" not in tail:
            container["name"] = found.said["name"].removeprefix("/")
        if inspected is None and event.actor.id:
            container["runtime"] = "docker"
            if found.said.get("image"):
                container["image"] = image_of(found.said["image"])
            if marks := labels(found.labels):
                container["labels"] = marks
    elif event.type == "image":
        reference = found.said.get("name") or event.actor.id
        image = image_of(reference) if reference and not reference.startswith("sha256:") else {}
        if event.actor.id.startswith("sha256:"):
            image["hash"] = {"all": [event.actor.id]}
        container = {"image": image} if image else {}
    if within_bounds(container, (("labels",),)):
        made["tags"] = [*made.get("tags", ()), METADATA_CUT]
    if container:
        made["container"] = container
    return made


def _made(said: Said, line: Line, tail: dict[str, Any], told: Told) -> Document:
    """Put a document together: what was said, what is known, and what the operator sets."""
    settings = told.settings
    facts = [name for name in in_order(iter(said.facts)) if name not in settings.silent_facts]
    own = dict(tail["tidewaiter"])
    about = {**own.get("container", {}), **said.own.pop("container", {})}
    if about:
        own["container"] = about
    tail["tidewaiter"] = {**({"facts": facts} if facts else {}), **said.own, **own}
    if said.tags:
        tail["tags"] = unique([tail.get("tags", []), said.tags])
    tables = lookups.tables_in_use(settings.lookups, told.state.lookups)
    lookups.add_fields(tail, told.origin, settings.fields, settings.lookups.values(), tables)
    parsed = Parsed(
        dataset=DATASET,
        message=said.message,
        event=said.event,
        fields=said.fields,
        related={name: values for name, values in said.related.items() if values},
        rest=said.rest,
    )
    return parsed_document(msgspec.structs.replace(line, tail=tail), parsed, told.frame.journal_time, settings)


TRAIL: Final = Trail(settle, waited, internal=True)
