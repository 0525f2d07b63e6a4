"""Replays of letters against a scripted server: letters, a worker's context, and a replay from asking to answer."""

import base64
import json
from pathlib import Path
from typing import Any

from collector.config import Config, OutputConfig
from collector.config_outputs import ElasticsearchOutputConfig, LocalOutputConfig
from collector.control import Message
from collector.dead_letters import DeadLetterFile, Letter, Letters, letter_id, read_letters
from collector.outputs import make_replaying_output
from collector.outputs.output import Output, Surroundings
from collector.replayer import replay_asked
from collector.replays import Answer, Selection, answer_to, ask
from collector.role import Context
from pipelines.frame import Position
from tests.kit.batches import EPOCH
from tests.kit.bulk_server import QUICK, BulkServer


def document(number: int, dataset: str = "tidewaiter.container") -> bytes:
    """A document as the pipeline makes it."""
    stream = {"type": "logs", "dataset": dataset, "namespace": "default"}
    made = {"event": {"id": f"dc{number:022d}"}, "message": f"line {number}", "data_stream": stream}
    return json.dumps(made, separators=(",", ":")).encode()


def letter(number: int, *, source: str = "elastic", content: bytes | None = None, **more: Any) -> Letter:
    """A letter of a document that an output was refused."""
    position = Position(0, EPOCH, number)
    identifier = f"dc{number:022d}"
    made = {
        "id": f"{letter_id(source, position)}-{identifier}",
        "position": position,
        "time": f"2026-11-29T00:00:{number % 60:02d}.000000000Z",
        "stage": "output",
        "code": "old_reason",
        "reason": "refused",
        "origin": source,
        "payload": base64.b64encode(document(number) if content is None else content).decode(),
        "document_id": identifier,
    }
    return Letter(**{**made, **more})


def keep(data_dir: Path, *letters: Letter, source: str = "elastic", file_bytes: int = 1 << 20) -> None:
    """Write letters as their output does."""
    file = DeadLetterFile(data_dir, source, file_bytes=file_bytes)
    file.open(None)
    for each in letters:
        file.append([each])


class Channel:
    """Takes what a role reports."""

    def send(self, message: Message) -> None:
        """Forget it."""


def context_of(data_dir: Path, server: BulkServer) -> Context:
    """A worker's context with outputs `elastic`, `other` and `store`."""
    elastic = ElasticsearchOutputConfig(urls=[server.url])
    outputs: dict[str, OutputConfig] = {"elastic": elastic, "other": elastic, "store": LocalOutputConfig()}
    return Context("worker", Config(data_dir=str(data_dir), outputs=outputs), Channel())


def quick_output(
    name: str, options: OutputConfig, data_dir: Path, surroundings: Surroundings, letters: Letters
) -> Output | None:
    """The product's output with short pauses."""
    return make_replaying_output(name, options, data_dir, surroundings, letters, pace=QUICK)


async def replayed(
    data_dir: Path, server: BulkServer, selection: Selection | None = None, *, to: str = "", patience_s: float = 10
) -> Answer:
    """Ask for a replay, let the worker do it, and return its answer."""
    request = ask(data_dir, selection or Selection(), to=to)
    await replay_asked(context_of(data_dir, server), make_output=quick_output, patience_s=patience_s)
    return answer_to(data_dir, request)


def left(data_dir: Path, source: str = "elastic") -> list[Letter]:
    """The letters that are there."""
    return list(read_letters(data_dir, source))
