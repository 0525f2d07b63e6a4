"""The chunk path of `pipelines.normalize.meeting`: lines whose fields meet their stream's tail, before the laying out.

Such a line gets fields that hold both, and a stream like its own whose tail is what is left: some 6 us a line. Where no
stream has anything that a line could meet, nothing is looked at.
"""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import orjson

from parsers.canonical import encode
from parsers.cells import MEMORY_CHARACTERS, Memory
from parsers.slabs import Filled, Slab
from parsers.table import KEPT
from pipelines.normalize.meeting import Roots, met, without

Stream = TypeVar("Stream", bound=Hashable)


class Meetings(Generic[Stream]):
    """Of the streams that were noted; `tail_of` gives one's tail, `with_tail` one like it with another tail."""

    def __init__(
        self, tail_of: Callable[[Stream], dict[str, Any]], with_tail: Callable[[Stream, dict[str, Any]], Stream]
    ) -> None:
        """Know no stream yet."""
        self._tail_of = tail_of
        self._with_tail = with_tail
        self._marks: dict[Stream, tuple[bytes, ...]] = {}
        self._left = Memory(lambda key: self._leave(*key))

    def note(self, stream: Stream) -> None:
        """Remember what the fields of a line hold that meets this stream's tail."""
        marks = tuple(b",%b:" % encode(name) for name in self._tail_of(stream) if name not in KEPT)
        if marks:
            self._marks[stream] = marks

    def forget(self) -> None:
        """Forget all streams."""
        self._marks.clear()
        self._left.clear()

    def meet(self, slab: Slab, streams: list[Stream]) -> list[Stream]:
        """Replace the fields of lines that meet their tails; return the streams to lay the slab's lines out with."""
        if not self._marks or slab.fields.template == b"":
            return streams
        rows = slab.fields.rows(len(streams))
        left = list(streams)
        for row, stream in enumerate(streams):
            fields = rows[row]
            if not any(mark in fields for mark in self._marks.get(stream, ())):
                continue
            merged, roots, claims = met(orjson.loads(b"{%b}" % fields[1:]), self._tail_of(stream))
            rows[row] = b",%b" % encode(merged)[1:-1]
            key = (stream, roots, encode(claims))
            # A line may claim anything: what is long, or never comes again, is not kept.
            left[row] = self._left[key] if len(key[2]) <= MEMORY_CHARACTERS else self._leave(*key)
        slab.fields = Filled(b"%b", (rows,))
        return left

    def _leave(self, stream: Stream, roots: Roots, claims: bytes) -> Stream:
        return self._with_tail(stream, without(self._tail_of(stream), roots, orjson.loads(claims)))
