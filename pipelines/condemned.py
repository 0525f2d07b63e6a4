"""Verdicts: parts of a frame that ended a worker, and are not looked at again by whoever reads the journal.

A condemned part stands in its frame as a message of its own, of an encoding that is refused as it is; so both paths,
and every replay, make a dead letter of its bytes, and all else is as if it had never been decoded.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, Literal

import msgspec

from pipelines.accounts import with_dead
from pipelines.batch import Batch, DeadLetter
from pipelines.frame import INDEX_LIMIT, Frame, Message, Position, Run
from pipelines.state import OpenLine

Cause = Literal["crash", "hang", "memory"]
"""What it does to a worker: ends it, keeps it busy for ever, or eats its memory."""

FAULT: Final = "condemned-fault"
"""Encoding of what no path could process, without a verdict: it is found anew wherever the frame is read."""

REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "condemned-crash": ("crash", "it ended the worker, and did so again when it was tried apart"),
    "condemned-hang": ("hang", "the worker did not come to an end with it, nor when it was tried apart"),
    "condemned-memory": ("memory", "the worker's memory did not suffice for it, nor when it was tried apart"),
    FAULT: ("crash", "neither path could process it"),
}
"""Encodings of condemned parts, with code and reason of their letters. Nothing that is sent has one of these."""


_CODES: Final = frozenset(code for code, _ in REFUSED.values())


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Bytes `start` to `end` of the message with this number; or `messages` whole ones from that on (then both are 0).

    `before` is the number of records between the part before it, or the message's start, and this one; `behind` of
    those up to the next part, or the message's end. `records` stand in it; they are one letter. `indexes` are what the
    records of one whole message take where it is not condemned; 0: that is not known.
    """

    message: int
    messages: int = 1
    start: int = 0
    end: int = 0
    before: int = 0
    behind: int = 0
    records: int = 1
    indexes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is whole messages."""
        return not self.end


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What is condemned of the frame at `position`: parts in the frame's order, none over another.

    `lines` are those that wait before it, by the positions of their first records: lines of which pieces came, several
    that are one document, lines whose container is not known. They do no harm before that frame, or a later one that
    ends them.
    """

    position: Position
    cause: Cause
    parts: tuple[Part, ...] = ()
    lines: tuple[Position, ...] = ()


Verdicts = Mapping[Position, Verdict]
"""By the frame that each is about."""


def is_condemned(letter: DeadLetter) -> bool:
    """Tell whether a letter is of a condemned part."""
    return letter.stage == "decode" and letter.code in _CODES


def with_letters(batch: Batch, dropped: Sequence[OpenLine], condemned: str) -> Batch:
    """Return a frame's last batch with the letters of lines that waited before it and were dropped.

    Their records are of frames before, and have been settled by none. The last batch is the one that nobody can have
    settled before the verdict; letters stand at its position, so that they are met again with it and not without it.
    """
    code, reason = REFUSED[condemned]
    letters = [
        DeadLetter(
            position=batch.position,
            stage="join",
            code=code,
            reason=f"{reason}; it began at epoch {line.position.epoch}, sequence {line.position.sequence}",
            origin=f"{line.origin.input}/{line.origin.peer}",
            payload=b"".join(_bytes_of(line)),
            records=records_of(line),
            number=number,
        )
        for number, line in enumerate(dropped, 1)
    ]
    records = sum(letter.records for letter in letters)
    tally = msgspec.structs.replace(
        batch.tally, dead=batch.tally.dead + records, taken_up=batch.tally.taken_up + records
    )
    accounts = with_dead(batch.accounts, [each for line in dropped for each in (line, *line.held)])
    return msgspec.structs.replace(batch, dead_letters=(*letters, *batch.dead_letters), tally=tally, accounts=accounts)


def records_of(line: OpenLine) -> int:
    """Return how many records wait in a line, those that are held behind a trace's with them."""
    return line.pieces + sum(map(records_of, line.held))


def _bytes_of(line: OpenLine) -> Iterator[bytes]:
    yield line.entry
    yield from line.more
    for each in line.held:
        yield from _bytes_of(each)


def apart(frame: Frame, verdict: Verdict) -> Frame:
    """Return the frame with its condemned parts as messages of their own; payload and claims stay what they are."""
    return set_apart(frame, verdict.parts, encoding_of(verdict))


def encoding_of(verdict: Verdict) -> str:
    """Return the encoding that condemned parts have."""
    return f"condemned-{verdict.cause}"


def with_skipped(encoding: str, indexes: int) -> str:
    """Return the encoding that says as well how many indexes are left out behind the record that it is."""
    return f"{encoding}+{indexes}" if indexes else encoding


def without_skipped(encoding: str) -> tuple[str, int]:
    """Return both again, of any encoding."""
    plain, _, indexes = encoding.partition("+") if encoding.startswith("condemned-") else (encoding, "", "")
    return plain, int(indexes or 0)


def set_apart(frame: Frame, parts: Sequence[Part], condemned: str) -> Frame:
    """Do the same with parts that get another encoding.

    Where whole messages are set apart, the records behind them keep their indexes, or get such as none had: documents
    may be delivered by the old ones, and nothing else may ever have these. Of a message of which it is not known how
    many it holds there are no more than bytes.
    """
    by_message: dict[int, list[Part]] = {}
    for part in parts:
        for number in range(part.message, part.message + part.messages):
            by_message.setdefault(number, []).append(part)
    told: list[tuple[str, Message]] = []
    messages = iter(enumerate(frame.messages))
    left = max(INDEX_LIMIT - len(frame.payload), INDEX_LIMIT // 2)
    behind = skipped = 0
    for run in frame.runs:
        for _ in range(run.messages):
            number, message = next(messages)
            own = by_message.get(number, [])
            if not own:
                told.append((run.encoding, message))
            elif whole := next((part for part in own if part.is_whole), None):
                if behind == len(told) > 0:
                    told[-1] = condemned, told[-1][1]
                else:
                    skipped = 0
                known = whole.indexes if whole.messages == 1 else 0
                more = max(min(known or message.length, left), 1) - 1
                skipped, left = skipped + more, left - more
                told.append((with_skipped(condemned, skipped), message))
                behind = len(told)
            else:
                told += _cut(message, run.encoding, own, condemned)
    runs = tuple(Run(encoding, sum(1 for _ in group)) for encoding, group in groupby(told, lambda each: each[0]))
    return msgspec.structs.replace(frame, messages=tuple(message for _, message in told), runs=runs)


def _cut(message: Message, encoding: str, parts: list[Part], condemned: str) -> Iterator[tuple[str, Message]]:
    """Yield what stands between the parts, and these.

    Where the sender's claim is right each says its own share of it, so that what is left is read as it would be; a
    wrong one the first part says, so that the frame claims what it claimed.
    """
    records = sum(part.before + part.records for part in parts) + parts[-1].behind
    is_right = message.claimed == records
    at, claim = 0, message.claimed
    for part in parts:
        if at < part.start:
            yield encoding, _slice(message, part.start - at, part.before if is_right else -1)
        yield condemned, _slice(message, part.end - part.start, part.records if is_right else claim)
        at, claim = part.end, -1
    if at < message.length:
        yield encoding, _slice(message, message.length - at, parts[-1].behind if is_right else -1)


def _slice(message: Message, length: int, claimed: int) -> Message:
    return msgspec.structs.replace(message, length=length, claimed=claimed)
