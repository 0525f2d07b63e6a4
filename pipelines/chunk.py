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

from pipelines import reference
from pipelines.accounts import Ledger
from pipelines.batch import Batch, DataStream, Documents, Outcomes
from pipelines.books import Refused, close_batch, with_lookahead
from pipelines.decode.columns import Decoded, are_objects, decode_columns, key_bytes
from pipelines.decode.forward import EntryError, Record
from pipelines.decode.groups import WHOLE_MESSAGE_LIMIT, entries, groups, has_cut_lines, parted
from pipelines.encode import derived_documents, encode_document, joined_documents
from pipelines.enrich import lookups
from pipelines.enrich.dependents import Dependents
from pipelines.enrich.describe import describe
from pipelines.enrich.metadata import Changes, Metadata
from pipelines.frame import Frame, Message, Origin, document_ids, event_sequences
from pipelines.gather import stream_key
from pipelines.gather_columns import Concerned, Trial, begins_among, has_open
from pipelines.held import Held
from pipelines.join import UNMARKED, mark_of, may_go_on
from pipelines.layout import Lines, Part, Span, heads, render, singly, slices
from pipelines.login_columns import put_logins
from pipelines.middles import Sent
from pipelines.normalize.container import normalise
from pipelines.normalize.daemons import may_be_daemons
from pipelines.normalize.parsed import Document
from pipelines.parse import Choices, near_second
from pipelines.parse_columns import ParsedColumns, parse_columns
from pipelines.report_lines import are_of_reports, places_of_reports
from pipelines.settings import Settings
from pipelines.settled import Joined, Piece, Settled, skipped_behind
from pipelines.state import State
from pipelines.streams import NO_STREAM, KnownStream, Streams

STREAMS_KEPT_BYTES: Final = 16 << 20
"""Bound of what is kept of streams, one for each (origin, tag, container, stream); about 1.5 KB each."""

STREAM_BYTES: Final = 512
"""What a stream costs beside its tail's bytes and those of its key."""

FEW_STREAMS: Final = 64
"""So many new streams a message may always bring; more must serve four records each, or making them gains nothing."""

ENCODINGS: Final = ("forward", "forward-message")


