"""Lines that came in pieces become one: container runtimes cut a line after 16 KiB.

Docker's `fluentd` driver marks each piece of such a line: `partial_message`, `partial_id` (one per line),
`partial_ordinal` (1, 2, 3, …) and `partial_last`. Others do not say as much, and there the next record of the same
container and stream goes on with the line: behind a CRI line whose `logtag` begins with P, and behind one of exactly
PIECE_BYTES without a newline (older Engines, and their `json-file` read by Fluent Bit). Fluent Bit's multiline parser
`cri` joins by itself and leaves the `_p` of the first piece on the whole: such records are taken as they are.

Pieces are joined as bytes, within one container and stream of one sender, and the document has the position and the
time of the first. Nothing is dropped, and nothing waits for ever:

- what would exceed LINE_BYTES_LIMIT or PIECES_LIMIT goes out as it is, and so does each such part behind it; all of
  them are tagged `_line_too_long`;
- a line whose next piece does not come for WAIT_NS goes out as it is, tagged `_line_incomplete`: also what a container
  wrote without a newline before it ended, for which no last piece comes. What counts is journal time while the journal
  takes what comes (`State.waited_ns`): senders that were made to wait lose nothing by it;
- so does one that a piece of another place in the line follows, and what follows it.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

from parsers.flattened import text_of
from pipelines.decode.forward import Record, decode_entry, decode_message
from pipelines.frame import Frame, Origin
from pipelines.normalize.container import LINE_KEYS, PARTIAL_KEYS, STREAM_KEYS
from pipelines.sections import Key, Section
from pipelines.state import OpenLine, State

PIECE_BYTES: Final = 16384
"""Where container runtimes cut a line (Docker always, containerd by default)."""

LINE_BYTES_LIMIT: Final = 1 << 20
"""The longest line that is put together."""

PIECES_LIMIT: Final = 256
"""The most pieces that one line is put together of."""

WAIT_NS: Final = 5_000_000_000
"""How long the next piece of a line is waited for."""

INCOMPLETE: Final = "_line_incomplete"
TOO_LONG: Final = "_line_too_long"

ORDINAL_DIGITS: Final = 9

CRI_KEY: Final = "logtag"
"""Where Fluent Bit's `cri` parser puts the tags of a CRI line: P is a piece, F the last or only one."""

MULTILINE_KEY: Final = "_p"
"""The same of Fluent Bit's multiline parser."""

_container_id = re.compile(rb"[0-9a-f]{64}")


UNMARKED: Final = ""
"""The line of a piece that says of none which it is."""


class Mark(NamedTuple):
    """What a piece says of itself: its line among those of its container and stream, its place, whether it ends it.

    An UNMARKED one has no place (0): it is the next.
    """

    container: str
    stream: str
    line: str
    ordinal: int
    last: bool


class Whole(msgspec.Struct, frozen=True):
    """A line that waits no longer. `waited` of its pieces were put aside before."""

    line: OpenLine
    waited: int


class Taken(msgspec.Struct):
    """What became of a piece: it is `parked`, or went out with its line; `whole` are the lines that go out now."""

    parked: bool
    whole: list[Whole]


def mark_of(fields: dict[str, Any], tag: bytes) -> Mark | None:
    """Return what marks a record as a piece by itself, None for one that is none."""
    return _docker_mark(fields) or (_stream_mark(fields, tag, last=False) if _goes_on(fields) else None)


def ending_mark(state: State, origin: Origin, fields: dict[str, Any], tag: bytes) -> Mark | None:
    """Return the mark of a record that ends an open line of its stream, None for one that ends none."""
    mark = _stream_mark(fields, tag, last=True) if len(state.streams) else None
    return mark if mark is not None and state.streams.get(_key(origin, tag, mark)) is not None else None


def may_go_on(state: State, origin: Origin) -> bool:
    """Tell whether the next record of some stream of this sender goes on with a line."""
    own = sender(origin)
    return len(state.streams) > 0 and any(key[: len(own)] == own for key, _ in state.streams.items())


def _goes_on(fields: dict[str, Any]) -> bool:
    """Tell whether the record says, by its CRI tag or its length, that the next of its stream belongs to it."""
    if MULTILINE_KEY in fields:
        return False
    logtag = fields.get(CRI_KEY)
    if isinstance(logtag, str):
        return logtag.partition(":")[0] == "P"
    line = _line_of(fields)
    if not isinstance(line, str | bytes) or not PIECE_BYTES // 4 <= len(line) <= PIECE_BYTES:
        return False
    line = line_bytes(line)
    return len(line) == PIECE_BYTES and not line.endswith(b"\n")


def _stream_mark(fields: dict[str, Any], tag: bytes, *, last: bool) -> Mark | None:
    """Return the mark of an unmarked piece; None where container and stream are not known."""
    stream = next((fields[key] for key in STREAM_KEYS if fields.get(key) in ("stdout", "stderr")), None)
    kubernetes = fields.get("kubernetes")
    container = kubernetes.get("docker_id") if isinstance(kubernetes, dict) else fields.get("container_id")
    if not isinstance(container, str):
        in_tag = _container_id.search(tag)
        container = in_tag[0].decode() if in_tag else None
    if stream is None or container is None or not isinstance(_line_of(fields), str | bytes):
        return None
    return Mark(text_of(container)[0], stream, UNMARKED, 0, last)


