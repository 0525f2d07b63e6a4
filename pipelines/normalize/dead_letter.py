"""Documents of dead letters, where the operator wants them in a data stream of their own."""

from typing import Any

import msgspec

from pipelines.frame import Frame, Origin
from pipelines.normalize.container import fixed_tail
from pipelines.settings import Settings


class DeadLetterRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What an internal producer appends with encoding `dead-letter`: one JSON object.

    `source` is who refused: `pipeline`, or an output's name; `code` and `words` say why. `original` is the document or
    the record, or its beginning, `bytes` its size. `sender` is input and address of who sent it, where that is known.
    """

    id: str
    source: str
    code: str
    words: str
    kept_ns: int
    arrived: str
    original: str
    bytes: int
    records: int = 1
    stream: str = ""
    document_id: str = ""
    sender: str = ""


_decode = msgspec.json.Decoder(DeadLetterRecord).decode


def dead_letter_document(
    payload: memoryview, frame: Frame, origin: Origin, settings: Settings
) -> tuple[dict[str, Any], tuple[int, int] | None, str, dict[str, Any]]:
    """Return `event`'s constant part, the time, the message and the tail; raise msgspec.DecodeError."""
    record = _decode(payload)
    stream = settings.dead_letters_stream
    event = {
        "kind": "pipeline_error",
        "module": "tidewaiter",
        "dataset": stream.dataset,
        "action": "dead_letter",
        "outcome": "failure",
        "original": record.original,
    }
    texts = {
        "id": record.id,
        "output": record.source,
        "stream": record.stream,
        "document_id": record.document_id,
        "sender": record.sender,
        "arrived": record.arrived,
    }
    tail = {
        "error": {"type": record.code, "message": record.words},
        "host": {"name": frame.journal.name},
        "tidewaiter": {
            "origin": {"input": origin.input, "transport": origin.transport, "peer": origin.peer},
            "dead_letter": {
                **{name: text for name, text in texts.items() if text},
                "bytes": record.bytes,
                "records": record.records,
            },
        },
        **fixed_tail(frame, settings, stream),
    }
    time = divmod(record.kept_ns, 1_000_000_000) if record.kept_ns > 0 else None
    return event, time, _sentence(record), tail


def _sentence(record: DeadLetterRecord) -> str:
    if record.document_id:
        return f"Output {record.source} was refused a document of {record.stream}: {record.code}"
    count = f"{record.records} records" if record.records > 1 else "A record"
    return f"{count} from {record.sender or 'an unknown sender'} could not be decoded: {record.code}"
