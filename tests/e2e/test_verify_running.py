"""`tidewaiter verify` beside a running collector that rolls and deletes segments each second."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.running import RunningCollector, wait_until

ROUNDS = 8
"""Each a start of the command: half a second."""


@contextmanager
def load(port: int) -> Iterator[None]:
    """Send without a pause meanwhile."""
    ended = threading.Event()

    def send() -> None:
        number = 0
        while not ended.is_set():
            sender = ForwardSender(tcp("127.0.0.1", port), Options(name=f"s{number}"))
            asyncio.run(sender.send(20))
            number += 1

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        ended.set()
        sending.join()


def verify(collector: RunningCollector, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code, and what it says at last or all that it says."""
    command = collector.command("verify", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.splitlines()[-1] if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_a_running_collector_is_verified_again_and_again_without_an_alarm(tmp_path: Path) -> None:
    """Under load, with segments sealed each second and deleted when the store has passed them: no finding, ever."""
    collector = RunningCollector(tmp_path / "c", settings={"journal": {"segment_age": "1s"}})
    journal = collector.data_dir / "journal"
    good = (0, "all of it is as it was written")
    collector.start()
    try:
        collector.wait_ready()
        first = min(path.name for path in journal.glob("*.segment"))
        with load(collector.forward_port):
            assert verify(collector) == good
            wait_until(
                lambda: "journal_anchored" in collector.log() and not (journal / first).exists(),
                timeout_s=60,
                what="an anchor in the log, and a segment deleted",
            )
            for _ in range(ROUNDS):
                assert verify(collector, "--anchor", str(collector.log_file)) == good
        assert collector.stop() == 0
    finally:
        collector.kill_all()

    assert verify(collector, "--anchor", str(collector.log_file)) == good
