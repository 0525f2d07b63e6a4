"""Inputs that are posted to, and peers that want too much, send nonsense, do not go on, or do not read."""

import asyncio
import contextlib
import errno
import gzip
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from collector.config_secrets import Secret
from collector.inputs import http_request
from collector.inputs.http_connection import HttpConnection
from collector.inputs.posted import PostedInput
from collector.wire.inflation import Inflation
from tests.kit.forward_inputs import until
from tests.kit.journal_moods import MoodyJournal
from tests.kit.posted_inputs import TIMEOUT_S, client_of, event_list, posted_to

BODY = event_list({"level": "Metadata", "auditID": "a-1", "stage": "ResponseComplete"})


async def connection_of(each: PostedInput) -> HttpConnection:
    """Return the only connection of an input."""
    await until(lambda: bool(each.connections))
    (connection,) = each.connections
    return connection


async def test_what_is_sent_behind_a_request_in_hand_waits_outside() -> None:
    """Eight bodies more on the same connection: one read and no more is taken of them; then each has its answer."""
    journal = MoodyJournal()
    journal.hold()
    bodies = [bytes([65 + number]) * 120_000 for number in range(8)]
    async with posted_to(journal, kind="http") as each, client_of(each) as client:
        client.send(BODY)
        await until(lambda: journal.pending_count == 1)
        connection = await connection_of(each)
        for body in bodies:
            client.send(body)
        await until(lambda: connection.transport is not None and not connection.transport.is_reading())
        assert journal.pending_count == 1
        assert len(connection._messages) <= 3  # as many as one read of 256 KiB may bring

        journal.release()
        assert [200] * 9 == [(await client.answer()).status for _ in range(9)]
    assert [BODY, *bodies] == [bytes(entry.payload) for entry in journal.durable]


async def test_small_requests_one_behind_the_other_are_all_answered() -> None:
    """Also those that come with the end of a body, after forty whose ends came later than their heads."""
    journal = MoodyJournal()
    one = b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\n\r\n{}"
    async with posted_to(journal, kind="http") as each, client_of(each) as client:
        for number in range(40):
            client.begin(content_length="4")
            client.writer.write(b"[1")
            await until(lambda number=number: each.counts.bytes == 4 * number + 2)  # type: ignore[misc]
            client.writer.write(b"2]" + (50 * one if number == 39 else b""))
            assert (await client.answer()).status == 200

        assert [200] * 50 == [(await client.answer()).status for _ in range(50)]
    assert [*[b"[12]"] * 40, *[b"{}"] * 50] == [bytes(entry.payload) for entry in journal.durable]


async def test_a_head_without_end_is_cut_off() -> None:
    """300 KiB of header lines that go on: the connection is closed, and counted."""
    async with posted_to(MoodyJournal()) as each, client_of(each) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: c\r\n" + b"X: %s\r\n" % (b"y" * 15_000) * 20)

        assert await client.ended()
        assert {"HeadTooLarge": 1} == each.counts.broken


async def test_who_does_not_read_its_answers_is_cut_off(tmp_path: Path) -> None:
    """It sends request upon request and reads nothing: once no answer fits any more, it has as long as a body has."""
    loop = asyncio.get_running_loop()
    path = tmp_path / "s"
    async with posted_to(MoodyJournal(), listen=f"unix://{path}", body_timeout=0.1) as each:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.setblocking(False)
            await loop.sock_connect(silent, str(path))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(silent, b"GET / HTTP/1.1\r\nHost: c\r\n\r\n" * 100_000)
            await until(lambda: each.counts.stalled == 1 and not each.connections)
            assert (1, set()) == (each.counts.stalled, each.connections)


async def test_who_gives_no_credentials_does_not_shut_out_its_address(tmp_path: Path) -> None:
    """Health checks, and clients that wait to be asked: however many, whoever has a token there is listened to."""
    secret = tmp_path / "secret"
    secret.write_text("right", encoding="utf-8")
    async with posted_to(MoodyJournal(), tokens={"cluster": Secret(file=str(secret))}) as each:
        for _ in range(12):
            async with client_of(each) as client:
                assert (await client.post(BODY)).status == 401
        async with client_of(each) as client:
            assert (await client.post(BODY, authorization="Bearer right")).status == 200

        assert (12, []) == (each.counts.unproven, each.refusals.blocked())


