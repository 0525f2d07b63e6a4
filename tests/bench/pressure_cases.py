"""The bench's cases of a worker that is behind, or away.

| case | what |
| --- | --- |
| `behind` | the corpus delivered live, then as much again that was acknowledged meanwhile, on one core |
| `hold` | a flood with every output stopped, until the journal's limit and beyond (`--seconds`): memory of the intake |
"""

import argparse
import json
import os
import signal
import time
from typing import Final

from tests.bench.collectors import collector_with, counts, helper, line_of, sink_output, throughput
from tests.bench.measure import cpu_seconds, pss_bytes
from tests.kit.running import RunningCollector, wait_until

Figures = dict[str, float]

HOLD_LIMIT_GIB: Final = 4
SAMPLE_S: Final = 1.0
DELIVERY_TIMEOUT_S: Final = 240.0


def behind(options: argparse.Namespace) -> Figures:
    """Live speed, and that of a worker that catches up with what was acknowledged meanwhile.

    The collector has one core, whatever is asked for. With more the live worker has one of its own, and the intake
    takes more than it delivers: it is behind from the first second on, and would be compared with itself.
    """
    options = argparse.Namespace(**vars(options) | {"pin": True})
    with helper("tests.bench.sink", pin=options.pin) as sink:
        port = int(line_of(sink))
        with collector_with(sink_output(port, gzip=False), pin=options.pin) as collector:

            def arrived() -> int:
                return counts(port)["documents"]

            live = throughput(collector, options, delivered=arrived, checked=arrived, poll_s=0.02)
            worker = _pid(collector, "worker")
            os.kill(worker, signal.SIGSTOP)
            command = ("tests.bench.load", "chunks", "--events", str(options.events), "--port")
            with helper(*command, str(collector.forward_port), pin=options.pin) as load:
                line_of(load)
                assert load.stdin is not None
                load.stdin.write("go\n")
                load.stdin.flush()
                sent = int(json.loads(line_of(load))["records"])
            before, cpu_before = arrived(), cpu_seconds(worker)
            began = time.monotonic()
            os.kill(worker, signal.SIGCONT)
            wait_until(
                lambda: arrived() >= live["events"] + sent,
                timeout_s=DELIVERY_TIMEOUT_S,
                what="all that was behind",
                poll_s=0.02,
            )
            caught_up = arrived() - before
            rate = caught_up / (time.monotonic() - began)
            worker_us = (cpu_seconds(worker) - cpu_before) * 1e6 / caught_up
    return {
        "live_per_s": live["events_per_s"],
        "behind_per_s": rate,
        "behind_times": rate / live["events_per_s"],
        "live_worker_us": live["worker_us"],
        "behind_worker_us": worker_us,
    }


def hold(options: argparse.Namespace) -> Figures:
    """Memory of the intake while a flood fills the journal, and while it is held at the limit."""
    samples: list[tuple[float, int, bool]] = []
    with helper("tests.bench.sink", pin=options.pin) as sink:
        outputs, settings = sink_output(int(line_of(sink)), gzip=False), {"journal": {"limit": f"{HOLD_LIMIT_GIB}GiB"}}
        with collector_with(outputs, pin=options.pin, settings=settings) as collector:
            worker, intake = _pid(collector, "worker"), _pid(collector, "intake")
            os.kill(worker, signal.SIGSTOP)
            flood = ("tests.bench.flood", "flood", "--shape", "chunks", "--nice", "0", "--port")
            with helper(*flood, str(collector.forward_port), pin=options.pin) as sender:
                line_of(sender)
                began = time.monotonic()
                while time.monotonic() - began < options.seconds:
                    time.sleep(SAMPLE_S)
                    full = "journal: full" in collector.get("/health/ready")[1]
                    samples.append((time.monotonic() - began, pss_bytes(intake), full))
            os.kill(worker, signal.SIGCONT)
    filling = [size for _, size, full in samples if not full]
    held = [size for _, size, full in samples if full]
    if not filling or not held:
        raise SystemExit("the journal was never full: ask for more --seconds")
    return {
        "hold_full_after_s": next(at for at, _, full in samples if full),
        "hold_filling_mib": max(filling) / (1 << 20),
        "hold_first_mib": held[0] / (1 << 20),
        "hold_last_mib": held[-1] / (1 << 20),
        "hold_peak_mib": max(held) / (1 << 20),
    }


def _pid(collector: RunningCollector, role: str) -> int:
    pid = collector.pid_of(role)
    if pid is None:
        raise SystemExit(f"there is no {role}")
    return pid
