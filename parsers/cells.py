"""Columns of raw values become columns of encoded ones: a conversion over many lines at once.

What a conversion makes of a value is kept (`Memory`): most columns hold few values. Where values vary (addresses,
numbers, texts, times) a conversion has a quick form here, which does the whole column by calls that run in C, and gives
way where one of the values is not of the plainest shape. Both give what the conversion itself gives
(`tests/property/test_cells.py`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final

import msgspec

from parsers.canonical import encode, encode_text
from parsers.json_keys import port_behind, request_target, trace_id
from parsers.times import FRACTIONS, NANOSECOND_DIGITS, Instant
from parsers.values import (
    IPV4,
    LONG_LIMIT,
    NOTHING,
    Convert,
    Nanoseconds,
    TextBut,
    to_address,
    to_identifier,
    to_integer,
    to_path,
    to_port,
    to_query,
    to_text,
)


class Cells(msgspec.Struct, frozen=True):
    """The encoded value of each line, None where it has none; `whole`: every line has one."""

    values: Sequence[bytes | None]
    whole: bool


Times = tuple[Sequence[int], Sequence[int]]
"""The seconds and nanoseconds of each line's time since the Unix epoch, second 0 where it has none."""

Read = Callable[[Any, int], Instant | None]

Quick = Cells | None
"""What a quick form made of a column, NOTHING_THERE where no line has a value; None where it gives way."""

NOTHING_THERE: Final = Cells((), False)

PORT: Final = r"(?:[1-5][0-9]{4}|6[0-4][0-9]{3}|[1-9][0-9]{0,3}|0)"
"""Ports up to 64,999 as loggers write them; others go the longer way."""

MEMORY_LIMIT: Final = 4096
"""Values of which is kept what was made, for each conversion."""

FEW: Final = 8
"""Values of which each is looked up by itself sooner than a quick form is under way."""

RESTING: Final = 1 << 18
"""Where a memory is full, values vary too much to keep any: so many are made anew before that is tried again."""

MEMORY_CHARACTERS: Final = 512
"""Of a longer text it is not kept."""


