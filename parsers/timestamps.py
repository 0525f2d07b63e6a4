"""Instants as RFC 3339 text in UTC with nine fractional digits."""

from datetime import UTC, datetime
from typing import Final

LAST_SECOND: Final = 253402300799
"""9999-12-31T23:59:59Z: beyond it RFC 3339 has no year."""

SECONDS_KEPT: Final = 4096
"""Bound of the cache of rendered seconds; a full one is emptied."""


class _Seconds(dict[int, bytes]):
    """`2026-11-23T02:27:00.` by Unix second; rendering one costs as much as all the rest of a document's head."""

    def __missing__(self, second: int) -> bytes:
        if len(self) >= SECONDS_KEPT:
            self.clear()
        text = self[second] = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.".rjust(20, "0").encode()
        return text


second_text: Final = _Seconds()
"""Maps a Unix second in 0..LAST_SECOND to its text up to and including the decimal point."""


def rfc3339(time_ns: int) -> str:
    """Render nanoseconds since the Unix epoch, from 0 up to the end of LAST_SECOND."""
    second, nanosecond = divmod(time_ns, 1_000_000_000)
    return f"{second_text[second].decode()}{nanosecond:09d}Z"


def renders(text: str, second: int, nanosecond: int) -> bool:
    """Tell whether `text` is this instant in RFC 3339, in UTC, with a fraction of up to nine digits.

    Container runtimes write it so (`…Z` without trailing zeros, or `…+00:00`), and Fluent Bit's parsers keep it beside
    the time that they made of it.
    """
    instant = text[:-6] if text.endswith("+00:00") else text.removesuffix("Z")
    whole, _, fraction = instant.partition(".")
    return (
        len(instant) < len(text)
        and f"{whole}." == second_text[second].decode()
        and len(fraction) <= 9
        and fraction.ljust(9, "0") == f"{nanosecond:09d}"
    )