async def test_both_kinds_of_credentials_are_asked_for(tmp_path: Path) -> None:
    """Where tokens and users may come in, a client that waits to be asked learns of both; a long name is cut."""
    secret = tmp_path / "secret"
    secret.write_text("right", encoding="utf-8")
    given = Secret(file=str(secret))
    async with posted_to(MoodyJournal(), tokens={"a": given}, users={"b": given}) as each, client_of(each) as client:
        client.send(BODY, authorization="Basic " + "dXNl" * 1000 + "cjpw")
        head = await client.reader.readuntil(b"\r\n\r\n")

        assert head.count(b"WWW-Authenticate: Bearer\r\n") == 1
        assert head.count(b'WWW-Authenticate: Basic realm="tidewaiter"\r\n') == 1
        (refusal,) = each.refusals.due(last=True)
        assert (256, "use") == (len(refusal.claimed), refusal.claimed[:3])


async def test_a_body_is_not_inflated_while_the_journal_asks_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it inflates to counts nowhere before the journal has it: so not even a small one is, and 503 comes."""
    begun: list[int] = []

    class Noted(Inflation):
        def is_quick(self) -> bool:
            begun.append(1)
            return super().is_quick()

    monkeypatch.setattr(http_request, "Inflation", Noted)
    monkeypatch.setattr(http_request, "WAIT_S", 0.01)
    journal, body = MoodyJournal(), gzip.compress(BODY)
    async with posted_to(journal) as each, client_of(each) as client:
        client.begin(content_length=str(len(body)), expect="100-continue", content_encoding="gzip")
        await client.reader.readuntil(b"\r\n\r\n")
        journal.press(pressed=True)
        client.writer.write(body)

        assert ((await client.answer()).status, begun) == (503, [])
        journal.press(pressed=False)
        assert (await client.post(body, content_encoding="gzip")).status == 200
    assert [1] == begun


async def test_whose_turn_to_be_inflated_does_not_come_is_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 after a while; and what was given up is not inflated later."""
    monkeypatch.setattr(http_request, "WAIT_S", 0.01)
    journal, body = MoodyJournal(), gzip.compress(os.urandom(100_000))
    waiting: list[Callable[[], int]] = []

    def submit(_: object, work: Callable[[], int]) -> "asyncio.Future[None]":
        waiting.append(work)
        return asyncio.get_running_loop().create_future()

    async with posted_to(journal) as each, client_of(each) as client:
        monkeypatch.setattr(each.inflater, "submit", submit)
        answer = await client.post(body, content_encoding="gzip")

    assert ((503, [0]), 0) == ((answer.status, [work() for work in waiting]), len(journal.durable))


async def test_what_a_small_body_inflates_to_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 KiB out of a hundred bytes count for 64 KiB."""
    paid: list[int] = []

    def spend(count: int, _: int) -> bool:
        paid.append(count)
        return False

    async with posted_to(MoodyJournal(), kind="http") as each, client_of(each) as client:
        connection = await connection_of(each)
        monkeypatch.setattr(connection.shared, "spend", spend)
        assert (await client.post(gzip.compress(b" " * 60_000), content_encoding="gzip")).status == 200

    assert 60_000 in paid


async def test_little_is_read_of_what_is_thrown_away() -> None:
    """A body of 64 MiB behind a refused request: a MiB of it is read, counted and paid, then its sender is stuck."""
    async with posted_to(MoodyJournal()) as each, client_of(each) as client:
        client.begin(method="GET", content_length=str(64 << 20))
        client.writer.write(bytes(64 << 20))
        answer = await client.answer()

        assert (405, "close") == (answer.status, answer.headers["connection"])
        assert await client.ended()
        assert 0 < each.counts.bytes <= 2 << 20


async def test_waiting_for_a_turn_is_not_the_senders_slowness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body came at once, and we let it wait for longer than a body may take: it is kept."""
    loop, journal = asyncio.get_running_loop(), MoodyJournal()
    async with posted_to(journal, body_timeout=0.05) as each, client_of(each) as client:
        connection = await connection_of(each)
        monkeypatch.setattr(connection.shared, "spend", lambda *_: True)
        monkeypatch.setattr(connection.shared, "wait", lambda go_on: loop.call_later(0.15, go_on))
        client.writer.write(b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))

        assert (await client.answer()).status == 200


