"""The chunk path of `pipelines.parse`: many lines at once, with the same choices as line by line.

Lines of streams that hold the same formats go through each of these together. What is left goes one by one, in the
order of the records, for only such lines change a choice.
"""

from collections.abc import Sequence

from parsers.columns import parse_lines
from parsers.format import formats
from parsers.splice import Spliced, spliced
from parsers.table import Parsed, Payload
from pipelines.batch import Outcomes
from pipelines.parse import Choice, ParserRule, Stream, asked_choice, is_tried, kept_choice, missed, text_to_parse
from pipelines.sections import Section


class Held:
    """A stream's choice while lines of it are parsed. What was asked for is found once."""

    def __init__(self, stream: Stream, rules: Sequence[ParserRule]) -> None:
        """Ask label and rules."""
        self.stream = stream
        self.asked = asked_choice(stream, rules)
        self.formats = self.asked.formats if self.asked else ()
        self.reason = ""
        self.misses = 0

    def refresh(self, choices: Section[Choice]) -> None:
        """Take over what is kept of the stream."""
        if self.asked is None:
            choice = kept_choice(self.stream, choices)
            self.formats, self.reason, self.misses = choice.formats, choice.reason, choice.misses

    def missed(self, payload: Payload, near_s: int) -> Parsed | None:
        """Go on with a line that no held format took."""
        if not is_tried(self.misses + 1):
            self.misses += 1
            return None
        parsed, after = missed(Choice(self.formats, self.reason, self.misses), payload, near_s)
        self.formats, self.reason, self.misses = after.formats, after.reason, after.misses
        return parsed

    def keep(self, choices: Section[Choice]) -> None:
        """Give back what is to be kept."""
        choices.put(self.stream.key, Choice(self.formats, self.reason, self.misses))


def parse_columns(
    held: Sequence[Held | None],
    lines: Sequence[str],
    near_s: int,
    choices: Section[Choice],
    outcomes: Outcomes,
) -> tuple[list[Spliced | None], list[int]]:
    """Parse lines, each of the stream `held` beside it (None: not to be parsed), and count what became of them.

    Returns what was found in each, and the places of those that do not fit the parser that was asked for.
    """
    found: list[Spliced | None] = [None] * len(lines)
    texts = _without_ends(lines)
    by_formats: dict[tuple[str, ...], Sequence[int]] = {}
    streams = set(held)
    for stream in streams:
        if stream is not None:
            stream.refresh(choices)
    if len(streams) == 1:
        (only,) = streams
        by_formats = {only.formats: range(len(lines))} if only else {}
    else:
        places: dict[tuple[str, ...], list[int]] = {}
        for at, stream in enumerate(held):
            if stream is not None:
                places.setdefault(stream.formats, []).append(at)
        by_formats.update(places)
    left: list[int] = []
    for names, among in by_formats.items():
        left += _by_formats(names, among, texts, near_s, found, outcomes)
    left.sort()
    return found, _left_over(left, held, texts, near_s, choices, found, outcomes)


def _without_ends(lines: Sequence[str]) -> Sequence[str]:
    ends = {line[-1:] for line in lines}
    return lines if ends.isdisjoint("\r\n") else list(map(text_to_parse, lines))


def _by_formats(
    names: tuple[str, ...],
    among: Sequence[int],
    texts: Sequence[str],
    near_s: int,
    found: list[Spliced | None],
    outcomes: Outcomes,
) -> Sequence[int]:
    """Parse these lines by formats, in their order; return the places of those that none took."""
    for name in names:
        if not among:
            break
        rest: list[int] = []
        for at, each in zip(among, parse_lines(name, [texts[at] for at in among], near_s), strict=True):
            if each is None:
                rest.append(at)
            else:
                found[at] = each
        _count(outcomes, (name, "parsed"), len(among) - len(rest))
        among = rest
    return among


def _left_over(
    left: Sequence[int],
    held: Sequence[Held | None],
    texts: Sequence[str],
    near_s: int,
    choices: Section[Choice],
    found: list[Spliced | None],
    outcomes: Outcomes,
) -> list[int]:
    """See to the lines that no held format took, in their order; return those that do not fit what was asked for."""
    failed: list[int] = []
    changed: dict[Held, None] = {}
    tried: dict[Held, tuple[str, ...]] = {}
    taken = 0
    for at in left:
        stream = held[at]
        if stream is None:
            continue
        if stream.asked is not None:
            if stream.formats:
                failed.append(at)
                _count(outcomes, (stream.formats[0], "failed"), 1)
            continue
        before = tried.setdefault(stream, stream.formats)
        payload = Payload(texts[at])
        parsed, name = None, ""
        if stream.formats is not before:
            new = (name for name in stream.formats if name not in before)
            tries = ((formats()[name].parse(payload, near_s), name) for name in new)
            parsed, name = next((each for each in tries if each[0] is not None), (None, ""))
        if parsed is None:
            parsed = stream.missed(payload, near_s)
            changed.pop(stream, None)
            changed[stream] = None
            name = stream.formats[-1] if parsed is not None else ""
        if parsed is not None:
            found[at] = spliced(parsed)
            taken += 1
            _count(outcomes, (name, "parsed"), 1)
    for stream in changed:
        stream.keep(choices)
    _count(outcomes, ("", "plain"), len(left) - len(failed) - taken)
    return failed


def _count(outcomes: Outcomes, outcome: tuple[str, str], lines: int) -> None:
    if lines:
        outcomes[outcome] = outcomes.get(outcome, 0) + lines
