"""Formats: what a stream of lines is written in, found by their modules' names in `parsers.formats`."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, Final

import msgspec

import parsers.formats
from parsers.table import Parsed, Payload, Table
from parsers.trail_datasets import TRAIL_DATASETS

GENERAL_RANK: Final = 5
"""From this rank on a format is general: what it takes may as well be a narrower format's."""


class Format(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A kind of payload: its tables, tried in order, and how it is told from others.

    `sniff` is cheap: a line for which it is false is not of this format as far as the line alone can tell; a line of
    which it is true may be. `marks` are texts of which each such line holds one, where that is so: asked first, for it
    costs next to nothing; `object_marks` the same of lines that begin with a brace, where those hold others. Where
    somebody said that a stream is of this format, neither is asked. `images` are last parts of the names of images
    that write it (`nginx`). `rank` orders what is tried: 0 for formats with marks of their own, higher for general
    ones (JSON of any logger 5, logfmt 6, text with a level 7). `subject` says what container an object claims to be
    about, as members of ECS's `container`, where it is a sensor's. Lines that are `testimony` say what others did (an
    audit log): they are found by themselves only where no container wrote them, and taken from a container's only where
    an operator's rule says so, never for its label.
    """

    title: str
    tables: tuple[Table, ...]
    sniff: Callable[[str], bool]
    marks: tuple[str, ...] = ()
    object_marks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    rank: int = 0
    subject: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    testimony: bool = False

    @cached_property
    def of_objects(self) -> bool:
        """Whether it may take a line that begins as a JSON object does."""
        return any(table.of_objects for table in self.tables)

    @cached_property
    def of_texts(self) -> bool:
        """Whether it may take another line."""
        return not all(table.of_objects for table in self.tables)

    @cached_property
    def is_finished_by_code(self) -> bool:
        """Whether code completes its objects: of a report each may become several documents, of an audit event one."""
        return any(table.finish is not None for table in self.tables)

    def may_be(self, text: str) -> bool:
        """Tell whether a line may be of this format."""
        marks = self.marks_of(objects=text.startswith("{"))
        return (not marks or any(mark in text for mark in marks)) and self.sniff(text)

    def marks_of(self, *, objects: bool) -> tuple[str, ...]:
        """Return the marks of lines that begin with a brace, or of all others."""
        return self.object_marks or self.marks if objects else self.marks

    def may_be_among(self, together: str) -> bool:
        """Tell whether one of some lines may be of this format, as far as marks say; the lines are put together."""
        return not self.marks or any(mark in together for mark in (*self.marks, *self.object_marks))

    def parse(self, payload: Payload, near_s: int, *, asked: bool = False) -> Parsed | None:
        """Parse one payload by the first table that takes it; None where none does, or `sniff` says no.

        `asked`: somebody said that the stream is of this format, and `sniff` is not asked. A line that begins with a
        brace is for tables of JSON objects, every other for the rest.
        """
        may = self.of_objects if payload.text.startswith("{") else self.of_texts
        if not may or not (asked or self.may_be(payload.text)):
            return None
        for table in self.tables:
            parsed = table.parse(payload, near_s)
            if parsed is not None:
                return parsed
        return None


def is_object(text: str) -> bool:
    """Sniff of formats that any JSON object may be of."""
    return text.startswith("{")


@cache
def formats() -> dict[str, Format]:
    """All formats by name, in the order in which they are tried."""
    names = sorted(module.name for module in pkgutil.iter_modules(parsers.formats.__path__))
    found = {name: importlib.import_module(f"parsers.formats.{name}").FORMAT for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].rank))


def datasets() -> list[str]:
    """Return the names of all data streams' datasets that parsers and trails choose, sorted."""
    of_formats = {table.dataset for each in formats().values() for table in each.tables if table.dataset}
    return sorted(of_formats.union(TRAIL_DATASETS))
