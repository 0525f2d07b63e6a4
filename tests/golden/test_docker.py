"""What a Docker Engine tells gives exactly the documents that stand beside it. `--golden=write` writes those anew.

A sample's lines are messages of an Engine's watchers: `{"inspect": …}` says what a container is, `{"trail": …}` what
was done. They are synthetic, in the shape of the sheet `protocols/docker-events.md`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from parsers.docker_actions import ACTS
from parsers.probes import ProbeRule
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import JOURNAL_TIME
from tests.kit.metadata import ENGINE_ORIGIN, Said, frame_told
from tests.kit.paths import Paths

FOLDER = Path(__file__).parent / "docker"
SAMPLES = sorted(FOLDER.glob("*.ndjson"))
SCHEMA = Schema(Path(__file__).parents[1] / "data")
SETTINGS = Settings(version="0", probes=(ProbeRule(["pg_isready", "**"]),))
ENCODINGS = {"inspect": "docker-inspect", "trail": "docker-event"}


def messages(sample: Path) -> list[Said]:
    """Return a sample's messages."""
    lines = map(json.loads, sample.read_text(encoding="utf-8").splitlines())
    return [
        (ENGINE_ORIGIN, ENCODINGS[kind], json.dumps(about).encode()) for line in lines for kind, about in line.items()
    ]


def documents(sample: Path, at_once: int) -> list[dict[str, Any]]:
    """Return the documents of a sample, by both paths, with so many messages in each frame."""
    paths, said = Paths(SETTINGS, SCHEMA), messages(sample)
    frames = [said[start : start + at_once] for start in range(0, len(said), at_once)]
    made = []
    for number, frame in enumerate(frames):
        paths.restart()
        made += paths.check(frame_told(frame, number, JOURNAL_TIME + number))
    return [told(document) for document in sorted(made, key=lambda each: each["event"]["sequence"])]


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what all have."""
    event = {name: value for name, value in document["event"].items() if name not in ("created", "id", "sequence")}
    own = {name: value for name, value in document["tidewaiter"].items() if name != "origin"}
    rest = {
        name: value
        for name, value in document.items()
        if name not in ("agent", "data_stream", "ecs", "host", "observer", "event", "tidewaiter")
    }
    return {"event": event, **rest, "tidewaiter": own}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_gives_the_documents_beside_it(sample: Path, golden_write: bool) -> None:
    """However many messages are in a frame, and with what is open taken from a checkpoint between any two."""
    made = documents(sample, 1)
    beside = sample.with_suffix(".jsonl")
    if golden_write:
        beside.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made), encoding="utf-8")

    assert [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()] == made
    assert documents(sample, 1000) == made


def test_every_action_has_a_sample() -> None:
    """Of each type that the tables know."""
    records = [json.loads(line).get("trail", {}) for path in SAMPLES for line in path.read_text().splitlines()]
    events = [record["event"] for record in records if "event" in record]
    seen = {(event["Type"], event["Action"].partition(": ")[0]) for event in events}

    assert {(kind, action) for kind, acts in ACTS.items() for action in acts} - seen == set()
