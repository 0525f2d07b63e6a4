"""What a pipeline remembers from one frame to the next: bounded, a pure function of the journal, kept in checkpoints.

Two pipelines that have read the same frames hold equal states, whatever batches were asked of them; so a state that was
written down anywhere serves whoever goes on from there (`collector.journal.checkpoints`). What is kept of a line are
the bytes that came: when it is whole it becomes a document under the configuration of then. So a changed configuration
loses no piece; a section whose values depend on the configuration says so (`Section.lasting`), and begins anew.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from pipelines.batch import Outcomes
from pipelines.configuration import new_configurations
from pipelines.detect import limits
from pipelines.detect.carried import new_rule_sets
from pipelines.enrich.lookups import new_tables
from pipelines.enrich.metadata import Metadata
from pipelines.frame import Frame, JournalIdentity, Origin, Position
from pipelines.logins import Logins
from pipelines.parse import Choice, Stream, StreamKey
from pipelines.sections import ENTRY_BYTES, Section
from pipelines.trail_state import new_execs, new_label_names
from pipelines.wanted import Wanted

STATE_VERSION: Final = 2
"""Of the encoded form. A state of a higher one is not read, nor one of a lower that this program does not know."""

READ_VERSIONS: Final = (1, STATE_VERSION)
"""Version 1 has no lines that are held, nor lines of traces that came in pieces."""

OPEN_LINES_LIMIT: Final = 4096
"""Lines whose next piece is waited for, of all containers; the oldest goes out as it is when one more begins."""

OPEN_LINES_BYTES_LIMIT: Final = 8 << 20
"""What their pieces may take in all."""

WAITING_LIMIT: Final = 8192
"""Lines that wait for what is known of their container; beyond it those of the one that waits longest go without."""

WAITING_BYTES_LIMIT: Final = 16 << 20

OPEN_STREAMS_LIMIT: Final = 512
OPEN_STREAMS_BYTES_LIMIT: Final = 4 << 20
"""The same for lines whose pieces are not marked: meanwhile their senders' messages are gone through one by one."""


EVENTS_LIMIT: Final = 4096
"""Traces and audit events whose next line is waited for; the one that waits longest goes out when one more begins."""

EVENTS_BYTES_LIMIT: Final = 16 << 20

CHOICES_LIMIT: Final = 65_536
"""Streams whose choice of a parser is kept; the one whose lines chose longest ago is forgotten, and begins anew."""

CHOICES_BYTES_LIMIT: Final = 32 << 20

NEW_CHOICES_LIMIT: Final = 16_384
"""Streams of which one frame may bring the first choice, before room is made where the next begins. Lines of further
ones are parsed just the same, each as if it were its stream's first."""

HOUR_NS: Final = 3600 * 1_000_000_000
"""Books are kept by hours of journal time."""

STEP_NS: Final = 1_000_000_000
"""What a pause between two frames counts for at most, for what waits: while the intake is down, or lets senders wait,
nothing can come. Where something waits and nothing else comes, ticks come more often (`collector.worker`)."""


class StateError(ValueError):
    """Bytes that are no state that this program reads."""


