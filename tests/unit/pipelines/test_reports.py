"""A report is one record and several documents: counted apart, with ids behind its own, the same on both paths."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from parsers import reports
from pipelines import books, layout, reference
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.ecs import Schema
from tests.kit.frames import ORIGIN, frame_of
from tests.kit.paths import Paths
from tests.kit.pieces import docker_pieces, packed

TESTS = Path(__file__).parents[2]
SCHEMA = Schema(TESTS / "data")
SETTINGS = Settings(version="0.1.0")
TRIVY = (TESTS / "golden" / "formats" / "trivy" / "reports.log").read_text(encoding="utf-8").split("\n")[:-1]
GRYPE = (TESTS / "golden" / "formats" / "grype" / "reports.log").read_text(encoding="utf-8").split("\n")[:-1]


def report(findings: int, **more: Any) -> str:
    """A compact report with so many findings."""
    found = [{"VulnerabilityID": f"CVE-2023-{at:04}", "PkgName": "libx", "Severity": "LOW"} for at in range(findings)]
    about = {"ArtifactName": "web:1.2", "Results": [{"Target": "web", "Class": "os-pkgs", "Vulnerabilities": found}]}
    return json.dumps(about | more, separators=(",", ":"))


def lines(*texts: str, tag: str = "", sequence: int = 3, **record: Any) -> Frame:
    """A message of lines of one container."""
    about = {"container_id": "a" * 64, "container_name": "/scanner", "source": "stdout", **record}
    payload = b"".join(packed({**about, "log": text.encode()}) for text in texts)
    return frame_of(("forward", [(payload, tag.encode(), len(texts))]), sequence=sequence)


def both(frame: Frame, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    """Hold both paths against each other, and the documents against the schema; return these."""
    return Paths(settings, SCHEMA).check(frame)


def test_a_report_and_its_findings_are_documents() -> None:
    """The report's own says how many there are, each finding what and in which image."""
    made = both(lines(TRIVY[0]))

    (whole,) = (each for each in made if "report" in each["tidewaiter"])
    found = [each for each in made if "finding" in each["tidewaiter"]]
    assert whole["message"] == ("Trivy scanned example.com/shop/web:1.2: 3 findings (1 critical, 1 high, 1 unknown)")
    assert whole["tidewaiter"]["report"]["findings"] == len(found) == 3
    assert [each["vulnerability"]["id"] for each in found] == ["CVE-2023-0001", "CVE-2023-0002", "GHSA-xxxx-yyyy-zzzz"]
    assert {each["event"]["dataset"] for each in made} == {"trivy.report"}
    assert {each["tidewaiter"]["finding"]["image"]["digest"][0] for each in found} == {"sha256:" + "bb" * 32}


def test_ids_of_findings_stand_between_their_report_and_the_next_record() -> None:
    """They begin with the report's id, are unique, and sort by time as all ids do."""
    made = both(lines("before", TRIVY[0], GRYPE[0], "behind"))

    ids = [each["event"]["id"] for each in made]
    records = sorted(each for each in ids if len(each) == 24)
    assert len(set(ids)) == len(ids) == 4 + 3 + 2
    assert [sum(each.startswith(record) for each in ids) - 1 for record in records] == [0, 3, 2, 0]
    assert sorted(ids) == [each for record in records for each in sorted(ids) if each.startswith(record)]
    assert {each["event"]["sequence"] for each in made if each["event"]["id"].startswith(records[1])} == {400000001}


def test_the_books_count_findings_apart() -> None:
    """A report settles one record with one document; what derives from it settles none."""
    (batch,) = reference.process(lines("before", TRIVY[0], TRIVY[3]), SETTINGS, State())

    assert (batch.tally.records, batch.tally.documents, batch.tally.derived, batch.tally.control) == (3, 3, 3, 0)


def test_a_report_in_pieces_is_one_too() -> None:
    """Docker cuts lines after 16 KiB; the findings come with the last piece."""
    text = report(400)
    pieces = docker_pieces(text.encode(), 16384, container="a" * 64)
    payload = b"".join(map(packed, pieces))
    made = both(frame_of(("forward", [(payload, b"", len(pieces))])))

    assert len(pieces) > 1
    assert len(made) == 401


@pytest.mark.parametrize("seed", range(3))
def test_both_paths_agree_on_reports_among_other_lines(seed: int) -> None:
    """Whatever stands around them, asked for or found, cut, coloured or doubled."""
    dice = random.Random(seed)
    rules = ((), (ParserRule("trivy"),), (ParserRule("json"),))[seed]
    paths = Paths(Settings(version="0.1.0", parsers=rules, original="changed"), SCHEMA)
    others = ["hello", '{"level":"info","msg":"hi"}', '{"msg":"\\"ArtifactName\\""}', "\x1b[31mred\x1b[0m"]
    for sequence in range(3, 23):
        texts = dice.choices([*TRIVY, *GRYPE, *others], k=12)
        at = dice.randrange(12)
        texts[at] = texts[at].replace(
            "ArtifactName", dice.choice(["Artifact\x1b[0mName", "\\u0041rtifactName", "x"]), 1
        )
        at = dice.randrange(12)
        texts[at] = texts[at][: dice.randrange(len(texts[at]) + 1)]

        assert paths.check(lines(*texts, sequence=sequence))


