"""The reference path: a frame becomes batches one record at a time, clear and slow. The chunk path must equal it.

It is also what serves whatever the chunk path does not know, record by record.
"""

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from pipelines import condemned, decisions
from pipelines.accounts import Ledger
from pipelines.batch import Batch, DataStream, Documents, Outcomes
from pipelines.books import RECORDS_LIMIT, Control, Refused, close_batch, with_lookahead
from pipelines.decode.forward import EntryError, Record, decode_entry, decode_message
from pipelines.decode.msgpack_walk import BrokenPayloadError, objects
from pipelines.encode import derived_documents, encode_document, joined_documents
from pipelines.enrich import lookups, waiting
from pipelines.enrich.asked_pods import with_pod
from pipelines.enrich.describe import Described, describe
from pipelines.enrich.messages import ENCODINGS as METADATA_ENCODINGS
from pipelines.enrich.messages import learn
from pipelines.frame import INTERNAL, Frame, Message, Origin, document_ids, event_sequences
from pipelines.gather import EVENT, gather, gather_whole, gathered_record
from pipelines.gather import due as due_events
from pipelines.join import Whole, due, ending_mark, joined_record, line_of_one, mark_of, take
from pipelines.normalize.audit import audit_document
from pipelines.normalize.balance import balance_document
from pipelines.normalize.container import Line, normalise
from pipelines.normalize.dead_letter import dead_letter_document
from pipelines.normalize.logins import with_logins
from pipelines.normalize.parsed import Document, document_of, plain_document, with_daemon
from pipelines.normalize.trace import trace_step
from pipelines.parse import near_second, parse_line, text_to_parse
from pipelines.settings import Settings
from pipelines.settled import Joined, Piece, Settled, Waits, refuse, skipped_behind, weight_of
from pipelines.state import OpenLine, State
from pipelines.trails import TRAILS
from pipelines.trails.trail import Sent

MESSAGE_RECORDS_LIMIT = 1 << 23
"""Records of one message; what stands behind them is one dead letter. A record with a time and a key has nine bytes at
least, so a message of the default limit never holds as many, and a frame's index (`INDEX_LIMIT`) is never used up."""

REFUSED_ENCODINGS = {
    "forward-broken": ("broken_payload", "the payload could not be decompressed"),
    "http-broken": ("broken_payload", "the body could not be decompressed"),
    "forward-metrics": ("not_logs", "a Fluent Bit metrics or traces payload holds no log records"),
    **condemned.REFUSED,
}
"""Encodings that carry no records: the whole message is one dead letter."""

CONTROL_ENCODINGS = ("resend", "tick")
"""Encodings of messages that are settled by being read: a stored one that came again, and journal time going on."""

OWN_RECORDS = {"audit": audit_document, "dead-letter": dead_letter_document, "balance": balance_document}
"""What the collector's own producers tell, by encoding: one document each, in a data stream of its own."""

INTERNAL_ENCODINGS = (*decisions.CODES, *OWN_RECORDS)
"""What nobody says but this collector's own processes: it decides what documents say, or is what it says of itself."""

BAD_RECORDS = {"audit": "bad_audit_record", "dead-letter": "bad_dead_letter", "balance": "bad_balance"}


def process(frame: Frame, settings: Settings, state: State) -> Iterator[Batch]:
    """Make the batches of a frame: one, or slices of RECORDS_LIMIT records with what derives from them."""
    waited = waited_enough(frame, settings, state)
    ledger = Ledger(frame)
    settled = _settle_all(frame, settings, state, ledger)
    first = 0
    for items, last in with_lookahead(_slices(settled)):
        yield assemble(frame, items, first, waited, ledger, last=last, lines=state.take_outcomes() if last else None)
        first += len(items) + skipped_behind(items[-1])
        waited = []
    if not first:
        yield assemble(frame, [], 0, waited, ledger, last=True, lines=state.take_outcomes())


def _slices(settled: Iterator[Settled]) -> Iterator[list[Settled]]:
    """Group what becomes of records into slices of RECORDS_LIMIT, counted with what derives from them."""
    held: list[Settled] = []
    weight = 0
    for item in settled:
        held.append(item)
        weight += weight_of(item)
        if weight >= RECORDS_LIMIT or skipped_behind(item):
            yield held
            held, weight = [], 0
    if held:
        yield held


