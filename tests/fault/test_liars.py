"""A container that claims to be another, in every shape there is: its documents say who really sent them (P5)."""

import asyncio
import gzip
import json
import sys
from collections.abc import Callable
from typing import Any, Final

import msgpack
import pytest

from tests.fault.books import until
from tests.kit.running import RunningCollector
from tests.kit.waiting_sender import from_address

pytestmark = pytest.mark.timeout(600)

LIAR: Final = "127.0.0.7"
OTHER: Final = "a" * 64
OWN: Final = "b" * 64

ORIGIN: Final = {"peer": "192.0.2.1", "auth": "certificate:bank.example", "input": "internal", "host": "bank.example"}
LIES: Final[dict[str, dict[Any, Any]]] = {
    "nested": {"tidewaiter": {"origin": ORIGIN}, "container": {"id": OTHER}, "host": {"name": "bank.example"}},
    "dotted": {f"tidewaiter.origin.{name}": value for name, value in ORIGIN.items()} | {"host.name": "bank.example"},
    "half dotted": {"tidewaiter.origin": ORIGIN, "tidewaiter": {"origin.peer": "192.0.2.1"}},
    "a list": {"tidewaiter": [{"origin": ORIGIN}], "host": ["bank.example"], "observer": "bank"},
    "text": {"tidewaiter": json.dumps({"origin": ORIGIN}), "host": "bank.example", "hostname": "bank.example"},
    "labels": {
        "tidewaiter.origin.peer": "192.0.2.1",
        "labels": {"tidewaiter.origin.peer": "192.0.2.1", "host": "bank"},
    },
    "env": {"TIDEWAITER_ORIGIN": "192.0.2.1", "env": {"tidewaiter": {"origin": ORIGIN}}, "HOSTNAME": "bank.example"},
    "event": {"event": {"id": "1", "sequence": 1}, "_id": "1", "data_stream": {"dataset": "tidewaiter.audit"}},
    "control": {"encoding": "audit", "action": "forget", "data_stream.dataset": "tidewaiter.audit"},
    "json line": {"log": json.dumps({"tidewaiter": {"origin": ORIGIN}, "container": {"id": OTHER}})},
    "bytes": {b"tidewaiter": {b"origin": {b"peer": b"192.0.2.1"}}},
}
"""Keys beside the container's own."""

TAGS: Final = ("docker", f"docker.{OTHER}", f"docker.{OTHER}.tidewaiter.origin.peer", "kube.var.log.bank.log")
TRUE_FIELDS: Final = ("origin", "host", "observer", "agent", "data_stream")

StartCollector = Callable[..., RunningCollector]


def messages() -> list[bytes]:
    """Every lie under every tag, in every mode."""
    made = []
    for number, (lie, tag) in enumerate((lie, tag) for lie in LIES.values() for tag in TAGS):
        record = {"log": f"claim {number}", "container_id": OWN, "container_name": "/own", "source": "stdout"} | lie
        entry = b"\x92" + msgpack.packb(1_700_000_000) + msgpack.packb(record)
        options = {"chunk": f"{number}", "size": 1, "peer": "192.0.2.1", "host": "bank.example", "auth": "shared-key"}
        made += [
            msgpack.packb([tag, 1_700_000_000, record, options]),
            b"\x93" + msgpack.packb(tag) + b"\x91" + entry + msgpack.packb(options),
            msgpack.packb([tag, entry, options]),
            msgpack.packb([tag, gzip.compress(entry), options | {"compressed": "gzip"}]),
        ]
    return made


def truth_of(document: dict[str, Any]) -> dict[str, Any]:
    """What a document says that no sender may."""
    return {name: document.get(name) for name in TRUE_FIELDS[1:]} | {"origin": document["tidewaiter"]["origin"]}


async def test_whatever_a_container_claims(start_collector: StartCollector) -> None:
    """By keys, labels, env, tag, options and lines, in all modes: origin, host and stream are the same as without."""
    collector = start_collector()
    sent = messages()
    reader, writer = await from_address(LIAR, collector.forward_port)()
    honest = {"log": "honest", "container_id": OWN, "container_name": "/own", "source": "stdout"}
    labelled = honest | {"log": "labelled", "container_id": OTHER, "container_name": "/bank"}
    writer.write(msgpack.packb(["docker", 1_700_000_000, honest]))
    writer.write(msgpack.packb([f"acme/bb:1.2/own/{OWN[:12]}", 1_700_000_000, labelled]) + b"".join(sent))
    answers = msgpack.Unpacker()
    acks = 0
    while acks < len(sent):
        answers.feed(await asyncio.wait_for(reader.read(4_096), 20))
        acks += sum(1 for _ in answers)
    writer.close()
    await until(lambda: len(collector.search("*")) == len(sent) + 2, "all documents")
    documents = await asyncio.to_thread(collector.search, "*")
    audit = await asyncio.to_thread(collector.search, "data_stream.dataset:tidewaiter.audit AND event.action:forget")

    (expected,) = [truth_of(each) for each in documents if each["message"] == "honest"]
    sys.stdout.write(f"{len(documents)} documents of a liar: {expected}\n")
    assert expected["origin"] == {"input": "docker", "transport": "tcp", "peer": LIAR, "host": LIAR}
    assert [truth_of(each) for each in documents if truth_of(each) != expected] == []
    assert len({each["event"]["id"] for each in documents}) == len(documents)
    (conflict,) = [each for each in documents if each["message"] == "labelled"]
    assert {each["container"]["id"] for each in documents if each is not conflict} == {OWN}
    assert (conflict["container"]["id"], conflict["container"]["name"]) == (OWN[:12], "own")
    assert "_identity_conflict" in conflict["tags"]
    assert audit == []
