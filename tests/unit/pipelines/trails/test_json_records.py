"""What is posted to an input `http` gives the documents that the same lines give, and each bad part one dead letter."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from parsers.format import formats
from parsers.table import Payload, json_object
from pipelines.enrich.describe import METADATA_MISSING
from pipelines.frame import Origin
from pipelines.settings import Settings
from pipelines.trails import json_records
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.metadata import (
    SENDER,
    Told,
    away_message,
    container_message,
    engine_message,
    of_engine,
    snapshot_message,
)
from tests.kit.paths import Paths
from tests.kit.pieces import packed

TESTS: Final = Path(__file__).parents[3]
SCHEMA: Final = Schema(TESTS / "data")
POSTED: Final = Origin("sensors", "tcp", "192.0.2.7")
CONTAINER: Final = "3f4e5d6c7b8a" + "0" * 52
ALERT: Final[dict[str, Any]] = {
    "hostname": "node1",
    "output": "Shell in container",
    "output_fields": {
        "container.id": CONTAINER[:12],
        "container.name": "web",
        "proc.cmdline": "sh",
        "user.name": "root",
    },
    "priority": "Warning",
    "rule": "Terminal shell in container",
    "source": "syscall",
    "time": "2023-11-14T22:13:20.100000000Z",
}
SENSORS: Final = ("falco", "tetragon", "hubble", "trivy", "grype", "json", "ecs_json", "vault")


def golden(name: str) -> list[str]:
    """The golden lines of a format that are objects."""
    files = sorted((TESTS / "golden" / "formats" / name).glob("*.log"))
    lines = [line for path in files for line in path.read_text(encoding="utf-8").split("\n")]
    return [line for line in lines if Payload(line).object is not None]


def posted(*bodies: str | bytes, settings: Settings | None = None) -> list[dict[str, Any]]:
    """Give bodies of one request each to both paths; return the documents."""
    payloads = [body.encode() if isinstance(body, str) else body for body in bodies]
    frame = frame_of(("json", [(payload, b"sensors", -1) for payload in payloads]), origins=(POSTED,))
    return Paths(settings or Settings(version="0.1.0"), SCHEMA).check(frame)


def without_origin(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out who sent it, what the sender's word for a container becomes, and where it lies in the journal."""
    kept = {name: value for name, value in document.items() if name not in ("container", "event", "tidewaiter")}
    kept["event"] = {name: value for name, value in document["event"].items() if name not in ("id", "sequence")}
    own = ("origin", "container")
    return kept | {"own": {name: value for name, value in document["tidewaiter"].items() if name not in own}}


@pytest.mark.parametrize("name", SENSORS)
def test_a_post_gives_what_the_same_lines_give(name: str) -> None:
    """Parsed by the same parsers with the same choice, one document each and those of findings."""
    lines = golden(name)
    body = "\n".join(lines)
    forward = b"".join(packed({"log": line.encode()}, second=1_700_000_000) for line in lines)
    frame = frame_of(("forward", [(forward, b"sensors", len(lines))]), origins=(POSTED,))
    expected = Paths(Settings(version="0.1.0"), SCHEMA).check(frame)
    made = posted(body)

    assert len(made) == len(expected) >= len(lines) >= 8
    for one, other in zip(made, expected, strict=True):
        # A posted object has no time of its sender beside its own.
        if one["@timestamp"] == one["event"]["created"]:
            other["@timestamp"] = one["@timestamp"]
        assert without_origin(one) == without_origin(other)


def test_an_array_an_object_and_lines_are_the_same() -> None:
    """However records are put together, each is one."""
    one, two = json.dumps(ALERT), json.dumps({**ALERT, "priority": "Critical"}, indent=1)
    expected = [each["event"]["severity"] for each in posted(one, two)]

    assert expected == [47, 99]
    for body in (f"[{one}, {two}]", f"{one}\n{two}\n", f"{one}{two}", f" {two}\r\n\r\n{one}"):
        assert sorted(each["event"]["severity"] for each in posted(body)) == expected


