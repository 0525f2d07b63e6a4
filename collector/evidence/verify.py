"""Verifying a journal, offline: is what stands there what was written, whole, in its order, by who had the key?

With the key exported at the first start every link of the chain is computed anew, from the oldest segment that is left
to the newest. Whatever was altered, removed, reordered, inserted or cut shows at its place, for its link, or that of
what follows, is another. The tombstone says where the oldest segment must begin, the anchor where the newest must end.

What it proves: that nobody who did not have the chain's key *at that time* wrote or changed any of it. The key is
replaced with every segment and the old one erased, so whoever takes the machine can forge in the segment that is open
then, and nothing older; he can also cut what is behind the last anchor that was kept elsewhere. What it cannot prove:
that senders told the truth, or that nothing was kept from being written.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from collector.errors import DataDirError, UnreachableError
from collector.journal.format import (
    DamageError,
    DurableEnd,
    SegmentHeader,
    check_payload,
    frame_link,
    header_link,
)
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, Seal, Tombstone, is_genuine, read_seal
from collector.journal.segment_file import SUFFIX
from collector.journal.segments import (
    FrameHead,
    Identity,
    Segment,
    UnreadableError,
    acknowledged_ends,
    find_identity,
    first_position,
    segment_files,
)
from collector.journal.state import VerificationKey, ratcheted
from pipelines.frame import Position

BLOCK_BYTES: Final = 4 << 20
"""What is read at once; a frame is hashed as a whole."""

RATCHET_LIMIT: Final = 10_000_000
"""Keys from one to the next that is asked for; more segments than any journal has, 10 s of work."""

Kind = Literal["altered", "forged", "missing", "reordered", "cut", "unreadable"]


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


class Verdict(msgspec.Struct):
    """What was found. `findings` is empty when all is as it was written; `notices` are no findings, but worth knowing.

    `anchored` is up to where a cut would have been noticed.
    """

    findings: list[Finding] = []
    notices: list[str] = []
    segments: int = 0
    frames: int = 0
    bytes: int = 0
    first: Position | None = None
    end: Position | None = None
    anchored: Position | None = None


class Keys:
    """The chain's keys, each made of the one before."""

    def __init__(self, exported: VerificationKey) -> None:
        self._number, self._key = exported.key_number, bytes.fromhex(exported.key)
        self._first = (self._number, self._key)

    def of(self, number: int) -> bytes | None:
        """Return the key with this number; None for one before the exported, or that no journal comes to."""
        if number < self._number:
            self._number, self._key = self._first
        if not 0 <= number - self._number <= RATCHET_LIMIT:
            return None
        while self._number < number:
            self._key = ratcheted(self._key)
            self._number += 1
        return self._key


