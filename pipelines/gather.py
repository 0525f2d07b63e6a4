"""Lines that belong together become one document: a stack trace, and the Linux audit records of one event.

A line that begins a trace waits for those that go on with it (`parsers.traces`); what ends a trace lets it go at once,
and so does a line of its stream that is none of its own. Audit records wait for the others of their event, whatever
comes in between (`parsers.audit_event`). Lines are of one stream where they came from one sender, under one tag, with
the same fields beside line and time: containers, standard output and error are apart, and no field of a line is lost.

The document has the position, the time and the fields of the first line, as that of a line in pieces has
(`pipelines.join`), and its `message` are the lines. A line that waited in vain is a line like any other.

An error's message may have further lines, which look like any others. Those of no format are held behind the error for
as long as nothing tells: frames behind them show that they belong to it, anything else that they do not, and then each
is a line by itself. Nothing is dropped, and nothing waits for ever:

- what would exceed LINES_LIMIT, or TRACE_BYTES_LIMIT or EVENT_BYTES_LIMIT, goes out as it is, and so does each such
  part behind it; all of them are tagged `_lines_cut`;
- what waits for its next line, and what is held, goes out WAIT_NS after the last one, in journal time while the journal
  takes what comes.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from parsers.audit_event import END as AUDIT_END
from parsers.audit_event import ENDS, AuditRecord, audit_record
from parsers.canonical import encode
from parsers.flattened import plain, text_of
from parsers.format import formats
from parsers.table import Payload
from parsers.trace_rules import END
from parsers.traces import LINE_CHARACTERS, Begun, begun, may_be_of_message, next_stage, resumed_stage
from pipelines.decode.forward import Record, decode_entry, decode_message
from pipelines.enrich.describe import describe
from pipelines.frame import Frame, Origin
from pipelines.join import CRI_KEY, Whole, joined_record, line_bytes, line_of_one, open_line, sender
from pipelines.normalize.container import LINE_KEYS, TIME_KEY, normalise
from pipelines.parse import first_of, is_gathered, parted, text_to_parse
from pipelines.sections import Key
from pipelines.settings import Settings
from pipelines.state import OpenLine, State

LINES_LIMIT: Final = 2048
"""The most lines of one document."""

TRACE_BYTES_LIMIT: Final = 256 << 10
"""The longest trace that is put together."""

EVENT_BYTES_LIMIT: Final = 60 << 10
"""The same of an event's audit records: what is longer is of no text format (`parsers.table.TEXT_LIMIT`)."""

WAIT_NS: Final = 5_000_000_000
"""How long the next line of a trace, or record of an event, is waited for.

Longer than several pauses in which the journal took nothing, each counted as a second (`pipelines.state.STEP_NS`), so
that senders that were made to wait lose nothing by it.
"""

HELD_LIMIT: Final = 12
"""The most lines that are held behind an error; with the next one it is clear that they are no message of it."""

HELD_BYTES: Final = TRACE_BYTES_LIMIT // 2
"""What a trace and what is held behind it may take, so that they may become one; a line of more is not held."""

CUT: Final = "_lines_cut"

EVENT: Final = "audit"
"""The stage of an event's audit records; others are those of traces."""

AUDIT_FORMAT: Final = "auditd"
"""The format of audit records (`parsers.formats.auditd`)."""

KEY_BYTES: Final = 16


class Gathered(msgspec.Struct):
    """What became of a line: it is `parked`, or it is a document by itself (`alone`), or went out with others.

    `whole` are the documents' lines that go out now.
    """

    parked: bool
    alone: bool
    whole: list[Whole]


def stream_key(origin: Origin, tag: bytes, fields: dict[str, Any]) -> Key:
    """Return what tells streams apart: sender, tag, and all fields but the line, its time and whether it is whole."""
    line_key = next((key for key in LINE_KEYS if key in fields), None)
    beside = {key: value for key, value in fields.items() if key not in (line_key, TIME_KEY, CRI_KEY)}
    digest = blake2b(encode(sorted(plain(beside).items())), digest_size=KEY_BYTES).hexdigest()
    return (*sender(origin), text_of(tag)[0], digest)


def trace_key(stream: Key) -> Key:
    """Return the key of a stream's open trace, of which it has one."""
    return (*stream, "")


