"""Documents of the books: a row each, for analysts who check them where the documents are."""

from typing import Any

import msgspec

from pipelines.frame import Frame, Origin
from pipelines.normalize.container import fixed_tail
from pipelines.settings import Settings


class BalanceRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What an internal producer appends with encoding `balance`: one JSON object, a row that does not change any more.

    `hour` is in hours since 1970; the figures are those of `tidewaiter balance`, nothing of the row is in flight.
    """

    hour: int
    output: str
    input: str
    peer: str
    balanced: bool
    figures: dict[str, int]


_decode = msgspec.json.Decoder(BalanceRecord).decode


def balance_document(
    payload: memoryview, frame: Frame, origin: Origin, settings: Settings
) -> tuple[dict[str, Any], tuple[int, int] | None, str, dict[str, Any]]:
    """Return `event`'s constant part, the time, the message and the tail; raise msgspec.DecodeError."""
    record = _decode(payload)
    stream = settings.balance_stream
    event = {
        "kind": "metric",
        "module": "tidewaiter",
        "dataset": stream.dataset,
        "action": "balance",
        "outcome": "success" if record.balanced else "failure",
    }
    source = {"output": record.output, "input": record.input, "peer": record.peer}
    tail = {
        "host": {"name": frame.journal.name},
        "tidewaiter": {
            "origin": {"input": origin.input, "transport": origin.transport, "peer": origin.peer},
            "balance": {**{name: text for name, text in source.items() if text}, **record.figures},
        },
        **fixed_tail(frame, settings, stream),
    }
    return event, (record.hour * 3600, 0), _sentence(record), tail


def _sentence(record: BalanceRecord) -> str:
    figures = record.figures
    said = f"{figures.get('delivered', 0)} of {figures.get('received', 0)} records of {record.input}/{record.peer}"
    verdict = "" if record.balanced else ", and what became of the others does not add up"
    return f"Output {record.output} has {said}{verdict}"
