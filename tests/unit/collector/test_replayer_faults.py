"""Replays that fail or are interrupted: who asked is told, letters stay, and no worker ends with one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import replayer
from collector.dead_letters import Letter, letters_in
from collector.outputs.output import Output
from collector.replayer import STARTS_LIMIT, replay_asked
from collector.replays import Group, Selection, answer_to, ask, next_request
from pipelines.frame import Position
from tests.kit.bulk_server import BulkServer, bulk_server
from tests.kit.replays import context_of, keep, letter, quick_output, replayed


@pytest.fixture
async def server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    async with bulk_server() as scripted:
        yield scripted


def output_that(run: Callable[[Any], Awaitable[None]]) -> Callable[..., Output]:
    """Make outputs of which all but `run` does nothing."""

    class Made:
        def resume(self, cursor: Position | None) -> Position | None:
            return cursor

        async def run(self, source: Any) -> None:
            await run(source)

    return lambda *_: Made()


async def test_an_output_that_fails_while_letters_are_read_leaves_them(
    server: BulkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads them in its thread comes to its end first: two cannot read at once."""
    keep(tmp_path, letter(1), letter(2))
    loop, began, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slowly(path: Path) -> Iterator[Letter]:
        loop.call_soon_threadsafe(began.set)
        release.wait(10)
        yield from letters_in(path)

    async def run(source: Any) -> None:
        asking = asyncio.create_task(source.next())
        await began.wait()
        asking.cancel()
        loop.call_later(0.05, release.set)
        raise AttributeError("'list' object has no attribute 'get'")

    monkeypatch.setattr(replayer, "letters_in", slowly)
    request = ask(tmp_path, Selection())
    await replay_asked(context_of(tmp_path, server), make_output=output_that(run))

    assert answer_to(tmp_path, request).groups == [Group("elastic", "old_reason", waiting=2)]
    assert answer_to(tmp_path, request).problems == [
        "output elastic: AttributeError: 'list' object has no attribute 'get'"
    ]


async def test_a_fault_in_a_replay_is_answered_and_ends_no_worker(server: BulkServer, tmp_path: Path) -> None:
    """Who asked is told, the letters stay, and the next replay is done."""
    keep(tmp_path, letter(1))
    request = ask(tmp_path, Selection())

    def broken(*_: Any) -> Output:
        raise LookupError("a fault of ours")

    await replay_asked(context_of(tmp_path, server), make_output=broken)
    found = answer_to(tmp_path, request)

    assert (True, None) == (found.done, next_request(tmp_path))
    assert found.problems == ["given up: LookupError: a fault of ours; see the worker's log"]
    assert 1 == (await replayed(tmp_path, server)).total("stored")


async def test_a_worker_that_is_told_to_stop_counts_as_no_start(server: BulkServer, tmp_path: Path) -> None:
    """Reloads in the middle of a long replay are no reason to give it up."""
    keep(tmp_path, letter(1))
    request = ask(tmp_path, Selection())
    for _ in range(STARTS_LIMIT + 1):
        reached = asyncio.Event()

        async def hang(_source: Any, reached: asyncio.Event = reached) -> None:
            reached.set()
            await asyncio.Event().wait()

        worker = asyncio.create_task(replay_asked(context_of(tmp_path, server), make_output=output_that(hang)))
        await asyncio.wait_for(reached.wait(), 10)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
    await replay_asked(context_of(tmp_path, server), make_output=quick_output)

    assert 1 == answer_to(tmp_path, request).total("stored")