def line_text(record: Record) -> str | None:
    """Return a record's line without its end; None where it has none, or has several."""
    raw = _raw_line(record)
    if record.metadata or not isinstance(raw, str | bytes):
        return None
    text = text_to_parse(raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape"))
    return None if "\n" in text else text


def _raw_line(record: Record) -> Any:
    return next((record.fields[key] for key in LINE_KEYS if key in record.fields), None)


def may_belong(text: str) -> bool:
    """Tell whether a line may be put aside where nothing of its stream is open."""
    return _audit(text) is not None or _begun(text) is not None


def _audit(text: str) -> AuditRecord | None:
    """Return the audit record that a line is, if others of its event may come."""
    found = audit_record(text)
    return found if found is not None and found.has_company and not _is_of_a_format(text, but=AUDIT_FORMAT) else None


def _begun(text: str) -> Begun | None:
    """Return the trace that a line may begin."""
    found = begun(text)
    return found if found is not None and not _is_of_a_format(text, but="") else None


def _is_of_a_format(text: str, *, but: str) -> bool:
    """Tell whether a line is of a format with marks of its own, such as nginx's: whose lines begin no trace.

    So a client cannot make a server's line wait, and `pipelines.gather_columns` passes over what such a format took.
    """
    names = [name for name in parted(tuple(formats()))[0] if name != but]
    return first_of(names, Payload(text), 0)[1] is not None


class _Line(msgspec.Struct, frozen=True):
    """A line on its way: where it came from, its record, and its bytes as they came."""

    frame: Frame
    index: int
    origin: Origin
    record: Record
    encoding: str
    entry: memoryview
    text: str

    @property
    def came(self) -> bytes:
        """The line as it is kept: without its end, and with the colours that its text lacks."""
        return line_bytes(_raw_line(self.record)).rstrip(b"\r\n")

    def opened(self, state: State, stage: str, tags: tuple[str, ...] = ()) -> OpenLine:
        """Return what it begins."""
        line = open_line(
            state, self.frame, self.index, self.origin, (self.record, self.encoding, self.entry), self.came
        )
        return msgspec.structs.replace(line, stage=stage, tags=tags)


def gather(
    state: State, frame: Frame, index: int, origin: Origin, piece: tuple[Record, str, memoryview], settings: Settings
) -> Gathered | None:
    """Put a line to those that it belongs to; None where it is a line like any other and nothing goes out with it.

    `piece` is its record with its tag, its encoding, and its bytes as they came.
    """
    record, encoding, entry = piece
    text = line_text(record)
    if text is None:
        return None
    line = _Line(frame, index, origin, record, encoding, entry, text)
    open_trace: OpenLine | None = None
    stream: Key = ()
    if len(state.events):
        stream = stream_key(origin, record.tag, record.fields)
        open_key = trace_key(stream)
        open_trace = state.events.get(open_key)
        added = _gone_on(state, open_key, open_trace, line) if open_trace is not None else None
        if added is not None:
            return added
    audit = _audit(text)
    start = _begun(text) if audit is None else None
    if open_trace is not None and audit is None and start is None and _may_be_held(open_trace, text):
        return _held(state, open_key, open_trace, line)
    if audit is not None or start is not None:
        stream = stream or stream_key(origin, record.tag, record.fields)
        if not _is_wanted(state, frame, origin, stream, piece, settings):
            audit = start = None
    if audit is None and start is None and open_trace is None:
        return None
    whole: list[Whole] = []
    if open_trace is not None:
        state.events.take(trace_key(stream))
        whole += _let_go([open_trace])
    if audit is not None:
        made = _recorded(state, (*stream, audit.event), audit, line)
        return msgspec.structs.replace(made, whole=whole + made.whole)
    if start is None:
        return Gathered(False, True, whole)
    outdone = state.events.put(trace_key(stream), line.opened(state, start.stage))
    return Gathered(True, False, whole + _let_go(each for _, each in outdone))


def gather_whole(state: State, whole: Whole) -> Gathered | None:
    """Put a line that came in pieces, the last of which is at hand, to the open trace that it goes on with.

    None where there is none. Such a line begins no trace, nor does it end one that it is not of.
    """
    line = whole.line
    record = joined_record(line) if len(state.events) and not line.tags else None
    text = line_text(record) if record is not None else None
    if record is None or text is None:
        return None
    key = trace_key(stream_key(line.origin, line.tag, record.fields))
    found = state.events.get(key)
    to = _stage_behind(found, text) if found is not None else None
    came = line_bytes(_raw_line(record)).rstrip(b"\r\n")
    if found is None or to is None or found.pieces + line.pieces + HELD_LIMIT > LINES_LIMIT:
        return None
    if found.line_bytes + len(came) > TRACE_BYTES_LIMIT - HELD_BYTES:
        return None
    found = _with(_with_held(found), came, state, to or found.stage, of=line)
    if to == END:
        state.events.take(key)
        return Gathered(False, False, [Whole(found, found.pieces - 1)])
    return Gathered(True, False, _let_go(each for _, each in state.events.put(key, found)))


def due(state: State) -> list[Whole]:
    """Let go of what waited long enough."""
    found = []
    while len(state.events):
        key, line = next(state.events.items())
        if state.waited_ns - line.touched_ns < WAIT_NS:
            break
        state.events.take(key)
        found += _let_go([line])
    return found


def gathered_record(line: OpenLine) -> Record:
    """Return the record of the first line, with the lines of all."""
    record = decode_entry(line.entry) if line.encoding == "forward" else decode_message(line.entry)
    record.tag, record.tags = line.tag, line.tags
    if line.more:
        key = next(key for key in LINE_KEYS if key in record.fields)
        first = line_bytes(record.fields[key]).rstrip(b"\r\n")
        lines = b"\n".join([first, *line.more]).rstrip(b"\n")
        record.fields[key] = lines.decode("utf-8", "surrogateescape")
    return record


def _is_wanted(
    state: State, frame: Frame, origin: Origin, key: Key, piece: tuple[Record, str, memoryview], settings: Settings
) -> bool:
    """Ask the container's label and the operator's rules, by a copy of the record: `normalise` uses it up."""
    known = state.wanted.get(key, state.metadata)
    if known is not None:
        return known
    record, encoding, entry = piece
    copy = decode_entry(entry) if encoding == "forward" else decode_message(entry)
    line = normalise(copy, frame=frame, origin=origin, tag=record.tag, settings=settings)
    described = describe(line, origin, settings, state.metadata, waits=False)
    stream = described.line.stream
    wanted = stream is not None and is_gathered(stream, settings.parsers)
    state.wanted.put(key, described.keys, state.metadata, answer=wanted)
    return wanted


def _recorded(state: State, key: Key, audit: AuditRecord, line: _Line) -> Gathered:
    """Put an audit record to its event. An end mark behind the end says nothing, and is settled by being read."""
    found = state.events.get(key)
    ends = audit.type in ENDS
    if found is not None:
        return _added(state, key, found, line, EVENT, ends=ends)
    if ends:
        return Gathered(False, not (audit.type == AUDIT_END and audit.empty), [])
    outdone = state.events.put(key, line.opened(state, EVENT))
    return Gathered(True, False, _let_go(each for _, each in outdone))


def _added(state: State, key: Key, found: OpenLine, line: _Line, stage: str, *, ends: bool) -> Gathered:
    """Put a line behind those of a trace or an event; where there is no room for it, it begins the next part."""
    more = line.came
    limit = EVENT_BYTES_LIMIT if stage == EVENT else TRACE_BYTES_LIMIT
    whole, waited = [], found.pieces
    if found.pieces >= LINES_LIMIT or found.line_bytes + len(more) > limit:
        whole.append(Whole(msgspec.structs.replace(found, tags=(CUT,)), waited))
        found, waited = line.opened(state, stage, (CUT,)), 0
    else:
        found = _with(found, more, state, stage)
    if ends:
        state.events.take(key)
        return Gathered(False, False, [*whole, Whole(found, waited)])
    outdone = state.events.put(key, found)
    return Gathered(True, False, whole + _let_go(each for _, each in outdone))


def _gone_on(state: State, key: Key, found: OpenLine, line: _Line) -> Gathered | None:
    """Put a line to an open trace that it goes on with; behind lines that are held, where it shows whose they are."""
    to = _stage_behind(found, line.text)
    if to is None:
        return None
    return _added(state, key, _with_held(found), line, to or found.stage, ends=to == END)


def _stage_behind(found: OpenLine, text: str) -> str | None:
    """Return the stage of a trace behind a line, of which the beginning tells."""
    text = text[:LINE_CHARACTERS]
    return resumed_stage(found.stage, text) if found.held else next_stage(found.stage, text)


def _with_held(found: OpenLine) -> OpenLine:
    """Return a trace to which the lines belong that are held behind it."""
    held = [line_bytes(_raw_line(joined_record(each))).rstrip(b"\r\n") for each in found.held]
    size = found.line_bytes + sum(map(len, held)) + len(held)
    later = found.with_later(hour for each in found.held for hour in each.by_hour.items())
    return msgspec.structs.replace(found, more=(*found.more, *held), line_bytes=size, held=(), later=later)


def _with(found: OpenLine, came: bytes, state: State, stage: str, of: OpenLine | None = None) -> OpenLine:
    """Return a trace or an event with one more line, which came at once, or in the pieces `of` a line."""
    return msgspec.structs.replace(
        found,
        more=(*found.more, came),
        line_bytes=found.line_bytes + len(came) + 1,
        touched_ns=state.waited_ns,
        stage=stage,
        further=found.further + (of.pieces - 1 if of is not None else 0),
        later=found.with_later(of.by_hour.items() if of is not None else [(state.hour, 1)]),
    )


def _may_be_held(found: OpenLine, text: str) -> bool:
    """Tell whether a line may be a further one of an error's message: of no format, and not after too many."""
    if len(found.held) >= HELD_LIMIT or found.pieces + HELD_LIMIT >= LINES_LIMIT:
        return False
    if not may_be_of_message(found.stage, text) or found.size_bytes + len(text.encode(errors="replace")) > HELD_BYTES:
        return False
    return first_of(formats(), Payload(text), 0)[1] is None


def _held(state: State, key: Key, found: OpenLine, line: _Line) -> Gathered:
    """Hold a line behind an open trace."""
    alone = line_of_one(state, line.frame, line.index, line.origin, (line.record, line.encoding, line.entry))
    found = msgspec.structs.replace(found, held=(*found.held, alone), touched_ns=state.waited_ns)
    return Gathered(True, False, _let_go(each for _, each in state.events.put(key, found)))


def _let_go(lines: Iterable[OpenLine]) -> list[Whole]:
    """Return what goes out with these: they, and each line that is held behind them."""
    whole = []
    for line in lines:
        whole.append(Whole(msgspec.structs.replace(line, held=()) if line.held else line, line.pieces))
        whole += [Whole(each, each.pieces) for each in line.held]
    return whole
