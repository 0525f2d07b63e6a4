"""Who really sent it, and what the collector did itself: on every document, through real processes."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trustme

from collector.journal.cursors import write_cursor
from pipelines.frame import Position
from tests.kit.forward_handshakes import RefusedError, over_tls, with_handshake
from tests.kit.running import RunningCollector, wait_until

OWN = "data_stream.dataset:tidewaiter.audit"
CONTAINER = "b" * 64


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs certificates."""
    return trustme.CA()


@pytest.fixture
def start_secured(tmp_path: Path, authority: trustme.CA) -> Callable[[], RunningCollector]:
    """Make a collector whose input demands a client certificate and a shared key; the socket demands nothing."""
    certificate = authority.issue_cert("collector.example")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "shared-key").write_text("k3y\n")

    def make() -> RunningCollector:
        collector = RunningCollector(tmp_path / "c")
        content = json.loads(collector.config_file.read_text())
        content["inputs"]["docker"] |= {
            "tls": {
                "certificate": str(tmp_path / "certificate.pem"),
                "key": str(tmp_path / "key.pem"),
                "client_ca": str(tmp_path / "ca.pem"),
            },
            "shared_key": {"file": str(tmp_path / "shared-key")},
        }
        collector.config_file.write_text(json.dumps(content))
        return collector

    return make


def run(collector: RunningCollector, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(collector.command(*arguments), capture_output=True, text=True, timeout=60, check=False)


def own_records(collector: RunningCollector, action: str) -> list[dict[str, Any]]:
    """The collector's own audit records of an action."""
    return collector.search(f"{OWN} AND event.action:{action}")


def test_a_liars_documents_carry_who_really_sent_them(
    start_secured: Callable[[], RunningCollector], authority: trustme.CA
) -> None:
    """A host claims another's name, container and peer; its certificate, key and address stand beside the claim."""
    collector = start_secured()
    collector.start()
    try:
        collector.wait_ready()
        context = authority_context(authority, "mallory.example")
        connect = over_tls("127.0.0.1", collector.forward_port, context)
        lie = {
            "log": "all is well",
            "container_id": CONTAINER,
            "container_name": "/bank",
            "host": {"name": "bank.example"},
            "tidewaiter": {"origin": {"auth": "certificate:bank.example", "peer": "192.0.2.1"}},
            "tidewaiter.origin.host": "bank.example",
        }

        asyncio.run(send(with_handshake(connect, key=b"k3y", client="bank.example"), lie))
        wait_until(lambda: len(collector.search("*")) == 1, timeout_s=60, what="the liar's document")
        (document,) = collector.search("*")
    finally:
        collector.kill_all()

    assert document["tidewaiter"]["origin"] == {
        "input": "docker",
        "transport": "tls",
        "peer": "127.0.0.1",
        "auth": "certificate:mallory.example+shared-key",
        "host": "mallory.example",
    }
    assert document["host"] == {"name": "mallory.example"}
    assert document["container"]["id"] == CONTAINER


def test_a_failed_handshake_is_an_event_of_its_own(
    start_secured: Callable[[], RunningCollector], authority: trustme.CA
) -> None:
    """Who it was, what it claimed and why it failed; outside the default search."""
    collector = start_secured()
    collector.start()
    try:
        collector.wait_ready()
        context = authority_context(authority, "mallory.example")
        connect = over_tls("127.0.0.1", collector.forward_port, context)
        with pytest.raises(RefusedError):
            asyncio.run(send(with_handshake(connect, key=b"wrong", client="bank.example"), {"log": "x"}))
        wait_until(lambda: bool(own_records(collector, "handshake")), timeout_s=60, what="the record")
        (record,) = own_records(collector, "handshake")
        found = collector.search("*")
    finally:
        collector.kill_all()

    assert found == []
    assert record["event"]["outcome"] == "failure"
    assert record["tidewaiter"]["fields"] == {
        "attempts": 1,
        "claimed": "bank.example",
        "input": "docker",
        "peer": "127.0.0.1",
        "reason": "wrong key",
    }


def test_what_commands_do_to_the_evidence_stands_in_it(start_collector: Callable[..., RunningCollector]) -> None:
    """First start, export of the key, verification, letting go of an output: once each, also when it was stopped."""
    collector = start_collector()
    assert run(collector, "verify").returncode == 0
    assert collector.stop() == 0
    write_cursor(collector.data_dir / "journal", "old", Position(0, 1, 2))
    assert run(collector, "journal", "forget", "old", "--yes").returncode == 0
    collector.start()
    collector.wait_ready()

    wait_until(lambda: bool(own_records(collector, "forget")), timeout_s=60, what="the record of forget")

    actions = [each["event"]["action"] for each in collector.search(OWN)]
    assert sorted(actions) == ["forget", "key_export", "start", "start", "stop", "verify"]
    (forgotten,) = own_records(collector, "forget")
    assert forgotten["tidewaiter"]["fields"]["output"] == "old"
    assert forgotten["message"].startswith("Output old was let go of by tidewaiter journal forget: ")
    assert list((collector.data_dir / "audit").iterdir()) == []


def authority_context(authority: trustme.CA, client: str) -> ssl.SSLContext:
    """A client's TLS context with a certificate of this name."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert(client).configure_cert(context)
    return context


async def send(connect: Any, record: dict[str, Any]) -> None:
    """Send one record and wait for its acknowledgement."""
    reader, writer = await connect()
    entry = msgpack.packb([1_700_000_000, record])
    writer.write(msgpack.packb(["app", entry, {"chunk": "c1"}]))
    assert msgpack.unpackb(await reader.read(100)) == {"ack": "c1"}
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
