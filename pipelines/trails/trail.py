"""What a trail is: records that are no lines, of one encoding, and how their documents are made."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipelines.books import Refused
from pipelines.frame import Frame, Message, Origin
from pipelines.normalize.parsed import Document
from pipelines.settings import Settings
from pipelines.settled import Settled, Waits, refuse
from pipelines.state import OpenLine, State

RECORDS_LIMIT: Final = 1 << 20
"""Records of one message that are told apart; all behind them are one dead letter."""


class Sent(NamedTuple):
    """A message of a trail, and what its documents are made with. `first` is the index of its first record."""

    frame: Frame
    message: Message
    payload: memoryview
    settings: Settings
    state: State
    first: int

    @property
    def origin(self) -> Origin:
        """Who sent it."""
        return self.frame.origins[self.message.origin]

    def refused(self, record: memoryview, code: str, reason: str) -> Refused:
        """Return a dead letter of one of its records."""
        return refuse(self.frame, self.message, record, (code, reason))


class Trail(NamedTuple):
    """How messages of one encoding become documents.

    `settle` says of each record of a message, in order, what becomes of it: one item each, never an exception for what
    stands in it. `waited` makes the document of a record that it let wait (`Waits`); None where none does. What is
    `internal` only this collector's own processes may say.
    """

    settle: Callable[[Sent], Iterator[Settled | Waits]]
    waited: Callable[[OpenLine, Settings, State], Document] | None = None
    internal: bool = False


def json_lines(payload: memoryview) -> Iterator[memoryview]:
    """Yield the lines of a message of JSON objects, one a line, without empty ones.

    What stands behind RECORDS_LIMIT lines comes as one more, to be refused.
    """
    text = bytes(payload)
    start = number = 0
    while start < len(text):
        end = text.find(b"\n", start)
        if end < 0 or number == RECORDS_LIMIT:
            end = len(text)
        if text[start:end].strip():
            number += 1
            yield payload[start:end]
        start = end + 1