def login(outcome: str) -> str:
    """An application's line of a login."""
    return json.dumps({"event": f"login {outcome}", "user": "alice", "client_ip": "192.0.2.9"})


@pytest.mark.parametrize(("silent", "facts"), [((), ["login_after_failures"]), (("login_after_failures",), None)])
def test_posted_logins_have_their_facts(silent: tuple[str, ...], facts: list[str] | None) -> None:
    """What failed before counts, and a switched-off fact is not told."""
    made = posted(
        login("failed"), login("failed"), login("succeeded"), settings=Settings(version="0", silent_facts=silent)
    )
    own = sorted(made, key=lambda document: document["event"]["sequence"])[-1]["tidewaiter"]

    assert 2 == own["auth"]["failures"]
    assert facts == own.get("facts")


def test_who_posts_has_no_say_in_its_hosts_logins() -> None:
    """Nor in those of what posts elsewhere, or to another path."""
    origins = (POSTED, Origin("others", "tcp", "192.0.2.7"))
    line = packed({"log": login("succeeded").encode()}, second=1_700_000_000)
    posts = [(login("failed").encode(), b"sensors", -1), (login("succeeded").encode(), b"other", -1)]
    paths = Paths(Settings(version="0.1.0"), SCHEMA)
    made = paths.check(frame_of(("json", posts), ("forward", [(line, b"sensors", 1)]), origins=origins))

    assert 3 == len(made)
    assert all("facts" not in each["tidewaiter"] for each in made)


def test_a_broken_line_costs_itself() -> None:
    """Each part that cannot be read is a dead letter of its own bytes; the others are documents."""
    told = Told(Settings(version="0.1.0"))
    good = json.dumps(ALERT).encode()
    bad = (b'{"rule":', b'{"a":"\xff"}', b"[1]", b'{"a":NaN}', b'{"a":1},', b'{"a":' * 600 + b"1" + b"}" * 600)
    body = b"\n".join(part for each in bad for part in (good, each)) + b"\n" + good

    assert len(told.frame((POSTED, "json", body))) == len(bad) + 1
    (batch,) = told.batches
    assert [letter.payload.removesuffix(b"\n") for letter in batch.dead_letters] == list(bad)
    assert {letter.code for letter in batch.dead_letters} == {"bad_json"}
    assert (batch.tally.records, batch.tally.dead) == (2 * len(bad) + 1, len(bad))


@pytest.mark.parametrize("body", [b"hello\nworld", b"\xff\xfe", b"<html>", b'"text"', b"5"])
def test_a_body_that_is_no_json_is_one_dead_letter(body: bytes) -> None:
    """Whole, as it came."""
    told = Told(Settings(version="0.1.0"))

    assert told.frame((POSTED, "json", body)) == []
    (letter,) = told.batches[0].dead_letters
    assert (letter.code, letter.payload, letter.records) == ("bad_json", body, 1)


def test_a_large_record_is_a_dead_letter_unless_it_is_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner's report may have several megabytes; any other record no more than a line that is read as JSON."""
    monkeypatch.setattr(json_records, "JSON_LIMIT", 1000)
    told = Told(Settings(version="0.1.0"))
    large = json.dumps({"msg": "x" * 1000}).encode()
    report = json.dumps({"ArtifactName": "web", "Results": [], "More": "y" * 1000}).encode()
    made = told.frame((POSTED, "json", large + report))

    assert [each["event"]["dataset"] for each in made] == ["trivy.report"]
    (letter,) = told.batches[0].dead_letters
    assert (letter.code, letter.payload) == ("too_large", large)


