"""Lines that came in pieces become one: container runtimes cut a line after 16 KiB.

Docker's `fluentd` driver marks each piece of such a line: `partial_message`, `partial_id` (one per line),
`partial_ordinal` (1, 2, 3, …) and `partial_last`. Pieces are joined as bytes, within one container and stream of one
sender, and the document has the position and the time of the first. Nothing is dropped, and nothing waits for ever:

- what would exceed LINE_BYTES_LIMIT or PIECES_LIMIT goes out as it is, and so does each such part behind it; all of
  them are tagged `_line_too_long`;
- a line whose next piece does not come for WAIT_NS goes out as it is, tagged `_line_incomplete`: also what a container
  wrote without a newline before it ended, for which no last piece comes. What counts is journal time while the journal
  takes what comes (`State.waited_ns`): senders that were made to wait lose nothing by it;
- so does one that a piece of another place in the line follows, and what follows it.
"""

from typing import Any, Final, NamedTuple

import msgspec

from parsers.flattened import text_of
from pipelines.decode.forward import Record, decode_entry, decode_message
from pipelines.frame import Frame, Origin
from pipelines.normalize.container import LINE_KEYS, PARTIAL_KEYS
from pipelines.sections import Key
from pipelines.state import OpenLine, State

LINE_BYTES_LIMIT: Final = 1 << 20
"""The longest line that is put together."""

PIECES_LIMIT: Final = 256
"""The most pieces that one line is put together of."""

WAIT_NS: Final = 5_000_000_000
"""How long the next piece of a line is waited for."""

INCOMPLETE: Final = "_line_incomplete"
TOO_LONG: Final = "_line_too_long"

ORDINAL_DIGITS: Final = 9


class Mark(NamedTuple):
    """What a piece says of itself: its line among those of its container and stream, its place, whether it ends it."""

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


def mark_of(fields: dict[str, Any]) -> Mark | None:
    """Return what marks a record as a piece, None for one that is none."""
    if fields.get("partial_message") != "true":
        return None
    texts = [fields.get(key) for key in ("container_id", "source", "partial_id", "partial_ordinal", "partial_last")]
    if not all(isinstance(text, str) for text in texts):
        return None
    container, stream, line, ordinal, last = (text_of(text)[0] for text in texts)
    digits = len(ordinal) <= ORDINAL_DIGITS and ordinal.isascii() and ordinal.isdecimal()
    if not digits or last not in ("true", "false") or not isinstance(_line_of(fields), str | bytes):
        return None
    return Mark(container, stream, line, int(ordinal), last == "true")


def take(
    state: State, frame: Frame, index: int, origin: Origin, mark: Mark, piece: tuple[Record, str, memoryview]
) -> Taken:
    """Put a piece to its line. `piece` is its record with its tag, its encoding, and its bytes as they came."""
    record, encoding, entry = piece
    key = _key(origin, record.tag, mark)
    line = _line_bytes(_line_of(record.fields))
    whole: list[Whole] = []
    open_line = state.lines.get(key)
    tags: tuple[str, ...] = () if mark.ordinal == 1 else (INCOMPLETE,)
    if open_line is not None and mark.ordinal != open_line.ordinal + 1:
        whole.append(_ended(state, key, open_line, INCOMPLETE))
        open_line = None
    elif open_line is not None and _is_full(open_line, len(line)):
        whole.append(_ended(state, key, open_line, TOO_LONG))
        open_line, tags = None, (TOO_LONG,)
    waited = 0
    if open_line is None:
        open_line = OpenLine(
            journal=frame.journal,
            position=frame.position._replace(record=index),
            journal_time=frame.journal_time,
            origin=origin,
            tag=record.tag,
            encoding=encoding,
            entry=bytes(entry),
            more=(),
            line_bytes=len(line),
            ordinal=mark.ordinal,
            touched_ns=state.waited_ns,
            tags=tags,
        )
    else:
        waited = open_line.pieces
        open_line = msgspec.structs.replace(
            open_line,
            more=(*open_line.more, line),
            line_bytes=open_line.line_bytes + len(line),
            ordinal=mark.ordinal,
            touched_ns=state.waited_ns,
        )
    if mark.last:
        state.lines.take(key)
        return Taken(False, [*whole, Whole(open_line, waited)])
    for _, outdone in state.lines.put(key, open_line):
        whole.append(_tagged(outdone, INCOMPLETE))
    return Taken(True, whole)


def due(state: State) -> list[Whole]:
    """Let go of the lines that waited long enough."""
    found = []
    while len(state.lines):
        key, line = next(state.lines.items())
        if state.waited_ns - line.touched_ns < WAIT_NS:
            break
        found.append(_ended(state, key, line, INCOMPLETE))
    return found


def joined_record(line: OpenLine) -> Record:
    """Return the record that the line would have been in one piece."""
    record = decode_entry(line.entry) if line.encoding == "forward" else decode_message(line.entry)
    record.tag = line.tag
    key = next(key for key in LINE_KEYS if key in record.fields)
    text = _line_bytes(record.fields[key]) + b"".join(line.more)
    record.fields[key] = text.decode("utf-8", "surrogateescape")
    for mark in PARTIAL_KEYS:
        record.fields.pop(mark, None)
    record.pieces, record.tags = line.pieces, line.tags
    return record


def _line_of(fields: dict[str, Any]) -> Any:
    return next((fields[key] for key in LINE_KEYS if key in fields), None)


def _line_bytes(line: str | bytes) -> bytes:
    """Return the bytes that came: a piece may end inside a character."""
    return line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")


def _key(origin: Origin, tag: bytes, mark: Mark) -> Key:
    """Return what tells lines apart; the tag is the Engine's word, whatever id a container claims with a label."""
    texts = (origin.input, origin.transport, origin.peer, origin.auth, text_of(tag)[0])
    return (*texts, mark.container, mark.stream, mark.line)


def _is_full(line: OpenLine, more_bytes: int) -> bool:
    return line.pieces >= PIECES_LIMIT or line.line_bytes + more_bytes > LINE_BYTES_LIMIT


def _ended(state: State, key: Key, line: OpenLine, tag: str) -> Whole:
    state.lines.take(key)
    return _tagged(line, tag)


def _tagged(line: OpenLine, tag: str) -> Whole:
    tags = line.tags if tag in line.tags else (*line.tags, tag)
    return Whole(msgspec.structs.replace(line, tags=tags), line.pieces)
