"""What the runtimes really write when programs fail becomes one document each. `--golden=write` writes those anew.

The samples are the output of programs that failed on purpose under OpenJDK 17, Node.js 20, CPython 3.11, Go 1.26, Ruby
3.1, PHP 8.2, Rust 1.95 and Mono 6.8, with other paths; those of .NET and `odd.log` are written by hand.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import gather, reference
from pipelines.chunk import ChunkPath
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.pieces import CONTAINERS, docker_pieces, frames_of, packed

SAMPLES = sorted((Path(__file__).parent / "traces").glob("*.log"))
SETTINGS = Settings(version="0")
SECOND_NS = 1_000_000_000


def records(lines: list[str]) -> list[bytes]:
    """Lines of one container's standard error, as Docker sends them."""
    fitting = len(max(lines, key=len)) * 4 + 1
    return [
        packed(record)
        for line in lines
        for record in docker_pieces(line.encode(), fitting, container=CONTAINERS[0], stream="stderr")
    ]


def told(lines: list[str], at_once: int) -> list[dict[str, Any]]:
    """Return what the documents of these lines say, by both paths; so many of them are in each frame."""
    entries = records(lines)
    cut = [entries[start : start + at_once] for start in range(0, len(entries), at_once)]
    wait = gather.WAIT_NS // SECOND_NS + 1
    frames = frames_of(cut, step_ns=1) + frames_of([[]] * (len(cut) + wait), step_ns=SECOND_NS)[len(cut) :]
    plain, fast, path = State(), State(), ChunkPath(SETTINGS)
    made = []
    for frame in frames:
        batches = list(path.process(frame, fast))
        assert batches == list(reference.process(frame, SETTINGS, plain))
        made += [json.loads(each) for batch in batches for part in batch.documents for each in part.ndjson.splitlines()]
    assert not plain.is_open
    made.sort(key=lambda document: document["event"]["sequence"])
    return [
        {
            "lines": document["message"].count("\n") + 1,
            "message": document["message"],
            "type": document.get("error", {}).get("type"),
            "error": document.get("error", {}).get("message"),
            "level": document.get("log", {}).get("level"),
        }
        for document in made
    ]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_gives_the_documents_beside_it(sample: Path, golden_write: bool) -> None:
    """However many lines are in a frame: lines, message, type and message of the error, and level."""
    lines = sample.read_text(encoding="utf-8").split("\n")[:-1]
    made = told(lines, len(lines))
    beside = sample.with_suffix(".jsonl")
    if golden_write:
        beside.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made), encoding="utf-8")

    assert [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()] == made
    assert told(lines, 1) == told(lines, 7) == made