class Memory(dict[Any, Any]):
    """What was made of a text or an integer before. All keys of one memory have the same type."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        """Keep nothing yet; `make` is asked for what is missing."""
        super().__init__()
        self._make = make
        self._resting = 0

    def __missing__(self, key: Any) -> Any:
        """Make what is missing, and keep it where values come again and are not too long."""
        made = self._make(key)
        if self._resting:
            self._resting -= 1
        elif len(self) >= MEMORY_LIMIT:
            self.clear()
            self._resting = RESTING
        elif type(key) is not str or len(key) <= MEMORY_CHARACTERS:
            self[key] = made
        return made


class Converter:
    """A conversion over columns of raw values of one type."""

    def __init__(self, convert: Convert, kind: type) -> None:
        """Find its quick form."""
        form = type(convert) if isinstance(convert, TextBut | Nanoseconds) else convert
        self._convert = convert
        self._quick = _QUICK.get((form, kind))
        memory = Memory(lambda raw: None if raw is None else _encoded(convert(raw)))
        self._remembered = memory.__getitem__ if kind in (str, int) else None

    def __call__(self, raws: Sequence[Any]) -> Cells | None:
        """Convert and encode a column, in which texts may be missing; None where none converts."""
        if self._quick is not None and len(raws) > FEW:
            made = self._quick(self._convert, raws)
            if made is not None:
                return made if made.values else None
        if self._remembered is not None:
            return of_values(list(map(self._remembered, raws)))
        return of_values([_encoded(self._convert(raw)) for raw in raws])


@cache
def converter(convert: Convert, kind: type) -> Converter:
    """Return a conversion over columns of this type: one for all who want it, so what it remembers serves them."""
    return Converter(convert, kind)


def of_values(values: Sequence[bytes | None]) -> Cells | None:
    """Return a column, None where no line has a value."""
    if None not in values:
        return Cells(values, True)
    return Cells(values, False) if any(values) else None


def instants(read: Read, raws: Sequence[Any], near_s: int, kind: type) -> Times:
    """Read a column of times."""
    if kind is not str:
        return _apart([read(raw, near_s) for raw in raws])
    return (_by_second(read, raws, near_s) if len(raws) > FEW else None) or _apart(
        list(map(_clock(read, near_s).__getitem__, raws))
    )


def number_cells(raws: Sequence[int | float]) -> list[bytes]:
    """Encode numbers as they are."""
    return encode(list(raws))[1:-1].split(b",") if raws else []


_clocks: Final[dict[Read, tuple[int, Memory]]] = {}


def _clock(read: Read, near_s: int) -> Memory:
    """Return the memory of times near a second: forms without a year depend on it."""
    known = _clocks.get(read)
    if known is None or known[0] != near_s:
        known = _clocks[read] = near_s, Memory(lambda raw: None if raw is None else read(raw, near_s))
    return known[1]


def _apart(found: Sequence[Instant | None]) -> Times:
    if None in found:
        found = [each or (0, 0) for each in found]
    seconds, nanoseconds = zip(*found, strict=True)
    return seconds, nanoseconds


_FRACTION: Final = re.compile(r":[0-9]{2}:[0-9]{2}([.,])([0-9]{1,9})(?![0-9])")


def _by_second(read: Read, raws: Sequence[Any], near_s: int) -> Times | None:
    """Read times that all have a fraction of a second at the same place: many lines have the second before it."""
    found = _FRACTION.search(raws[0]) if read in FRACTIONS and raws[0] is not None else None
    if found is None or found[1] not in FRACTIONS[read] or None in raws or len(set(map(len, raws))) > 1:
        return None
    start, end = found.span(2)
    size, point = len(raws[0]), start - 1
    # The same place of all texts is a slice of them together.
    together = "".join(raws)
    for place, mark in ((point - 6, ":"), (point - 3, ":"), (point, found[1])):
        if together[place::size] != mark * len(raws):
            return None
    if not all((each := together[place::size]).isdecimal() and each.isascii() for place in range(start, end)):
        return None
    # Many lines have the second, and most what is behind the fraction: that is put to each second once.
    zones = set(map(itemgetter(slice(end, None)), raws))
    zone = zones.pop() if len(zones) == 1 else ""
    heads = [raw[:point] + raw[end:] for raw in raws] if zones else list(map(itemgetter(slice(point)), raws))
    whole = _clock(read, near_s)
    instants_of = {head: whole[head + zone] for head in set(heads)}
    if None in instants_of.values():
        return None
    seconds = {head: second for head, (second, _) in instants_of.items()}
    scale = 10 ** (NANOSECOND_DIGITS - (end - start))
    fractions = map(int, map(itemgetter(slice(start, end)), raws))
    return list(map(seconds.__getitem__, heads)), list(map(scale.__mul__, fractions))


def _encoded(value: Any) -> bytes | None:
    return None if value is None else encode(value)


def _texts(convert: Convert, raws: Sequence[Any]) -> Quick:
    return _whole(map(encode_text, raws)) if all(raws) else None


def _texts_but(convert: TextBut, raws: Sequence[Any]) -> Quick:
    return _whole(map(encode_text, raws)) if all(raws) and convert.absent.isdisjoint(raws) else None


def _matching(pattern: "re.Pattern[str]", raws: Sequence[Any]) -> str | None:
    """Return texts joined by newlines where each is what the pattern's lines are; a text that holds one is none."""
    if None in raws:
        return None
    joined = "\n".join(raws)
    return joined if pattern.fullmatch(joined) and joined.count("\n") == len(raws) - 1 else None


_ADDRESSES: Final = re.compile(rf"{IPV4}(?:\n{IPV4})*+")
_INTEGERS: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\n(?:0|[1-9][0-9]{0,17}))*+")
_PORTS: Final = re.compile(rf"{PORT}(?:\n{PORT})*+")


def _addresses(convert: Convert, raws: Sequence[Any]) -> Quick:
    joined = _matching(_ADDRESSES, raws)
    return None if joined is None else _whole(_quoted(joined))


