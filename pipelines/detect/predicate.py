"""Whether an expression holds on one document: plain, one test after the other. What the matcher is held against (P4).

Texts are compared whole, numbers and booleans also by their text in JSON, and of a list any element counts. A path's
names are keys from the root down; a key may hold dots itself, as in flattened objects, and a number is a list's place.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import re2

from pipelines.detect import text
from pipelines.detect.expression import (
    And,
    Boolean,
    Compare,
    Exists,
    Expression,
    FieldTest,
    KeywordTest,
    Named,
    Network,
    Not,
    Null,
    Number,
    Or,
    Regex,
    SameAs,
    Test,
    Text,
    TimePart,
)

COMPILED_LIMIT: Final = 65_536
"""Patterns that are kept compiled: more than the largest rule set has."""

NOT_OF_THE_RECORD: Final = frozenset(
    {
        ("@timestamp",), ("agent",), ("cloud",), ("container",), ("data_stream",), ("ecs",), ("host",), ("labels",),
        ("observer",), ("orchestrator",), ("related",), ("tags",),
        ("event", "created"), ("event", "dataset"), ("event", "id"), ("event", "ingested"), ("event", "kind"),
        ("event", "module"), ("event", "sequence"),
        ("kubernetes", "pod"), ("kubernetes", "node"), ("kubernetes", "namespace"), ("kubernetes", "namespace_uid"),
        ("kubernetes", "namespace_labels"), ("kubernetes", "container"), ("kubernetes", "labels"),
        ("kubernetes", "annotations"), ("kubernetes", "deployment"), ("kubernetes", "replicaset"),
        ("kubernetes", "statefulset"), ("kubernetes", "daemonset"), ("kubernetes", "job"), ("kubernetes", "cronjob"),
        ("tidewaiter", "origin"), ("tidewaiter", "container"), ("tidewaiter", "facts"), ("tidewaiter", "metadata"),
        ("tidewaiter", "session"), ("tidewaiter", "tag"), ("tidewaiter", "claimed"),
    }
)  # fmt: skip
"""Where keywords do not look: what we know of a record's sender, and copies. A keyword speaks of what was logged, and
would else find the name of an input or of a container's image in each of its lines."""

INDEX_DIGITS: Final = 7
"""A place in a list has fewer digits."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?")
_PARTS: Final[dict[str, Callable[[datetime], int]]] = {
    "minute": lambda time: time.minute,
    "hour": lambda time: time.hour,
    "day": lambda time: time.day,
    "week": lambda time: time.isocalendar().week,
    "month": lambda time: time.month,
    "year": lambda time: time.year,
}
_COMPARED: Final[dict[str, Callable[[float, float], bool]]] = {
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
}


class View:
    """A document that many rules look at: each path is looked up once, each text folded once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._found: dict[str, list[Any]] = {}
        self._folded: dict[str, list[str]] = {}
        self._words: list[str] | None = None

    def found(self, path: str) -> list[Any]:
        """Return what stands at a path, also lists and objects as they are."""
        found = self._found.get(path)
        if found is None:
            found = self._found[path] = list(_at(self.document, path))
        return found

    def values(self, path: str) -> list[Any]:
        """Return the single values at a path, in the document's order."""
        found = self.found(path)
        if len(found) == 1 and isinstance(found[0], str):
            return found
        return [value for each in found for value in _single(each)]

    def folded(self, path: str) -> list[str]:
        """Return the texts of values at a path, folded."""
        folded = self._folded.get(path)
        if folded is None:
            folded = self._folded[path] = [text.fold(spelled(value)) for value in self.values(path)]
        return folded

    def words(self) -> list[str]:
        """Return the texts of all values that the record brought."""
        if self._words is None:
            self._words = [spelled(value) for value in _recorded(self.document)]
        return self._words


def holds(item: Expression, view: View) -> bool:
    """Whether an expression holds."""
    if isinstance(item, FieldTest):
        return _field_passes(item, view)
    if isinstance(item, And):
        return all(holds(each, view) for each in item.items)
    if isinstance(item, Or):
        return any(holds(each, view) for each in item.items)
    if isinstance(item, Not):
        return not holds(item.item, view)
    if isinstance(item, Named):
        return holds(item.item, view)
    if isinstance(item, KeywordTest):
        return _keyword_passes(item.test, view)
    return item.value