def waited_enough(frame: Frame, settings: Settings, state: State) -> list[Joined]:
    """Return the lines that go out before the first record of the frame, for they waited long enough."""
    state.advance(frame.journal_time)
    state.metadata.expire(state.waited_ns)
    lines = _without(waiting.due(state), settings, state)
    whole, _ = _whole_lines([*due(state), *due_events(state)], settings, state)
    return [*lines, *whole]


def _settle_all(frame: Frame, settings: Settings, state: State, ledger: Ledger) -> Iterator[Settled]:
    index = 0
    for message, encoding, payload in messages(frame):
        first, skipped = index, 0
        ledger.begin(first, message)
        for item in settle(frame, message, encoding, payload, settings=settings, state=state, first=first):
            yield item
            skipped += skipped_behind(item)
            index += 1 + skipped_behind(item)
        ledger.compare((message,), encoding, index - first - skipped)


def messages(frame: Frame) -> Iterator[tuple[Message, str, memoryview]]:
    """Yield each message of a frame with its encoding and its slice of the payload."""
    table = iter(frame.messages)
    start = 0
    for run in frame.runs:
        for message in itertools.islice(table, run.messages):
            yield message, run.encoding, frame.payload[start : start + message.length]
            start += message.length


def settle(
    frame: Frame,
    message: Message,
    encoding: str,
    payload: memoryview,
    *,
    settings: Settings,
    state: State,
    first: int,
) -> Iterator[Settled]:
    """Decode and normalise the records of one message; `first` is the index of its first record."""
    if encoding in ("forward", "forward-message"):
        try:
            for number, (start, end) in enumerate(objects(payload)):
                if number == MESSAGE_RECORDS_LIMIT:
                    why = ("too_many_records", f"more than {MESSAGE_RECORDS_LIMIT} records in one message")
                    yield refuse(frame, message, payload[start:], why)
                    return
                entry, index = payload[start:end], first + number
                yield settle_entry(frame, message, entry, encoding, settings=settings, state=state, index=index)
        except BrokenPayloadError as error:
            yield refuse(frame, message, payload[error.start :], ("bad_payload", str(error)))
    elif encoding in CONTROL_ENCODINGS:
        yield Control()
    elif encoding in INTERNAL_ENCODINGS and frame.origins[message.origin].transport != INTERNAL:
        why = ("not_internal", f"only this collector itself says {encoding!r}")
        yield refuse(frame, message, payload, why)
    elif encoding in decisions.CODES:
        yield _decision(frame, message, encoding, payload, state)
    elif encoding in OWN_RECORDS:
        yield _own_record(frame, message, encoding, payload, settings)
    elif encoding in METADATA_ENCODINGS:
        yield _learn(frame, message, encoding, payload, settings=settings, state=state)
    elif encoding in TRAILS:
        yield from _of_trail(Sent(frame, message, payload, settings, state, first), encoding)
    else:
        unknown = ("unknown_encoding", f"no decoder for {encoding!r}")
        plain, skipped = condemned.without_skipped(encoding)
        yield refuse(frame, message, payload, REFUSED_ENCODINGS.get(plain, unknown), skipped=skipped)


def settle_entry(
    frame: Frame,
    message: Message,
    entry: memoryview,
    encoding: str,
    *,
    settings: Settings,
    state: State,
    index: int,
) -> Settled:
    """Decode and normalise one Forward entry or Message-mode object, which is the record of this index."""
    try:
        record = decode_entry(entry) if encoding == "forward" else decode_message(entry)
    except EntryError as error:
        return refuse(frame, message, entry, (error.code, str(error)))
    if record.group_mark:
        return Control()
    origin = frame.origins[message.origin]
    record.tag = record.tag or message.tag
    mark = mark_of(record.fields, record.tag) or ending_mark(state, origin, record.fields, record.tag)
    if mark is None:
        return _gathered(record, frame, origin, (encoding, entry), settings=settings, state=state, index=index)
    taken = take(state, frame, index, origin, mark, (record, encoding, entry))
    whole, parked = taken.whole, taken.parked
    if mark.last and (gathered := gather_whole(state, whole[-1])) is not None:
        whole, parked = [*whole[:-1], *gathered.whole], gathered.parked
    lines, wait = _whole_lines(whole, settings, state)
    return Piece(parked or wait, lines)


