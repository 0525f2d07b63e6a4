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
from typing import Final

from collector.errors import DataDirError, UnreachableError
from collector.evidence.anchors import Anchors, Reached
from collector.evidence.keys import Keys
from collector.evidence.present import READS, PresentSeals
from collector.evidence.unwritten import held_nothing, is_unborn
from collector.evidence.verdict import Kind, Verdict, first_missing
from collector.journal.format import (
    DamageError,
    DurableEnd,
    SegmentHeader,
    check_payload,
    frame_link,
    header_link,
)
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, Tombstone
from collector.journal.segment_file import SUFFIX
from collector.journal.segments import (
    FrameHead,
    Identity,
    Segment,
    UnreadableError,
    acknowledged_ends,
    first_position,
    segment_files,
)
from collector.journal.state import VerificationKey
from pipelines.frame import Position

BLOCK_BYTES: Final = 4 << 20
"""What is read at once; a frame is hashed as a whole."""

LATE_ANCHOR_S: Final = 60.0
"""The chain is anchored once a second: what is so much younger than the anchor beside it is worth a word."""


class Verifier:
    """Verifies one journal, which a collector may be writing. `partial` accepts a copy that begins and ends anywhere.

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
        self._keys = Keys(key)
        self._partial = partial
        self._kept = anchors
        self._on_progress = on_progress
        self.verdict = Verdict()
        self._present = PresentSeals(evidence, self._keys, self.verdict, partial=partial)
        self._anchor: Anchor | None = None
        self._tombstone: Tombstone | None = None
        self._anchors = Anchors(None, (), self._keys, self.verdict)
        self._begun = False
        self._link: bytes | None = None  # of the frame before, None where it is not known
        self._next: Position | None = None
        self._end: DurableEnd | None = None
        self._before: DurableEnd | None = None  # of the oldest segment
        self._key_number = 0  # of the last sound header
        self._journal_time = 0  # of the last frame
        self._sound: list[str] = []
        self._with_frames: list[str] = []
        self._places: tuple[str, dict[int, int]] = "", {}

    def run(self) -> Verdict:
        """Look at everything; raise UnreachableError where there is no journal, DataDirError for another's key."""
        names = self._take_stock()
        if not names and (self._partial or not self._present.has(ANCHOR_FILE)):
            raise UnreachableError(f"{self._journal}: no segment of a journal is there")
        self._anchors = Anchors(self._anchor, self._kept, self._keys, self.verdict)
        identity = self._find_identity(names)
        ends = acknowledged_ends(self._journal, names)
        newest = next(iter(ends), "")
        verified = []
        for name in names:
            try:
                opened = self._open(name, newest=name == newest)
            except FileNotFoundError:
                self._read_tombstone_again()
                continue
            with contextlib.closing(opened) as segment:
                segment.identity = segment.identity or identity
                self._look_at(segment, ends.get(name, segment.size), newest=name == newest)
            verified.append(name)
        self._check_gone(names, verified)
        self._check_seals(names, verified)
        self.verdict.end = self._next
        return self.verdict

    def _open(self, name: str, *, newest: bool) -> Segment:
        """Open a segment; the newest may be getting its header at this moment."""
        segment = Segment(self._journal, name, block_bytes=BLOCK_BYTES)
        for _ in range(READS - 1):
            if segment.header is not None or not newest:
                break
            segment.close()
            segment = Segment(self._journal, name, block_bytes=BLOCK_BYTES)
        return segment

    def _take_stock(self) -> list[str]:
        """Read the seals, then list the segments: what the seals speak of is there then, or deleted by a tombstone."""
        self._anchor = self._present.read(ANCHOR_FILE, Anchor)
        self._tombstone = self._present.read(TOMBSTONE_FILE, Tombstone)
        for _ in range(READS):
            names = self._listed()
            before = self._tombstone
            self._read_tombstone_again()
            if self._tombstone == before:
                break
        return names

    def _listed(self) -> list[str]:
        try:
            return segment_files(self._journal)
        except OSError as error:
            raise UnreachableError(f"{self._journal}: cannot be read: {error.strerror}") from error

    def _read_tombstone_again(self) -> None:
        """Take what was deleted meanwhile as deleted; one that is put back to less does not count."""
        again = self._present.again(TOMBSTONE_FILE, Tombstone)
        if again is not None and self._tombstone is not None and again.first > self._tombstone.first:
            self._tombstone = again

    def _find_identity(self, names: Sequence[str]) -> Identity | None:
        """Return what the newest segment of this journal says of it; raise DataDirError when all are another's."""
        other = False
        for name in reversed(names):
            with contextlib.suppress(FileNotFoundError):
                segment = Segment(self._journal, name)
                segment.close()
                if segment.identity is not None and segment.identity.journal.id == self._keys.journal_id:
                    return segment.identity
                other = other or segment.identity is not None
        if other:
            raise DataDirError(f"the key is not that of the journal in {self._journal}, which has another id")
        return None

    def _is_deleted(self, name: str) -> bool:
        return self._tombstone is not None and name < self._tombstone.first

    def _find(self, kind: Kind, first: Position | None, file: str, offset: int, reason: str) -> None:
        self.verdict.find(kind, first, file, offset, reason)

    # Segments and frames.

    def _look_at(self, segment: Segment, end: int, *, newest: bool) -> None:
        verdict = self.verdict
        verdict.segments += 1
        if segment.flaw:
            self._find("altered", segment.first, segment.name + SUFFIX, 0, segment.flaw)
        if newest and not self._anchors.furthest(segment.name) and is_unborn(segment):
            self.verdict.notices.append(f"{segment.name}: a crash, or this moment, came before it had a header")
            return
        key = self._check_header(segment)
        size = min(segment.size, end) if newest else segment.size
        has_frames = end > segment.frames_at and key is not None
        if key is not None:
            self._anchors.note(segment.name, segment.frames_at, segment.link)
        if has_frames:
            self._link, self._next = segment.link, segment.first
            self._with_frames.append(segment.name)
        at = segment.frames_at
        while at < min(end, size) and key is not None:
            try:
                head = segment.head(at, min(end, size))
                at = self._check_frame(segment, head, key)
            except UnreadableError as error:
                self._find("unreadable", self._next, segment.name, at, str(error))
                break
            except DataDirError as error:
                raise DataDirError(f"{segment.name} at byte {at:,}: {error}; verified up to there") from error
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
        if key is not None:
            has_more = self._next is not None and at > segment.frames_at
            self._anchors.note_end(segment.name, at, self._next if self._next and has_more else segment.first)
        if has_frames and self._next is not None:
            self._end = DurableEnd(segment.name, at, self._next)

    def _check_header(self, segment: Segment) -> bytes | None:
        """Check what a segment says of itself and of what was before it; return its key, None if that is not known."""
        header, first = segment.header, segment.first
        begun, self._begun = self._begun, True
        if header is None:
            self._find("altered", self._first_expected(first, begun=begun), segment.name, 0, segment.damage)
            self._link = self._next = self._end = None
            return None
        key = self._keys.of(header.key_number)
        if key is None or header_link(key, header.link_before, segment.raw(0, segment.frames_at)) != segment.link:
            self._find("forged", first, segment.name, 0, "the header's link does not follow from the journal's key")
            return key
        if not begun:
            self._check_beginning(segment.name, header)
        elif header.before != self._end and self._end is not None:
            self._check_between(segment.name, header, self._end)
        elif self._link is not None and header.link_before != self._link:
            self._find("forged", first, segment.name, 0, "it does not go on from the segment before it")
        # One without a frame hands this on: the next must go on from the same.
        self._link, self._end = header.link_before, header.before
        self._key_number = header.key_number
        self._sound.append(segment.name)
        return key

    def _first_expected(self, named: Position, *, begun: bool) -> Position:
        """Return where a segment should begin whose name is all that can be read of it: that may be another's."""
        if self._partial:
            return named
        if not begun:
            return min(named, first_position(self._tombstone.first)) if self._tombstone is not None else named
        if self._next is None:
            return named
        return min(named, self._next) if self._next.epoch == named.epoch else named._replace(sequence=0)

    def _check_beginning(self, name: str, header: SegmentHeader) -> None:
        if self.verdict.first is None:
            self.verdict.first = header.position
        self._before = header.before
        tombstone = self._tombstone
        if self._partial or tombstone is None or header.link_before.hex() == tombstone.link:
            return
        if self._is_deleted(name):
            self.verdict.notices.append(f"{name} was deleted lawfully, and is there: a crash came in between")
            return
        reason = (
            f"segments before {name} are gone, and no tombstone says that they were deleted; "
            f"the last lawful deletion ended at {tombstone.first}"
        )
        self._find("missing", first_position(tombstone.first), name, 0, reason)

    def _check_between(self, name: str, header: SegmentHeader, known: DurableEnd) -> None:
        """Judge a segment that does not go on from the end that is known of what was before it."""
        before = header.before
        is_left = self._tombstone is not None and header.link_before.hex() == self._tombstone.link
        if is_left or self._is_deleted(name):
            return  # some was deleted meanwhile, or a power cut undid some of a deletion
        if before is not None and before.segment == known.segment:
            if not self.verdict.found_in(known.segment):
                reason = "it does not go on from the segment before it"
                self._find("forged", first_position(name), name, 0, reason)
            return
        first = known.position
        if before is not None:
            first = first_missing(first, before.segment, header.key_number - self._key_number - 1)
        self._find("missing", first, name, 0, "what the next segment goes on from is not there")

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
        self._journal_time = head.header.journal_time
        self._anchors.note(segment.name, head.end, link)
        writer = segment.identity.journal.name if segment.identity is not None else ""
        self.verdict.count(writer, position, at_ns=self._journal_time, size=head.end - head.at)
        return head.end

    def _stands_later(self, segment: Segment, head: FrameHead, sequence: int) -> bool:
        """Tell whether a frame stands further behind; every segment is searched once at most."""
        if self._places[0] != segment.name:
            places: dict[int, int] = {}
            with contextlib.suppress(DataDirError):
                following = segment.search(segment.frames_at, segment.size)
                while following is not None:
                    places[following.header.sequence] = following.at
                    following = segment.search(following.end, segment.size)
            self._places = segment.name, places
        return self._places[1].get(sequence, -1) > head.at

    # Ends.

    def _check_end(self, segment: Segment, at: int, end: int, *, newest: bool) -> None:
        """Check that a segment goes as far as it should: as its successor says, or as it was anchored."""
        size, name = segment.size, segment.name
        position = self._next if self._next is not None and at > segment.frames_at else segment.first
        if not newest:
            if at < end and size < end:
                self._find("cut", self._next or segment.first, name, at, f"{end - at} bytes are gone here")
            elif size > end and self._is_foreign(segment, end):
                self._find("reordered", self._next or segment.first, name, end, "a frame stands behind the end")
            elif size > end:
                self.verdict.notices.append(f"{name}: {size - end} bytes behind its end, never acknowledged")
            return
        offset, stop = self._anchors.furthest(name), self._anchors.stop(name)
        if size < offset:
            self._find("cut", position, name, at, f"{offset - at} bytes are gone here")
        elif at < offset:
            self._find("altered", position, name, at, "no frame can be read here")
        elif stop is not None and size > stop:
            self._find("forged", position, name, stop, "something stands behind the end of a clean stop")
        elif at < end:
            self.verdict.notices.append(f"{name}: {end - at} bytes behind the last frame, not whole")

    def _is_foreign(self, segment: Segment, end: int) -> bool:
        """Tell whether behind a segment's end stands a frame that is not what a failed write of ours leaves there."""
        behind = segment.search(end, segment.size)
        if behind is None or behind.at == end:
            return behind is not None and self._next is not None and behind.header.sequence != self._next.sequence
        return True

    def _check_gone(self, names: Sequence[str], verified: Sequence[str]) -> None:
        """Judge segments that were there and are gone. What is missing between others is found where these go on."""
        self._read_tombstone_again()
        gone = [name for name in names if name not in set(verified)]
        deleted = sum(map(self._is_deleted, gone))
        if deleted:
            self.verdict.notices.append(f"{deleted:,} segments were deleted lawfully while others were verified")
        newest = gone[-1] if gone and gone[-1] == names[-1] else ""
        if newest and not self._is_deleted(newest) and not held_nothing(self._journal, self._listed(), newest):
            first = first_position(newest)
            if self._next is not None and self._next.epoch == first.epoch:
                first = self._next
            self._find("missing", first, newest, -1, "it was there when this began, and no tombstone says why it went")

    def _check_seals(self, names: Sequence[str], verified: Sequence[str]) -> None:
        """Compare what the seals say with what was read."""
        tombstone, anchor = self._tombstone, self._anchor
        opened_since = [name for name in self._listed() if names and name > names[-1]]
        reached = Reached(verified, self._before, self._next, self._key_number)
        self._anchors.judge(reached, [*self._sound, *opened_since], tombstone, partial=self._partial)
        if self._partial:
            return
        if tombstone is not None and max([*names, *opened_since], default="") < tombstone.first:
            reason = "the tombstone says that it was left, and it is not there, nor any behind"
            self._find("cut", first_position(tombstone.first), tombstone.first, -1, reason)
        elif tombstone is not None and tombstone.key_number > self._key_number and not opened_since:
            self.verdict.notices.append("the tombstone is younger than any segment: was an older state put back?")
        if anchor is None:
            return
        behind = [name for name in self._with_frames if name > anchor.end.segment]
        if anchor.stopped and behind and self._present.again(ANCHOR_FILE, Anchor) == anchor:
            reason = "a segment stands behind the end of a clean stop"
            self._find("forged", first_position(behind[0]), behind[0], 0, reason)
        late_s = (self._journal_time - anchor.at_ns) / 1e9
        if late_s > LATE_ANCHOR_S:
            self.verdict.notices.append(f"the anchor is {late_s:,.0f} s older than the last frame: was it put back?")
