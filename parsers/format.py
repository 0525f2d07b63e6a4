"""Formats: what a stream of lines is written in, found by their modules' names in `parsers.formats`."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache, cached_property
from typing import Final

import msgspec

import parsers.formats
from parsers.table import Parsed, Payload, Table

GENERAL_RANK: Final = 5
"""From this rank on a format is general: what it takes may as well be a narrower format's."""


class Format(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A kind of payload: its tables, tried in order, and how it is told from others.

    `sniff` is cheap: a line for which it is false is not of this format; a line of which it is true may be. `images`
    are last parts of the names of images that write it (`nginx`). `rank` orders what is tried: 0 for formats with marks
    of their own, higher for general ones (JSON of any logger 5, logfmt 6, text with a level 7).
    """

    title: str
    tables: tuple[Table, ...]
    sniff: Callable[[str], bool]
    images: tuple[str, ...] = ()
    rank: int = 0

    @cached_property
    def of_objects(self) -> bool:
        """Whether it may take a line that begins as a JSON object does."""
        return any(table.of_objects for table in self.tables)

    @cached_property
    def of_texts(self) -> bool:
        """Whether it may take another line."""
        return not all(table.of_objects for table in self.tables)

    def parse(self, payload: Payload, near_s: int) -> Parsed | None:
        """Parse one payload by the first table that takes it; None where none does, or `sniff` says no.

        A line that begins with a brace is for tables of JSON objects, every other for the rest.
        """
        may = self.of_objects if payload.text.startswith("{") else self.of_texts
        if not may or not self.sniff(payload.text):
            return None
        for table in self.tables:
            parsed = table.parse(payload, near_s)
            if parsed is not None:
                return parsed
        return None


@cache
def formats() -> dict[str, Format]:
    """All formats by name, in the order in which they are tried."""
    names = sorted(module.name for module in pkgutil.iter_modules(parsers.formats.__path__))
    found = {name: importlib.import_module(f"parsers.formats.{name}").FORMAT for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].rank))


def datasets() -> list[str]:
    """Return the names of all data streams' datasets that parsers choose, sorted."""
    return sorted({table.dataset for each in formats().values() for table in each.tables if table.dataset})


def sniffed(payload: Payload, near_s: int) -> tuple[str, Parsed] | None:
    """Return the first format that takes a payload, and what it found."""
    for name, each in formats().items():
        parsed = each.parse(payload, near_s)
        if parsed is not None:
            return name, parsed
    return None
