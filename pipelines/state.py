"""What a pipeline remembers from one frame to the next: bounded, a pure function of the journal, kept in checkpoints.

Two pipelines that have read the same frames hold equal states, whatever batches were asked of them; so a state that was
written down anywhere serves whoever goes on from there (`collector.journal.checkpoints`). What is kept of a line are
the bytes that came: when it is whole it becomes a document under the configuration of then. So a changed configuration
loses no piece; a section whose values depend on the configuration says so (`Section.lasting`), and begins anew.
"""

from typing import Any, Final

import msgspec

from pipelines.batch import Outcomes
from pipelines.frame import Frame, JournalIdentity, Origin, Position
from pipelines.parse import Choice, Stream, StreamKey
from pipelines.sections import Section

STATE_VERSION: Final = 1
"""Of the encoded form. A state of a higher one is not read, nor one of a lower that this program does not know."""

OPEN_LINES_LIMIT: Final = 4096
"""Lines whose next piece is waited for, of all containers; the oldest goes out as it is when one more begins."""

OPEN_LINES_BYTES_LIMIT: Final = 8 << 20
"""What their pieces may take in all."""

OPEN_STREAMS_LIMIT: Final = 512
OPEN_STREAMS_BYTES_LIMIT: Final = 4 << 20
"""The same for lines whose pieces are not marked: meanwhile their senders' messages are gone through one by one."""


CHOICES_LIMIT: Final = 65_536
"""Streams whose choice of a parser is kept; the one whose lines chose longest ago is forgotten, and begins anew."""

CHOICES_BYTES_LIMIT: Final = 32 << 20

STEP_NS: Final = 1_000_000_000
"""What a pause between two frames counts for at most, for what waits: while the intake is down, or lets senders wait,
nothing can come. Where something waits and nothing else comes, ticks come more often (`collector.worker`)."""


class StateError(ValueError):
    """Bytes that are no state that this program reads."""


class OpenLine(msgspec.Struct, frozen=True, array_like=True):
    """A line of which pieces came and more are to come.

    `journal`, `position` and `journal_time` are those of its first piece, `entry` that piece as it came with its
    `encoding`, `more` the lines of those behind it. `ordinal` is that of the newest, `touched_ns` the `State.waited_ns`
    when it came. `tags` are what its document is tagged with already.
    """

    journal: JournalIdentity
    position: Position
    journal_time: int
    origin: Origin
    tag: bytes
    encoding: str
    entry: bytes
    more: tuple[bytes, ...]
    line_bytes: int
    ordinal: int
    touched_ns: int
    tags: tuple[str, ...] = ()

    @property
    def pieces(self) -> int:
        """How many pieces it has."""
        return 1 + len(self.more)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return len(self.entry) + self.line_bytes + len(self.tag) + 64 * len(self.more)

    @property
    def frame(self) -> Frame:
        """The frame of its first piece, without its content."""
        partition, epoch, sequence, _ = self.position
        return Frame(self.journal, partition, epoch, sequence, self.journal_time, (), (), (), memoryview(b""))


class _Encoded(msgspec.Struct, array_like=True):
    version: int
    clock: tuple[int, int]
    sections: dict[str, msgspec.Raw]


class State:
    """The sections of one pipeline, and its clock. `mark` and `undo` hold for all of them.

    `lines` are open lines whose pieces are marked, `streams` those whose next piece is the next record of the stream.
    `waited_ns` is the clock: journal time in nanoseconds, of which long pauses count for STEP_NS. What is not kept:
    `outcomes` counts what became of the lines of the frame at hand; `seen` gathers the streams whose lines come, for
    who asks (else None).
    """

    def __init__(self) -> None:
        self.waited_ns = 0
        self._seen_ns = 0
        self._clock_before = (0, 0)
        self.lines: Section[OpenLine] = Section(
            OpenLine,
            limit=OPEN_LINES_LIMIT,
            limit_bytes=OPEN_LINES_BYTES_LIMIT,
            cost=lambda line: line.size_bytes,
        )
        self.streams: Section[OpenLine] = Section(
            OpenLine,
            limit=OPEN_STREAMS_LIMIT,
            limit_bytes=OPEN_STREAMS_BYTES_LIMIT,
            cost=lambda line: line.size_bytes,
        )
        self.choices: Section[Choice] = Section(
            Choice,
            limit=CHOICES_LIMIT,
            limit_bytes=CHOICES_BYTES_LIMIT,
            cost=lambda choice: 16 * len(choice.formats),
            lasting=False,
            deferred=True,
        )
        self._sections: dict[str, Section[Any]] = {
            "lines": self.lines,
            "streams": self.streams,
            "choices": self.choices,
        }
        self.outcomes: Outcomes = {}
        self.seen: dict[StreamKey, Stream] | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything waits for journal time to go on."""
        return len(self.lines) > 0 or len(self.streams) > 0

    def advance(self, journal_time: int) -> None:
        """Let the clock go on to a frame's journal time."""
        if self._seen_ns:
            self.waited_ns += min(max(journal_time - self._seen_ns, 0), STEP_NS)
        self._seen_ns = journal_time

    def mark(self) -> None:
        """Make what is now that to which `undo` comes back."""
        self._clock_before = (self._seen_ns, self.waited_ns)
        self.outcomes = {}
        for section in self._sections.values():
            section.mark()

    def undo(self) -> None:
        """Take back everything since the mark."""
        self._seen_ns, self.waited_ns = self._clock_before
        self.outcomes = {}
        for section in self._sections.values():
            section.undo()

    def take_outcomes(self) -> Outcomes:
        """Return what became of the lines since this was last asked; counting begins anew."""
        taken, self.outcomes = self.outcomes, {}
        return taken

    def encode(self) -> bytes:
        """Return all of it; equal states give equal bytes."""
        return msgspec.msgpack.encode(
            [
                STATE_VERSION,
                (self._seen_ns, self.waited_ns),
                {name: list(section.items()) for name, section in self._sections.items()},
            ]
        )

    def at_mark(self) -> "State":
        """Return what it was at the mark, as a state that goes its own way."""
        copied = State()
        copied._seen_ns, copied.waited_ns = self._clock_before
        for name, section in copied._sections.items():
            section.become(self._sections[name].at_mark())
        return copied

    def load(self, encoded: bytes, *, settings_changed: bool) -> None:
        """Become what was encoded; raise StateError, and stay as it is, where it cannot be read.

        Where the settings are not those it was made under, sections that do not last begin empty.
        """
        try:
            found = msgspec.msgpack.decode(encoded, type=_Encoded)
            if found.version != STATE_VERSION:
                raise StateError(f"a state of version {found.version}, and this program's is {STATE_VERSION}")
            loaded = {
                name: section.decoded(found.sections[name])
                for name, section in self._sections.items()
                if name in found.sections and (section.lasting or not settings_changed)
            }
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"a state that cannot be decoded: {error}") from error
        self._seen_ns, self.waited_ns = found.clock
        for name, section in self._sections.items():
            section.become(loaded.get(name, ()))
