"""A record that ends the worker costs itself: one dead letter, all others delivered, and the same from a replay.

The records are made harmful by the tests' own `killing/sitecustomize.py`, in worker and judge; what happens is real.
"""

import asyncio
import base64
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.kit.forward_sender import ForwardSender, Options, number_in, tcp
from tests.kit.pieces import docker_pieces, packed
from tests.kit.running import RunningCollector, lives, wait_until

KILLING = Path(__file__).with_name("killing")
RECORDS = 400
PER_MESSAGE = 50
LIMITS = {"hang_limit": "3s", "memory_limit": "1GiB"}
ISOLATED_S = 90.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    """A collector with low limits whose worker meets harmful lines, not started yet."""
    collector = RunningCollector(tmp_path / "c", settings={"worker": LIMITS})
    collector.environment["PYTHONPATH"] = str(KILLING)
    yield collector
    collector.kill_all()


def sender_of(collector: RunningCollector) -> ForwardSender:
    """Return a sender of numbered records, some to a message."""
    options = Options(name="victim", records_per_message=PER_MESSAGE, line_bytes=16)
    return ForwardSender(tcp("127.0.0.1", collector.forward_port), options)


def letters(collector: RunningCollector) -> list[dict[str, Any]]:
    """Return the pipeline's dead letters, without when they were kept, and the checksum over that."""
    file = collector.data_dir / "dead-letters" / "pipeline.ndjson"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [{name: value for name, value in each.items() if name not in ("kept_ns", "check")} for each in found]


def numbers(collector: RunningCollector) -> list[int]:
    """Return the numbers of the records that are found, sorted."""
    found = collector.search("container.name:victim")
    return sorted(number for each in found if (number := number_in(each["message"], "victim")) is not None)


def documents(collector: RunningCollector) -> list[dict[str, Any]]:
    """Return the documents of the sender's records without what an output adds."""
    found = collector.search("container.name:victim")
    for each in found:
        each["event"].pop("ingested", None)
    return found


def wait_delivered(collector: RunningCollector, count: int, lost: int) -> None:
    """Wait until so many documents and dead letters are there."""
    wait_until(
        lambda: len(letters(collector)) == lost and len(numbers(collector)) == count,
        timeout_s=ISOLATED_S,
        what=f"{count} documents and {lost} dead letters; the log: {collector.log()[-3000:]}",
        poll_s=0.2,
    )


@pytest.mark.parametrize(
    ("cause", "code"), [("crash", "crash"), ("abort", "crash"), ("hang", "hang"), ("memory", "memory")]
)
async def test_a_record_that_ends_the_worker_is_one_dead_letter(
    collector: RunningCollector, cause: str, code: str
) -> None:
    """399 of 400 records are delivered once, the one is a letter with its bytes; a replay gives the same bytes."""
    collector.environment["TIDEWAITER_TEST_KILL"] = f"{cause}:victim 277."
    collector.start()
    collector.wait_ready(timeout_s=ISOLATED_S)
    await sender_of(collector).send(RECORDS)
    wait_delivered(collector, RECORDS - 1, 1)

    (letter,) = letters(collector)
    before = documents(collector)
    (verdict,) = collector.search("data_stream.dataset:tidewaiter.audit AND event.action:condemn")
    assert code == letter["code"]
    assert b"victim 277....." in base64.b64decode(letter["payload"])
    assert [number for number in range(RECORDS) if number != 277] == numbers(collector)
    assert verdict["tidewaiter"]["fields"]["cause"] == code
    assert 1 == collector.metric("tidewaiter_supervisor_condemned_frames_total", cause=code)

    assert 0 == collector.stop()
    forget_all_but_the_journal(collector)
    collector.start()
    collector.wait_ready(timeout_s=ISOLATED_S)
    wait_delivered(collector, RECORDS - 1, 1)
    assert before == documents(collector)
    assert [letter] == letters(collector)
    assert 0 == collector.metric("tidewaiter_supervisor_worker_crashes_total")


def forget_all_but_the_journal(collector: RunningCollector) -> None:
    """Have the next start read all of it again."""
    for name in ("store", "balance", "dead-letters", "journal/cursors", "journal/checkpoints"):
        shutil.rmtree(collector.data_dir / name, ignore_errors=True)


MOMENTS = 4
SEED = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261129"))