class _Read(msgspec.Struct):
    """Records decoded by one call, as columns; `pieces` are the places of those that are pieces of lines."""

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: list[str]
    streams: list[KnownStream]
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
        self._streams: dict[tuple[Origin, bytes, bool], dict[Any, KnownStream]] = {}
        self._dependents: Dependents[tuple[dict[Any, KnownStream], Any]] = Dependents()
        self._held: dict[tuple[str, ...], Held] = {}
        self._lines = Streams(settings)
        self._writer: object = None
        self._tables: list[lookups.Table | None] = []

    def process(self, frame: Frame, state: State) -> Iterator[Batch]:
        """Make the batches of a frame: one, or slices of RECORDS_LIMIT records with what derives from them."""
        writer = (frame.journal, frame.epoch)
        if writer != self._writer or self._lines.kept_bytes > STREAMS_KEPT_BYTES:
            self._writer = writer
            self._forget_streams()
        waited = reference.waited_enough(frame, self._settings, state)
        ledger = Ledger(frame)
        first = 0
        for (spans, count), last in with_lookahead(slices(self._spans(frame, state, ledger))):
            lines = state.take_outcomes() if last else None
            yield self._assemble(frame, spans, range(first, first + count), waited, ledger, last=last, lines=lines)
            first += count + skipped_behind(spans[-1])
            waited = []
        if not first:
            yield reference.assemble(frame, [], 0, waited, ledger, last=True, lines=state.take_outcomes())

    def _forget_streams(self) -> None:
        self._streams.clear()
        self._held.clear()
        self._dependents.clear()
        self._lines.forget()

    def _forget_changed(self, changes: Changes) -> None:
        """Forget the streams of containers of which something else is known now."""
        if self._dependents.may_all_be_stale(changes):
            self._forget_streams()
        for known, key in self._dependents.stale(changes):
            stream = known.pop(key, None)
            if stream is not None and stream.held is not None:
                self._held.pop(stream.held.stream.key, None)

    def _spans(self, frame: Frame, state: State, ledger: Ledger) -> Iterator[Span]:
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
                first, skipped = index, 0
                ledger.begin(first, part[0])
                for span in self._settled(frame, part, encoding, own, made, state=state, first=first):
                    yield span
                    skipped += skipped_behind(span)
                    index += span.size if isinstance(span, Lines) else 1 + skipped_behind(span)
                ledger.compare(part, encoding, index - first - skipped)

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
        """Yield what was decoded by one call, and one by one what was not, is a piece of a line or one of several."""
        if read is None:
            yield from reference.settle(
                frame, group[0], encoding, payload, settings=self._settings, state=state, first=first
            )
            return
        begin: set[int] | None = None
        if not read.pieces and not has_open(read.streams, state):
            trial = Trial(state)
            parsed = self._parsed(frame, read, trial, trial.outcomes)
            begin = begins_among(read.lines, read.streams, parsed.slabs, parsed.plain)
            if not begin:
                trial.keep()
                yield self._laid_out(read, state, parsed)
                return
        start = 0
        concerned = Concerned(read.lines, read.streams, state, begin)
        pieces = set(read.pieces)
        apart: list[tuple[Message, memoryview]] = []
        for at in sorted(pieces.union(concerned.places)):
            if at not in pieces and not concerned.takes(at):
                continue
            apart = apart or entries(group, payload)
            if start < at:
                yield self._parsed_and_laid_out(frame, read.cut(start, at), state)
            message, entry = apart[at]
            yield reference.settle_entry(
                frame, message, entry, encoding, settings=self._settings, state=state, index=first + at
            )
            start = at + 1
        if start < len(read.lines):
            yield self._parsed_and_laid_out(frame, read.cut(start, len(read.lines)) if start else read, state)

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
        reports = places_of_reports(decoded.lines)
        if (tables := lookups.tables_in_use(self._settings.lookups, state.lookups)) != self._tables:
            self._tables = tables
            self._forget_streams()
        try:
            streams, pieces = self._streams_of(frame, message, decoded, state.metadata)
        except EntryError:
            return None
        pieces = sorted({*pieces, *reports}) if reports else pieces
        return _Read(decoded.seconds, decoded.nanoseconds, decoded.lines, streams, pieces) if streams else None

    def _streams_of(
        self, frame: Frame, message: Message, decoded: Decoded, metadata: Metadata
    ) -> tuple[list[KnownStream], list[int]]:
        """Return each record's stream, and the places of pieces; nothing where nearly every record has its own.

        A record that waits for what is known of its container is like a piece.
        """
        self._forget_changed(metadata.changes)
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
                stream = self._stream(frame, origin, tag.encode() or message.tag, fields, metadata)
                if stream is None:
                    return [], []
                if stream is NO_STREAM:
                    pieces.add(key)
                    continue
                known[key] = stream
                self._dependents.add((known, key), stream.keys)
                self._lines.kept_bytes += STREAM_BYTES + len(message.tag) + len(tag) + key_bytes(record)
        found = [known.get(key, NO_STREAM) for key in keys]
        return found, [at for at, key in enumerate(keys) if key in pieces] if pieces else []

    def _stream(
        self, frame: Frame, origin: Origin, tag: bytes, fields: dict[str, Any], metadata: Metadata
    ) -> KnownStream | None:
        """Make what all lines of a stream share, by the reference's own functions.

        NO_STREAM where they wait for what is known of their container. None where the sender said another image of the
        same container before: the choice, which is one, could begin with either, and the order of the lines decides;
        and where a logging daemon says more of each line.
        """
        settings = self._settings
        if may_be_daemons(fields):
            return None
        group = stream_key(origin, tag, fields)
        line = normalise(Record((1, 0), fields), frame=frame, origin=origin, tag=tag, settings=settings)
        described = describe(line, origin, settings, metadata)
        if described.awaited is not None:
            return NO_STREAM
        line = described.line
        lookups.add_fields(line.tail, origin, settings.fields, settings.lookups.values(), self._tables)
        held = Held(line.stream, settings.parsers) if line.stream else None
        if held is not None and held.asked is not None and are_of_reports(held.asked.formats):
            return NO_STREAM
        if held is not None and held.asked is None:
            own, held = held, self._held.setdefault(held.stream.key, held)
            if own.stream.image != held.stream.image:
                return None
        return self._lines.known(line, held, group, described.keys)

    def _parsed(self, frame: Frame, read: "_Read", choices: Choices, outcomes: Outcomes) -> ParsedColumns:
        """Parse the lines of a message."""
        held = [stream.held for stream in read.streams]
        return parse_columns(held, read.lines, near_second(frame.journal_time), choices=choices, outcomes=outcomes)

    def _parsed_and_laid_out(self, frame: Frame, read: "_Read", state: State) -> Lines:
        return self._laid_out(read, state, self._parsed(frame, read, state.choices, state.outcomes))

    def _laid_out(self, read: "_Read", state: State, parsed: ParsedColumns) -> Lines:
        """Lay out the documents of the lines of a message, in parts by parser's dataset."""
        streams = read.streams
        if state.seen is not None:
            held = [stream.held for stream in streams]
            state.seen |= {each.stream.key: each.stream for each in held if each is not None}
        silent = self._settings.silent_facts
        put_logins(parsed.slabs, streams, parsed.texts, logins=state.logins, now_ns=state.now_ns, silent=silent)
        sent = Sent(read.seconds, read.nanoseconds, read.lines, parsed.texts)
        return self._lines.lay_out(sent, streams, parsed)

    def _assemble(
        self,
        frame: Frame,
        spans: list[Span],
        records: range,
        waited: list[Joined],
        ledger: Ledger,
        *,
        last: bool,
        lines: Outcomes | None,
    ) -> Batch:
        """Join the columns of all messages, keeping each record's index; see to the rest one by one."""
        gathered: dict[str | None, list[tuple[int, Part]]] = {}
        others: list[tuple[int, Settled]] = []
        index = records.start
        for span in spans:
            if isinstance(span, Lines):
                for part in span.parts:
                    gathered.setdefault(part.dataset, []).append((index - records.start, part))
                index += span.size
            else:
                others.append((index, span))
                index += 1
        singles, documents, head = _singles(others), [], heads(frame, records)
        for dataset, parts in gathered.items():
            mine = singles.pop(self._settings.stream_of(dataset), [])
            parts += [(at - records.start, singly(each, dataset, frame.journal_time)) for at, each in mine]
            parts.sort(key=itemgetter(0))
            documents.append(render(head, parts, self._settings))
        documents += [_rendered_singly(frame, stream, each) for stream, each in singles.items()]
        refused = [(at, item) for at, item in others if isinstance(item, Refused)]
        pieces = [item for _, item in others if isinstance(item, Piece)]
        joined, counts = joined_documents(waited, pieces)
        derived = derived_documents(frame, others, waited)
        made = (*documents, *joined)
        return close_batch(
            frame,
            made,
            refused,
            derived=derived,
            records=records,
            last=last,
            pieces=counts,
            lines=lines,
            accounts=ledger.close(records, others, waited, last=last),
        )


def _singles(others: list[tuple[int, Settled]]) -> dict[DataStream, list[tuple[int, Document]]]:
    """Return the documents that the reference made, with their indexes, by data stream."""
    made: dict[DataStream, list[tuple[int, Document]]] = {}
    for index, item in others:
        if isinstance(item, Document):
            made.setdefault(item.stream, []).append((index, item))
    return made


def _rendered_singly(frame: Frame, stream: DataStream, items: list[tuple[int, Document]]) -> Documents:
    """Encode the documents of a data stream by the reference's encoder, where no others are."""
    first, places = items[0][0], [index - items[0][0] for index, _ in items]
    ids = document_ids(frame, first, places[-1] + 1)
    shared, digits = event_sequences(frame, first, places[-1] + 1)
    lines = [
        encode_document(frame, item, identifier=ids[at], sequence=int(shared + digits[at]))
        for at, (_, item) in zip(places, items, strict=True)
    ]
    return Documents.of_lines(stream, lines, ids.picked(places))
