"""Every format's samples give exactly the documents that stand beside them. `--golden=write` writes those anew."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parsers.format import formats
from parsers.table import Payload
from pipelines.parse import first_of, text_to_parse

FOLDER = Path(__file__).parent / "formats"
SAMPLES = sorted(FOLDER.glob("*/*.log"))

NOW_S = 1795953600
"""2026-11-29T12:00:00Z, when the lines are received."""


def told(line: str) -> dict[str, Any]:
    """Return the format that takes a line by itself, and what it finds."""
    name, parsed = first_of(formats(), Payload(text_to_parse(line)), NOW_S)
    if parsed is None:
        return {"format": None}
    report = {"report": parsed.report, "findings": parsed.findings} if parsed.report else {}
    return report | {
        "format": name,
        "dataset": parsed.dataset,
        "time": parsed.time,
        "message": "(line)" if parsed.message == text_to_parse(line) else parsed.message,
        "event": parsed.event,
        "fields": parsed.fields,
        "related": parsed.related,
        "app": parsed.rest,
        **({"own": parsed.own} if parsed.own else {}),
    }


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_sample_gives_the_documents_beside_it(sample: Path, golden_write: bool) -> None:
    """Line by line: format, dataset, time, message, fields and what is related; of a report its findings as well."""
    lines = sample.read_text(encoding="utf-8").split("\n")[:-1]
    made = [json.loads(msgspec.json.encode(told(line))) for line in lines]
    beside = sample.with_suffix(".jsonl")
    if golden_write:
        beside.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made), encoding="utf-8")

    assert [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()] == made


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_sample_is_of_its_format_and_no_other(sample: Path) -> None:
    """No other format of marks of its own takes a line of it; general ones may (JSON of any logger takes all JSON)."""
    name = sample.parent.name
    lines = sample.read_text(encoding="utf-8").split("\n")[:-1]
    others = {other: each for other, each in formats().items() if other != name and each.rank <= formats()[name].rank}
    taken = {
        (other, line)
        for line in lines
        for other, each in others.items()
        if each.sniff(line) and each.parse(Payload(line), NOW_S) is not None
    }

    assert taken == set()


def test_every_format_has_samples() -> None:
    """A folder of its name, with eight lines at least."""
    counted = {
        name: sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (FOLDER / name).glob("*.log"))
        for name in formats()
    }

    assert {name: count for name, count in counted.items() if count < 8} == {}
