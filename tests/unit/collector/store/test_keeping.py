"""The keeper: closed files are sealed beside the writing, and what cannot be is said once and tried again."""

import asyncio
import sys
from pathlib import Path

import pytest

from collector.config_outputs import LocalOutputConfig
from collector.outputs.local import LocalOutput
from collector.store import keeping
from collector.store.files import ROLL_NS, StoreFiles, ToSeal
from collector.store.keeping import RETRY_S, TIDY_S, Keeper, NotSealedError
from collector.store.manifest import read_manifest
from tests.kit.batches import TIME, ListedSource, batch_of
from tests.kit.stores import opened_files

WAIT_S = 30


def names(data_dir: Path) -> list[str]:
    """Endings of all files of a store, oldest first."""
    manifest = read_manifest(data_dir / "store")
    assert manifest is not None
    return [file.name.rpartition(".")[2] for files in manifest.streams.values() for file in files]


async def test_the_output_seals_what_it_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a real process, while it goes on writing."""
    taken = asyncio.Event()
    take, loop = StoreFiles.take_sealed, asyncio.get_running_loop()

    def telling(files: StoreFiles, sealing: ToSeal, *, odd: int) -> None:
        take(files, sealing, odd=odd)
        loop.call_soon_threadsafe(taken.set)

    monkeypatch.setattr(StoreFiles, "take_sealed", telling)
    output = LocalOutput("store", LocalOutputConfig(retention=1e9), tmp_path)
    output.resume(None)
    for hour in range(2):
        source = ListedSource([batch_of(hour, [f"hour {hour}"], journal_time=TIME + hour * ROLL_NS)])
        running = asyncio.create_task(output.run(source))
        await source.wait_settled(hour)
        if hour:
            await asyncio.wait_for(taken.wait(), WAIT_S)
        source.stop()
        await running
        output.resume(None)

    assert names(tmp_path) == ["parquet", "ndjson"]


async def test_what_cannot_be_sealed_stays_and_is_tried_again(tmp_path: Path) -> None:
    """A conversion that fails leaves the lines, and comes again after a while, not at once."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a"])])
    files.commit(TIME + ROLL_NS)
    now_s, tried = 0.0, []

    async def failing(sealing: ToSeal) -> int:
        tried.append(now_s)
        sealing.target.write_bytes(b"half")
        raise NotSealedError("the disk is full")

    keeper = Keeper("store", files, asyncio.Lock(), seal=failing, clock=lambda: now_s, now_ns=lambda: TIME)
    for now in (0.0, 1.0, RETRY_S, RETRY_S + 1):
        now_s = now
        for sealing in keeper._waiting():
            await keeper._try(sealing)

    assert tried == [0.0, RETRY_S]
    assert names(tmp_path) == ["ndjson"]
    assert len(list((tmp_path / "store").glob("*/*"))) == 1


async def test_retention_is_kept_where_nothing_comes(tmp_path: Path) -> None:
    """Time alone closes and deletes files."""
    files = opened_files(tmp_path, retention_s=7200)
    files.store([batch_of(0, ["a"])])

    assert files.tidy(TIME + 1) == []
    assert files.tidy(TIME + ROLL_NS) == []
    assert [removed.reason for removed in files.tidy(TIME + 3 * ROLL_NS)] == ["age"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("is_deleted_first", [False, True])
async def test_what_retention_deletes_while_it_is_sealed_is_not_waited_for(
    tmp_path: Path, *, is_deleted_first: bool
) -> None:
    """Nor is it told as a failure: a keeper that noted it would be due for ever, and never come to rest."""
    files = opened_files(tmp_path, retention_s=7200)
    files.store([batch_of(0, ["a"])])
    files.commit(TIME + ROLL_NS)
    now_s, tried = 0.0, 0

    async def deleted_meanwhile(sealing: ToSeal) -> int:
        nonlocal tried
        tried += 1
        keeper.committed(files.commit(TIME + 4 * ROLL_NS))
        raise NotSealedError(f"{sealing.source}: is gone")

    keeper = Keeper("store", files, asyncio.Lock(), seal=deleted_meanwhile, clock=lambda: now_s, now_ns=lambda: TIME)
    (sealing,) = keeper._waiting()
    if is_deleted_first:
        keeper.committed(files.commit(TIME + 4 * ROLL_NS))
    await keeper._try(sealing)
    now_s = RETRY_S
    keeper.committed([])

    assert tried == (not is_deleted_first)
    assert keeper._due_in_s() == TIDY_S


async def test_a_process_that_cannot_be_started_stops_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have no memory, no process or no descriptor left for a while: the file is tried again later."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a"])])
    files.commit(TIME + ROLL_NS)
    (sealing,) = files.to_seal()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))

    with pytest.raises(NotSealedError, match=f"{sealing.source}: .*no process can be started: No such file"):
        await keeping.seal_apart(sealing)


async def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    """The reason is the process's last line, and names the file."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["a"])])
    files.commit(TIME + ROLL_NS)
    (sealing,) = files.to_seal()
    sealing.source.write_bytes(b"x")

    with pytest.raises(NotSealedError, match=f"{sealing.source}: holds 1 of"):
        await keeping.seal_apart(sealing)
