"""The chunk path of `pipelines.parse`: many lines at once, with the same choices as line by line.

Lines of all streams go through a format together, those of streams that hold it. Only misses change a choice: they are
parsed together too, by all formats, and then seen to one by one, in the order of the records.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from operator import not_

import msgspec

from parsers.columns import parse_lines
from parsers.format import formats
from parsers.slabs import Slab, several, without
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes
from pipelines.held import GENERAL, NARROW, Held, Kind, Names
from pipelines.parse import (
    NOTHING_KEPT,
    Choices,
    any_tried,
    first_of,
    is_tried,
    parse_unasked,
    parted,
    texts_to_parse,
)

Holders = dict[str, set[Held] | None]
"""Formats in the order in which they are tried, each with the streams that hold it, None where all do."""


class ParsedColumns(msgspec.Struct):
    """What was found, the places of lines that are plain, of these `failed` ones, and the lines without their ends.

    Lines that failed do not fit what was asked for.
    """

    slabs: list[Slab]
    plain: Sequence[int]
    failed: list[int]
    texts: Sequence[str]


def parse_columns(
    held: Sequence[Held | None],
    lines: Sequence[str],
    near_s: int,
    *,
    choices: Choices,
    outcomes: Outcomes,
) -> ParsedColumns:
    """Parse lines, each of the stream `held` beside it (None: not to be parsed), and count what became of them.

    Returns what was found, in slabs; its texts are what was parsed: the lines without their ends and colours.
    """
    found = set(held)
    streams = {stream for stream in found if stream is not None}
    for stream in streams:
        stream.refresh(choices)
    columns = _Columns(held, texts_to_parse(lines), near_s, whole=None not in found)
    left = columns.through({stream: stream.narrow for stream in streams}, range(len(lines)))
    failed, asked_plain = [], []
    if any(stream.asked is not None for stream in streams):
        asked = [at for at in left if (mine := held[at]) is not None and mine.asked is not None]
        failed = [at for at in asked if held[at].must_fit]  # type: ignore[union-attr]
        asked_plain = [at for at in asked if not held[at].must_fit]  # type: ignore[union-attr]
        left = [at for at in left if (mine := held[at]) is None or mine.asked is None]
    plain = len(asked_plain)
    if sum(stream.is_new for stream in streams) > choices.room:
        left, alone = columns.without_room(left, choices.room)
        plain += alone
    missed, tried = columns.misses({stream: stream.narrow for stream in streams}, left)
    general = {stream: stream.general for stream in streams}
    plain += columns.last(general, columns.through(general, missed), tried)
    for at in failed:
        _count(outcomes, "".join(held[at].narrow), "failed")  # type: ignore[union-attr]
    _count(outcomes, "", "plain", plain)
    slabs = columns.slabs()
    for slab in slabs:
        _count(outcomes, slab.parser, "parsed", len(slab.places))
    for stream in columns.changed():
        stream.keep(choices)
    return ParsedColumns(slabs, _plain(slabs, len(lines)), failed, columns.texts)


def _plain(slabs: Sequence[Slab], size: int) -> Sequence[int]:
    """Return the places of lines that no parser took."""
    taken = sum(len(slab.places) for slab in slabs)
    if not taken:
        return range(size)
    return sorted(set(range(size)).difference(*(slab.places for slab in slabs))) if taken < size else ()


def _count(outcomes: Outcomes, name: str, outcome: str, lines: int = 1) -> None:
    if lines:
        outcomes[name, outcome] = outcomes.get((name, outcome), 0) + lines


class _Columns:
    """Lines on their way through the formats; `whole`: all of them are to be parsed."""

    def __init__(self, held: Sequence[Held | None], texts: Sequence[str], near_s: int, *, whole: bool) -> None:
        self.texts = texts
        self._whole = whole
        self._held = held
        self._near_s = near_s
        self._slabs: list[Slab] = []
        self._alone: dict[int, tuple[str, Parsed]] = {}
        self._last_miss: dict[Held, int] = {}
        self._looked: list[Slab] = []
        self._first: dict[int, str] = {}
        self._accepted: dict[int, str] = {}
        self._objects = [text.startswith("{") for text in texts]

    def slabs(self) -> list[Slab]:
        """Return what was found; lines that were parsed one by one stand in slabs of their own."""
        if not self._alone and not self._accepted:
            return self._slabs
        alone = set(self._alone)
        kept = [slab if alone.isdisjoint(slab.places) else slab.without(alone) for slab in self._slabs]
        accepted = {at: name for at, name in self._accepted.items() if at not in alone}
        kept += [slab.without({at for at in slab.places if accepted.get(at) != slab.parser}) for slab in self._looked]
        by_parser: dict[str, dict[int, Parsed]] = {}
        for at, (name, parsed) in self._alone.items():
            by_parser.setdefault(name, {})[at] = parsed
        more = [slab for name, found in by_parser.items() for slab in several(name, found)]
        return [slab for slab in kept if slab.places] + more

    def changed(self) -> list[Held]:
        """Return the streams that had misses, the one with the last miss last."""
        return sorted(self._last_miss, key=self._last_miss.__getitem__)

    def through(self, names: dict[Held, Names], among: Sequence[int]) -> Sequence[int]:
        """Let lines go through these formats of their streams; return the places of those that none took, in order."""
        asked = {stream: each for stream, each in names.items() if stream.asked is not None}
        if self._whole and not asked:
            return self._through(_holders(names), among, self._slabs)
        others: list[int] = []
        by_names: dict[Names, list[int]] = {}
        for at in among:
            stream = self._held[at]
            if stream in asked:
                by_names.setdefault(asked[stream], []).append(at)
            elif stream is not None:
                others.append(at)
        holders = _holders({stream: each for stream, each in names.items() if stream.asked is None})
        left = [*self._through(holders, others, self._slabs)]
        for each, places in by_names.items():
            left += self._through(dict.fromkeys(each), places, self._slabs, asked=True)
        return sorted(left)

    def without_room(self, left: Sequence[int], room: int) -> tuple[Sequence[int], int]:
        """Parse misses of new streams, but those of the first `room` of them: of theirs no choice is kept.

        Returns the places of the other misses, and how many of these lines stay plain.
        """
        missed: list[Held] = [self._held[at] for at in left]  # type: ignore[misc]
        new = [stream for stream in dict.fromkeys(missed) if stream.is_new]
        unkept, others, plain = set(new[room:]), [], 0
        for at, stream in zip(left, missed, strict=True):
            if stream not in unkept:
                others.append(at)
                continue
            step = parse_unasked(stream.stream, Payload(self.texts[at]), self._near_s, NOTHING_KEPT)
            plain += not self._put(at, step.parser, step.parsed)
        return others, plain

    def misses(self, before: dict[Held, Names], left: Sequence[int]) -> tuple[Sequence[int], set[int]]:
        """Count misses, and look at those whose turn it is; return the places of the others, and of those looked at."""
        held = self._held
        missed: list[Held] = [held[at] for at in left]  # type: ignore[misc]
        last = dict(zip(missed, left, strict=True))
        looked_at: set[Held] = set()
        for stream, count in Counter(missed).items():
            if any_tried(stream.misses, count):
                looked_at.add(stream)
            else:
                stream.misses += count
                self._last_miss[stream] = last[stream]
        if not looked_at:
            return left, set()
        tried = self._nothing_found(looked_at, missed, left)
        others: list[int] = []
        for at, stream in zip(left, missed, strict=True):
            if stream not in looked_at or not self._looked_at(at, stream, before[stream], tried):
                others.append(at)
        return others, tried

    def _nothing_found(self, looked_at: set[Held], missed: Sequence[Held], left: Sequence[int]) -> set[int]:
        """Look at the misses of all streams together, and return the places of those looked at.

        Streams in which no format takes one of them are settled, and go from `looked_at`.
        """
        misses = {stream: stream.misses for stream in looked_at}
        turns: dict[Held, list[int]] = {stream: [] for stream in looked_at}
        last: dict[Held, int] = {}
        for at, stream in zip(left, missed, strict=True):
            if stream in misses:
                last[stream] = at
                misses[stream] += 1
                if is_tried(misses[stream]):
                    turns[stream].append(at)
        among = sorted(at for places in turns.values() for at in places)
        rest = set(self._look(parted(tuple(formats()))[0], among))
        settled = {stream for stream, places in turns.items() if rest.issuperset(places)}
        for stream in settled:
            stream.misses = misses[stream]
            self._last_miss[stream] = last[stream]
        looked_at -= settled
        return {at for stream in settled for at in turns[stream]}

    def last(self, before: dict[Held, Names], left: Sequence[int], tried: set[int]) -> int:
        """Look for general formats in misses that none of those held took; return how many lines stay plain."""
        looked_at = {self._held[at] for at in left if at in tried}
        if not looked_at:
            return len(left)
        among = [at for at in left if self._held[at] in looked_at]
        self._look(parted(tuple(formats()))[1], among)
        taken = 0
        for at in among:
            stream: Held = self._held[at]  # type: ignore[assignment]
            if stream.general is not before[stream] and self._taken(at, before[stream], stream.general):
                taken += 1
            elif at in tried:
                taken += self._sniffed(at, stream, GENERAL)
        return len(left) - taken

    def _look(self, names: Names, among: Sequence[int]) -> Sequence[int]:
        """Find for each of these lines the first of all these formats that takes it, whether it counts or not.

        Returns the places of those that none takes. What counts is told by who looks at the lines in their order, and
        need not parse them again.
        """
        slabs: list[Slab] = []
        # Most formats need not be asked about the few lines that are looked at, once all streams are known.
        together = "\n".join(self.texts[at] for at in among)
        likely = [name for name in names if formats()[name].may_be_among(together)]
        rest = self._through(dict.fromkeys(likely), among, slabs)
        self._first = dict.fromkeys(rest, "") | {at: slab.parser for slab in slabs for at in slab.places}
        self._looked += slabs
        return rest

    def _looked_at(self, at: int, stream: Held, before: Names, tried: set[int]) -> bool:
        """Count one miss of a stream, and look at it where it is its turn; tell whether a format took it."""
        if stream.narrow is not before and self._taken(at, before, stream.narrow):
            return True
        stream.misses += 1
        self._last_miss[stream] = at
        if not is_tried(stream.misses):
            return False
        tried.add(at)
        return self._sniffed(at, stream, NARROW)

    def _put(self, at: int, name: str, parsed: Parsed | None) -> bool:
        if parsed is None:
            return False
        self._alone[at] = name, parsed
        return True

    def _sniffed(self, at: int, stream: Held, kind: Kind) -> bool:
        """Look at a miss for formats that are not held; one that is found comes before others for the lines behind."""
        name = self._first.get(at)
        if name:
            stream.hold(kind, name)
            self._accepted[at] = name
        elif name is None:
            name, parsed = stream.sniff(kind, Payload(self.texts[at]), self._near_s)
            self._put(at, name, parsed)
        if not name:
            return False
        # Of lines that were accepted no format before theirs takes any.
        later = set(itertools.dropwhile(lambda each: each != name, formats())) - {name}
        behind = {place for slab in self._slabs if slab.parser in later for place in slab.places if place > at}
        behind = {place for place in behind if place not in self._alone}
        behind |= {place for place, (taken_by, _) in self._alone.items() if place > at and taken_by in later}
        for place in behind:
            if self._held[place] is stream:
                self._put(place, name, formats()[name].parse(Payload(self.texts[place]), self._near_s))
        return True

    def _taken(self, at: int, before: Names, now: Names) -> bool:
        """Try a line on the formats that its stream holds since it went through the others."""
        new = [name for name in now if name not in before]
        name = self._first.get(at)
        if name == "":
            return False
        if name in new:
            self._accepted[at] = name
            return True
        return self._put(at, *first_of(new, Payload(self.texts[at]), self._near_s))

    def _through(
        self, names: Holders, among: Sequence[int], slabs: list[Slab], *, asked: bool = False
    ) -> Sequence[int]:
        """Parse these lines by formats, in their order; return the places of those that none took."""
        if not names or not among:
            return among
        mine = self._objects if len(among) == len(self.texts) else list(map(self._objects.__getitem__, among))
        objects: Sequence[int] = list(compress(among, mine)) if True in mine else ()
        others = list(compress(among, map(not_, mine))) if objects else among
        left: list[Sequence[int]] = []
        for places, are_objects in ((objects, True), (others, False)):
            rest = places
            for name, streams in names.items():
                if not rest:
                    break
                its = rest if streams is None else [at for at in rest if self._held[at] in streams]
                found, behind = parse_lines(name, self.texts, its, self._near_s, objects=are_objects, asked=asked)
                slabs += found
                if its is rest:
                    rest = behind
                elif found:
                    rest = without(rest, (at for slab in found for at in slab.places))
            left.append(rest)
        return sorted([*left[0], *left[1]]) if left[0] and left[1] else left[0] or left[1]


def _holders(names: dict[Held, Names]) -> Holders:
    """Turn streams and the formats that they hold round: formats in the order in which all are tried."""
    by_names: dict[Names, list[Held]] = {}
    for stream, each in names.items():
        by_names.setdefault(each, []).append(stream)
    if len(by_names) == 1:
        return dict.fromkeys(next(iter(by_names)))
    found: dict[str, set[Held]] = {}
    for each, streams in by_names.items():
        for name in each:
            found.setdefault(name, set()).update(streams)
    return {name: found[name] if len(found[name]) < len(names) else None for name in formats() if name in found}
