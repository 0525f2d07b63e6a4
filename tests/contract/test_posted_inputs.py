"""Inputs that are posted to: answered 200 implies durable; what is refused, who waits, and that nobody else is hurt."""

import asyncio
import gzip
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from collector.config_secrets import Secret, TlsConfig
from collector.inputs import http_request
from collector.journal.arrivals import AUDIT_ID
from collector.journal.entry import Entry, Receipt
from collector.wire.blocks import BLOCK_BYTES, Blocks
from tests.kit.forward_inputs import until
from tests.kit.journal_moods import Mood, MoodyJournal
from tests.kit.posted_inputs import TIMEOUT_S, Client, client_of, event_list, port_of, posted_to

BODY = event_list({"level": "Metadata", "auditID": "a-1", "stage": "ResponseComplete"})


def secret(folder: Path, content: str) -> Secret:
    """Return a secret in a file."""
    path = folder / "secret"
    path.write_text(content, encoding="utf-8")
    return Secret(file=str(path))


def payload_of(journal: MoodyJournal) -> list[bytes]:
    """Return what became durable, in order."""
    return [bytes(entry.payload) for entry in journal.durable]


@pytest.mark.parametrize("kind", ["http", "kubernetes_audit"])
async def test_a_body_is_answered_when_it_is_durable(kind: str) -> None:
    """Nothing comes back before the sync; then 200, and the connection serves the next request."""
    journal = MoodyJournal()
    journal.hold()
    async with posted_to(journal, kind=kind) as each, client_of(each) as client:
        client.send(BODY, path="/k8s/audit?timeout=30s")
        await until(lambda: journal.pending_count == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.05)
        journal.release()

        first, second = await client.answer(), await client.post(BODY)

    assert ((200, b"{}"), 200) == ((first.status, first.body), second.status)
    assert [BODY, BODY] == payload_of(journal)
    assert (2, 2, 0) == (each.counts.messages, each.counts.acks, each.counts.refused)


async def test_what_the_journal_does_not_take_is_to_come_again() -> None:
    """Refused for now: 503 with `Retry-After`; refused for good: 413. Neither is kept, neither answered 200."""
    journal = MoodyJournal(Mood.MIXES)
    answers = []
    async with posted_to(journal) as each:
        for number in range(40):
            async with client_of(each) as client:
                answers.append(await client.post(BODY + b" " * number))

    statuses = [answer.status for answer in answers]
    waits = {answer.headers.get("retry-after") for answer in answers if answer.status == 503}
    assert {str(http_request.RETRY_AFTER_S)} == waits
    assert {200, 413, 503} == set(statuses)
    assert statuses.count(200) == len(journal.durable) == each.counts.acks


async def test_an_audit_body_has_an_id_and_another_has_none() -> None:
    """Events hold ids of their own, so that a batch can be known again; a body without any cannot."""
    journal = MoodyJournal()
    submitted: list[Entry] = []
    submit = journal.submit

    def note(entry: Entry, on_receipt: Callable[[], None]) -> None:
        submitted.append(entry)
        submit(entry, on_receipt)

    journal.submit = note  # type: ignore[method-assign]
    async with posted_to(journal) as each, client_of(each) as client:
        await client.post(BODY)
        await client.post(b'{"no":"event"}')
    async with posted_to(journal, kind="http") as each, client_of(each) as client:
        await client.post(BODY, path="/falco/")

    assert [AUDIT_ID, b"", b""] == [entry.chunk_id for entry in submitted]
    assert ["kubernetes-audit", "kubernetes-audit", "json"] == [entry.encoding for entry in submitted]
    assert [b"", b"", b"falco"] == [entry.tag for entry in submitted]


