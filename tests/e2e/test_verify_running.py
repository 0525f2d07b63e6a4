"""`tidewaiter verify` beside a running collector that rolls and deletes segments each second."""

import asyncio
import subprocess
import threading
from pathlib import Path

from collector.testing.forward_sender import ForwardSender, Options, tcp
from collector.testing.running import RunningCollector, wait_until

ROUNDS = 8
"""Each a start of the command: half a second."""


def test_a_running_collector_is_verified_again_and_again_without_an_alarm(tmp_path: Path) -> None:
    """Under load, with segments sealed each second and deleted when the store has passed them: no finding, ever."""
    collector = RunningCollector(tmp_path / "c", settings={"journal": {"segment_age": "1s"}})
    journal = collector.data_dir / "journal"
    ended = threading.Event()

    def load() -> None:
        number = 0
        while not ended.is_set():
            sender = ForwardSender(tcp("127.0.0.1", collector.forward_port), Options(name=f"s{number}"))
            asyncio.run(sender.send(20))
            number += 1

    collector.start()
    sending = threading.Thread(target=load)
    try:
        collector.wait_ready()
        sending.start()
        first = min(path.name for path in journal.glob("*.segment"))
        rounds = 0
        while rounds < ROUNDS:
            done = subprocess.run(
                collector.command("verify", "--anchor", str(collector.log_file))
                if rounds
                else collector.command("verify"),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            rounds += 1
            assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all of it is as it was written"]), done
            if rounds == 1:
                wait_until(
                    lambda: "journal_anchored" in collector.log() and not (journal / first).exists(),
                    timeout_s=20,
                    what="an anchor in the log, and a segment deleted",
                )
        ended.set()
        sending.join()
        assert collector.stop() == 0
    finally:
        ended.set()
        if sending.is_alive():
            sending.join()
        collector.kill_all()
    stopped = subprocess.run(
        collector.command("verify", "--anchor", str(collector.log_file)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert stopped.returncode == 0, stopped.stdout
