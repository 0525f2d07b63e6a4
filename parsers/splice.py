"""What a parsed line gives to its document, encoded: the one form in which both ways of a format hand it on."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from parsers.canonical import encode
from parsers.flattened import flattened
from parsers.table import Parsed
from parsers.times import Instant

MEMORY_LIMIT: Final = 4096
"""Values of which a table keeps what was made, for each place."""

RESTING: Final = 1 << 18
"""Where a memory is full, values vary too much to keep any: so many are made anew before that is tried again."""

MEMORY_CHARACTERS: Final = 512
"""Of a longer text it is not kept."""


class Spliced(NamedTuple):
    """What a parsed line gives to its document.

    `event` is the inside of `event` behind its id (without `kind`, `module`, `dataset`), each member behind a comma; so
    is `fields`; `related` are members, each before a comma, without hosts, which the stream's own follow; `rest` is the
    inside of an object, for `tidewaiter.app`.
    """

    dataset: str | None
    event: bytes
    time: Instant | None
    message: str
    fields: bytes
    related: bytes
    hosts: tuple[str, ...]
    rest: bytes


def spliced(parsed: Parsed) -> Spliced:
    """Encode what a parser found."""
    related = {kind: values for kind, values in parsed.related.items() if kind != "hosts"}
    return Spliced(
        parsed.dataset,
        behind(encode(parsed.event)),
        parsed.time,
        parsed.message,
        behind(encode(parsed.fields)),
        encode(related)[1:-1] + b"," if related else b"",
        tuple(parsed.related.get("hosts", ())),
        encode(flattened(parsed.rest))[1:-1] if parsed.rest else b"",
    )


def behind(encoded: bytes) -> bytes:
    """Return an object's members with a comma before the first."""
    return b"," + encoded[1:-1] if len(encoded) > 2 else b""


class Memory(dict[Any, Any]):
    """What was made of a value, or of a tuple of values, before. All keys of one memory have the same types."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        """Keep nothing yet; `make` is asked for what is missing."""
        super().__init__()
        self._make = make
        self._resting = 0

    def __missing__(self, key: Any) -> Any:
        """Make what is missing, and keep it where values come again and are not too long."""
        if self._resting:
            self._resting -= 1
            return self._make(key)
        made = self._make(key)
        if len(self) >= MEMORY_LIMIT:
            self.clear()
            self._resting = RESTING
        elif _characters(key) <= MEMORY_CHARACTERS:
            self[key] = made
        return made


def _characters(key: Any) -> int:
    texts = key if type(key) is tuple else (key,)
    return sum(len(text) for text in texts if type(text) is str)