def spelled(value: Any) -> str:
    """Return a single value as its text; numbers and booleans as our JSON spells them."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _at(document: dict[str, Any], path: str) -> Iterator[Any]:
    """Yield what stands at a path; keys may hold dots, and lists stand for each of their elements."""
    name, _, below = path.partition(".")
    if path not in document and isinstance(here := document.get(name), dict) and "." not in below:
        # As nearly all are: one name below another, and no list.
        if below in here:
            yield here[below]
        return
    waiting: list[tuple[Any, str]] = [(document, path)]
    while waiting:
        here, rest = waiting.pop()
        if isinstance(here, list):
            waiting.extend((each, rest) for each in reversed(here) if isinstance(each, dict | list))
            first, _, below = rest.partition(".")
            if first.isdecimal() and len(first) < INDEX_DIGITS and int(first) < len(here):
                if below:
                    waiting.append((here[int(first)], below))
                else:
                    yield here[int(first)]
            continue
        if not isinstance(here, dict):
            continue
        if rest in here:
            yield here[rest]
        place = rest.find(".")
        while place >= 0:
            if (key := rest[:place]) in here:
                waiting.append((here[key], rest[place + 1 :]))
            place = rest.find(".", place + 1)


def _single(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, list):
            waiting.extend(reversed(here))
        elif here is not None and not isinstance(here, dict):
            yield here


def _recorded(document: dict[str, Any]) -> Iterator[Any]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while waiting:
        path, here = waiting.pop()
        if isinstance(here, dict):
            for key, value in here.items():
                below = (*path, key) if len(path) < 2 else path
                if below not in NOT_OF_THE_RECORD:
                    waiting.append((below, value))
        elif isinstance(here, list):
            waiting.extend((path, each) for each in here)
        elif here is not None:
            yield here


def _field_passes(item: FieldTest, view: View) -> bool:
    test = item.test
    if isinstance(test, Exists):
        return any(view.found(path) for path in item.paths) is test.value
    if isinstance(test, Null):
        return not any(_is_there(value) for path in item.paths for value in view.found(path))
    if isinstance(test, Text) and not test.cased:
        matches = text_matcher(test)
        return any(matches(value) for path in item.paths for value in view.folded(path))
    if isinstance(test, SameAs):
        values = {value for path in item.paths for value in view.folded(path)}
        others = {other for path in test.paths for other in view.folded(path)}
        return text.any_same(values, others, starts=test.starts, ends=test.ends)
    return any(_passes(test, value) for path in item.paths for value in view.values(path))


def _is_there(value: Any) -> bool:
    return isinstance(value, dict) or next(_single(value), None) is not None or _has_object(value)


def _has_object(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) or _has_object(each) for each in value)


def _keyword_passes(test: Text | Regex | Number, view: View) -> bool:
    if isinstance(test, Regex):
        pattern = regex_of(test)
        return any(pattern.search(word) is not None for word in view.words())
    wanted = Text((spelled(test.value),)) if isinstance(test, Number) else test
    matches = text_matcher(text.containing(wanted))
    return any(matches(word if wanted.cased else text.fold(word)) for word in view.words())


def _passes(test: Test, value: Any) -> bool:
    """Whether a single value passes a test that speaks of values."""
    match test:
        case Text():
            return text_matcher(test)(spelled(value))
        case Number():
            return _equal(test.value, value)
        case Boolean():
            return value is test.value or (isinstance(value, str) and text.fold(value) == spelled(test.value))
        case Regex():
            return regex_of(test).search(spelled(value)) is not None
        case Network():
            return _within(test.cidr, value)
        case Compare():
            number = _number(value) if test.part is None else _part_of(test.part, value)
            return number is not None and _COMPARED[test.operator](number, test.value)
        case TimePart():
            return _part_of(test.part, value) == test.value
    return False


def _equal(number: float, value: Any) -> bool:
    if isinstance(value, str):
        return value == spelled(number)
    return not isinstance(value, bool) and bool(value == number)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return None if isinstance(value, bool) else float(value)


def _part_of(part: str, value: Any) -> int | None:
    """Return a part of a time in RFC 3339 or of one in seconds since 1970."""
    try:
        if isinstance(value, str):
            found = _TIME.match(value)
            if found is None:
                return None
            time = datetime.fromisoformat(f"{found[1]}T{found[2]}{(found[3] or 'Z').replace('Z', '+00:00')}")
            return _PARTS[part](time.astimezone(UTC))
        return None if isinstance(value, bool) else _PARTS[part](datetime.fromtimestamp(value, UTC))
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=COMPILED_LIMIT)
def text_matcher(test: Text) -> text.Matches:
    """Return the compiled pattern."""
    return text.matcher_of(test)


@lru_cache(maxsize=COMPILED_LIMIT)
def regex_of(test: Regex) -> Any:
    """Return the compiled pattern; RE2 runs in time linear in the text, whatever the pattern."""
    return compiled_regex(f"(?{test.flags}){test.pattern}" if test.flags else test.pattern)


def compiled_regex(pattern: str) -> Any:
    """Compile a pattern; raise `re2.error` for one that RE2 does not know or that needs too much memory."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


@lru_cache(maxsize=COMPILED_LIMIT)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr)


def _within(cidr: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    network = _network(cidr)
    if isinstance(address, ipaddress.IPv6Address) and network.version == 4 and address.ipv4_mapped is not None:
        return address.ipv4_mapped in network
    return address in network