async def test_a_body_of_any_length_comes_whole() -> None:
    """Chunked and with a length, of one byte and of several blocks, in pieces of any size."""
    bodies = [b"x", b"y" * (64 << 10), b"z" * (BLOCK_BYTES + 1), bytes(range(256)) * (12 << 10)]
    journal, blocks = MoodyJournal(), Blocks()
    async with posted_to(journal, blocks=blocks) as each, client_of(each) as client:
        for body in bodies:
            assert (await client.post(body)).status == 200
            client.begin(transfer_encoding="chunked")
            for at in range(0, len(body), 99_991):
                piece = body[at : at + 99_991]
                client.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.writer.write(b"0\r\n\r\n")
            assert (await client.answer()).status == 200

    assert [body for body in bodies for _ in range(2)] == payload_of(journal)
    assert blocks.receiving_bytes == 0


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    journal = MoodyJournal()
    async with posted_to(journal) as each, client_of(each) as client:
        client.begin(content_length=str(len(BODY)), expect="100-continue")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(BODY)

        assert (await client.answer()).status == 200
    assert [BODY] == payload_of(journal)


async def test_compressed_bodies_are_kept_inflated_and_broken_ones_as_they_came() -> None:
    """Gzip as senders write it; what is broken, unknown or a bomb is a dead letter, and answered: it was received."""
    bomb = gzip.compress(bytes(3 << 20))
    bodies = [
        ("gzip", gzip.compress(BODY), "kubernetes-audit", BODY),
        ("GZIP", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), "kubernetes-audit", BODY),
        ("gzip", gzip.compress(BODY)[:-9], http_request.BROKEN, gzip.compress(BODY)[:-9]),
        ("br", BODY, http_request.BROKEN, BODY),
        ("gzip", bomb, http_request.BROKEN, bomb),
    ]
    journal = MoodyJournal()
    async with posted_to(journal, inflation_limit=10) as each, client_of(each) as client:
        for encoding, body, _, _ in bodies:
            assert (await client.post(body, content_encoding=encoding)).status == 200

    expected = [(encoding, kept) for _, _, encoding, kept in bodies]
    assert expected == [(entry.encoding, bytes(entry.payload)) for entry in journal.durable]
    assert each.counts.broken_payloads == 3


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    """By its length at once, else where it passes the limit: 413, nothing kept, and the next sender is served."""
    journal, blocks = MoodyJournal(), Blocks()
    async with posted_to(journal, message_limit=1 << 16, blocks=blocks) as each:
        async with client_of(each) as client:
            client.begin(content_length=str(1 << 30))
            assert (await client.answer()).status == 413
        async with client_of(each) as client:
            client.begin(transfer_encoding="chunked")
            client.writer.write(b"%x\r\n%s\r\n" % (70_000, b"x" * 70_000))
            assert (await client.answer()).status == 413
        async with client_of(each) as client:
            assert (await client.post(BODY)).status == 200

    assert ([BODY], {"too_large": 2}, 0) == (payload_of(journal), each.counts.broken, blocks.receiving_bytes)


async def test_who_receives_too_much_at_once_is_to_come_again() -> None:
    """Memory of unfinished bodies is bounded for each peer; what does not fit is answered 503, and let go."""
    journal, blocks = MoodyJournal(), Blocks(receive_limit_bytes=4 * BLOCK_BYTES)
    async with posted_to(journal, blocks=blocks) as each, client_of(each) as client:
        client.begin(transfer_encoding="chunked")
        for _ in range(4):
            client.writer.write(b"%x\r\n%s\r\n" % (BLOCK_BYTES, bytes(BLOCK_BYTES)))

        assert (await client.answer()).status == 503
        assert blocks.receiving_bytes == 0


