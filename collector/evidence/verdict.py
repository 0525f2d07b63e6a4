"""What was found of a journal."""

from typing import Final, Literal

import msgspec

from collector.journal.segments import first_position
from pipelines.frame import Position

Kind = Literal["altered", "forged", "missing", "reordered", "cut", "unreadable"]

ELSEWHERE: Final = "--anchor"
"""Where an anchor that was kept elsewhere stands."""

STOP_KEYS: Final = 1
"""A clean stop erases the key of the segment that it seals: one number is skipped."""


class Finding(msgspec.Struct, frozen=True):
    """Something is not as it was written, from `first` on.

    `altered`: bytes changed so that not even their checksums hold. `forged`: checksums hold and the keyed link does
    not. `missing`: frames or segments are gone between others. `reordered`: they stand elsewhere, or twice. `cut`: the
    end is gone. `offset` is where in the file it shows, -1 for a file that is not there.
    """

    kind: Kind
    first: Position | None
    file: str
    offset: int
    reason: str


class EpochFacts(msgspec.Struct):
    """What was verified of one writer's epoch; `first` and `last` are sequences, times journal time in nanoseconds."""

    writer: str
    epoch: int
    first: int
    last: int
    first_ns: int
    last_ns: int
    frames: int = 0


class Verdict(msgspec.Struct):
    """What was found. `findings` is empty when all is as it was written; `notices` are no findings, but worth knowing.

    `anchored` is up to where a cut would have been noticed, None where no anchor says it.
    """

    findings: list[Finding] = []
    notices: list[str] = []
    segments: int = 0
    frames: int = 0
    bytes: int = 0
    epochs: list[EpochFacts] = []
    first: Position | None = None
    end: Position | None = None
    anchored: Position | None = None

    def find(self, kind: Kind, first: Position | None, file: str, offset: int, reason: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, first, file, offset, reason))

    def count(self, writer: str, position: Position, *, at_ns: int, size: int) -> None:
        """Count a frame that was verified."""
        self.frames += 1
        self.bytes += size
        known = self.epochs[-1] if self.epochs else None
        if known is None or (known.writer, known.epoch) != (writer, position.epoch):
            known = EpochFacts(writer, position.epoch, position.sequence, position.sequence, at_ns, at_ns)
            self.epochs.append(known)
        known.frames += 1
        known.first, known.last = min(known.first, position.sequence), max(known.last, position.sequence)
        known.last_ns = max(known.last_ns, at_ns)

    def found_in(self, file: str) -> bool:
        """Tell whether anything was found in a file."""
        return any(finding.file == file for finding in self.findings)


def first_missing(known: Position, name: str, keys: int) -> Position:
    """Return the first position that is missing behind `known`, when segment `name` is, and `keys` numbers with it.

    Where `name` begins another epoch, whether more of the last one is gone as well shows in the keys alone: there are
    more of them than a clean stop and what is known to be gone had. It may be a start that got no frame, too; what is
    claimed to be whole must be.
    """
    first = first_position(name)
    segments = 1 if first.sequence == 0 else 2
    if first.epoch == known.epoch or keys > segments + STOP_KEYS:
        return known
    return first._replace(sequence=0)