def _gathered(
    record: Record,
    frame: Frame,
    origin: Origin,
    came: tuple[str, memoryview],
    *,
    settings: Settings,
    state: State,
    index: int,
) -> Settled:
    """Settle a whole line: with those that it belongs to, or by itself. It `came` in an encoding, as these bytes."""
    gathered = gather(state, frame, index, origin, (record, *came), settings)
    if gathered is not None and (gathered.whole or not gathered.alone):
        whole = gathered.whole
        if gathered.alone:
            whole = [*whole, Whole(line_of_one(state, frame, index, origin, (record, *came)), 0)]
        lines, parked = _whole_lines(whole, settings, state)
        return Piece(gathered.parked or parked, lines)
    described = _described(record, frame, origin, settings, state)
    if described.awaited is None:
        return _document(described.line, frame, origin, settings, state)
    alone = line_of_one(state, frame, index, origin, (record, *came))
    return Piece(True, _without(waiting.wait(state, described.awaited, alone), settings, state))


def _whole_lines(whole: list[Whole], settings: Settings, state: State) -> tuple[list[Joined], bool]:
    """Make the documents of lines that wait for no piece any more, and tell whether the record at hand waits with one.

    Of a line whose container is not known every piece waits on, the last one from now on.
    """
    lines: list[Joined] = []
    parked = False
    for each in whole:
        line = each.line
        described = _described(_record_of(line), line.frame, line.origin, settings, state)
        if described.awaited is None:
            lines.append(_joined(each, described, settings, state))
            continue
        parked = parked or each.waited < line.pieces
        waits = msgspec.structs.replace(line, touched_ns=state.waited_ns)
        lines += _without(waiting.wait(state, described.awaited, waits), settings, state)
    return lines, parked


def _without(whole: list[Whole], settings: Settings, state: State) -> list[Joined]:
    """Make the documents of lines that are not to wait any more, whether their container is known or not."""
    lines = []
    for each in whole:
        line = each.line
        trail = TRAILS.get(line.encoding)
        if trail is not None and trail.waited is not None:
            document = trail.waited(line, settings, state)
            index = line.position.record
            lines.append(Joined(line.frame, index, document, line.pieces, each.waited, line.by_hour))
            continue
        described = _described(_record_of(line), line.frame, line.origin, settings, state, waits=False)
        lines.append(_joined(each, described, settings, state))
    return lines


def _joined(whole: Whole, described: Described, settings: Settings, state: State) -> Joined:
    line = whole.line
    is_trace = line.stage not in ("", EVENT) and len(line.more) > 0
    document = _document(described.line, line.frame, line.origin, settings, state, is_trace=is_trace)
    return Joined(line.frame, line.position.record, document, line.pieces, whole.waited, line.by_hour)


def documents_of_open(line: OpenLine, settings: Settings, state: State) -> list[Joined]:
    """Make the document of a line that waits, as it is, whether its container is known or not."""
    return _without([Whole(line, line.pieces)], settings, state)


def _record_of(line: OpenLine) -> Record:
    return gathered_record(line) if line.stage else joined_record(line)


def _described(
    record: Record, frame: Frame, origin: Origin, settings: Settings, state: State, *, waits: bool = True
) -> Described:
    line = normalise(record, frame=frame, origin=origin, tag=record.tag, settings=settings)
    return describe(line, origin, settings, state.metadata, waits=waits)


def _document(
    line: Line, frame: Frame, origin: Origin, settings: Settings, state: State, *, is_trace: bool = False
) -> Document:
    tables = lookups.tables_in_use(settings.lookups, state.lookups)
    lookups.add_fields(line.tail, origin, settings.fields, settings.lookups.values(), tables)
    if line.stream is None:
        return plain_document(line, settings)
    near_s = near_second(frame.journal_time)
    if state.seen is not None:
        state.seen[line.stream.key] = line.stream
    text = line.message.partition("\n")[0] if is_trace else line.message
    step = parse_line(line.stream, line.head + text, near_s, rules=settings.parsers, choices=state.choices)
    if is_trace:
        step = trace_step(step, text_to_parse(line.message))
    elif step.parsed is not None:
        parsed = with_logins(
            step.parser, with_daemon(step.parsed, line), line.tail, state.logins, state.now_ns, settings.silent_facts
        )
        step = step._replace(parsed=parsed)
        line = with_pod(parsed, line, origin, settings, state.metadata)
    step.count_in(state.outcomes)
    return document_of(line, step, frame.journal_time, settings)