async def test_a_request_without_credentials_is_refused_and_told(tmp_path: Path) -> None:
    """No token, a wrong one, one of another kind: 401 with a challenge, counted, nothing kept; a right one is named."""
    journal = MoodyJournal()
    headers = [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic d3Jvbmc6d3Jvbmc="}]
    async with posted_to(journal, tokens={"cluster": secret(tmp_path, "right")}) as each:
        for given in headers:
            async with client_of(each) as client:
                refused = await client.post(BODY, **given)
                assert (401, "bearer") == (refused.status, refused.headers["www-authenticate"])
                assert await client.ended()
        async with client_of(each) as client:
            assert (await client.post(BODY, authorization="Bearer right")).status == 200

        told = {(refusal.reason, refusal.attempts) for refusal in each.refusals.due(last=True)}
    assert {("no credentials", 1), ("wrong token", 1), ("credentials of another kind", 1)} == told
    assert (["token:cluster"], 3) == ([entry.origin.auth for entry in journal.durable], each.counts.unproven)


async def test_a_password_names_its_user(tmp_path: Path) -> None:
    """Basic authentication; a wrong password and an unknown user are refused alike."""
    journal = MoodyJournal()
    users = {"shipper": secret(tmp_path, "right")}
    async with posted_to(journal, kind="http", users=users) as each:
        for given, status in (
            ("c2hpcHBlcjp3cm9uZw==", 401),
            ("bm9ib2R5OnJpZ2h0", 401),
            ("!", 401),
            ("c2hpcHBlcjpyaWdodA==", 200),
        ):
            async with client_of(each) as client:
                assert (await client.post(b"{}", authorization=f"Basic {given}")).status == status

    assert ["user:shipper"] == [entry.origin.auth for entry in journal.durable]


async def test_who_fails_often_is_not_listened_to(tmp_path: Path) -> None:
    """After ten wrong tokens of a peer its connections are closed at once; that is told once."""
    async with posted_to(MoodyJournal(), tokens={"cluster": secret(tmp_path, "right")}) as each:
        for _ in range(10):
            async with client_of(each) as client:
                assert (await client.post(BODY, authorization="Bearer wrong")).status == 401
        async with client_of(each) as client:
            client.send(BODY, authorization="Bearer right")

            assert await client.ended()
        assert (1, 1) == (each.counts.connections_refused["handshakes"], len(each.refusals.blocked()))


async def test_over_tls_the_certificate_is_proven(files: TlsConfig, authority: trustme.CA, tmp_path: Path) -> None:
    """A client certificate of the authority names the sender; without one there is no connection."""
    options = TlsConfig(certificate=files.certificate, key=files.key, client_ca=str(tmp_path / "ca.pem"))
    journal = MoodyJournal()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with_certificate = ssl.create_default_context()
    authority.configure_trust(with_certificate)
    authority.issue_cert("apiserver.example").configure_cert(with_certificate)
    async with posted_to(journal, tls=options) as each:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with client_of(each, tls=trusting, host="collector.example") as client:
                await client.post(BODY)
        async with client_of(each, tls=with_certificate, host="collector.example") as client:
            assert (await client.post(BODY)).status == 200
        await until(lambda: each.counts.unproven == 1)

    origin = journal.durable[0].origin
    assert ("tls", "certificate:apiserver.example") == (origin.transport, origin.auth)


async def test_a_body_that_does_not_go_on_ends_in_time() -> None:
    """408, the connection closed, its memory let go; what had come is not kept."""
    journal, blocks = MoodyJournal(), Blocks()
    async with posted_to(journal, body_timeout=0.1, blocks=blocks) as each, client_of(each) as client:
        client.begin(content_length="100")
        client.writer.write(b"half")

        assert (await client.answer()).status == 408
    assert ([], 1, 0) == (payload_of(journal), each.counts.stalled, blocks.receiving_bytes)


async def test_half_a_head_ends_in_time() -> None:
    """A head that does not go on is an idle connection, and closed as one."""
    async with posted_to(MoodyJournal(), idle_timeout=0.1) as each, client_of(each) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: coll")

        assert await client.ended()


async def test_a_body_cut_short_is_not_kept() -> None:
    """The sender is gone before the end: nothing is kept, it counts as unfinished, and its place is free."""
    journal, blocks = MoodyJournal(), Blocks()
    async with posted_to(journal, blocks=blocks) as each:
        async with client_of(each) as client:
            client.begin(content_length="1000000")
            client.writer.write(b"x" * 200_000)
            await until(lambda: each.counts.bytes > 0)
        await until(lambda: each.counts.unfinished == 1 and not each.connections)

        assert ([], 0, 0) == (payload_of(journal), each.counts.connections, blocks.receiving_bytes)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: c\r\n" + b"X: y\r\n" * 1000 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: c\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n", 400),
    ],
    ids=["tls", "two-lengths", "bad-chunk", "many-headers", "get", "empty"],
)
async def test_what_is_no_post_is_refused(sent: bytes, status: int) -> None:
    """Not HTTP, broken framing, another method, no body: refused, nothing kept, and a neighbour is served."""
    journal = MoodyJournal()
    async with posted_to(journal) as each, client_of(each) as client, client_of(each) as neighbour:
        client.writer.write(sent)

        assert (await client.answer()).status == status
        assert (await neighbour.post(BODY)).status == 200
    assert ([BODY], 0) == (payload_of(journal), each.counts.failures)