def _quoted(joined: str) -> list[bytes]:
    """Encode texts joined by newlines, which need no escape."""
    return ('"' + joined.replace("\n", '"\n"') + '"').encode().split(b"\n")


def _integers(convert: Convert, raws: Sequence[Any]) -> Quick:
    joined = _matching(_INTEGERS, raws)
    return None if joined is None else _whole(joined.encode().split(b"\n"))


def _numbers(convert: Convert, raws: Sequence[Any]) -> Quick:
    return _whole(number_cells(raws)) if -LONG_LIMIT <= min(raws) and max(raws) < LONG_LIMIT else None


def _numbered_ids(convert: Convert, raws: Sequence[Any]) -> Quick:
    return _whole(_quoted("\n".join(map(str, raws))))


def _targets_only(raws: Sequence[Any]) -> str | None:
    """Return texts joined by newlines where each begins with a slash; a text that holds a newline is none."""
    if None in raws:
        return None
    joined = "\n".join(raws)
    behind = len(raws) - 1
    return joined if joined.startswith("/") and joined.count("\n/") == joined.count("\n") == behind else None


def _paths(convert: Convert, raws: Sequence[Any]) -> Quick:
    joined = _targets_only(raws)
    if joined is None or "://" in joined:
        return None
    return _whole(map(encode_text, raws if "?" not in joined else [raw.partition("?")[0] for raw in raws]))


def _queries(convert: Convert, raws: Sequence[Any]) -> Quick:
    joined = _targets_only(raws)
    if joined is None or "://" in joined:
        return None
    if "?" not in joined:
        return NOTHING_THERE
    return (
        of_values([encode_text(query) if (query := raw.partition("?")[2]) else None for raw in raws]) or NOTHING_THERE
    )


def _targets(convert: Convert, raws: Sequence[Any]) -> Quick:
    return None if _targets_only(raws) is None else _whole(map(encode_text, raws))


def _ports(convert: Convert, raws: Sequence[Any]) -> Quick:
    joined = _matching(_PORTS, raws)
    return None if joined is None else _whole(joined.encode().split(b"\n"))


def _no_ports(convert: Convert, raws: Sequence[Any]) -> Quick:
    return None if _matching(_ADDRESSES, raws) is None else NOTHING_THERE


def _identifiers(convert: Convert, raws: Sequence[Any]) -> Quick:
    return _whole(map(encode_text, raws)) if None not in raws and NOTHING.isdisjoint(raws) else None


def _whole(values: Iterable[bytes]) -> Cells:
    return Cells(list(values), True)


def _traces(convert: Convert, raws: Sequence[Any]) -> Quick:
    if not all(raws) or min(map(len, raws)) < 2:
        return None
    joined = "\n".join(raws)
    return None if "/" in joined or "00000000" in joined else _whole(map(encode_text, raws))


def _durations(convert: Nanoseconds, raws: Sequence[Any]) -> Quick:
    made = list(map(float(convert.scale).__mul__, raws))
    # Checked before: infinity cannot be rounded.
    return _numbers(convert, list(map(round, made))) if -LONG_LIMIT <= min(made) and max(made) < LONG_LIMIT else None


def _whole_durations(convert: Nanoseconds, raws: Sequence[Any]) -> Quick:
    return _numbers(convert, list(map(convert.scale.__mul__, raws)))


_QUICK: Final[dict[tuple[Any, type], Callable[[Any, Sequence[Any]], Quick]]] = {
    (to_text, str): _texts,
    (TextBut, str): _texts_but,
    (to_address, str): _addresses,
    (to_integer, str): _integers,
    (to_integer, int): _numbers,
    (to_identifier, int): _numbered_ids,
    (to_path, str): _paths,
    (to_query, str): _queries,
    (request_target, str): _targets,
    (to_port, str): _ports,
    (port_behind, str): _no_ports,
    (to_identifier, str): _identifiers,
    (trace_id, str): _traces,
    (Nanoseconds, float): _durations,
    (Nanoseconds, int): _whole_durations,
}
