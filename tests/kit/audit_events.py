"""Kubernetes audit events for tests: the golden samples, as a log file has them and as an API server posts them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.frame import Origin
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

ENCODING: Final = "kubernetes-audit"
SENDER: Final = Origin("audit", "tls", "192.0.2.1", "certificate:apiserver.example")
SETTINGS: Final = Settings(version="0.1.0")
POSTED_NS: Final = 1_795_917_610 * 1_000_000_000
"""When the samples are posted, a few seconds behind the last of them."""


def samples(golden: Path) -> list[dict[str, Any]]:
    """Return the events of a file of lines, as an API server posts them: without kind and version."""
    events = [json.loads(line) for line in golden.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in each.items() if name not in ("kind", "apiVersion")} for each in events]


def batches_of(*bodies: bytes, settings: Settings = SETTINGS, encoding: str = ENCODING) -> list[Batch]:
    """Return what the bodies of some requests become, in one frame."""
    frame = frame_of((encoding, [(body, b"", -1) for body in bodies]), origins=(SENDER,))
    posted = msgspec.structs.replace(frame, journal_time=POSTED_NS)
    return list(ChunkPath(settings).process(posted, State()))


def documents_of(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    """Return all documents, in order."""
    return [
        json.loads(line) for batch in batches for each in batch.documents for line in each.ndjson.splitlines() if line
    ]