async def test_one_connection_too_many_is_closed() -> None:
    """Beyond the limit of a peer; the others stay."""
    async with posted_to(MoodyJournal(), connection_limit_per_peer=2) as each:
        async with client_of(each) as first, client_of(each) as second:
            assert [200, 200] == [(await first.post(BODY)).status, (await second.post(BODY)).status]
            async with client_of(each) as third:
                third.send(BODY)
                assert await third.ended()
            assert (await first.post(BODY)).status == 200
        assert each.counts.connections_refused["peer"] == 1


async def test_a_pressed_journal_makes_senders_wait_then_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits while the journal asks to; when that lasts, it is told to come again."""
    journal = MoodyJournal()
    async with posted_to(journal) as each, client_of(each) as client:
        journal.press(pressed=True)
        client.send(BODY)
        await until(lambda: any(connection.is_busy for connection in each.connections))
        journal.press(pressed=False)
        assert (await client.answer()).status == 200

        monkeypatch.setattr(http_request, "WAIT_S", 0.01)
        journal.press(pressed=True)
        answer = await client.post(BODY)

    assert (503, "5", [BODY]) == (answer.status, answer.headers["retry-after"], payload_of(journal))


async def test_a_drain_answers_what_is_in_hand() -> None:
    """Draining closes idle connections, waits for receipts, answers, and closes; nobody is let in."""
    journal = MoodyJournal()
    journal.hold()
    async with posted_to(journal) as each, client_of(each) as idle, client_of(each) as client:
        client.send(BODY)
        await until(lambda: journal.pending_count == 1)
        draining = asyncio.create_task(each.drain(timeout_s=TIMEOUT_S))
        assert await idle.ended()
        with pytest.raises(ConnectionRefusedError):
            await Client.connected(port_of(each))
        journal.release()
        answer = await client.answer()
        assert await client.ended()
        await draining

    assert (200, "close", [BODY]) == (answer.status, answer.headers["connection"], payload_of(journal))


async def test_a_drain_ends_in_time() -> None:
    """A journal that never answers does not hold up the stop, and memory is let go when it does."""
    journal, blocks = MoodyJournal(), Blocks()
    journal.hold()
    async with posted_to(journal, blocks=blocks) as each, client_of(each) as client:
        client.send(BODY)
        await until(lambda: journal.pending_count == 1)

        await each.drain(timeout_s=0.05)

        assert await client.ended()
        journal.release()
        assert not each.connections


async def test_what_a_peer_that_has_gone_sent_is_kept() -> None:
    """The body had come whole: it becomes durable even if nobody is there to be told."""
    journal = MoodyJournal()
    journal.hold()
    async with posted_to(journal) as each:
        async with client_of(each) as client:
            client.send(BODY)
            await until(lambda: journal.pending_count == 1)
        journal.release()
        await until(lambda: not each.connections)

    assert [BODY] == payload_of(journal)


async def test_a_receipt_for_each_request_is_its_own() -> None:
    """Two connections wait at once, and the journal takes one of their bodies only."""
    journal = MoodyJournal()
    taken: list[tuple[Entry, Callable[[], None]]] = []
    journal.submit = lambda *pair: taken.append(pair)  # type: ignore[method-assign]
    async with posted_to(journal) as each, client_of(each) as first, client_of(each) as second:
        first.send(BODY)
        await until(lambda: len(taken) == 1)
        second.send(BODY)
        await until(lambda: len(taken) == 2)
        for (entry, on_receipt), receipt in zip(reversed(taken), (Receipt.RETRY, Receipt.DURABLE), strict=True):
            entry.receipt = receipt
            on_receipt()

        assert [200, 503] == [(await first.answer()).status, (await second.answer()).status]
