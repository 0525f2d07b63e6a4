"""A batch of audit events that is posted again is kept once: in the real journal, by what the protocol tells of it."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from collector.inputs.posted import PostedInput
from tests.kit.forward_inputs import until
from tests.kit.journals import Gate, open_journal
from tests.kit.posted_inputs import Client, client_of, event_list, made, port_of
from tests.kit.recognisers import Intake, crash, intake

BODY = event_list({"level": "Metadata", "auditID": "a-1", "stage": "ResponseComplete"})
OTHER = event_list({"level": "Metadata", "auditID": "a-2", "stage": "ResponseComplete"})


@asynccontextmanager
async def posted_to(running: Intake, kind: str = "kubernetes_audit") -> AsyncIterator[PostedInput]:
    """An input before a real journal."""
    each = made(running.recogniser, kind=kind)
    await each.start()
    try:
        yield each
    finally:
        await each.drain(timeout_s=5)


async def lost_answer(each: PostedInput, body: bytes) -> None:
    """Post a body and go away before the answer."""
    acked = each.counts.acks
    async with client_of(each) as client:
        client.send(body)
        await until(lambda: each.counts.acks > acked)
    await until(lambda: not each.connections)


async def test_a_batch_whose_answer_was_lost_is_kept_once(tmp_path: Path) -> None:
    """It is answered 200 again, as often as it comes, and stands in the journal once."""
    async with intake(tmp_path) as running, posted_to(running) as each:
        await lost_answer(each, BODY)
        for _ in range(2):
            async with client_of(each) as client:
                assert (await client.post(BODY)).status == 200
            await until(lambda: not each.connections)

        assert ([BODY], 2) == (running.stored(), running.recogniser.recognised)


async def test_a_batch_that_comes_again_while_the_first_is_in_hand_is_kept_once(tmp_path: Path) -> None:
    """The sender gave up waiting; we have not heard yet that its connection is gone."""
    async with intake(tmp_path) as running, posted_to(running) as each:
        async with client_of(each) as first, client_of(each) as second:
            first.send(BODY)
            second.send(BODY)
            assert [200, 200] == [(await first.answer()).status, (await second.answer()).status]

        assert [BODY] == running.stored()


async def test_a_batch_is_known_again_after_a_kill(tmp_path: Path) -> None:
    """We were killed between the sync and the answer: what the journal holds is not kept a second time."""
    running = Intake(tmp_path, open_journal(tmp_path))
    async with posted_to(running) as each:
        await lost_answer(each, BODY)
    folder = await crash(running, tmp_path)
    async with intake(folder) as again, posted_to(again) as each:
        async with client_of(each) as client:
            assert [200, 200] == [(await client.post(body)).status for body in (BODY, OTHER)]

        assert [BODY, OTHER] == again.stored()


async def test_a_batch_that_was_not_kept_ends_its_connection(tmp_path: Path) -> None:
    """A sync fails once. On the same connection the journal would take nothing any more, however often it came."""
    gate = Gate()
    async with intake(tmp_path, sync=gate) as running, posted_to(running) as each:
        gate.errors = [OSError(errno.EIO, "Input/output error")]
        async with client_of(each) as client:
            refused = await client.post(BODY)
            assert (503, "close") == (refused.status, refused.headers["connection"])
            assert await client.ended()
        async with client_of(each) as client:
            assert [200, 200] == [(await client.post(body)).status for body in (BODY, OTHER)]

        assert [BODY, OTHER] == running.stored()


async def test_other_batches_are_kept_in_any_order(tmp_path: Path) -> None:
    """Many at once, as an API server posts them; a repetition among new ones is found."""
    bodies = [event_list({"auditID": f"a-{number}", "stage": "Panic"}) for number in range(20)]
    async with intake(tmp_path) as running, posted_to(running) as each:
        await lost_answer(each, bodies[7])
        clients = [await Client.connected(port_of(each)) for _ in bodies]
        for client, body in zip(clients, reversed(bodies), strict=True):
            client.send(body)
        assert [200] * 20 == [(await client.answer()).status for client in clients]
        for client in clients:
            client.writer.close()

        assert sorted(bodies) == sorted(running.stored())


async def test_json_without_ids_is_kept_each_time(tmp_path: Path) -> None:
    """Two equal bodies of other senders are two: nothing says that they are one."""
    async with intake(tmp_path) as running, posted_to(running, "http") as each:
        await lost_answer(each, b'{"a":1}')
        async with client_of(each) as client:
            assert (await client.post(b'{"a":1}')).status == 200

        assert [b'{"a":1}'] * 2 == running.stored()
