"""What a table makes of a group or key: conversions to the value of an ECS field, each with the kind of field it fits.

A conversion takes a text of the line (or a value of its JSON) and returns the field's value, or None where there is
none or it does not fit: the field is then left out, and a JSON value stays with the application's other keys.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from parsers.colours import without_colours

ADDRESS_LIMIT: Final = 128
"""Characters of an address with its zone; what is longer is none, and is not read to its end."""

LONG_LIMIT: Final = 1 << 63
"""Elasticsearch's `long` and ours: values from -LONG_LIMIT up to, not including, LONG_LIMIT."""

NOTHING: Final = frozenset({"-", "", "(null)", "(none)"})
"""How logs write that there is no value."""

Convert = Callable[[Any], Any]


class Value(msgspec.Struct, frozen=True, dict=True):
    """One field's value: the first of these groups or keys that `convert` takes.

    `kind` is the type of ECS field that it fits: keyword (any text), long, float, ip, boolean; with `[]` a list.
    `default` is the value where none of them gives one. `converts` has a conversion for each source, where they differ.
    """

    sources: tuple[str, ...]
    convert: Convert
    kind: str
    default: Any = None
    converts: tuple[Convert, ...] = ()

    @cached_property
    def tries(self) -> list[tuple[str, Convert]]:
        """Each source with its conversion, in the order in which they are tried."""
        return list(zip(self.sources, self.converts or [self.convert] * len(self.sources), strict=True))

    @property
    def verbatim(self) -> bool:
        """Whether the value is the text as it stands, where that is not empty (the chunk path takes it as it is)."""
        return self.convert is to_text and not self.converts

    @property
    def sure(self) -> bool:
        """Whether every match of a pattern gives it: it has one group, whose text it is (rarely empty or missing)."""
        return self.verbatim and len(self.sources) == 1 and self.default is None


def text(*sources: str, absent: frozenset[str] | set[str] | None = None) -> Value:
    """Text as it stands. With `absent` (such as NOTHING), these texts mean that there is none."""
    return Value(sources, to_text if absent is None else TextBut(frozenset({"", *absent})), "keyword")


def otherwise(value: Value, default: Any) -> Value:
    """The same value, and `default` where there is none."""
    return msgspec.structs.replace(value, default=default)


def either(*values: Value) -> Value:
    """The first of these values that there is: sources that differ in their unit or shape."""
    tries = [each for value in values for each in value.tries]
    sources, converts = tuple(source for source, _ in tries), tuple(convert for _, convert in tries)
    return Value(sources, values[0].convert, values[0].kind, converts=converts)


def lowered(*sources: str) -> Value:
    """Text in lower case."""
    return Value(sources, lambda value: value.lower() if isinstance(value, str) and value else None, "keyword")


def identifier(*sources: str) -> Value:
    """Text, or an integer as text: ids of users, processes, sessions."""
    return Value(sources, to_identifier, "keyword")


def integer(*sources: str) -> Value:
    """An integer of 64 bits, from a number or its decimal text."""
    return Value(sources, to_integer, "long")


def number(*sources: str) -> Value:
    """A finite number."""
    return Value(sources, to_number, "float")


def boolean(*sources: str) -> Value:
    """True or false."""
    return Value(
        sources, lambda value: value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower()), "boolean"
    )


def address(*sources: str) -> Value:
    """An IP address in canonical form, from `192.0.2.1`, `192.0.2.1:443`, `[2001:db8::1]:443`, `fe80::1%eth0`."""
    return Value(sources, to_address, "ip")


def host(*sources: str) -> Value:
    """The host of `HOST:PORT`: a name or an address, without brackets and port."""
    return Value(sources, lambda value: _split(value)[0], "keyword")


def forwarded(*sources: str) -> Value:
    """The first address of a list such as X-Forwarded-For: whom it names as the client, true or not."""
    return Value(sources, lambda value: to_address_of(value, 0), "ip")


def nearest(*sources: str) -> Value:
    """The last address of such a list: what the nearest proxy saw."""
    return Value(sources, lambda value: to_address_of(value, -1), "ip")


def domain(*sources: str) -> Value:
    """The host of `HOST:PORT` where it is a name and no address."""
    return Value(sources, to_domain, "keyword")


def port(*sources: str) -> Value:
    """The port of `HOST:PORT`, or a port alone."""
    return Value(sources, to_port, "long")


def http_status(*sources: str) -> Value:
    """A status of three digits; proxies write 0 or -1 where they sent none."""
    return Value(sources, to_http_status, "long")


