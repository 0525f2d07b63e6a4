"""The chunk path: the same batches as the reference path, byte for byte, at a fraction of its cost.

A message whose records have one known shape (`pipelines.decode.columns`) is decoded by one call, its times are unpacked
by one call, its lines are escaped by one call, and the documents are one join of buffers that are constant for the
frame, constant for the (container, stream), or made for all records at once. Nothing is spliced but what
`parsers.canonical` encoded, ids and digits rendered from integers. All else goes record by record through
`pipelines.reference`.

Measured by `make bench`; held equal to the reference by `tests/property/test_paths_agree.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from parsers.canonical import encode
from parsers.splice import Spliced
from parsers.table import unique
from pipelines import reference
from pipelines.batch import Batch, DataStream, Documents, Outcomes
from pipelines.books import Refused, close_batch, with_lookahead
from pipelines.decode.columns import Decoded, are_objects, decode_columns, key_bytes
from pipelines.decode.forward import EntryError, Record
from pipelines.decode.groups import WHOLE_MESSAGE_LIMIT, entries, groups, has_cut_lines, parted
from pipelines.frame import Frame, Message, Origin, document_ids, event_sequences
from pipelines.join import UNMARKED, mark_of, may_go_on
from pipelines.layout import NO_FIELDS, Lines, Part, Span, render, singly, slices
from pipelines.normalize.container import Line, normalise
from pipelines.normalize.parsed import FAR_S, Document, event_of, failed_tail, far_tail
from pipelines.parse import near_second
from pipelines.parse_columns import Held, parse_columns
from pipelines.settings import Settings
from pipelines.state import State

STREAMS_KEPT_BYTES: Final = 16 << 20
"""Bound of what is kept of streams, one for each (origin, tag, container, stream); about 1.5 KB each."""

STREAM_BYTES: Final = 512
"""What a stream costs beside its tail's bytes and those of its key."""

FEW_STREAMS: Final = 64
"""So many new streams a message may always bring; more must serve four records each, or making them gains nothing."""

ENCODINGS: Final = ("forward", "forward-message")


class _Stream(msgspec.Struct, eq=False):
    """What is known of a stream: a line of it with the tail that all share, and that encoded by parser's dataset."""

    line: Line
    held: Held | None
    plain: "_Tail"
    tails: dict[str | None, "_Tail"]


class _Tail(msgspec.Struct):
    """A tail in the pieces between which a parser's findings come: the stream's hosts, `tidewaiter`, the rest."""

    own_hosts: list[str]
    hosts: bytes
    opened: bytes
    rest: bytes
    whole: bytes


NO_STREAM: Final = _Stream(Line("", None, {}, None), None, _Tail([], b"", b"", b"", b""), {})
"""Stands for the stream of a piece, which is cut out before anything looks at it."""


class _Read(msgspec.Struct):
    """Records decoded by one call, as columns; `pieces` are the places of those that are pieces of lines."""

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: list[str]
    streams: list[_Stream]
    pieces: Sequence[int] = ()

    def cut(self, start: int, end: int) -> "_Read":
        """Return the records from `start` up to `end`."""
        return _Read(
            self.seconds[start:end], self.nanoseconds[start:end], self.lines[start:end], self.streams[start:end]
        )


