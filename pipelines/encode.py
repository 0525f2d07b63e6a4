"""Documents become bytes: one by one, with ids and sequences of their records, and those that derive from them."""

from collections.abc import Iterable
from typing import Final

from parsers.canonical import encode
from parsers.timestamps import rfc3339
from pipelines.batch import DataStream, Documents
from pipelines.books import Pieces
from pipelines.frame import Frame, Ids, derived_ids, document_ids, event_sequences
from pipelines.normalize.parsed import Document
from pipelines.settled import Joined, Piece, Settled

_ENCODED: Final = b'{"event":{"created":"%b","sequence":%d,"id":"%b",%b},"@timestamp":"%b","message":%b,%b}\n'
"""A document of parts that are encoded."""

Made = dict[DataStream, tuple[list[bytes], list[bytes]]]


def encode_document(frame: Frame, item: Document, *, identifier: bytes, sequence: int) -> bytes:
    """Encode one document in canonical order, with its newline."""
    second, nanosecond = item.time or divmod(frame.journal_time, 1_000_000_000)
    if item.encoded is not None:
        created, time = rfc3339(frame.journal_time).encode(), rfc3339(second * 1_000_000_000 + nanosecond).encode()
        return _ENCODED % (created, sequence, identifier, item.encoded.event, time, *item.encoded[1:])
    document = {
        "event": {
            "created": rfc3339(frame.journal_time),
            "sequence": sequence,
            "id": identifier.decode(),
            **item.event,
        },
        "@timestamp": rfc3339(second * 1_000_000_000 + nanosecond),
        "message": item.message,
        **item.tail,
    }
    return encode(document) + b"\n"


def joined_documents(waited: list[Joined], pieces: list[Piece]) -> tuple[tuple[Documents, ...], Pieces]:
    """Encode the documents of lines that came in pieces, and count these."""
    lines = [*waited, *(line for piece in pieces for line in piece.lines)]
    made: dict[DataStream, tuple[list[bytes], list[bytes]]] = {}
    for line in lines:
        encoded, names = made.setdefault(line.document.stream, ([], []))
        (identifier,) = document_ids(line.frame, line.index, 1)
        shared, (digits,) = event_sequences(line.frame, line.index, 1)
        encoded.append(encode_document(line.frame, line.document, identifier=identifier, sequence=int(shared + digits)))
        names.append(identifier)
    documents = tuple(Documents.of_lines(stream, encoded, Ids(b"", names)) for stream, (encoded, names) in made.items())
    return documents, Pieces(
        joined=sum(line.pieces - 1 for line in lines),
        parked=sum(piece.parked for piece in pieces),
        taken_up=sum(line.waited for line in lines),
    )


def derived_documents(
    frame: Frame, settled: Iterable[tuple[int, Settled]], waited: Iterable[Joined]
) -> tuple[Documents, ...]:
    """Encode what derives from documents of records, which come with their indexes, and of lines that waited."""
    made: Made = {}
    for line in waited:
        _derive(line.frame, line.index, line.document, made)
    for index, item in settled:
        if isinstance(item, Document) and item.derived:
            _derive(frame, index, item, made)
        elif isinstance(item, Piece):
            for line in item.lines:
                _derive(line.frame, line.index, line.document, made)
    return tuple(Documents.of_lines(stream, encoded, Ids(b"", names)) for stream, (encoded, names) in made.items())


def _derive(frame: Frame, index: int, document: Document, made: Made) -> None:
    if not document.derived:
        return
    (identifier,) = document_ids(frame, index, 1)
    shared, (digits,) = event_sequences(frame, index, 1)
    sequence = int(shared + digits)
    for each, own in zip(document.derived, derived_ids(identifier, len(document.derived)), strict=True):
        encoded, names = made.setdefault(each.stream, ([], []))
        encoded.append(encode_document(frame, each, identifier=own, sequence=sequence))
        names.append(own)
