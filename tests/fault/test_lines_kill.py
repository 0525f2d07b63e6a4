"""The worker is killed again and again while lines and traces are open: each is one document, and none is missing.

While the worker is down the journal fills up and senders wait, longer than a line may: that cuts no line either.
Containers write long lines, piece by piece, stack traces and audit events, line by line, all interleaved and each
acknowledged before the next; segments are small, so checkpoints are written, used and deleted meanwhile. The moments
are seeded.
"""

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgpack
import pytest

from collector.worker import TICK_S
from tests.fault.books import until
from tests.kit.pieces import docker_pieces
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261129"))
CONTAINERS: Final = 8
PIECE_BYTES: Final = 16 << 10
QUIET_S: Final = 5 * TICK_S
KILLS: Final = 7


TRACES: Final = (CONTAINERS - 2, CONTAINERS - 1)
"""Containers that write traces and audit events instead."""


def text_of(container: int, number: int) -> bytes:
    """The line of this number: up to five pieces, some of which end where a piece does; or several lines."""
    if container == TRACES[0]:
        frames = "".join(f"\n\tat a.B.c(B.java:{line})" for line in range(2 + number % 5))
        return f"a.OddError: {container} {number}{frames}".encode()
    if container == TRACES[1]:
        stamp = f"msg=audit(1700000000.123:{number}):"
        records = f"SYSCALL {stamp} pid={container}", f'CWD {stamp} cwd="/"', f"PROCTITLE {stamp} proctitle=x"
        return "\n".join(f"type={record}" for record in records).encode()
    length = random.Random(f"{container} {number}").choice([20, PIECE_BYTES, 40_000, 5 * PIECE_BYTES - 1])
    return (b"%d %d " % (container, number)).ljust(length, b".")


async def write_lines(collector: RunningCollector, container: int, pause_s: float, ended: asyncio.Event) -> int:
    """Send lines of one container as Docker's driver does with acknowledgements, slowly; return how many texts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.forward_port)
    unpacker = msgpack.Unpacker()
    number = 0
    while not ended.is_set():
        name = f"{container:032x}{number:032x}"
        pieces = [
            record
            for line in text_of(container, number).split(b"\n")
            for record in docker_pieces(line, PIECE_BYTES, container=f"{container:064x}", name=name)
        ]
        for record in pieces:
            chunk = base64.b64encode(os.urandom(16)).decode()
            line = {**record, "log": record["log"].decode()}
            writer.write(msgpack.packb(["web", 1_700_000_000 + number, line, {"chunk": chunk}]))
            answers: list[object] = []
            while not answers:
                unpacker.feed(await reader.read(4096))
                answers = list(unpacker)
            assert answers == [{"ack": chunk}]
            await asyncio.sleep(pause_s)
        number += 1
    writer.close()
    await writer.wait_closed()
    return number


async def test_a_worker_killed_within_lines_loses_and_doubles_none(tmp_path: Path) -> None:
    """Every line is found once, with the id and position of its first piece, and nothing waits at the end."""
    chance = random.Random(SEED)
    collector = RunningCollector(tmp_path / "c", settings={"journal": {"limit": "8MiB"}})
    configuration = json.loads(collector.config_file.read_text())
    for options in configuration["inputs"].values():
        options["message_limit"] = "1MiB"
    collector.config_file.write_text(json.dumps(configuration))
    try:
        collector.start()
        await asyncio.to_thread(collector.wait_ready)
        async with asyncio.TaskGroup() as tasks:
            ended = asyncio.Event()
            writing = [
                tasks.create_task(write_lines(collector, container, chance.uniform(0.02, 0.05), ended))
                for container in range(CONTAINERS)
            ]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.2, 1.0))  # the moment is the test's subject
                await until(lambda: collector.kill("worker"), "a living worker")
            ended.set()
        counts = [each.result() for each in writing]
        await check(collector, counts)
        checkpoints = len(list((collector.data_dir / "journal" / "checkpoints").iterdir()))
        assert await asyncio.to_thread(collector.stop) == 0
    finally:
        collector.kill_all()
    sys.stdout.write(f"{sum(counts)} lines, {KILLS} kills, {checkpoints} checkpoints at the end (seed {SEED})\n")


async def test_a_line_without_an_end_goes_out_while_nothing_comes(collector: RunningCollector) -> None:
    """Ticks let journal time go on, also for a worker that was killed meanwhile; when nothing waits they end."""
    await asyncio.to_thread(collector.start)
    await asyncio.to_thread(collector.wait_ready)
    (record,) = docker_pieces(b"no newline", PIECE_BYTES, last=False)
    _, writer = await asyncio.open_connection("127.0.0.1", collector.forward_port)
    writer.write(msgpack.packb(["web", 1_700_000_000, {**record, "log": "no newline"}]))
    await writer.drain()
    await until(lambda: collector.metric("tidewaiter_worker_parked_records_total") == 1, "a parked piece")
    assert await asyncio.to_thread(collector.kill, "worker")
    await until(lambda: len(collector.search("message:newline")) == 1, "the line")
    (found,) = await asyncio.to_thread(collector.search, "message:newline")
    since = {0.0: time.monotonic()}

    def quiet() -> bool:
        frames = collector.metric("tidewaiter_intake_journal_frames_total")
        return time.monotonic() - since.setdefault(frames, time.monotonic()) > QUIET_S

    await until(quiet, "the end of the ticks")
    assert found["tags"] == ["_line_incomplete"]
    assert max(since) < 30
    writer.close()
    await writer.wait_closed()
    assert await asyncio.to_thread(collector.stop) == 0


async def check(collector: RunningCollector, counts: list[int]) -> None:
    """Compare what is stored with what was written."""
    expected = Counter(
        text_of(container, number).decode() for container, count in enumerate(counts) for number in range(count)
    )

    def stored() -> Counter[str]:
        return Counter(row["message"] for row in collector.query("SELECT message FROM logs"))

    await until(lambda: stored().total() >= expected.total(), "all lines")
    found = await asyncio.to_thread(stored)
    lacking, strange = ({line[:64]: len(line) for line in each} for each in (expected - found, found - expected))
    assert (lacking, strange) == ({}, {})
    rows = await asyncio.to_thread(collector.query, "SELECT count(DISTINCT id) AS n FROM logs")
    assert rows[0]["n"] == expected.total()