def http_version(*sources: str) -> Value:
    """The version of `HTTP/1.1`."""
    return Value(sources, to_http_version, "keyword")


def duration(*sources: str, unit: str = "s") -> Value:
    """Nanoseconds, from a number of this unit (s, ms, us, ns) or from Go's text (`1.5ms`, `2m3s`)."""
    return Value(sources, Nanoseconds(_UNITS_NS[unit]), "long")


def level(*sources: str) -> Value:
    """A level's one name: trace, debug, info, notice, warn, error, critical, alert, emergency, fatal, or as written."""
    return Value(sources, to_level, "keyword")


def mapped(source: str, names: Mapping[Any, Any], *, default: Any = None, kind: str = "keyword") -> Value:
    """What a table of names says of the value."""
    return Value((source,), lambda value: names.get(value, default) if isinstance(value, str | int) else default, kind)


def made(convert: Convert, *sources: str, kind: str = "keyword") -> Value:
    """What a function of the format makes of the value."""
    return Value(sources, convert, kind)


def of_object(convert: Convert, *sources: str, kind: str = "keyword") -> Value:
    """What a function of the format makes of a whole object: several of its keys make one value."""
    return Value(sources, OfObject(convert), kind)


def url_path(*sources: str) -> Value:
    """The path of a request target."""
    return Value(sources, to_path, "keyword")


def url_query(*sources: str) -> Value:
    """The query of a request target, without its question mark."""
    return Value(sources, to_query, "keyword")


def http_outcome(*sources: str) -> Value:
    """`success` below status 400, else `failure`."""
    return Value(sources, _http_outcome, "keyword")


def to_text(value: Any) -> str | None:
    """Return a text that is not empty, or None."""
    return value if isinstance(value, str) and value else None


def to_path(value: Any) -> str | None:
    """Return the path of a request target (`/a?b`, `http://host/a`) or None."""
    return _target(value)[0]


def to_query(value: Any) -> str | None:
    """Return the query of a request target or None."""
    return _target(value)[1]


class TextBut(msgspec.Struct, frozen=True):
    """Conversion to a text that is none of those by which a format says that there is none."""

    absent: frozenset[str]

    def __call__(self, value: Any) -> str | None:
        """Return the text or None."""
        return value if isinstance(value, str) and value not in self.absent else None


class OfObject(msgspec.Struct, frozen=True):
    """Conversion of an object, the one kind that takes any; whatever else stands at its place gives None."""

    convert: Convert

    def __call__(self, value: Any) -> Any:
        """Return what the function makes of an object, or None."""
        return self.convert(value) if isinstance(value, dict) else None


class Nanoseconds(msgspec.Struct, frozen=True):
    """Conversion to a duration; `scale` is the unit of a bare number in nanoseconds."""

    scale: int

    def __call__(self, value: Any) -> int | None:
        """Return nanoseconds or None."""
        return to_nanoseconds(value, self.scale)


def to_integer(value: Any) -> int | None:
    """Return a 64-bit integer or None."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            return None
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and -LONG_LIMIT <= value < LONG_LIMIT else None


def to_number(value: Any) -> float | None:
    """Return a finite float or None."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _FLOAT_LIMIT else None


def to_address(value: Any) -> str | None:
    """Return an IP address in canonical form or None; without its zone (`%eth0`), for which ECS's type has no place.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.7`) is the IPv4 address.
    """
    if isinstance(value, str) and _IPV4.fullmatch(value):
        return value
    name = _split(value)[0]
    if not name or len(name) > ADDRESS_LIMIT or not (name[0].isdigit() or ":" in name or name[0] in _HEX):
        return None
    try:
        found = ipaddress.ip_address(name.partition("%")[0])
        return str(getattr(found, "ipv4_mapped", None) or found)
    except ValueError:
        return None


def to_address_of(value: Any, place: int) -> str | None:
    """Return the address at a place of a list apart by commas or None."""
    return to_address(value.split(",")[place].strip(" ")) if isinstance(value, str) else None


def to_http_status(value: Any) -> int | None:
    """Return a status from 100 to 999 or None."""
    found = to_integer(value)
    return found if found is not None and 100 <= found <= 999 else None


def to_http_version(value: Any) -> str | None:
    """Return what stands behind `HTTP/` or None."""
    return value[5:] or None if isinstance(value, str) and value.startswith("HTTP/") else None


def to_domain(value: Any) -> str | None:
    """Return a host's name, None for an address or what is no name (letters, digits, `.`, `-` and `_`)."""
    name = _split(value)[0]
    return name if name and _NAME.fullmatch(name) and to_address(name) is None else None


