"""Records whose sender parsed a logger's object: the keys are at the record's root, and there is no line."""

import json
import struct
from typing import Any, Final

import msgpack
import pytest

from pipelines import reference
from pipelines.chunk import ChunkPath
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

SENT_S: Final = 1_795_917_600
KUBERNETES: Final = {"pod_name": "web-1", "namespace_name": "shop", "docker_id": "8f3a1c0b9d2e" + "0" * 52}
SETTINGS: Final = Settings(version="0", original="always")


def document(record: dict[str, Any]) -> dict[str, Any]:
    """The document of a record, by both paths."""
    entry = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", SENT_S, 0)), record])
    frame = frame_of(("forward", [(entry, b"kube.web", 1)]))
    expected = list(reference.process(frame, SETTINGS, State()))

    assert expected == list(ChunkPath(SETTINGS).process(frame, State()))
    made: dict[str, Any] = json.loads(expected[0].documents[0].ndjson)
    return made


def test_a_loggers_keys_are_read_as_its_line_would_be() -> None:
    """Level, time and message are the document's, all else is the application's; nothing stands in two places."""
    keys = {"level": "warn", "time": "2026-11-29T02:00:00.5Z", "msg": "slow", "tier": "gold"}
    made = document({**keys, "stream": "stderr", "kubernetes": KUBERNETES})

    assert (made["log"]["level"], made["message"], made["@timestamp"]) == (
        "warn",
        "slow",
        "2026-11-29T02:00:00.500000000Z",
    )
    assert made["tidewaiter"]["app"] == {"tier": "gold"}
    assert "fields" not in made["tidewaiter"]
    assert made["container"]["id"] == KUBERNETES["docker_id"]
    assert made["tidewaiter"]["container"]["stream"] == "stderr"


def test_a_products_keys_are_that_products() -> None:
    """Its dataset is as of the line, which no longer is there to be kept."""
    request = {
        "remote_ip": "192.0.2.7",
        "method": "GET",
        "host": "www.example.com",
        "uri": "/cart",
        "proto": "HTTP/1.1",
    }
    keys = {"level": "info", "ts": 1795917600.03, "logger": "http.log.access.log0", "msg": "handled request"}
    made = document({**keys, "request": request, "status": 200, "size": 2})

    assert (made["event"]["dataset"], made["source"]["ip"]) == ("caddy.access", "192.0.2.7")
    assert "original" not in made["event"]


@pytest.mark.parametrize(
    "record",
    [{"metric": 4, "unit": "ms"}, {"level": 3, "sensor": "a"}, {"msg": {"a": 1}}],
    ids=lambda each: next(iter(each)),
)
def test_other_records_without_a_line_stay_as_they_are(record: dict[str, Any]) -> None:
    """Their message is the record, and their keys are fields of it."""
    made = document(record)

    assert json.loads(made["message"]) == record
    assert made["tidewaiter"]["fields"] == record
    assert "app" not in made["tidewaiter"]


def test_who_wrote_it_is_not_the_keys_word() -> None:
    """A logger's object may claim to be anybody: what it says is the application's."""
    made = document({"msg": "x", "level": "info", "host": {"name": "forged"}, "data_stream": {"dataset": "forged"}})

    assert "forged" not in json.dumps({name: value for name, value in made.items() if name != "tidewaiter"})
    assert made["tidewaiter"]["app"]["host"] == {"name": "forged"}