def _docker_mark(fields: dict[str, Any]) -> Mark | None:
    if fields.get("partial_message") != "true":
        return None
    texts = [fields.get(key) for key in ("container_id", "source", "partial_id", "partial_ordinal", "partial_last")]
    if not all(isinstance(text, str) for text in texts):
        return None
    container, stream, line, ordinal, last = (text_of(text)[0] for text in texts)
    digits = len(ordinal) <= ORDINAL_DIGITS and ordinal.isascii() and ordinal.isdecimal()
    if not digits or not line or last not in ("true", "false") or not isinstance(_line_of(fields), str | bytes):
        return None
    return Mark(container, stream, line, int(ordinal), last == "true")


def take(
    state: State, frame: Frame, index: int, origin: Origin, mark: Mark, piece: tuple[Record, str, memoryview]
) -> Taken:
    """Put a piece to its line. `piece` is its record with its tag, its encoding, and its bytes as they came."""
    record, _, _ = piece
    key, section = _key(origin, record.tag, mark), _section(state, mark)
    line = line_bytes(_line_of(record.fields))
    whole: list[Whole] = []
    found = section.get(key)
    ordinal = mark.ordinal
    if mark.line == UNMARKED:
        ordinal = found.ordinal + 1 if found is not None else 1
    tags: tuple[str, ...] = () if ordinal == 1 else (INCOMPLETE,)
    if found is not None and ordinal != found.ordinal + 1:
        whole.append(_ended(section, key, found, INCOMPLETE))
        found = None
    elif found is not None and _is_full(found, len(line)):
        whole.append(_ended(section, key, found, TOO_LONG))
        found, tags = None, (TOO_LONG,)
    waited = 0
    if found is None:
        opened = open_line(state, frame, index, origin, piece, line)
        found = msgspec.structs.replace(opened, ordinal=mark.ordinal, tags=tags)
    else:
        waited = found.pieces
        found = msgspec.structs.replace(
            found,
            more=(*found.more, line),
            line_bytes=found.line_bytes + len(line),
            ordinal=mark.ordinal,
            touched_ns=state.waited_ns,
            later=found.with_later([(state.hour, 1)]),
        )
    if mark.last:
        section.take(key)
        return Taken(False, [*whole, Whole(found, waited)])
    for _, outdone in section.put(key, found):
        whole.append(_tagged(outdone, INCOMPLETE))
    return Taken(True, whole)


def line_of_one(
    state: State, frame: Frame, index: int, origin: Origin, whole: tuple[Record, str, memoryview]
) -> OpenLine:
    """Return a line that came whole, as one that can wait. `whole` is its record with its tag, as `take` has it."""
    return msgspec.structs.replace(open_line(state, frame, index, origin, whole, b""), in_pieces=False)


def open_line(
    state: State, frame: Frame, index: int, origin: Origin, piece: tuple[Record, str, memoryview], line: bytes
) -> OpenLine:
    """Return what a record begins, of which `line` is the line: a line in pieces, or several lines."""
    record, encoding, entry = piece
    return OpenLine(
        journal=frame.journal,
        position=frame.position._replace(record=index),
        journal_time=frame.journal_time,
        origin=origin,
        tag=record.tag,
        encoding=encoding,
        entry=bytes(entry),
        more=(),
        line_bytes=len(line),
        ordinal=1,
        touched_ns=state.waited_ns,
    )


def due(state: State) -> list[Whole]:
    """Let go of the lines that waited long enough."""
    found = []
    for section in (state.lines, state.streams):
        while len(section):
            key, line = next(section.items())
            if state.waited_ns - line.touched_ns < WAIT_NS:
                break
            found.append(_ended(section, key, line, INCOMPLETE))
    return found


def joined_record(line: OpenLine) -> Record:
    """Return the record that the line would have been in one piece."""
    record = decode_entry(line.entry) if line.encoding == "forward" else decode_message(line.entry)
    record.tag = line.tag
    if not line.in_pieces:
        return record
    key = next(key for key in LINE_KEYS if key in record.fields)
    text = line_bytes(record.fields[key]) + b"".join(line.more)
    record.fields[key] = text.decode("utf-8", "surrogateescape")
    for mark in (*PARTIAL_KEYS, CRI_KEY):
        record.fields.pop(mark, None)
    record.pieces, record.tags = line.pieces, line.tags
    return record


def _line_of(fields: dict[str, Any]) -> Any:
    return next((fields[key] for key in LINE_KEYS if key in fields), None)


def line_bytes(line: str | bytes) -> bytes:
    """Return the bytes that came: a piece may end inside a character."""
    return line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")


def _section(state: State, mark: Mark) -> Section[OpenLine]:
    return state.streams if mark.line == UNMARKED else state.lines


def sender(origin: Origin) -> tuple[str, ...]:
    """Return what tells senders apart."""
    return (origin.input, origin.transport, origin.peer, origin.auth)


def _key(origin: Origin, tag: bytes, mark: Mark) -> Key:
    """Return what tells lines apart; the tag is the Engine's word, whatever id a container claims with a label."""
    return (*sender(origin), text_of(tag)[0], mark.container, mark.stream, mark.line)


def _is_full(line: OpenLine, more_bytes: int) -> bool:
    return line.pieces >= PIECES_LIMIT or line.line_bytes + more_bytes > LINE_BYTES_LIMIT


def _ended(section: Section[OpenLine], key: Key, line: OpenLine, tag: str) -> Whole:
    section.take(key)
    return _tagged(line, tag)


def _tagged(line: OpenLine, tag: str) -> Whole:
    tags = line.tags if tag in line.tags else (*line.tags, tag)
    return Whole(msgspec.structs.replace(line, tags=tags), line.pieces)
