"""Audit events from the API server's own webhook sender to documents: none lost, none doubled, whatever happens."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from tests.kit.audit_events import samples
from tests.kit.audit_senders import KINDS, AuditSender, write_webhook_config
from tests.kit.cutting_proxy import CuttingProxy
from tests.kit.ecs import Schema
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = pytest.mark.timeout(600)

TESTS: Final = Path(__file__).parents[1]
EVENTS: Final = samples(TESTS / "golden" / "kubernetes_audit" / "events.log")
SCHEMA: Final = Schema(TESTS / "data")
STORED_WITHIN_S: Final = 60.0

StartCollector = Callable[..., RunningCollector]
Keys = Counter[tuple[str, str]]


class Files:
    """Certificates and a token in a folder."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        client = authority.issue_cert("apiserver.example", common_name="apiserver.example")
        self.authority, self.client = folder / "ca.pem", folder / "client.pem"
        authority.cert_pem.write_to_path(self.authority)
        client.private_key_and_cert_chain_pem.write_to_path(self.client)
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        server.private_key_pem.write_to_path(folder / "server.key")
        self.token = folder / "token"
        self.token.write_text("t0ken\n", encoding="utf-8")
        self.tls = {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """What both sides prove themselves with."""
    return Files(tmp_path)


@pytest.fixture(params=KINDS)
def sender(request: pytest.FixtureRequest) -> Iterator[Callable[..., AuditSender]]:
    """Start senders; what still runs at the end is killed."""
    started: list[AuditSender] = []

    def start(config: Path, **options: Any) -> AuditSender:
        started.append(AuditSender(request.param, config, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def events(count: int) -> list[dict[str, Any]]:
    """Return events of all kinds, each of an id and stage of its own."""
    stages = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
    return [
        {
            **EVENTS[number % len(EVENTS)],
            "auditID": f"00000000-0000-4000-8000-{number // 4:012d}",
            "stage": stages[number % 4],
        }
        for number in range(count)
    ]


def keys_of(found: list[dict[str, Any]]) -> Keys:
    """Count events by what tells them apart."""
    return Counter((each["auditID"], each["stage"]) for each in found)


def stored(collector: RunningCollector) -> list[dict[str, Any]]:
    """Return the documents of audit events."""
    return collector.search("event.dataset: kubernetes.audit_logs", "--limit", "100000")


def wait_stored(collector: RunningCollector, expected: Keys) -> list[dict[str, Any]]:
    """Wait until as many documents are there as events were sent; return them."""
    count = "SELECT count(*) AS documents FROM logs WHERE stream LIKE 'logs-kubernetes.audit_logs-%'"

    def arrived() -> bool:
        return int(collector.query(count)[0]["documents"]) >= expected.total()

    wait_until(arrived, timeout_s=STORED_WITHIN_S, what=f"{expected.total()} documents", poll_s=0.3)
    return stored(collector)


@pytest.mark.parametrize("mode", ["batch", "blocking"])
def test_nothing_is_lost_or_doubled_through_kills(
    mode: str, sender: Callable[..., AuditSender], start_collector: StartCollector, files: Files, tmp_path: Path
) -> None:
    """Over TLS with a client certificate, every process of ours killed in the middle: each event is one document."""
    port = free_port()
    tls = {**files.tls, "client_ca": str(files.authority)}
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}", "tls": tls, "cluster": "shop-prod"}
    collector = start_collector(settings={"inputs": {"audit": audit}})
    url = f"https://127.0.0.1:{port}/k8s/audit"
    config = write_webhook_config(tmp_path / "config", url, authority=files.authority, certificate=files.client)
    running = sender(config, mode=mode)
    sent = events(240 if mode == "batch" else 80)
    half = len(sent) // 2

    running.write(sent[:half])
    wait_until(
        lambda: collector.metric("tidewaiter_intake_acks_total", input="audit") > 0,
        timeout_s=60,
        what="a first batch",
        poll_s=0.05,
    )
    collector.kill_all()
    collector.wait_gone()
    writing = threading.Thread(target=running.write, args=(sent[half:],))
    writing.start()
    collector.start()
    collector.wait_ready()
    writing.join()
    told = running.finish()

    documents = wait_stored(collector, keys_of(sent))
    assert (len(sent), 0) == (told["sent"], told["refused"])
    assert keys_of(sent) == keys_of([each["kubernetes"]["audit"] for each in documents])
    assert [] == [problem for each in documents for problem in SCHEMA.problems(each)]
    assert {"certificate:apiserver.example"} == {each["tidewaiter"]["origin"]["auth"] for each in documents}
    assert {"shop-prod"} == {each["orchestrator"]["cluster"]["name"] for each in documents}


class Refusing(BaseHTTPRequestHandler):
    """Answers 500, as something in front of us may."""

    answered = 0

    def do_POST(self) -> None:
        """Read, and refuse."""
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).answered += 1
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_nothing_is_lost_or_doubled_through_refusals(
    sender: Callable[..., AuditSender], start_collector: StartCollector, files: Files, tmp_path: Path
) -> None:
    """Something answers 500 in our place, then the sender repeats to us, with a token."""
    port = free_port()
    config = write_webhook_config(tmp_path / "config", f"http://127.0.0.1:{port}/", token="")
    sent = events(60)
    before = Refusing.answered
    with HTTPServer(("127.0.0.1", port), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = sender(config)
        running.write(sent)
        wait_until(lambda: Refusing.answered >= before + 1, timeout_s=60, what="a refusal")
        server.shutdown()
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}"}
    collector = start_collector(settings={"inputs": {"audit": audit}})

    told = running.finish()

    documents = wait_stored(collector, keys_of(sent))
    assert len(sent) == told["sent"]
    assert keys_of(sent) == keys_of([each["kubernetes"]["audit"] for each in documents])


async def test_a_batch_whose_answer_is_cut_off_is_one_document_each(
    sender: Callable[..., AuditSender], start_collector: StartCollector, files: Files, tmp_path: Path
) -> None:
    """The connection breaks when the batch is durable and its answer on the way; the token is proven each time."""
    port = free_port()
    tokens = {"cluster": {"file": str(files.token)}}
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}", "tls": files.tls, "tokens": tokens}
    collector = await asyncio.to_thread(start_collector, settings={"inputs": {"audit": audit}})
    sent = events(40)

    def taken() -> float:
        return collector.metric("tidewaiter_intake_messages_total", input="audit")

    async with CuttingProxy("127.0.0.1", port, source="127.0.0.9") as proxy:
        url = f"https://127.0.0.1:{proxy.port}/"
        config = write_webhook_config(tmp_path / "config", url, authority=files.authority, token="t0ken")
        running = sender(config, batch=len(sent))
        await asyncio.to_thread(running.write, sent)
        for _ in range(6000):
            if await asyncio.to_thread(taken) >= 1:
                break
            await asyncio.sleep(0.01)
        proxy.cut("reset")
        told = await asyncio.to_thread(running.finish)

    documents = await asyncio.to_thread(wait_stored, collector, keys_of(sent))
    assert len(sent) == told["sent"]
    assert keys_of(sent) == keys_of([each["kubernetes"]["audit"] for each in documents])
    assert {"token:cluster"} == {each["tidewaiter"]["origin"]["auth"] for each in documents}