def test_findings_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """They get no documents, and the report's says how many were left out."""
    monkeypatch.setattr(reports, "FINDINGS_LIMIT", 5)
    made = both(lines(report(7)))

    (whole,) = (each for each in made if "report" in each["tidewaiter"])
    assert len(made) == 1 + 5
    assert (whole["tidewaiter"]["report"]["findings"], whole["tidewaiter"]["report"]["left_out"]) == (7, 2)


def trivy(findings: list[Any], *, target: str = "web", name: str = "web:1.2", digests: int = 1) -> str:
    """A report of an image, with secrets that were found in it."""
    metadata = {"ImageID": "sha256:" + "aa" * 32, "RepoDigests": [f"web@sha256:{at}" for at in range(digests)]}
    about = {"ArtifactName": name, "ArtifactType": "container_image", "Metadata": metadata}
    return json.dumps({**about, "Results": [{"Target": target, "Secrets": findings}]}, separators=(",", ":"))


def grype(matches: list[Any], *, name: str = "web:1.2") -> str:
    """A report of Grype."""
    source = {"type": "image", "target": {"userInput": name, "imageID": "sha256:" + "aa" * 32}}
    return json.dumps({"matches": matches, "source": source, "descriptor": {"name": "grype"}}, separators=(",", ":"))


@pytest.mark.parametrize(
    "text",
    [
        trivy([{}] * 10_000, target="t" * 12_000),
        trivy([{}] * 10_000, name="n" * 12_000),
        trivy([{}] * 10_000, digests=1_000),
        grype([{}] * 10_000, name="n" * 12_000),
    ],
    ids=["target", "name", "digests", "grype"],
)
def test_a_line_of_empty_findings_does_not_make_a_thousand_times_its_size(text: str) -> None:
    """What all documents repeat is cut, and they take no more than some times what was said: the rest is counted."""
    made = both(lines(text))
    (whole,) = (each for each in made if "report" in each["tidewaiter"])

    assert len(json.dumps(made)) < 5 * len(text)
    assert whole["tidewaiter"]["report"]["findings"] == 10_000
    assert whole["tidewaiter"]["report"]["left_out"] == 10_000 - (len(made) - 1) > 9_000
    assert len(made) > 1


def test_findings_of_which_something_is_said_are_all_told() -> None:
    """The bound is above what scanners say, also of the shortest findings that they make."""
    secret = {"RuleID": "aws-access-key-id", "Category": "AWS", "Severity": "CRITICAL", "Title": "AWS", "StartLine": 1}
    licence = {"Severity": "LOW", "Category": "notice", "PkgName": "libx", "Name": "MIT", "Confidence": 1}
    licences = trivy([licence] * 300).replace("Secrets", "Licenses")

    assert len(both(lines(trivy([secret] * 300)))) == len(both(lines(licences))) == 301


def test_a_report_may_take_so_much_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was said."""
    monkeypatch.setattr(reports, "DERIVED_BYTES_LIMIT", 20_000)
    made = both(lines(report(100)))
    (whole,) = (each for each in made if "report" in each["tidewaiter"])

    assert 5 < len(made) < 40
    assert whole["tidewaiter"]["report"]["left_out"] == 100 - (len(made) - 1)


@pytest.mark.parametrize("text", [trivy([], name=""), grype([], name="")], ids=["trivy", "grype"])
def test_an_image_without_a_name_has_no_empty_one(text: str) -> None:
    """Of a report that is posted, whose image becomes the document's container."""
    (made,) = both(frame_of(("json", [(text.encode(), b"scanner", -1)])))

    assert "name" not in made.get("container", {}).get("image", {})


def test_a_batch_is_bounded_by_what_derives_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with many findings make many batches of one frame, the same on both paths."""
    for module in (books, layout, reference):
        monkeypatch.setattr(module, "RECORDS_LIMIT", 8)
    frame = lines(*["x"] * 3, report(4), "y", *["z"] * 9, report(30), report(1), "end")
    batches = list(reference.process(frame, SETTINGS, State()))

    assert batches == list(ChunkPath(SETTINGS).process(frame, State()))
    assert [batch.tally.records + batch.tally.derived for batch in batches] == [8, 8, 33, 3]
    assert sum(batch.tally.records for batch in batches) == 17
    assert [batch.next.record for batch in batches[:-1]] == [4, 12, 15]


def test_a_report_forges_nobody() -> None:
    """What a container prints stays its own: the image it tells of stands under `tidewaiter.finding` only."""
    for each in both(lines(TRIVY[8], GRYPE[8])):
        assert each["container"] == {"id": "a" * 64, "name": "scanner"}
        assert each["event"]["kind"] == "event"
        assert each["tidewaiter"]["origin"]["peer"] == ORIGIN.peer
