"""Whether the chain that stands in a journal is the one that was anchored."""

import bisect
from collections.abc import Sequence

import msgspec

from collector.evidence.keys import Keys
from collector.evidence.verdict import ELSEWHERE, Verdict, first_missing
from collector.journal.format import DurableEnd
from collector.journal.seals import Anchor, Tombstone
from collector.journal.segments import first_position
from pipelines.frame import Position

Place = tuple[str, int]


class Reached(msgspec.Struct):
    """How far the chain was read: the segments, the key of the last one, the position behind it all.

    `before` is what the oldest segment goes on from.
    """

    names: Sequence[str]
    before: DurableEnd | None = None
    position: Position | None = None
    key_number: int = 0


class Anchors:
    """The anchors of a journal: the `present` one beside it, and those that were `kept` elsewhere.

    An anchor names a place, a segment and an offset. While the chain is read, `note` hears of every place where a
    frame ends; `judge` says afterwards what the anchors know better.
    """

    def __init__(self, present: Anchor | None, kept: Sequence[Anchor], keys: Keys, verdict: Verdict) -> None:
        self._verdict = verdict
        self._anchored: dict[Place, list[Anchor]] = {}
        self._furthest: dict[str, int] = {}
        self._stops: dict[str, int] = {}
        self._links: dict[Place, str] = {}
        self._ends: dict[str, tuple[int, Position]] = {}
        own = [anchor for anchor in kept if anchor.journal_id == keys.journal_id]
        genuine = [anchor for anchor in sorted(own, key=lambda each: each.key_number) if keys.made(anchor)]
        if len(own) < len(kept):
            verdict.notices.append(f"{len(kept) - len(own):,} anchors kept elsewhere are those of other journals")
        if len(genuine) < len(own):
            reason = f"{len(own) - len(genuine):,} anchors kept elsewhere were not made with the journal's key"
            verdict.find("forged", None, ELSEWHERE, -1, reason)
        for anchor in [*genuine, *([present] if present is not None else [])]:
            self._add(anchor)

    def _add(self, anchor: Anchor) -> None:
        name, offset = anchor.end.segment, anchor.end.offset
        self._anchored.setdefault((name, offset), []).append(anchor)
        self._furthest[name] = max(offset, self._furthest.get(name, 0))
        if anchor.stopped:
            self._stops[name] = min(offset, self._stops.get(name, offset))
        if self._verdict.anchored is None or anchor.end.position > self._verdict.anchored:
            self._verdict.anchored = anchor.end.position

    def furthest(self, name: str) -> int:
        """Return up to where a segment was anchored, 0 when it never was."""
        return self._furthest.get(name, 0)

    def stop(self, name: str) -> int | None:
        """Return where a segment was ended by a clean stop; None when no anchor says so."""
        return self._stops.get(name)

    def note(self, name: str, offset: int, link: bytes) -> None:
        """Take note of the link at the end of a frame or of a segment's header."""
        if (name, offset) in self._anchored:
            self._links[name, offset] = link.hex()

    def note_end(self, name: str, offset: int, position: Position) -> None:
        """Take note of where a segment's frames end."""
        self._ends[name] = offset, position

    def judge(self, reached: Reached, listed: Sequence[str], tombstone: Tombstone | None, *, partial: bool) -> None:
        """Compare the anchors with what was noted. `listed` are the segments that are there by now."""
        found: dict[str, int] = {}
        for each in self._verdict.findings:
            found[each.file] = min(each.offset, found.get(each.file, each.offset))
        there = set(reached.names)
        agreed: Position | None = None
        absent: list[Anchor] = []
        for (name, offset), anchors in sorted(self._anchored.items()):
            if name not in there:
                absent += anchors
            elif all(self._links.get((name, offset)) == anchor.link for anchor in anchors):
                agreed = anchors[0].end.position
                is_behind = name in self._ends and self._ends[name][0] > offset
                if self._stops.get(name) == offset and is_behind and found.get(name, offset + 1) > offset:
                    reason = "something stands behind the end of a clean stop"
                    self._verdict.find("forged", agreed, name, offset, reason)
            elif found.get(name, offset + 1) > offset:
                found[name] = offset
                self._find_other(name, offset, agreed)
        self._judge_absent(absent, reached, listed, tombstone, found, partial=partial)

    def _find_other(self, name: str, offset: int, agreed: Position | None) -> None:
        """Find that the chain is another, or shorter, than when it was anchored.

        Who has the key of that time can write the segment anew, from the last anchor on that he has to agree with.
        """
        first = first_position(name)
        at, position = self._ends.get(name, (offset, first))
        if at < offset:
            self._verdict.find("cut", position, name, at, f"{offset - at} bytes are gone here")
        elif (name, offset) in self._links:
            reason = "the chain had another link here when it was anchored"
            self._verdict.find("forged", max(first, agreed or first), name, offset, reason)
        else:
            reason = "here a frame ended when the chain was anchored, and none does now"
            self._verdict.find("forged", max(first, agreed or first), name, offset, reason)

    def _judge_absent(
        self,
        absent: Sequence[Anchor],
        reached: Reached,
        listed: Sequence[str],
        tombstone: Tombstone | None,
        found: dict[str, int],
        *,
        partial: bool,
    ) -> None:
        """Judge the anchors of segments that are not there, in the order of the chain."""
        names = reached.names
        kept_from = max(names[0] if names else "", tombstone.first if tombstone is not None else "")
        deleted = sum(anchor.end.segment < kept_from for anchor in absent)
        if deleted:
            self._verdict.notices.append(f"{deleted:,} anchors name segments that have been deleted since")
        if partial:
            return
        undone = next((anchor for anchor in absent if _begins_before(reached, anchor)), None)
        if undone is not None:
            first = reached.before.position if reached.before is not None else None
            reason = "an anchor names frames here, and the oldest segment that is left goes on from before them"
            self._verdict.find("cut", first, undone.end.segment, -1, reason)
        for anchor in absent:
            name = anchor.end.segment
            if name < kept_from or self._is_removed(anchor, reached, listed):
                continue
            at = bisect.bisect(names, name)
            if at == len(names):
                first = _first_cut(anchor, reached, tombstone)
                self._verdict.find("cut", first, name, -1, "a segment that was anchored is not there, nor any behind")
                return
            following = names[at]
            if found.get(following, 1) > 0:
                found[following] = 0
                reason = "the chain goes on without a segment that was anchored"
                self._verdict.find("forged", first_position(name), following, 0, reason)

    def _is_removed(self, anchor: Anchor, reached: Reached, listed: Sequence[str]) -> bool:
        """Tell whether a start may have removed a segment, since it held nothing yet, so that nothing is gone."""
        first = first_position(anchor.end.segment)
        is_empty = anchor.end.position == first
        return is_empty and (reached.position == first or any(name > anchor.end.segment for name in listed))


def _begins_before(reached: Reached, anchor: Anchor) -> bool:
    """Tell whether the oldest segment goes on from before frames that were anchored: the journal was put back."""
    end = anchor.end
    if not reached.names or end.segment >= reached.names[0] or end.position == first_position(end.segment):
        return False
    known = ("", 0) if reached.before is None else (reached.before.segment, reached.before.offset)
    return known < (end.segment, end.offset)


def _first_cut(anchor: Anchor, reached: Reached, tombstone: Tombstone | None) -> Position:
    name = anchor.end.segment
    if reached.position is not None:
        return first_missing(reached.position, name, anchor.key_number - reached.key_number)
    return first_position(tombstone.first if tombstone is not None else name)