def to_port(value: Any) -> int | None:
    """Return a port (0 to 65535) or None."""
    found = to_integer(value) if not isinstance(value, str) or value.isdigit() else to_integer(_split(value)[1])
    return found if found is not None and 0 <= found < 65536 else None


def to_nanoseconds(value: Any, scale: int) -> int | None:
    """Return a duration in nanoseconds or None; `scale` is the unit of a bare number in nanoseconds."""
    if isinstance(value, str) and (found := _GO_DURATION.fullmatch(value)) and value:
        parts = _GO_PART.findall(found[0])
        return to_integer(sum(round(float(count) * _UNITS_NS[unit]) for count, unit in parts)) if parts else None
    if isinstance(value, str) and (plain := _DECIMAL.fullmatch(value)):
        whole, fraction = plain[1], (plain[2] or "")[:9]
        return to_integer(int(whole) * scale + int(fraction or "0") * scale // 10 ** len(fraction))
    if type(value) is int:
        return to_integer(value * scale)
    found_number = to_number(value) if isinstance(value, float) else None
    return None if found_number is None else to_integer(round(found_number * scale))


def to_level(value: Any) -> str | None:
    """Return a level's one name; numbers are those of pino, bunyan and their kin (10 to 60).

    Steps between levels (slog's `DEBUG-2`, `INFO+4`) are left out, and colours (winston's `colorize`).
    """
    if isinstance(value, str):
        name = _STEP.sub("", without_colours(value).strip().lower())
        return _LEVELS.get(name, name) if 0 < len(name) <= LEVEL_CHARACTERS else None
    return _NUMBERED_LEVELS.get(value) if type(value) is int else None


def to_known_level(value: Any) -> str | None:
    """Return the one name of a text that is a level of a common logger; any other is none."""
    name = to_level(value) if isinstance(value, str) else None
    return name if name in _LEVELS or name in _LEVELS.values() else None


LEVEL_CHARACTERS: Final = 32
"""A longer text is no level."""

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_.])?")
_STEP: Final = re.compile(r"(?<=[a-z])[+-][0-9]{1,3}\Z")
IPV4: Final = r"\.".join([r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"] * 4)
"""An IPv4 address in canonical form."""

_IPV4: Final = re.compile(IPV4)

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,3})?")
_DECIMAL: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{0,40}))?")
_FLOAT_LIMIT: Final = 3.4e38
_GO_DURATION: Final = re.compile(r"(?:[0-9]{1,18}(?:\.[0-9]{1,18})?(?:ns|us|µs|μs|ms|s|m|h))+")
_GO_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|μs|ms|s|m|h)")
_UNITS_NS: Final = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_HEX: Final = frozenset("abcdefABCDEF")
_BOOLEANS: Final = {"true": True, "false": False, "yes": True, "no": False}
_LEVELS: Final = {
    alias: name
    for name, aliases in {
        "trace": "trc trac trce t finest verbose v all",
        "debug": "dbg debu d fine finer dbug",
        "info": "inf i information informational config log",
        "notice": "note n",
        "warn": "warning wrn w warni",
        "error": "err e eror erro fail severe",
        "critical": "crit c",
        "alert": "a",
        "emergency": "emerg",
        "fatal": "ftl fata f panic pani pnc dpanic",
    }.items()
    for alias in aliases.split()
}
_NUMBERED_LEVELS: Final = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}


def to_identifier(value: Any) -> str | None:
    """Return a text, or an integer as text, or None."""
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and value not in NOTHING else None


def _split(value: Any) -> tuple[str | None, str | None]:
    """Split `HOST:PORT`; more than one colon without brackets is an IPv6 address."""
    if not isinstance(value, str) or value in NOTHING:
        return None, None
    if value[0] == "[":
        name, _, rest = value[1:].partition("]")
        return name or None, rest.removeprefix(":") or None
    if value.count(":") == 1:
        name, _, number = value.partition(":")
        return name or None, number or None
    return value, None


def _target(value: Any) -> tuple[str | None, str | None]:
    if not isinstance(value, str) or not value:
        return None, None
    if "://" in value[:9]:
        value = "/" + value.partition("://")[2].partition("/")[2]
    elif value[0] != "/":
        return None, None
    path, mark, query = value.partition("?")
    return path, query if mark and query else None


def _http_outcome(value: Any) -> str | None:
    status = to_integer(value)
    if status is None or not 100 <= status <= 599:
        return None
    return "success" if status < 400 else "failure"