class OpenLine(msgspec.Struct, frozen=True, array_like=True):
    """A line of which pieces came and more are to come; or several lines that are one document (`pipelines.gather`).

    `journal`, `position` and `journal_time` are those of its first piece, `entry` that piece as it came with its
    `encoding`, `more` the lines of those behind it. `ordinal` is that of the newest, `touched_ns` the `State.waited_ns`
    when it came. `tags` are what its document is tagged with already. A line that did not come in pieces can wait as
    well, for what is known of its container (`pipelines.enrich.waiting`): it is not `in_pieces`. `stage` is what is
    told of several lines (a trace's stage), and empty of one in pieces; then `more` are lines, without their ends.
    `held` are lines behind those of a trace of which it is not known yet whether they belong to it; `further` are the
    pieces beyond the first of its lines that came in pieces. `later` says how many pieces came in which hour, where
    that is not the hour of the first.
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
    in_pieces: bool = True
    stage: str = ""
    held: tuple["OpenLine", ...] = ()
    further: int = 0
    later: tuple[tuple[int, int], ...] = ()

    @property
    def pieces(self) -> int:
        """How many pieces it has."""
        return 1 + len(self.more) + self.further

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        held = sum(each.size_bytes + ENTRY_BYTES for each in self.held)
        return len(self.entry) + self.line_bytes + len(self.tag) + 64 * len(self.more) + held

    @property
    def frame(self) -> Frame:
        """The frame of its first piece, without its content."""
        partition, epoch, sequence, _ = self.position
        origins = (self.origin,)
        return Frame(self.journal, partition, epoch, sequence, self.journal_time, origins, (), (), memoryview(b""))

    @property
    def by_hour(self) -> dict[int, int]:
        """How many of its pieces came in which hour of journal time."""
        later = dict(self.later)
        return {self.journal_time // HOUR_NS: self.pieces - sum(later.values())} | later

    def with_later(self, came: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """Return its `later` with so many further pieces of these hours."""
        later = dict(self.later)
        first = self.journal_time // HOUR_NS
        for hour, pieces in came:
            if hour != first:
                later[hour] = later.get(hour, 0) + pieces
        return tuple(sorted(later.items()))


def _of_lines(limit: int, limit_bytes: int, *, grouped: int = 0) -> Section[OpenLine]:
    return Section(OpenLine, limit=limit, limit_bytes=limit_bytes, cost=lambda line: line.size_bytes, grouped=grouped)


class _Encoded(msgspec.Struct, array_like=True):
    version: int
    clock: tuple[int, int]
    sections: dict[str, msgspec.Raw]


class State:
    """The sections of one pipeline, and its clock. `mark` and `undo` hold for all of them.

    `lines` are open lines whose pieces are marked, `streams` those whose next piece is the next record of the stream;
    `events` are several lines each, which become one document. `metadata` is what Engines and clusters said, `waiting`
    are whole lines that wait for that; `configurations` has the one that holds, `rules` the rule set that does, and
    `alert_groups` and `alert_rules` say when these raised alerts (`pipelines.detect.limits`); `lookups` are the
    operator's tables; `execs` and `label_names` are what trails remember, `logins` what is remembered of failures and
    connections. `waited_ns` is the clock: journal time in nanoseconds, of which long pauses count for STEP_NS. What is
    not kept: `wanted` is about streams, and comes again; `outcomes` counts what became of the lines of the frame at
    hand; `seen` gathers the streams whose lines come, for who asks (else None).
    """

    def __init__(self) -> None:
        self.waited_ns = 0
        self._seen_ns = 0
        self._clock_before = (0, 0)
        self.logins = Logins()
        self.lines: Section[OpenLine] = _of_lines(OPEN_LINES_LIMIT, OPEN_LINES_BYTES_LIMIT)
        self.streams: Section[OpenLine] = _of_lines(OPEN_STREAMS_LIMIT, OPEN_STREAMS_BYTES_LIMIT)
        self.events: Section[OpenLine] = _of_lines(EVENTS_LIMIT, EVENTS_BYTES_LIMIT)
        # By source and container (`pipelines.enrich.waiting`).
        self.waiting: Section[OpenLine] = _of_lines(WAITING_LIMIT, WAITING_BYTES_LIMIT, grouped=2)
        self.metadata = Metadata()
        self.choices: Section[Choice] = Section(
            Choice,
            limit=CHOICES_LIMIT,
            limit_bytes=CHOICES_BYTES_LIMIT,
            cost=lambda choice: 16 * len(choice.formats),
            lasting=False,
            new_limit=NEW_CHOICES_LIMIT,
        )
        self.configurations = new_configurations()
        self.rules = new_rule_sets()
        self.alert_groups = limits.new_groups()
        self.alert_rules = limits.new_rules()
        self.lookups = new_tables()
        self.execs = new_execs()
        self.label_names = new_label_names()
        self._sections: dict[str, Section[Any]] = {
            "lines": self.lines,
            "streams": self.streams,
            "events": self.events,
            "choices": self.choices,
            "configurations": self.configurations,
            "rules": self.rules,
            "alert_groups": self.alert_groups,
            "alert_rules": self.alert_rules,
            "lookups": self.lookups,
            "waiting": self.waiting,
            "execs": self.execs,
            "label_names": self.label_names,
            **self.metadata.sections,
            **self.logins.sections,
        }
        self.wanted = Wanted()
        self.outcomes: Outcomes = {}
        self.seen: dict[StreamKey, Stream] | None = None

    @property
    def now_ns(self) -> int:
        """The journal time of the frame at hand."""
        return self._seen_ns

    @property
    def hour(self) -> int:
        """The hour of that, since 1970."""
        return self._seen_ns // HOUR_NS

    @property
    def is_open(self) -> bool:
        """Whether anything waits for journal time to go on."""
        return any(map(len, (self.lines, self.streams, self.events, self.waiting)))

    def open_lines(self) -> list[OpenLine]:
        """Return all that wait, in the order of the journal."""
        sections = (self.lines, self.streams, self.events, self.waiting)
        return sorted((line for section in sections for _, line in section.items()), key=lambda line: line.position)

    def drop(self, positions: Collection[Position]) -> list[OpenLine]:
        """Remove the lines that begin at these positions, and return them in the order of the journal."""
        found: list[OpenLine] = []
        for section in (self.lines, self.streams, self.events, self.waiting):
            keys = [key for key, line in section.items() if line.position in positions]
            found += [line for key in keys if (line := section.take(key)) is not None]
        return sorted(found, key=lambda line: line.position)

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
        self.metadata.changes.renew()

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
            if found.version not in READ_VERSIONS:
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
        self.metadata.changes.renew()
