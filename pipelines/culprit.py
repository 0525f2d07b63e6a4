"""Finding the record on which the reference path fails: a fault of ours costs that record, not its frame."""

from contextlib import suppress
from typing import Final

from pipelines.accounts import Ledger
from pipelines.condemned import Part
from pipelines.decode.msgpack_walk import BrokenPayloadError, objects
from pipelines.frame import Frame, Position
from pipelines.reference import assemble, documents_of_open, messages, settle, waited_enough
from pipelines.settings import Settings
from pipelines.state import State

CUT: Final = ("forward", "forward-message")
"""Encodings whose messages are MessagePack objects, one for each record; others go as a whole."""


def first_culprit(frame: Frame, settings: Settings, state: State) -> Part | Position | None:
    """Return the position of a line that waits and fails, or the part that holds the first record that does, or None.

    The state is that before the frame, and of no use then.
    """
    ledger = Ledger(frame)
    for line in state.open_lines():
        try:
            assemble(frame, [], 0, documents_of_open(line, settings, state), ledger, last=True)
        except MemoryError:
            raise
        except Exception:
            return line.position
    try:
        waited_enough(frame, settings, state)
    except MemoryError:
        raise
    except Exception:
        return None
    index = 0
    for number, (message, encoding, payload) in enumerate(messages(frame)):
        first = index
        ledger.begin(first, message)
        try:
            for item in settle(frame, message, encoding, payload, settings=settings, state=state, first=first):
                assemble(frame, [item], index, [], ledger, last=False)
                index += 1
        except MemoryError:
            raise
        except Exception:
            return record_part(number, encoding, payload, index - first)
    return None


def record_part(number: int, encoding: str, payload: memoryview, record: int) -> Part:
    """Return the part that is one record of a message, or the message where it cannot be cut."""
    ends = ends_of(encoding, payload)
    if record >= len(ends) or len(ends) == 1:
        return Part(number, indexes=int(ends == [len(payload)] and encoding in CUT))
    start = ends[record - 1] if record else 0
    return Part(number, 1, start, ends[record], record, len(ends) - record - 1)


def ends_of(encoding: str, payload: memoryview) -> list[int]:
    """Return where each record of a message ends; what is behind the last that can be told is one more."""
    if encoding not in CUT:
        return [len(payload)]
    ends: list[int] = []
    with suppress(BrokenPayloadError):
        ends.extend(end for _, end in objects(payload))
    return ends if ends and ends[-1] == len(payload) else [*ends, len(payload)]
