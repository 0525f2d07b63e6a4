"""The chunk path of `pipelines.parse`: many lines at once, with the same choices as line by line.

Lines of streams that hold the same formats go through each of these together. Only misses change a choice, and these
are seen to one by one, in the order of the records.
"""

from collections.abc import Callable, Iterable, Sequence

from parsers.columns import parse_lines
from parsers.splice import Spliced, spliced
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes
from pipelines.parse import (
    Choice,
    ParserRule,
    Stream,
    asked_choice,
    first_of,
    is_tried,
    kept_choice,
    parted,
    sniffed_general,
    sniffed_narrow,
    text_to_parse,
)
from pipelines.sections import Section

Sniff = Callable[[Choice, Payload, int], tuple[str, Parsed | None, Choice]]
Names = tuple[str, ...]


class Held:
    """A stream's choice while lines of it are parsed. What was asked for is found once."""

    def __init__(self, stream: Stream, rules: Sequence[ParserRule]) -> None:
        """Ask label and rules."""
        self.stream = stream
        self.asked = asked_choice(stream, rules)
        self.choice = self.asked or Choice((), "lines")
        self.misses = 0
        self.narrow: Names = self.asked.formats if self.asked else ()
        self.general: Names = ()

    def refresh(self, choices: Section[Choice]) -> None:
        """Take over what is kept of the stream."""
        if self.asked is None:
            self._become(kept_choice(self.stream, choices))

    def sniff(self, how: Sniff, payload: Payload, near_s: int) -> tuple[str, Parsed | None]:
        """Look at a miss for formats that are not held."""
        name, parsed, choice = how(Choice(self.choice.formats, self.choice.reason, self.misses), payload, near_s)
        self._become(choice)
        return name, parsed

    def keep(self, choices: Section[Choice]) -> None:
        """Give back what is to be kept."""
        choices.put(self.stream.key, Choice(self.choice.formats, self.choice.reason, self.misses))

    def _become(self, choice: Choice) -> None:
        self.choice, self.misses = choice, choice.misses
        self.narrow, self.general = parted(choice.formats)


def parse_columns(
    held: Sequence[Held | None],
    lines: Sequence[str],
    near_s: int,
    *,
    choices: Section[Choice],
    outcomes: Outcomes,
) -> tuple[list[Spliced | None], list[int], Sequence[str]]:
    """Parse lines, each of the stream `held` beside it (None: not to be parsed), and count what became of them.

    Returns what was found in each, the places of those that do not fit the parser that was asked for, and the texts
    that were parsed: the lines without their ends.
    """
    streams = {stream for stream in set(held) if stream is not None}
    for stream in streams:
        stream.refresh(choices)
    columns = _Columns(held, _without_ends(lines), near_s, outcomes)
    left = columns.through({stream: stream.narrow for stream in streams}, range(len(lines)))
    failed = [at for at in left if (mine := held[at]) is not None and mine.asked is not None and mine.narrow]
    for at in failed:
        columns.count(held[at].narrow[0], "failed")  # type: ignore[union-attr]
    missed, tried = columns.misses({stream: stream.narrow for stream in streams}, left)
    general = {stream: stream.general for stream in streams}
    plain = columns.last(general, columns.through(general, missed), tried)
    asked_plain = sum((mine := held[at]) is not None and mine.asked is not None and not mine.narrow for at in left)
    columns.count("", "plain", plain + asked_plain)
    for stream in columns.changed:
        stream.keep(choices)
    return columns.found, failed, columns.texts


class _Columns:
    """Lines on their way through the formats; `changed` are the streams that had misses, the last one last."""

    def __init__(self, held: Sequence[Held | None], texts: Sequence[str], near_s: int, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self.found: list[Spliced | None] = [None] * len(texts)
        self.texts = texts
        self.changed: dict[Held, None] = {}
        self._held = held
        self._near_s = near_s

    def through(self, names: dict[Held, Names], among: Iterable[int]) -> list[int]:
        """Let lines go through these formats of their streams; return the places of those that none took, in order."""
        by_names: dict[Names, list[int]] = {}
        for at in among:
            stream = self._held[at]
            if stream is not None:
                by_names.setdefault(names[stream], []).append(at)
        left = [at for each, places in by_names.items() for at in self._by_formats(each, places)]
        left.sort()
        return left

    def misses(self, before: dict[Held, Names], left: Sequence[int]) -> tuple[list[int], set[int]]:
        """Count misses, and look at those whose turn it is; return the places of the others, and of those looked at."""
        others: list[int] = []
        tried: set[int] = set()
        for at in left:
            stream = self._held[at]
            if stream is None or stream.asked is not None:
                continue
            if stream.narrow is not before[stream] and self._taken(at, before[stream], stream.narrow):
                continue
            stream.misses += 1
            self.changed.pop(stream, None)
            self.changed[stream] = None
            if is_tried(stream.misses):
                if self._put(at, *stream.sniff(sniffed_narrow, Payload(self.texts[at]), self._near_s)):
                    continue
                tried.add(at)
            others.append(at)
        return others, tried

    def last(self, before: dict[Held, Names], left: Sequence[int], tried: set[int]) -> int:
        """Look for general formats in misses that none of those held took; return how many lines stay plain."""
        taken = 0
        for at in left:
            stream = self._held[at]
            if stream is None:
                continue
            if stream.general is not before[stream] and self._taken(at, before[stream], stream.general):
                taken += 1
            elif at in tried:
                taken += self._put(at, *stream.sniff(sniffed_general, Payload(self.texts[at]), self._near_s))
        return len(left) - taken

    def count(self, name: str, outcome: str, lines: int = 1) -> None:
        """Count what became of lines."""
        if lines:
            self._outcomes[name, outcome] = self._outcomes.get((name, outcome), 0) + lines

    def _put(self, at: int, name: str, parsed: Parsed | None) -> bool:
        if parsed is None:
            return False
        self.found[at] = spliced(parsed)
        self.count(name, "parsed")
        return True

    def _taken(self, at: int, before: Names, now: Names) -> bool:
        """Try a line on the formats that its stream holds since it went through the others."""
        new = [name for name in now if name not in before]
        return self._put(at, *first_of(new, Payload(self.texts[at]), self._near_s))

    def _by_formats(self, names: Names, among: Sequence[int]) -> list[int]:
        """Parse these lines by formats, in their order; return the places of those that none took."""
        texts, found = self.texts, self.found
        if not names:
            return list(among)
        left: list[int] = []
        objects = [at for at in among if texts[at][:1] == "{"]
        others = [at for at in among if texts[at][:1] != "{"] if objects else list(among)
        for places, are_objects in ((objects, True), (others, False)):
            rest = places
            for name in names:
                if not rest:
                    break
                made = parse_lines(name, [texts[at] for at in rest], self._near_s, objects=are_objects)
                for at, each in zip(rest, made, strict=True):
                    found[at] = each
                before = len(rest)
                rest = [at for at, each in zip(rest, made, strict=True) if each is None]
                self.count(name, "parsed", before - len(rest))
            left += rest
        return left


def _without_ends(lines: Sequence[str]) -> Sequence[str]:
    ends = {line[-1:] for line in lines}
    return lines if ends.isdisjoint("\r\n") else list(map(text_to_parse, lines))
