"""The documents of all golden samples, as the pipeline ships them."""

import struct
from functools import cache
from pathlib import Path

import msgpack

from pipelines import reference
from pipelines.batch import Documents
from pipelines.settings import Settings
from pipelines.state import State
from tests.golden.test_docker import SAMPLES, SETTINGS, messages
from tests.kit.frames import JOURNAL_TIME, frame_of
from tests.kit.metadata import frame_told
from tests.kit.pieces import at_time

FOLDER = Path(__file__).parents[1] / "golden"
NOW_S = 1_795_953_600
"""2026-11-29T12:00:00Z, when the lines are received."""


@cache
def golden_documents() -> tuple[Documents, ...]:
    """Return the documents of formats' lines, logins and what Engines tell, by dataset within each sample."""
    made: list[Documents] = []
    for number, sample in enumerate(sorted(FOLDER.glob("*/**/*.log"))):
        lines = sample.read_text(encoding="utf-8").split("\n")[:-1]
        entries = [
            msgpack.packb(
                [
                    msgpack.ExtType(0, struct.pack(">II", NOW_S, at)),
                    {"container_id": "c" * 64, "container_name": "/jump", "source": "stderr", "log": line},
                ]
            )
            for at, line in enumerate(lines)
        ]
        frame = at_time(
            frame_of(("forward", [(b"".join(entries), b"host.x", len(entries))]), sequence=number), NOW_S * 10**9
        )
        for batch in reference.process(frame, Settings(version="0"), State()):
            made += batch.documents
    for sample in SAMPLES:
        for batch in reference.process(frame_told(messages(sample), 0, JOURNAL_TIME), SETTINGS, State()):
            made += batch.documents
    return tuple(made)
