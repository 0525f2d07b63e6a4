"""What a worker makes of one frame: encoded documents by data stream, dead letters and a tally."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from pipelines.frame import Ids, Position

DOCUMENT_HEAD: Final = b'{"event":{'
"""Every document begins with these bytes, so an output can put `event.ingested` in without parsing: the canonical
encoding holds no raw newline, hence newline + head occurs at the start of a document and nowhere else."""


ENVELOPE: Final = (b"", b"")
"""Empty buffers before each document, where an output may put what it sends before it."""


class DataStream(NamedTuple):
    """Target of a document; `str()` gives Elasticsearch's name for it."""

    type: str
    dataset: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.type}-{self.dataset}-{self.namespace}"


class Documents:
    """Documents for one data stream, those of one frame in record order; shared between outputs and never changed.

    `ids` are their `_id`s. `buffers` are the bytes of all documents, one behind the other: each document is `stride`
    buffers, of which the first are ENVELOPE, the next begins with DOCUMENT_HEAD and the last ends with a newline. An
    output that adds something to each document puts it into a copy; `ndjson` joins the buffers as they are.
    `size_bytes` is the length of that.
    """

    def __init__(self, stream: DataStream, ids: Ids, buffers: Sequence[bytes], *, stride: int, size_bytes: int) -> None:
        self.stream = stream
        self.ids = ids
        self.buffers = buffers
        self.stride = stride
        self.size_bytes = size_bytes

    @classmethod
    def of_lines(cls, stream: DataStream, lines: Sequence[bytes], ids: Ids) -> "Documents":
        """Put whole documents together, each ending with its newline."""
        buffers = [buffer for line in lines for buffer in (*ENVELOPE, line)]
        return cls(stream, ids, buffers, stride=len(ENVELOPE) + 1, size_bytes=sum(map(len, lines)))

    def picked(self, places: Iterable[int]) -> "Documents":
        """Return the documents at these places."""
        places = tuple(places)
        buffers = [each for at in places for each in self.buffers[at * self.stride : (at + 1) * self.stride]]
        size_bytes = sum(map(len, buffers))
        return Documents(self.stream, self.ids.picked(places), buffers, stride=self.stride, size_bytes=size_bytes)

    @cached_property
    def ndjson(self) -> bytes:
        """One canonical JSON document per line."""
        return b"".join(self.buffers)

    def __eq__(self, other: object) -> bool:
        """Equal documents have equal bytes, however they are cut."""
        if not isinstance(other, Documents):
            return NotImplemented
        mine, theirs = (self.stream, self.ids, self.ndjson), (other.stream, other.ids, other.ndjson)
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]


class DeadLetter(msgspec.Struct, frozen=True):
    """Records that cannot be processed: their bytes, the stage that refused them, a bounded code, a readable reason.

    Usually one; neighbours refused for the same reason share a letter, whose position is that of the first. `number`
    tells letters apart that are not of the record at their position: it is 0 where they are.
    """

    position: Position
    stage: str
    code: str
    reason: str
    origin: str
    payload: bytes
    records: int = 1
    number: int = 0


Outcomes = dict[tuple[str, str], int]
"""Lines by parser and outcome: `parsed`; `failed`, they do not fit the parser that was asked for; `plain` (no name)."""


RuleCounts = dict[str, tuple[int, int]]
"""By a rule's key: alerts that it raised, and alerts of it that were suppressed."""


class Tally(msgspec.Struct, frozen=True):
    """The books of one frame (P2): what was claimed, what decoding found, and how each record settled.

    `joined` are pieces of a line that settled with the line's document, all but its first. `parked` are pieces that
    wait for the rest of their line, and lines that wait for what is known of their container; `taken_up` those of
    this or earlier frames that waited and settle now, so that records + taken_up = documents + dead + control +
    joined + parked. `derived` documents settle nothing: they stand beside that of their record. `lines` says what
    parsers made of lines; like `claimed` it stands in the last slice of a frame. `rules` says whose alerts are among
    the `derived`, and how many were suppressed.
    """

    claimed: int = 0
    records: int = 0
    documents: int = 0
    dead: int = 0
    control: int = 0
    joined: int = 0
    parked: int = 0
    taken_up: int = 0
    derived: int = 0
    lines: Outcomes = {}
    rules: RuleCounts = {}


class Account(NamedTuple):
    """A row of the books: hour of journal time (since 1970), and the source: input and peer."""

    hour: int
    input: str
    peer: str


class Counts(msgspec.Struct):
    """What is counted of one account. Fields named like those of a tally say the same of it.

    `messages`, `bytes` and `claimed` are what the intake took, by the frames' tables; `resends` of these messages were
    recognised as sent before. `claimed_more` and `claimed_fewer` are the records by which messages claim more, or
    fewer, than they hold. `damaged` are those that messages claim of which the bytes cannot be read any more (one where
    they claim nothing); `dropped` those that a rule of the operator wanted dropped.
    """

    messages: int = 0
    bytes: int = 0
    claimed: int = 0
    resends: int = 0
    records: int = 0
    documents: int = 0
    derived: int = 0
    joined: int = 0
    control: int = 0
    dead: int = 0
    dropped: int = 0
    damaged: int = 0
    parked: int = 0
    taken_up: int = 0
    claimed_more: int = 0
    claimed_fewer: int = 0


class Accounts(msgspec.Struct, frozen=True):
    """A batch's tally by account, and whose its documents are.

    `runs` say from which index of the frame on records are of whom, in order; `lines` whose the documents are that have
    the position of an earlier record, or of one that waited. `uncounted` documents are of records that no book counts.
    """

    rows: dict[Account, Counts] = {}
    runs: tuple[tuple[int, Account], ...] = ()
    lines: dict[Position, Account] = {}
    uncounted: int = 0

    def of(self, position: Position) -> Account | None:
        """Return whose the record is that a document of the batch is of; None for one that is not of the batch."""
        found = self.lines.get(position)
        if found is None:
            for start, account in self.runs:
                if start > position.record:
                    break
                found = account
        return found


NO_ACCOUNTS: Final = Accounts()


class Batch(msgspec.Struct, frozen=True):
    """What one frame gives, or a slice of it where it holds very many records.

    `position` is that of its first record, `next` where the one after it begins (in the same frame or the following).
    `payload_bytes` is the size of the frame, 0 but in its last slice, for accounting of memory and lag.
    """

    position: Position
    next: Position
    journal_time: int
    documents: tuple[Documents, ...]
    dead_letters: tuple[DeadLetter, ...]
    tally: Tally
    payload_bytes: int
    accounts: Accounts = NO_ACCOUNTS

    @property
    def size_bytes(self) -> int:
        """The length of all documents."""
        return sum(documents.size_bytes for documents in self.documents)
