"""Trail of the input `http`, encoding `json`: objects that sensors, scanners and shippers post.

Each object is treated as a line of a container's that is this object: the same choice of a parser, by input, peer and
tag (the request's path), and the same documents. It comes from no container, though: the operator declared the input
for those who post to it. So the container that a sensor's event is about is the document's `container`, as far as the
sensor's word goes, `tidewaiter.container.told_by` says whose word that is, and what the Engine of the sender's host
knows of that container wins. What is no object is a dead letter; so is one larger than a line that is read as JSON,
unless it is a scanner's report.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from parsers.format import Format, formats
from parsers.reports import REPORT_LIMIT
from parsers.table import JSON_LIMIT, Payload
from pipelines.decode.forward import Record
from pipelines.enrich import lookups
from pipelines.enrich.asked_pods import with_pod
from pipelines.enrich.describe import Described, describe
from pipelines.frame import Frame, Origin
from pipelines.join import line_of_one
from pipelines.normalize.container import Line, normalise
from pipelines.normalize.logins import with_logins
from pipelines.normalize.parsed import Document, document_of
from pipelines.parse import Step, Stream, asked_choice, first_of, near_second, parse_line
from pipelines.settings import Settings
from pipelines.settled import Settled, Waits
from pipelines.state import OpenLine, State
from pipelines.trails import kubernetes_audit
from pipelines.trails.json_split import records
from pipelines.trails.trail import Sent, Trail

ENCODING: Final = "json"


def settle(sent: Sent) -> Iterator[Settled | Waits]:
    """Settle the records of a body; an EventList of an API server is many records."""
    if kubernetes_audit.is_event_list(sent.payload):
        yield from kubernetes_audit.settle(sent)
        return
    body = str(sent.payload, "utf-8", "surrogateescape")
    for number, (text, wrong) in enumerate(records(body)):
        came = memoryview(text.encode("utf-8", "surrogateescape"))
        if not wrong and not _may_be_read(text):
            yield sent.refused(came, *_TOO_LARGE)
            continue
        payload = Payload(text, limit=REPORT_LIMIT)
        if wrong or payload.object is None:
            yield sent.refused(came, "bad_json", wrong or "not JSON")
            continue
        line = _line(text, sent.message.tag, sent.frame, sent.origin, sent.settings)
        step = _step(line, payload, sent)
        if step is None:
            yield sent.refused(came, *_TOO_LARGE)
            continue
        described = _described(line, step, payload, sent.origin, sent.settings, sent.state, waits=True)
        if described.awaited is None:
            yield _document(described.line, step, sent.frame, sent.origin, sent.settings, sent.state)
        else:
            record = Record(None, {}, tag=sent.message.tag)
            index = sent.first + number
            waiting = line_of_one(sent.state, sent.frame, index, sent.origin, (record, ENCODING, came))
            yield Waits(described.awaited, waiting)


def waited(line: OpenLine, settings: Settings, state: State) -> Document:
    """Make the document of a sensor's event that waited for what is known of its container."""
    text = line.entry.decode()
    payload = Payload(text)
    made = _line(text, line.tag, line.frame, line.origin, settings)
    asked = asked_choice(_stream(made), settings.parsers)
    names = asked.formats if asked is not None else [name for name, each in formats().items() if each.subject]
    name, parsed = first_of(names, payload, near_second(line.journal_time), asked=asked is not None)
    step = Step(parsed, False, name)
    described = _described(made, step, payload, line.origin, settings, state, waits=False)
    return _document(described.line, step, line.frame, line.origin, settings, state)


_TOO_LARGE: Final = ("too_large", f"more than {JSON_LIMIT} characters, and no report of a scanner")


def _may_be_read(text: str) -> bool:
    """Tell whether a record is small, or may be a report: to decode another would cost many times its size."""
    if len(text) <= JSON_LIMIT:
        return True
    return len(text) <= REPORT_LIMIT and any(each.may_be(text) for each in _of_reports().values())


def _of_reports() -> dict[str, Format]:
    """Return the formats of scanners' reports: these are about an image."""
    return {name: each for name, each in formats().items() if each.is_finished_by_code and each.subject is not None}


def _line(text: str, tag: bytes, frame: Frame, origin: Origin, settings: Settings) -> Line:
    return normalise(Record(None, {"log": text}), frame=frame, origin=origin, tag=tag, settings=settings)


def _stream(line: Line) -> Stream:
    """Return whose line it is, for the choice of its parser."""
    if line.stream is None:
        raise AssertionError("a record with a line has a stream")
    return line.stream


def _step(line: Line, payload: Payload, sent: Sent) -> Step | None:
    """Parse a record; None for one that is too large for all but reports."""
    state, near_s, stream = sent.state, near_second(sent.frame.journal_time), _stream(line)
    if state.seen is not None:
        state.seen[stream.key] = stream
    if len(payload.text) <= JSON_LIMIT:
        step = parse_line(stream, payload.text, near_s, rules=sent.settings.parsers, choices=state.choices)
    else:
        name, parsed = first_of(_of_reports(), payload, near_s)
        if parsed is None:
            return None
        step = Step(parsed, False, name)
    step.count_in(state.outcomes)
    return step


def _described(
    line: Line, step: Step, payload: Payload, origin: Origin, settings: Settings, state: State, *, waits: bool
) -> Described:
    """Return the line with the container that a sensor's event is about, and what is known of it."""
    subject = formats()[step.parser].subject if step.parsed is not None and step.parser in formats() else None
    container = subject(payload.object) if subject is not None and payload.object is not None else {}
    if not container:
        return describe(line, origin, settings, state.metadata, waits=False)
    own = line.tail["tidewaiter"]
    about = {"container": {"told_by": step.parser, **own.get("container", {})}}
    tail = {"related": line.tail["related"], "tidewaiter": about | own, "container": container} | {
        name: value for name, value in line.tail.items() if name not in ("related", "tidewaiter", "container")
    }
    told = msgspec.structs.replace(line, tail=tail)
    return describe(told, origin, settings, state.metadata, waits=waits and "id" in container)


def _document(line: Line, step: Step, frame: Frame, origin: Origin, settings: Settings, state: State) -> Document:
    tables = lookups.tables_in_use(settings.lookups, state.lookups)
    lookups.add_fields(line.tail, origin, settings.fields, settings.lookups.values(), tables)
    if step.parsed is not None:
        silent = settings.silent_facts
        parsed = with_logins(step.parser, step.parsed, line.tail, state.logins, state.now_ns, silent, posted=True)
        step = step._replace(parsed=parsed)
        line = with_pod(parsed, line, origin, settings, state.metadata)
    return document_of(line, step, frame.journal_time, settings)


TRAIL: Final = Trail(settle, waited)
