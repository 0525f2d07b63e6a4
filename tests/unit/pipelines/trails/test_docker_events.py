"""Events as Engines of all versions say them, and gaps: nothing of them is left out, and none stops the others."""

import json
from typing import Any

import pytest

from pipelines.enrich.static import FieldRule
from pipelines.settings import Settings
from pipelines.trails.docker_gap import NAMED_LIMIT
from pipelines.trails.docker_said import EVENT_CUT
from tests.kit.frames import JOURNAL_TIME
from tests.kit.metadata import Told, container_message, engine_message, of_engine
from tests.kit.trails import CONTAINER, docker_record, of_trail


def made_of(*records: bytes, settings: Settings | None = None) -> list[dict[str, Any]]:
    """Return the documents of records, by who knows the container."""
    told = Told(settings or Settings(version="0"))
    told.frame(of_engine(engine_message()), of_engine(container_message(CONTAINER)))
    return told.frame(of_trail(*records))


def gap_record(**more: Any) -> bytes:
    """A record of a gap of a minute."""
    span = {"after_ns": JOURNAL_TIME - 60_000_000_000, "before_ns": JOURNAL_TIME}
    return json.dumps({"kind": "gap", "engine": "engine", "why": "engine_restarted", **span, **more}).encode()


def test_what_an_api_to_come_says_beside_is_kept() -> None:
    """As it stands, whatever it is; what older ones say twice is not."""
    record = json.loads(docker_record("start"))
    record["event"] |= {"status": "start", "id": CONTAINER, "from": "x", "node": {"a.b": [1, 2**70, None]}, "others": 1}
    (made,) = made_of(json.dumps(record).encode())

    assert made["tidewaiter"]["app"] == {"event": {"node": {"a.b": [1, 2.0**70, None]}, "others": 1}}


def test_the_time_is_the_events_own() -> None:
    """To the nanosecond, however long ago; in seconds where an old API says no more, and of receipt where none is."""
    old = docker_record("start", time_ns=1_000_000_000_123_456_789)
    seconds = old.replace(b'"timeNano": 1000000000123456789', b'"timeNano": 0')
    none = docker_record("start", time_ns=-5)
    made = made_of(old, seconds, none)

    assert [each["@timestamp"] for each in made[:2]] == [
        "2001-09-09T01:46:40.123456789Z",
        "2001-09-09T01:46:40.000000000Z",
    ]
    assert made[2]["@timestamp"] == made[2]["event"]["created"]


@pytest.mark.parametrize("absurd_s", [9 * 10**18, 253_402_300_800, -1])
def test_an_absurd_time_stops_no_message(absurd_s: int) -> None:
    """What no date can say is no time: the document has that of its receipt, and neither start nor end of its own."""
    records = [
        json.loads(docker_record("exec_start: id ", execID="e" * 64)),
        json.loads(docker_record("exec_die", execID="e" * 64, exitCode="0")),
    ]
    for each in records:
        each["event"] |= {"time": absurd_s, "timeNano": 0}
    _, made = made_of(*(json.dumps(each).encode() for each in records))

    assert made["@timestamp"] == made["event"]["created"]
    assert made["process"]["exit_code"] == 0
    assert {"start", "end", "duration"}.isdisjoint({*made["event"], *made["process"]})


def test_a_label_of_an_image_gives_its_events_no_container() -> None:
    """Attributes of an image are its labels as well; only those of networks and volumes name a container."""
    (pulled,) = made_of(docker_record("pull", kind="image", actor="evil:1", container=CONTAINER))
    (mounted,) = made_of(docker_record("mount", kind="volume", actor="data", container=CONTAINER))

    assert pulled["container"] == {"image": {"name": "evil", "tag": ["1"]}}
    assert "container" not in pulled["tidewaiter"]
    assert mounted["container"]["id"] == CONTAINER


def test_the_operators_fields_are_on_events_too() -> None:
    """By the input, the image and the name, as on a container's lines."""
    rule = FieldRule({"labels.team": "payments"}, input="engine", image="acme/*", name="web")
    made, other = made_of(
        docker_record("start"),
        docker_record("pull", kind="image", actor="nginx:1"),
        settings=Settings(version="0", fields=(rule,)),
    )

    assert made["labels"] == {"team": "payments"}
    assert "labels" not in other
    assert other["host"]["name"] == "docker-1"


def test_a_gap_names_its_span_and_what_a_comparison_shows() -> None:
    """How many there were is told also where not all are."""
    gone = [{"id": f"{number:064x}", "name": f"/g{number}"} for number in range(NAMED_LIMIT + 1)]
    (made,) = made_of(gap_record(gone=gone, appeared=[{"id": "b" * 64}], cut=["appeared"], lengths={"appeared": 300}))

    assert made["event"]["duration"] == 60_000_000_000
    assert made["@timestamp"] == made["event"]["end"]
    assert made["tidewaiter"]["app"]["counts"] == {"appeared": 300, "gone": NAMED_LIMIT + 1}
    assert len(made["tidewaiter"]["gap"]["gone"]) == NAMED_LIMIT
    assert made["tidewaiter"]["gap"]["gone"][0] == "g0 000000000000"
    assert made["message"].endswith("300 containers appeared, 1025 containers went")
    assert made["tags"] == ["_gap", EVENT_CUT]


@pytest.mark.parametrize(
    "record",
    [
        b'{"kind":"event","event":{"Type":"container"}}',
        b'{"kind":"event","event":{"Type":1,"Action":"x"}}',
        b'{"kind":"event","event":{"Type":"container","Action":"x","Actor":{"Attributes":{"a":1}}}}',
        b'{"kind":"event","event":{"Type":"container","Action":"x","timeNano":99999999999999999999}}',
        b'{"kind":"event","event":{"Type":"container","Action":"x","y":"\xff"}}',
        b'{"kind":"other"}',
        b'{"event":{}}',
        b"[" * 100_000,
        b'{"kind":"event","event":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_a_record_that_is_none_is_a_dead_letter(record: bytes) -> None:
    """Whole, and the one behind it is a document."""
    told = Told()
    told.frame(of_engine(container_message(CONTAINER)))
    made = told.frame(of_trail(record, docker_record("start")))

    assert [each["event"]["action"] for each in made] == ["start"]
    assert [letter.payload for batch in told.batches for letter in batch.dead_letters] == [record]