class Verifier:
    """Verifies one journal. `partial` accepts a copy that begins and ends anywhere.

    `anchors` are further ones that were kept elsewhere. `on_progress` is told of bytes that were verified.
    """

    def __init__(
        self,
        journal: Path,
        evidence: Path,
        key: VerificationKey,
        *,
        partial: bool = False,
        anchors: Sequence[Anchor] = (),
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._evidence = evidence
        self._exported = key
        self._keys = Keys(key)
        self._partial = partial
        self._anchors = list(anchors)
        self._on_progress = on_progress
        self._identity: Identity | None = None
        self._begun = False
        self._link: bytes | None = None  # of the frame before, None where it is not known
        self._next: Position | None = None
        self._end: DurableEnd | None = None
        self._before: DurableEnd | None = None  # of the oldest segment
        self._read_to: dict[str, Position] = {}
        self._anchored: dict[tuple[str, int], bytes] = {}
        self.verdict = Verdict()

    def run(self) -> Verdict:
        """Look at everything; raise UnreachableError where there is no journal, DataDirError for another's key."""
        try:
            names = segment_files(self._journal)
        except OSError as error:
            raise UnreachableError(f"{self._journal}: cannot be read: {error.strerror}") from error
        if not names and not (self._evidence / ANCHOR_FILE).exists():
            raise UnreachableError(f"{self._journal}: no segment of a journal is there")
        anchor = self._seal(ANCHOR_FILE, Anchor)
        if anchor is not None:
            self._anchors.append(anchor)
        tombstone = self._seal(TOMBSTONE_FILE, Tombstone)
        self._identity = find_identity(self._journal, names[::-1])
        if self._identity is not None and self._identity.journal.id != self._exported.journal_id:
            raise DataDirError(f"the key is not that of the journal in {self._journal}, which has another id")
        ends = acknowledged_ends(self._journal, names)
        for name in names:
            with contextlib.closing(Segment(self._journal, name, block_bytes=BLOCK_BYTES)) as segment:
                segment.identity = segment.identity or self._identity
                self._look_at(segment, ends[name], tombstone, newest=name == names[-1])
        newest = max(self._anchors, key=lambda anchor: anchor.end.position, default=None)
        for each in self._anchors:
            if not self._ends_before(each, ends):
                self._check_anchor(each, names, is_newest=each.end == (newest and newest.end))
        self.verdict.end = self._next
        return self.verdict

    def _find(self, kind: Kind, first: Position | None, file: str, offset: int, reason: str) -> None:
        self.verdict.findings.append(Finding(kind, first, file, offset, reason))

    def _seal(self, name: str, kind: type[Seal]) -> Seal | None:
        """Read an anchor or tombstone; one that is missing, changed or forged is a finding, and does not count."""
        try:
            seal = read_seal(self._evidence / name, kind)
        except (DataDirError, OSError) as error:
            self._find("altered", None, name, 0, str(error))
            return None
        if seal is None:
            if not self._partial:
                self._find("missing", None, name, -1, f"there is no {name} in {self._evidence}")
            return None
        if not self._is_genuine(seal):
            self._find("forged", None, name, 0, "it was not made with the journal's key")
            return None
        return seal

    def _is_genuine(self, seal: Anchor | Tombstone) -> bool:
        key = self._keys.of(seal.key_number)
        return seal.journal_id == self._exported.journal_id and key is not None and is_genuine(seal, key)

    # Segments and frames.

    def _look_at(self, segment: Segment, end: int, tombstone: Tombstone | None, *, newest: bool) -> None:
        verdict = self.verdict
        verdict.segments += 1
        if segment.flaw:
            self._find("altered", segment.first, segment.name + SUFFIX, 0, segment.flaw)
        key = self._check_header(segment, tombstone)
        size = segment.size
        has_frames = end > segment.frames_at and key is not None
        if key is not None:
            self._note_link(segment.name, segment.frames_at, segment.link)
        if has_frames:
            self._link, self._next = segment.link, segment.first
        at = segment.frames_at
        while at < min(end, size) and key is not None:
            try:
                head = segment.head(at, min(end, size))
                at = self._check_frame(segment, head, key)
            except UnreadableError as error:
                self._find("unreadable", self._next, segment.name, at, str(error))
                break
            except DamageError as error:
                following = segment.search(at + 1, min(end, size))
                if following is None and (size < end or newest):
                    break
                self._find("altered", self._next, segment.name, at, str(error))
                self._link = None
                if following is None:
                    break
                at = following.at
                self._next = segment.first._replace(sequence=following.header.sequence)
        self._on_progress(min(end, size))
        self._check_end(segment, at, end, newest=newest)
        if has_frames and self._next is not None:
            self._end = DurableEnd(segment.name, at, self._next)
            self._read_to[segment.name] = self._next

    def _check_header(self, segment: Segment, tombstone: Tombstone | None) -> bytes | None:
        """Check what a segment says of itself and of what was before it; return its key, None if that is not known."""
        header, first = segment.header, segment.first
        begun, self._begun = self._begun, True
        if header is None:
            self._find("altered", first, segment.name, 0, segment.damage)
            self._link = self._next = self._end = None
            return None
        key = self._keys.of(header.key_number)
        if key is None or header_link(key, header.link_before, segment.raw(0, segment.frames_at)) != segment.link:
            self._find("forged", first, segment.name, 0, "the header's link does not follow from the journal's key")
            return key
        if not begun:
            self._check_beginning(segment.name, header, tombstone)
        elif header.before != self._end and self._end is not None:
            self._check_between(segment.name, header, tombstone, self._end.segment)
        elif self._link is not None and header.link_before != self._link:
            self._find("forged", first, segment.name, 0, "it does not go on from the segment before it")
        return key

    def _check_beginning(self, name: str, header: SegmentHeader, tombstone: Tombstone | None) -> None:
        self._before = header.before
        if self.verdict.first is None:
            self.verdict.first = header.position
        if self._partial or tombstone is None or header.link_before.hex() == tombstone.link:
            return
        if name < tombstone.first:
            self.verdict.notices.append(f"{name} was deleted lawfully, and is there: a crash came in between")
            return
        first = first_position(tombstone.first)
        self._find("missing", first, name, 0, "the tombstone does not say that all before was deleted")

    def _check_between(self, name: str, header: SegmentHeader, tombstone: Tombstone | None, known: str) -> None:
        """Judge a segment that does not go on where the one before it, `known`, ends."""
        was_cut = header.before is not None and header.before.segment == known
        is_left = tombstone is not None and header.link_before.hex() == tombstone.link
        if was_cut or is_left or (tombstone is not None and name < tombstone.first):
            return  # found already, or a power cut undid some of a lawful deletion
        reason = "what the next segment goes on from is not there"
        self._find("missing", self._first_missing(header), name, 0, reason)

    def _first_missing(self, header: SegmentHeader) -> Position | None:
        """Return the first position that is missing before a segment."""
        known, before = self._next, header.before
        if known is None or before is None or before.position.epoch == known.epoch:
            return known
        return first_position(before.segment) if before.position.epoch != known.epoch else known

    def _check_frame(self, segment: Segment, head: FrameHead, key: bytes) -> int:
        """Check one frame whose header is sound; return where the next begins. Raises DamageError."""
        sequence, position = head.header.sequence, segment.first._replace(sequence=head.header.sequence)
        whole = segment.raw(head.at, head.end - head.at)
        link = segment.link_of(head)
        expected = self._next
        if expected is not None and sequence != expected.sequence:
            later = sequence > expected.sequence and self._stands_later(segment, head, expected.sequence)
            kind: Kind = "missing" if sequence > expected.sequence and not later else "reordered"
            self._find(kind, expected, segment.name, head.at, f"here stands the frame with sequence {sequence}")
            self._link = None
        if self._link is None:
            check_payload(head.header, whole[head.payload_at - head.at :])
        elif frame_link(key, self._link, whole, head.payload_at - head.at) != link:
            try:
                check_payload(head.header, whole[head.payload_at - head.at :])
            except DamageError as error:
                self._find("altered", position, segment.name, head.at, str(error))
            else:
                self._find("forged", position, segment.name, head.at, "its link does not follow from the journal's key")
        self._link = link if expected is None or sequence >= expected.sequence else None
        if expected is None or sequence >= expected.sequence:
            self._next = position._replace(sequence=sequence + 1)
        self._note_link(segment.name, head.end, link)
        self.verdict.frames += 1
        self.verdict.bytes += head.end - head.at
        return head.end

    def _stands_later(self, segment: Segment, head: FrameHead, sequence: int) -> bool:
        following: FrameHead | None = head
        with contextlib.suppress(DamageError):
            while following is not None:
                following = segment.search(following.end, segment.size)
                if following is not None and following.header.sequence == sequence:
                    return True
        return False

    def _note_link(self, name: str, offset: int, link: bytes) -> None:
        if any(anchor.end.segment == name and anchor.end.offset == offset for anchor in self._anchors):
            self._anchored[name, offset] = link

    # Ends.

    def _check_end(self, segment: Segment, at: int, end: int, *, newest: bool) -> None:
        """Check that a segment goes as far as it should: as its successor says, or as it was anchored."""
        size = segment.size
        if not newest:
            if at < end and size < end:
                self._find("cut", self._next or segment.first, segment.name, at, f"{end - at} bytes are gone here")
            elif size > end and self._is_foreign(segment, end):
                self._find("reordered", self._next or segment.first, segment.name, end, "a frame stands behind the end")
            elif size > end:
                self.verdict.notices.append(f"{segment.name}: {size - end} bytes behind its end, never acknowledged")
            return
        anchors = [anchor for anchor in self._anchors if anchor.end.segment == segment.name]
        offset = max((anchor.end.offset for anchor in anchors), default=0)
        position = self._next if self._next is not None and at > segment.frames_at else segment.first
        if size < offset:
            self._find("cut", position, segment.name, at, f"{offset - at} bytes are gone here")
        elif at < offset:
            self._find("altered", position, segment.name, at, "no frame can be read here")
        elif any(anchor.stopped for anchor in anchors) and size > offset:
            self._find("forged", position, segment.name, offset, "something stands behind the end of a clean stop")
        elif at < size:
            self.verdict.notices.append(f"{segment.name}: {size - at} bytes behind the last frame, not whole")

    def _is_foreign(self, segment: Segment, end: int) -> bool:
        """Tell whether behind a segment's end stands a frame that is not what a failed write of ours leaves there."""
        behind = segment.search(end, segment.size)
        if behind is None or behind.at == end:
            return behind is not None and self._next is not None and behind.header.sequence != self._next.sequence
        return True

    def _check_anchor(self, anchor: Anchor, names: Sequence[str], *, is_newest: bool) -> None:
        if not self._is_genuine(anchor):
            self._find("forged", None, ANCHOR_FILE, 0, "an anchor was not made with the journal's key")
            return
        name, offset, position = anchor.end.segment, anchor.end.offset, anchor.end.position
        if self.verdict.anchored is None or position > self.verdict.anchored:
            self.verdict.anchored = position
        if name not in names:
            if names and name < names[0] and self._begins_before(anchor):
                reason = "an anchor names frames here, and the oldest segment that is left goes on from before them"
                self._find("cut", self._before.position if self._before is not None else None, name, -1, reason)
            elif names and name < names[0]:
                self.verdict.notices.append(f"{name}, which an anchor names, has been deleted since")
            elif not self._partial:
                same_epoch = self._next is not None and self._next.epoch == position.epoch
                first = self._next if same_epoch else first_position(name)
                self._find("cut", first, name, -1, "the segment with the last anchor is not there")
        elif anchor.stopped and is_newest and name != names[-1]:
            self._find("forged", position, names[-1], 0, "a segment stands behind the end of a clean stop")
        elif self._anchored.get((name, offset), b"").hex() not in (anchor.link, ""):
            self._find("forged", position, name, offset, "the chain had another link here when it was anchored")

    def _ends_before(self, anchor: Anchor, ends: dict[str, int]) -> bool:
        """Find a segment whose successor goes on from before what was anchored; that of the newest was looked at."""
        name, offset = anchor.end.segment, anchor.end.offset
        if ends.get(name, offset) >= offset or name == max(ends) or not self._is_genuine(anchor):
            return False
        reason = "an anchor names frames behind this, and the next segment goes on from here"
        self._find("cut", self._read_to.get(name, first_position(name)), name, ends[name], reason)
        return True

    def _begins_before(self, anchor: Anchor) -> bool:
        """Tell whether the oldest segment goes on from before frames that were anchored: the journal was put back."""
        has_frames = anchor.end.position.sequence > first_position(anchor.end.segment).sequence
        if self.verdict.first is None or not has_frames:
            return False
        known = ("", 0) if self._before is None else (self._before.segment, self._before.offset)
        return known < (anchor.end.segment, anchor.end.offset)
