"""A frame's messages, grouped so that as many records as may be are decoded by one call."""

import itertools
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Final

from pipelines.decode.columns import Decoded
from pipelines.decode.msgpack_walk import objects
from pipelines.frame import Frame, Message
from pipelines.join import PIECE_BYTES

ONE_BY_ONE: Final = "forward-message"
"""The encoding in which a record may be a message of its own; its tag stands in the record."""

WHOLE_MESSAGE_LIMIT: Final = 8 << 20
"""Bytes of a message that may be decoded by one call; a larger one goes through the reference, slice by slice."""


def groups(frame: Frame) -> Iterator[tuple[list[Message], str, memoryview]]:
    """Yield a frame's messages with encoding and payload; neighbours of one record and one origin together.

    Docker's driver sends each line as a message: what a decode costs beside its records would be paid for each line.
    """
    end, messages = 0, iter(frame.messages)
    for run in frame.runs:
        for (_, _, claimed), alike in itertools.groupby(itertools.islice(messages, run.messages), key=_kind):
            together = run.encoding == ONE_BY_ONE and claimed == 1
            for group in _bounded(list(alike)) if together else ([message] for message in alike):
                start, end = end, end + sum(map(_length, group))
                yield group, run.encoding, frame.payload[start:end]


_kind = attrgetter("origin", "tag", "claimed")
_length = attrgetter("length")


def _bounded(group: list[Message]) -> Iterator[list[Message]]:
    """Halve a group until it may be decoded by one call."""
    if len(group) == 1 or sum(map(_length, group)) <= WHOLE_MESSAGE_LIMIT:
        yield group
        return
    middle = len(group) // 2
    yield from _bounded(group[:middle])
    yield from _bounded(group[middle:])


def parted(group: Sequence[Message], payload: memoryview) -> Iterator[tuple[Message, memoryview]]:
    """Yield each message of a group with its bytes."""
    end = 0
    for message in group:
        start, end = end, end + message.length
        yield message, payload[start:end]


def entries(group: Sequence[Message], payload: memoryview) -> list[tuple[Message, memoryview]]:
    """Return each record's message and bytes: of messages of one record each, or of one message."""
    if len(group) > 1:
        return list(parted(group, payload))
    return [(group[0], payload[start:end]) for start, end in objects(payload)]


def has_cut_lines(decoded: Decoded, payload_bytes: int) -> bool:
    """Tell whether a line is as long as a piece that is not marked, so that the next of its stream may belong to it."""
    lines = decoded.lines
    if payload_bytes <= PIECE_BYTES or max(map(len, lines)) < PIECE_BYTES // 4:
        return False
    return any(len(line) <= PIECE_BYTES == len(line.encode()) and line[-1] != "\n" for line in lines)