async def test_a_body_whose_framing_breaks_later_ends_at_once() -> None:
    """A bad chunk behind a good one: 400 now, not when the body's time is over."""
    async with posted_to(MoodyJournal(), body_timeout=3600.0) as each, client_of(each) as client:
        client.begin(transfer_encoding="chunked")
        client.writer.write(b"4\r\nhalf\r\n")
        await until(lambda: each.counts.bytes == 4)
        client.writer.write(b"zz\r\n")

        assert (await client.answer()).status == 400
        assert await client.ended()
        assert (0, {"RequestPayloadError": 1}) == (each.counts.failures, each.counts.broken)


async def test_silent_connections_make_room() -> None:
    """From 95 % of the limit on the one goes that asked longest ago; not one with a request in hand, nor a new one."""
    now_s = [0.0]
    journal = MoodyJournal()
    journal.hold()
    async with AsyncExitStack() as stack:
        each = await stack.enter_async_context(posted_to(journal, connection_limit=20, clock=lambda: now_s[0]))
        busy = await stack.enter_async_context(client_of(each))
        silent = await stack.enter_async_context(client_of(each))
        busy.send(BODY)
        await until(lambda: journal.pending_count == 1 and len(each.connections) == 2)
        now_s[0] = 100.0
        each.tick()
        for _ in range(18):
            await stack.enter_async_context(client_of(each))
        await until(lambda: len(each.connections) == 20)
        now_s[0] = 104.0
        each.tick()

        assert await silent.ended()
        journal.release()
        assert (await busy.answer()).status == 200
        assert (1, 19) == (each.counts.idle, each.counts.connections)


@pytest.mark.parametrize(
    "error",
    [ssl.SSLError(1, "bad record mac"), TimeoutError(errno.ETIMEDOUT, "timed out"), ConnectionResetError()],
    ids=["tls", "network", "reset"],
)
async def test_a_connection_that_breaks_within_a_body_is_no_fault_of_ours(error: OSError) -> None:
    """Whatever broke it, it is an unfinished message."""
    async with posted_to(MoodyJournal()) as each, client_of(each) as client:
        client.begin(content_length="100")
        client.writer.write(b"half")
        await until(lambda: each.counts.bytes == 4)
        (await connection_of(each)).connection_lost(error)
        await until(lambda: each.counts.unfinished == 1)

        assert await client.ended()
        assert (0, 0, {}) == (each.counts.failures, each.counts.stalled, each.counts.broken)


async def test_tls_spoken_to_a_port_without_is_told() -> None:
    """Counted by that name, as other requests that are no HTTP are by theirs."""
    async with posted_to(MoodyJournal()) as each:
        async with client_of(each) as client:
            client.writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            assert (await client.answer()).status == 400
        async with client_of(each) as client:
            client.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            assert (await client.answer()).status == 400

        assert {"TLS": 1, "BadHttpMethod": 1} == each.counts.broken


async def test_a_drain_answers_who_waits_for_a_pressed_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to come again at once; the stop does not wait for what waits."""
    monkeypatch.setattr(http_request, "WAIT_S", 3600.0)
    journal = MoodyJournal()
    async with posted_to(journal) as each, client_of(each) as client:
        journal.press(pressed=True)
        client.send(BODY)
        connection = await connection_of(each)
        await until(lambda: connection.is_busy)
        await each.drain(timeout_s=TIMEOUT_S)

        assert (await client.answer()).status == 503


async def test_a_second_content_encoding_is_not_overlooked() -> None:
    """Twice compressed: nobody here undoes that, so the body is kept as it came, as a dead letter."""
    journal, body = MoodyJournal(), gzip.compress(gzip.compress(BODY))
    async with posted_to(journal) as each, client_of(each) as client:
        client.send(body, content_encoding="gzip", Content_Encoding="gzip")
        assert (await client.answer()).status == 200

    assert [(http_request.BROKEN, body)] == [(entry.encoding, bytes(entry.payload)) for entry in journal.durable]


async def test_an_answer_does_not_name_what_it_is_made_with() -> None:
    """Neither a good one nor that to nonsense."""
    async with posted_to(MoodyJournal()) as each, client_of(each) as client, client_of(each) as other:
        other.writer.write(b"nonsense\r\n\r\n")

        answers = await client.post(BODY), await other.answer()
        assert {"tidewaiter"} == {answer.headers["server"] for answer in answers}