def _learn(
    frame: Frame, message: Message, encoding: str, payload: memoryview, *, settings: Settings, state: State
) -> Settled:
    """Take in what a watcher said: lines that waited for it go out."""
    origin = frame.origins[message.origin]
    if origin.transport != INTERNAL:
        return refuse(frame, message, payload, ("bad_metadata", "only a watcher says what Engines and clusters know"))
    try:
        learned = learn(state.metadata, encoding, origin.input, payload, state.waited_ns)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return refuse(frame, message, payload, ("bad_metadata", str(error)))
    lines = _without(waiting.awaited(state, learned), settings, state)
    return Piece(False, lines) if lines else Control()


def _of_trail(sent: Sent, encoding: str) -> Iterator[Settled]:
    """Settle the records of a trail's message; what waits for its container is put aside like a line."""
    trail = TRAILS[encoding]
    if trail.internal and sent.origin.transport != INTERNAL:
        why = ("not_internal", f"only this collector's own watchers say {encoding!r}")
        yield refuse(sent.frame, sent.message, sent.payload, why)
        return
    for item in trail.settle(sent):
        if isinstance(item, Waits):
            outdone = waiting.wait(sent.state, item.awaited, item.line)
            yield Piece(True, _without(outdone, sent.settings, sent.state))
        else:
            yield item


def _decision(frame: Frame, message: Message, encoding: str, payload: memoryview, state: State) -> Settled:
    try:
        decisions.take(encoding, payload, state)
    except (ValueError, RecursionError) as error:
        return refuse(frame, message, payload, (decisions.CODES[encoding], str(error)))
    return Control()


def _own_record(frame: Frame, message: Message, encoding: str, payload: memoryview, settings: Settings) -> Settled:
    make = OWN_RECORDS[encoding]
    origin = frame.origins[message.origin]
    try:
        event, time, text, tail = make(payload, frame, origin, settings)
    except (msgspec.DecodeError, ValueError) as error:
        return refuse(frame, message, payload, (BAD_RECORDS[encoding], str(error)))
    return Document(settings.own_streams[encoding], event, time, text, tail)


def assemble(
    frame: Frame,
    settled: Sequence[Settled],
    first: int,
    waited: list[Joined],
    ledger: Ledger,
    *,
    last: bool,
    lines: Outcomes | None = None,
) -> Batch:
    """Number the records from `first` on, encode their documents and those that waited, and close the books (P2)."""
    identifiers = document_ids(frame, first, len(settled))
    prefix, digits = event_sequences(frame, first, len(settled))
    encoded: dict[DataStream, tuple[list[bytes], list[int]]] = {}
    refused: list[tuple[int, Refused]] = []
    for index, item in enumerate(settled):
        if isinstance(item, Document):
            texts, places = encoded.setdefault(item.stream, ([], []))
            sequence = int(prefix + digits[index])
            texts.append(encode_document(frame, item, identifier=identifiers[index], sequence=sequence))
            places.append(index)
        elif isinstance(item, Refused):
            refused.append((first + index, item))
    documents = tuple(
        Documents.of_lines(stream, texts, identifiers.picked(places)) for stream, (texts, places) in encoded.items()
    )
    pieces = [item for item in settled if isinstance(item, Piece)]
    joined, counts = joined_documents(waited, pieces)
    derived = derived_documents(frame, enumerate(settled, first), waited)
    records = range(first, first + len(settled))
    return close_batch(
        frame,
        documents + joined,
        refused,
        derived=derived,
        records=records,
        last=last,
        pieces=counts,
        lines=lines,
        accounts=ledger.close(records, enumerate(settled, first), waited, last=last),
    )