async def test_kill_9_while_it_is_judged_loses_and_doubles_nothing(collector: RunningCollector) -> None:
    """All at once, the judge alone, the supervisor alone, at seeded moments from the judge's first on."""
    chance = random.Random(SEED)
    collector.environment["TIDEWAITER_TEST_KILL"] = "crash:victim 277.;abort:victim 301."
    collector.start()
    collector.wait_ready(timeout_s=ISOLATED_S)
    await sender_of(collector).send(RECORDS)
    for number in range(MOMENTS):
        wait_until(
            lambda: collector.pid_of("judge") is not None or len(letters(collector)) == 2,
            timeout_s=ISOLATED_S,
            what=f"a judge; the log: {collector.log()[-3000:]}",
        )
        wait_for_moment(chance.uniform(0.0, 3.0))
        victim = ("judge", "supervisor", "all", "worker")[number]
        collector.kill_all() if victim == "all" else collector.kill(victim)
        if victim in ("supervisor", "all"):
            collector.wait_gone()
            collector.start()

    wait_delivered(collector, RECORDS - 2, 2)
    assert [number for number in range(RECORDS) if number not in (277, 301)] == numbers(collector)
    found = [base64.b64decode(letter["payload"]) for letter in letters(collector)]
    assert [True, True] == [
        text in payload for text, payload in zip((b"victim 277", b"victim 301"), found, strict=True)
    ]


async def test_kills_from_outside_condemn_nothing(collector: RunningCollector) -> None:
    """SIGKILL, SIGTERM, and even SIGSEGV: nothing is a dead letter; of a loop readiness tells, until it is over."""
    collector.start()
    collector.wait_ready(timeout_s=ISOLATED_S)
    sender = sender_of(collector)
    for kind in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSEGV, signal.SIGSEGV):
        await sender.send(PER_MESSAGE)
        end_worker(collector, kind)

    wait_until(
        lambda: "in a loop" in collector.get("/health/ready")[1],
        timeout_s=ISOLATED_S,
        what="readiness to tell of the loop",
        poll_s=0.1,
    )
    assert 503 == collector.get("/health/ready")[0]
    wait_delivered(collector, 5 * PER_MESSAGE, 0)
    assert [] == collector.search("data_stream.dataset:tidewaiter.audit AND event.action:condemn")
    assert 3 == collector.metric("tidewaiter_supervisor_worker_crashes_total")


def wait_for_moment(seconds: float) -> None:
    """Wait for so long."""
    until_s = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until_s, timeout_s=seconds + 10.0, what="the moment")


def end_worker(collector: RunningCollector, kind: int) -> None:
    """Send a signal to the worker that lives, or is started next, and wait for its end."""
    wait_until(lambda: collector.pid_of("worker") is not None, timeout_s=ISOLATED_S, what="a worker", poll_s=0.05)
    pid = collector.pid_of("worker")
    assert pid is not None
    os.kill(pid, kind)
    wait_until(lambda: not lives(pid), timeout_s=ISOLATED_S, what="the worker's end")


async def test_a_line_in_pieces_that_ends_the_worker_when_it_is_whole(collector: RunningCollector) -> None:
    """Its pieces are the letter, though they came in frames before; what came with the last of them is delivered."""
    collector.environment["TIDEWAITER_TEST_KILL"] = "crash:pieces that kill"
    collector.start()
    collector.wait_ready(timeout_s=ISOLATED_S)
    first, second, last = (packed(each) for each in docker_pieces(b"these are pieces that kill it", 12))
    for entries in ([first], [second], [last, packed(docker_pieces(b"a line beside", 64)[0])]):
        await post(collector, entries)

    wait_until(
        lambda: len(letters(collector)) == 1 and len(collector.search('message:"a line beside"')) == 1,
        timeout_s=ISOLATED_S,
        what=f"one letter and one line; the log: {collector.log()[-3000:]}",
        poll_s=0.2,
    )
    (letter,) = letters(collector)
    assert (2, "crash") == (letter["records"], letter["code"])
    assert base64.b64decode(letter["payload"]).startswith(first)


async def post(collector: RunningCollector, entries: list[bytes]) -> None:
    """Send entries as one message, and wait for its acknowledgement."""
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.forward_port)
    option = {"chunk": os.urandom(16).hex(), "size": len(entries)}
    writer.write(b"\x93" + msgpack.packb("docker.web") + msgpack.packb(b"".join(entries)) + msgpack.packb(option))
    assert option["chunk"] in msgpack.unpackb(await asyncio.wait_for(reader.read(1024), 20)).values()
    writer.close()
    await writer.wait_closed()