def test_a_large_object_that_is_no_report_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory it would be many times its size: whether it can be a report is asked of its text."""
    decoded: list[str] = []

    class Watched(Payload):
        @property
        def object(self) -> dict[str, Any] | None:
            decoded.append(self.text)
            return json_object(self.text)

    monkeypatch.setattr(json_records, "JSON_LIMIT", 1000)
    monkeypatch.setattr(json_records, "Payload", Watched)
    told = Told(Settings(version="0.1.0"))
    told.frame((POSTED, "json", b'{"a":[' + b'{"":0},' * 1000 + b"0]}"))

    assert decoded == []
    assert [letter.code for letter in told.batches[0].dead_letters] == ["too_large"]


def test_the_container_of_a_posted_event_is_the_sensors_word() -> None:
    """It is the document's container, and whose word that is stands beside it."""
    (made,) = posted(json.dumps(ALERT))

    assert made["container"] == {"id": CONTAINER[:12], "name": "web"}
    assert made["tidewaiter"]["container"] == {"told_by": "falco"}
    assert made["tidewaiter"]["origin"]["peer"] == "192.0.2.7"


def test_a_process_outside_containers_has_none() -> None:
    """`host` is no container, and neither is what no Engine would give."""
    for identifier in ("host", "", "../x", "3F4E5D6C7B8A", ["a"], None):
        (made,) = posted(json.dumps({**ALERT, "output_fields": {"container.id": identifier, "container.name": "web"}}))

        assert "container" not in made
        assert "container" not in made["tidewaiter"]


def test_what_the_engine_knows_of_it_wins() -> None:
    """The Engine of the sender's host says which container it is; what contradicts that is a finding."""
    told = Told()
    told.frame(of_engine(engine_message()), of_engine(container_message(CONTAINER, name="shop-web-1")))
    (made,) = told.frame((SENDER, "json", json.dumps(ALERT).encode()))

    assert made["container"]["id"] == CONTAINER
    assert made["container"]["name"] == "shop-web-1"
    assert made["tidewaiter"]["claimed"]["container"] == {"name": "web"}
    assert made["tags"] == ["_identity_conflict"]


def test_an_event_waits_for_what_is_known_of_its_container() -> None:
    """A shell in a container that started just now: both are said at about the same time."""
    told = Told()
    told.frame(of_engine(snapshot_message()))
    first = told.frame((SENDER, "json", json.dumps(ALERT).encode()))
    restarted = told.restarted()
    (made,) = restarted.frame(of_engine(container_message(CONTAINER, name="web")))

    assert first == []
    assert made["container"]["image"]["name"] == "acme/web"
    assert made["rule"]["name"] == "Terminal shell in container"
    assert made["tidewaiter"]["container"]["told_by"] == "falco"


def test_without_the_engine_an_event_goes_at_once() -> None:
    """Where the Engine is away, as the sensor told it, tagged."""
    told = Told()
    told.frame(of_engine(away_message()))
    (made,) = told.frame((SENDER, "json", json.dumps(ALERT).encode()))

    assert made["tags"] == [METADATA_MISSING]


def test_a_container_that_prints_alerts_stays_itself() -> None:
    """Through Forward `container` is who wrote the line; whom an alert tells of stands in the product's own object."""
    claims = {"container": {"id": "f0" * 32}, "event": {"kind": "alert"}, "tidewaiter": {"origin": {"peer": "x"}}}
    lines = [*golden("falco"), *golden("tetragon"), *golden("hubble"), json.dumps({**ALERT, **claims, "host": "x"})]
    about = {"container_id": "a" * 64, "container_name": "/liar", "source": "stdout"}
    payload = b"".join(packed({**about, "log": line.encode()}) for line in lines)
    frame = frame_of(("forward", [(payload, b"", len(lines))]))
    made = Paths(Settings(version="0.1.0"), SCHEMA).check(frame)

    assert len(made) == len(lines)
    for each in made:
        assert each["container"] == {"id": "a" * 64, "name": "liar"}
        assert each["event"]["kind"] == "event"
        assert each["host"]["name"] == "192.0.2.7"
        assert "told_by" not in each["tidewaiter"]["container"]
    (liar,) = (each for each in made if "host" in each.get("falco", {}))
    assert liar["falco"]["container"] == {"id": "f0" * 32}


def test_only_sensors_and_scanners_tell_of_containers() -> None:
    """No other format has a word for whose event it is."""
    assert {name for name, each in formats().items() if each.subject} == {"falco", "tetragon", "trivy", "grype"}