def test_a_wrong_token_is_an_event_of_its_own(
    start_collector: StartCollector, sender: Callable[..., AuditSender], files: Files, tmp_path: Path
) -> None:
    """The sender gives up what was refused, nothing of it is kept, and our own record says who was turned away."""
    port = free_port()
    tokens = {"cluster": {"file": str(files.token)}}
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}", "tls": files.tls, "tokens": tokens}
    collector = start_collector(settings={"inputs": {"audit": audit}})
    url = f"https://localhost:{port}/"
    config = write_webhook_config(tmp_path / "config", url, authority=files.authority, token="wrong")
    running = sender(config, backoff_s=0.02)
    running.write(events(4))

    running.finish()

    query = "event.action: handshake AND event.outcome: failure"
    wait_until(
        lambda: bool(collector.search(query, "--stream", "logs-tidewaiter.audit-*", "--limit", "10")),
        timeout_s=60,
        what="a record of a refusal",
        poll_s=0.3,
    )
    (record,) = collector.search(query, "--stream", "logs-tidewaiter.audit-*", "--limit", "10")[:1]
    assert ("wrong token", "audit") == (
        record["tidewaiter"]["fields"]["reason"],
        record["tidewaiter"]["fields"]["input"],
    )
    assert [] == stored(collector)
    assert "t0ken" not in collector.log() + json.dumps(collector.search("*", "--limit", "1000"))
