"""Streams on the chunk path: what all lines of one share is encoded once, for each dataset of a parser."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import msgspec

from parsers.canonical import encode, encode_texts
from parsers.slabs import Slab
from pipelines.held import Held
from pipelines.layout import Lines, Part, merged
from pipelines.meeting_columns import Meetings
from pipelines.middles import Sent, Tail, keep_originals, middles, picker
from pipelines.normalize.container import Line
from pipelines.normalize.original import is_wanted
from pipelines.normalize.parsed import event_of, failed_tail, far_tail
from pipelines.parse import is_gathered
from pipelines.parse_columns import ParsedColumns
from pipelines.sections import Key
from pipelines.settings import Settings


class KnownStream(msgspec.Struct, eq=False):
    """What is known of a stream: a line of it with the tail that all share, and that encoded by parser's dataset.

    Lines of it that belong together are kept under `group`; they begin something only where it `gathers`.
    `keys` are the entries of the table of metadata that it was made of.
    """

    line: Line
    held: Held | None
    group: Key | None
    gathers: bool
    tails: dict[str | None, Tail]
    keys: tuple[Key, ...] = ()

    @property
    def is_asked(self) -> bool:
        """Whether a label or a rule says how its lines are parsed."""
        return self.held is not None and self.held.asked is not None


NO_STREAM: Final = KnownStream(Line("", None, {}, None), None, None, False, {})
"""Stands for the stream of a record that is cut out before anything looks at it: a piece, or one that waits."""

_end: Callable[[Tail], bytes] = attrgetter("end")


class Streams:
    """Makes what lines of streams share, and lays lines out with it; `kept_bytes` is what that takes, about."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._events: dict[str | None, bytes] = {}
        self._meetings = Meetings(lambda stream: stream.line.tail, self._with_tail)
        self.kept_bytes = 0

    def forget(self) -> None:
        """Forget what was kept of streams."""
        self._meetings.forget()
        self.kept_bytes = 0

    def known(self, line: Line, held: Held | None, group: Key, keys: tuple[Key, ...]) -> KnownStream:
        """Make a stream of a line of it, and of these entries of the table of metadata."""
        gathers = line.stream is not None and is_gathered(line.stream, self._settings.parsers)
        stream = KnownStream(line, held, group, gathers, {None: self._encoded(line.tail, None)}, keys)
        self.kept_bytes += 2 * len(stream.tails[None].end)
        self._meetings.note(stream)
        return stream

    def lay_out(self, sent: Sent, streams: list[KnownStream], parsed: ParsedColumns) -> Lines:
        """Lay out the documents of a message's lines, in parts by parser's dataset."""
        size, plain = len(streams), parsed.plain
        slabs = [*parsed.slabs, Slab("", plain)] if plain else parsed.slabs
        failing = {at: self._encoded(failed_tail(streams[at].line.tail), None) for at in parsed.failed}
        kept = self._settings.original
        keeping = is_wanted(kept, coloured=sent.texts is not sent.lines)
        parts: dict[str | None, list[Part]] = {}
        for slab in slabs:
            dataset = slab.dataset
            mine = streams if len(slab.places) == size else [*picker(slab.places)(streams)]
            mine = self._meetings.meet(slab, mine)
            by_stream = {stream: self._tail(stream, dataset) for stream in set(mine)}
            tails = list(map(by_stream.__getitem__, mine))
            if failing and slab.places is plain:
                tails = [failing.get(at, tail) for at, tail in zip(plain, tails, strict=True)]

            def far(
                row: int, time: tuple[int, int], mine: list[KnownStream] = mine, into: str | None = dataset
            ) -> Tail:
                return self._encoded(far_tail(mine[row].line.tail, time), into)

            own = sent.of(slab.places)
            if keeping:
                keep_originals(slab, own, kept, [stream.line.stream is not None for stream in mine])
            made = middles(slab, self._event(dataset), own, tails, far)
            parts.setdefault(dataset, []).append(Part(dataset, slab.places, made, list(map(_end, tails))))
        return Lines(size, [merged(each, size) for each in parts.values()])

    def _with_tail(self, stream: KnownStream, tail: dict[str, Any]) -> KnownStream:
        return KnownStream(
            msgspec.structs.replace(stream.line, tail=tail), stream.held, stream.group, stream.gathers, {}
        )

    def _tail(self, stream: KnownStream, dataset: str | None) -> Tail:
        """Return a stream's tail for a parser's dataset."""
        made = stream.tails.get(dataset)
        if made is None:
            made = stream.tails[dataset] = self._encoded(stream.line.tail, dataset)
            self.kept_bytes += 2 * len(made.end)
        return made

    def _encoded(self, tail: dict[str, Any], dataset: str | None) -> Tail:
        rest = {name: value for name, value in tail.items() if name not in ("related", "tidewaiter")}
        rest["data_stream"] = {**rest["data_stream"], "dataset": self._settings.stream_of(dataset).dataset}
        hosts = encode_texts(tail["related"]["hosts"])
        return Tail(hosts, b",".join(hosts), encode(tail["tidewaiter"])[1:] + b",%b\n" % encode(rest)[1:])

    def _event(self, dataset: str | None) -> bytes:
        """Return what `event` holds behind its id before what a parser found."""
        made = self._events.get(dataset)
        if made is None:
            made = self._events[dataset] = encode(event_of(self._settings.stream_of(dataset), dataset))[1:-1]
        return made
