"""What becomes of a record: a document, a dead letter, a piece that waits, or nothing more than being read."""

import msgspec

from pipelines.books import Control, Refused
from pipelines.frame import Frame, Message
from pipelines.normalize.parsed import Document
from pipelines.state import OpenLine


class Joined(msgspec.Struct):
    """The document of a line in pieces, or of several lines, by the frame and the index of the first.

    `waited` of its `pieces` were parked before; `by_hour` says in which hours the pieces came.

    A line that came whole and waited for what is known of its container is of one piece.
    """

    frame: Frame
    index: int
    document: Document
    pieces: int
    waited: int
    by_hour: dict[int, int]


class Piece(msgspec.Struct):
    """A record that is a piece of a line, or one line of several: parked, or gone with them.

    `lines` are those that go out with it.

    So is one that is parked until its container is known, and a message by which that is: it is read, and lines go out.
    """

    parked: bool
    lines: list[Joined]


Settled = Refused | Control | Document | Piece
"""What becomes of a record, in the order of the frame."""


def weight_of(item: Settled) -> int:
    """Return what a record counts of a batch: itself, and the documents that derive from its own."""
    if isinstance(item, Document):
        return 1 + len(item.derived)
    if isinstance(item, Piece):
        return 1 + sum(len(line.document.derived) for line in item.lines)
    return 1


def skipped_behind(item: object) -> int:
    """Return how many indexes are left out behind that of a record."""
    return item.skipped if isinstance(item, Refused) else 0


class Waits(msgspec.Struct):
    """A trail's record that waits for what is known of a container, `awaited` as source and container.

    `line` is all that its document is made of later, by its trail's `waited`.
    """

    awaited: tuple[str, str]
    line: OpenLine


def refuse(frame: Frame, message: Message, payload: memoryview, why: tuple[str, str], *, skipped: int = 0) -> Refused:
    """Make a dead letter of these bytes; `why` is its code and reason, `skipped` the indexes left out behind it."""
    origin = frame.origins[message.origin]
    return Refused(*why, bytes(payload), f"{origin.input}/{origin.peer}", skipped)