class ChunkPath:
    """Makes batches; keeps what it encoded of the streams it saw, which no output depends on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._streams: dict[tuple[Origin, bytes, bool], dict[Any, _Stream]] = {}
        self._held: dict[tuple[str, ...], Held] = {}
        self._events: dict[str | None, bytes] = {}
        self._writer: object = None
        self._kept_bytes = 0

    def process(self, frame: Frame, state: State) -> Iterator[Batch]:
        """Make the batches of a frame: one, or slices of RECORDS_LIMIT records."""
        writer = (frame.journal, frame.epoch)
        if writer != self._writer or self._kept_bytes > STREAMS_KEPT_BYTES:
            self._streams.clear()
            self._held.clear()
            self._writer, self._kept_bytes = writer, 0
        waited = reference.waited_enough(frame, self._settings, state)
        first = 0
        for (spans, count), last in with_lookahead(slices(self._spans(frame, state))):
            lines = state.take_outcomes() if last else None
            yield self._assemble(frame, spans, range(first, first + count), waited, last=last, lines=lines)
            first += count
            waited = []
        if not first:
            yield reference.assemble(frame, [], 0, waited, last=True, lines=state.take_outcomes())

    def _spans(self, frame: Frame, state: State) -> Iterator[Span]:
        index = 0
        for group, encoding, payload in groups(frame):
            read = self._read(frame, group, encoding, payload, state)
            parts: Iterable[tuple[Sequence[Message], memoryview, _Read | None]] = [(group, payload, read)]
            if read is None and len(group) > 1:
                # One after the other: what becomes of a message may depend on those before it.
                parts = (
                    ([message], own, self._read(frame, [message], encoding, own, state))
                    for message, own in parted(group, payload)
                )
            for part, own, made in parts:
                for span in self._settled(frame, part, encoding, own, made, state=state, first=index):
                    yield span
                    index += span.size if isinstance(span, Lines) else 1

    def _settled(
        self,
        frame: Frame,
        group: Sequence[Message],
        encoding: str,
        payload: memoryview,
        read: "_Read | None",
        *,
        state: State,
        first: int,
    ) -> Iterator[Span]:
        """Yield what was decoded by one call, and one by one what was not, or is a piece of a line."""
        if read is None:
            yield from reference.settle(
                frame, group[0], encoding, payload, settings=self._settings, state=state, first=first
            )
            return
        start = 0
        apart = entries(group, payload) if read.pieces else []
        for at in read.pieces:
            if start < at:
                yield self._laid_out(frame, read.cut(start, at), state)
            message, entry = apart[at]
            yield reference.settle_entry(
                frame, message, entry, encoding, settings=self._settings, state=state, index=first + at
            )
            start = at + 1
        if start < len(read.lines):
            yield self._laid_out(frame, read.cut(start, len(read.lines)) if start else read, state)

    def _read(
        self, frame: Frame, group: Sequence[Message], encoding: str, payload: memoryview, state: State
    ) -> "_Read | None":
        """Decode neighbouring messages by one call, or return None where that cannot be done."""
        message, count = group[0], sum(each.claimed for each in group)
        if encoding not in ENCODINGS or not 0 < count <= len(payload) <= WHOLE_MESSAGE_LIMIT:
            return None
        if may_go_on(state, frame.origins[message.origin]):
            return None
        if len(group) > 1 and not are_objects(payload, [each.length for each in group]):
            return None
        decoded = decode_columns(encoding, payload, count)
        if decoded is None or has_cut_lines(decoded, len(payload)):
            return None
        try:
            streams, pieces = self._streams_of(frame, message, decoded)
        except EntryError:
            return None
        return _Read(decoded.seconds, decoded.nanoseconds, decoded.lines, streams, pieces) if streams else None

    def _streams_of(self, frame: Frame, message: Message, decoded: Decoded) -> tuple[list["_Stream"], list[int]]:
        """Return each record's stream, and the places of pieces; nothing where nearly every record has its own."""
        origin, tags = frame.origins[message.origin], decoded.tags
        place = (origin, message.tag, tags is None)
        known = self._streams.get(place, {})
        keys: Sequence[Any] = decoded.keys if tags is None else list(zip(tags, decoded.keys, strict=True))
        try:
            return list(map(known.__getitem__, keys)), []
        except KeyError:
            missing = set(keys).difference(known)
            if len(missing) > max(FEW_STREAMS, len(keys) // 4):
                return [], []
            self._streams[place] = known
            pieces = set()
            for key in missing:
                tag, record = ("", key) if tags is None else key
                fields = decoded.record_of(record)
                mark = mark_of(fields, tag.encode() or message.tag)
                if mark is not None and mark.line == UNMARKED:
                    return [], []
                if mark is not None:
                    pieces.add(key)
                    continue
                stream = self._stream(frame, origin, tag.encode() or message.tag, fields)
                if stream is None:
                    return [], []
                known[key] = stream
                kept = 2 * len(stream.plain.whole) + key_bytes(record)
                self._kept_bytes += STREAM_BYTES + len(message.tag) + len(tag) + kept
        found = [known.get(key, NO_STREAM) for key in keys]
        return found, [at for at, key in enumerate(keys) if key in pieces] if pieces else []

    def _stream(self, frame: Frame, origin: Origin, tag: bytes, fields: dict[str, Any]) -> _Stream | None:
        """Make what all lines of a stream share, by the reference's own function.

        None where the sender said another image of the same container before: the choice, which is one, could begin
        with either, and the order of the lines decides.
        """
        line = normalise(Record((1, 0), fields), frame=frame, origin=origin, tag=tag, settings=self._settings)
        plain = self._encoded(line.tail, None)
        held = Held(line.stream, self._settings.parsers) if line.stream else None
        if held is not None and held.asked is None:
            own, held = held, self._held.setdefault(held.stream.key, held)
            if own.stream.image != held.stream.image:
                return None
        return _Stream(line, held, plain, {None: plain})

    def _tail(self, stream: _Stream, dataset: str | None) -> _Tail:
        """Return a stream's tail for a parser's dataset."""
        made = stream.tails.get(dataset)
        if made is None:
            made = stream.tails[dataset] = self._encoded(stream.line.tail, dataset)
            self._kept_bytes += 2 * len(made.whole)
        return made

    def _encoded(self, tail: dict[str, Any], dataset: str | None) -> _Tail:
        rest = {name: value for name, value in tail.items() if name not in ("related", "tidewaiter")}
        rest["data_stream"] = {**rest["data_stream"], "dataset": self._settings.stream_of(dataset).dataset}
        hosts, opened = encode(tail["related"])[1:-1], b'},"tidewaiter":{'
        end = encode(tail["tidewaiter"])[1:] + b",%b\n" % encode(rest)[1:]
        return _Tail(tail["related"]["hosts"], hosts, opened, end, hosts + opened + end)

    def _event(self, dataset: str | None) -> bytes:
        """Return what `event` holds behind its id before what a parser found."""
        made = self._events.get(dataset)
        if made is None:
            made = self._events[dataset] = encode(event_of(self._settings.stream_of(dataset), dataset))[1:-1]
        return made

    def _laid_out(self, frame: Frame, read: "_Read", state: State) -> Lines:
        """Parse the lines of a message and lay out their documents, in parts by parser's dataset."""
        streams, near_s = read.streams, near_second(frame.journal_time)
        size = len(streams)
        held = [stream.held for stream in streams]
        if state.seen is not None:
            state.seen |= {each.stream.key: each.stream for each in held if each is not None}
        found, failed, texts = parse_columns(held, read.lines, near_s, choices=state.choices, outcomes=state.outcomes)
        part = Part(
            None,
            range(size),
            read.seconds,
            read.nanoseconds,
            read.lines,
            [self._event(None)] * size,
            [NO_FIELDS] * size,
            [stream.plain.whole for stream in streams],
        )
        for at in failed:
            part.tails[at] = self._encoded(failed_tail(streams[at].line.tail), None).whole
        if found.count(None) == size:
            return Lines(size, [part])
        self._put(part, found, streams, texts)
        by_dataset: dict[str | None, list[int]] = {}
        for at, each in enumerate(found):
            by_dataset.setdefault(None if each is None else each[0], []).append(at)
        if len(by_dataset) == 1:
            (part.dataset,) = by_dataset
            return Lines(size, [part])
        return Lines(size, [part.picked(dataset, offsets) for dataset, offsets in by_dataset.items()])

    def _put(self, part: Part, found: list[Spliced | None], streams: list[_Stream], texts: Sequence[str]) -> None:
        """Put what parsers found into the columns of a message, and make those lists that were not."""
        part.seconds, part.nanoseconds = seconds, nanoseconds = list(part.seconds), list(part.nanoseconds)
        events, messages, fields, tails = part.events, part.messages, part.fields, part.tails
        begun: dict[str | None, bytes] = {}
        for at, each in enumerate(found):
            if each is None:
                continue
            dataset, event, time, message, own, related, hosts, rest = each
            stream = streams[at]
            tail = stream.tails.get(dataset) or self._tail(stream, dataset)
            if time is not None:
                if not -FAR_S <= time[0] - seconds[at] <= FAR_S:
                    tail = self._encoded(far_tail(stream.line.tail, time), dataset)
                else:
                    seconds[at], nanoseconds[at] = time
            events[at] = (begun.get(dataset) or begun.setdefault(dataset, self._event(dataset))) + event
            if hosts:
                together = unique([list(hosts), tail.own_hosts])
                fields[at] = b'%b%b%b"hosts":%b' % (own, NO_FIELDS, related, encode(together))
                tails[at] = b'%b"app":{%b},%b' % (tail.opened, rest, tail.rest) if rest else tail.opened + tail.rest
            else:
                fields[at] = b"%b%b%b" % (own, NO_FIELDS, related)
                if rest:
                    tails[at] = b'%b%b"app":{%b},%b' % (tail.hosts, tail.opened, rest, tail.rest)
                else:
                    tails[at] = tail.whole
            if message != texts[at]:
                messages[at] = message

    def _assemble(
        self,
        frame: Frame,
        spans: list[Span],
        records: range,
        waited: list[reference.Joined],
        *,
        last: bool,
        lines: Outcomes | None,
    ) -> Batch:
        """Join the columns of all messages, keeping each record's index; see to the rest one by one."""
        gathered: dict[str | None, list[tuple[int, Part]]] = {}
        others: list[tuple[int, reference.Settled]] = []
        index = records.start
        for span in spans:
            if isinstance(span, Lines):
                for part in span.parts:
                    gathered.setdefault(part.dataset, []).append((index - records.start, part))
                index += span.size
            else:
                others.append((index, span))
                index += 1
        singles, documents = _singles(others), []
        for dataset, parts in gathered.items():
            mine = singles.pop(self._settings.stream_of(dataset), [])
            parts += [(at - records.start, singly(each, dataset, frame.journal_time)) for at, each in mine]
            parts.sort(key=itemgetter(0))
            documents.append(render(frame, parts, records, self._settings))
        documents += [_rendered_singly(frame, stream, each) for stream, each in singles.items()]
        refused = [(at, item) for at, item in others if isinstance(item, Refused)]
        pieces = [item for _, item in others if isinstance(item, reference.Piece)]
        joined, counts = reference.joined_documents(waited, pieces)
        return close_batch(
            frame, (*documents, *joined), refused, records=records, last=last, pieces=counts, lines=lines
        )


def _singles(others: list[tuple[int, reference.Settled]]) -> dict[DataStream, list[tuple[int, Document]]]:
    """Return the documents that the reference made, with their indexes, by data stream."""
    made: dict[DataStream, list[tuple[int, Document]]] = {}
    for index, item in others:
        if isinstance(item, Document):
            made.setdefault(item.stream, []).append((index, item))
    return made


def _rendered_singly(frame: Frame, stream: DataStream, items: list[tuple[int, Document]]) -> Documents:
    """Encode the documents of a data stream by the reference's encoder, where no others are."""
    lines = []
    for index, item in items:
        (identifier,) = document_ids(frame, index, 1)
        shared, (digits,) = event_sequences(frame, index, 1)
        lines.append(reference.encode_document(frame, item, identifier=identifier, sequence=int(shared + digits)))
    ids = document_ids(frame, 0, items[-1][0] + 1).picked([index for index, _ in items])
    return Documents.of_lines(stream, lines, ids)
