"""What the bench's cases share: processes beside the collector, a collector of its own, and one run of the corpus."""

import argparse
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.measure import MemoryPeak, cpu_by_role, on_core, touch_memory
from tests.kit.running import RunningCollector, wait_until

Figures = dict[str, float]

WRITTEN: Final = re.compile(
    r'^tidewaiter_worker_output_documents_total\{outcome="delivered",output="store"\} (\S+)', re.M
)
DELIVERY_TIMEOUT_S: Final = 120.0
COLLECTOR_CORE: Final = 0
OTHERS_CORE: Final = 1


@contextmanager
def helper(*arguments: str, pin: bool) -> Iterator[subprocess.Popen[str]]:
    """A process of the bench beside the collector, ended with the block."""
    with on_core(OTHERS_CORE if pin else None):
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line a helper writes; raise SystemExit when it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} ended without an answer")
    return line


@contextmanager
def collector_with(
    outputs: dict[str, dict[str, object]], *, pin: bool, settings: Mapping[str, object] | None = None
) -> Iterator[RunningCollector]:
    """A ready collector with a data folder of its own, stopped and removed with the block."""
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as folder:
        collector = RunningCollector(Path(folder), outputs=outputs, settings=settings)
        try:
            with on_core(COLLECTOR_CORE if pin else None):
                collector.start()
            collector.wait_ready()
            yield collector
            collector.stop()
        finally:
            collector.kill_all()


def counts(port: int) -> dict[str, int]:
    """What the sink has counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/bench/counts")
        found: dict[str, int] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def sink_output(port: int, *, gzip: bool) -> dict[str, dict[str, object]]:
    """The configuration's outputs for a sink."""
    return {"sink": {"type": "elasticsearch", "urls": [f"http://127.0.0.1:{port}"], "gzip": gzip}}


def stored(collector: RunningCollector) -> int:
    """Container documents in the local store."""
    return int(collector.query("SELECT count(*) AS n FROM logs")[0]["n"])


def written(collector: RunningCollector) -> int:
    """Documents the local store says it has committed, our own audit records too; the metric is up to 1 s old."""
    found = WRITTEN.search(collector.get("/metrics")[1])
    return int(float(found[1])) if found else 0


def throughput(
    collector: RunningCollector,
    options: argparse.Namespace,
    *,
    delivered: Callable[[], int],
    checked: Callable[[], int],
    poll_s: float,
    load_command: Sequence[str] = ("tests.bench.load", "chunks"),
    port: int | None = None,
) -> Figures:
    """Send the corpus, wait until every document has arrived; cost per event by role, pace and memory.

    `delivered` is polled and must cost the collector little; `checked` is the count that is compared in the end. Who
    sends is `load_command`, to `port`; built in are the corpus and the input of Forward.
    """
    processes = collector.processes()
    arguments = ("--events", str(options.events), "--port", str(port or collector.forward_port))
    with helper(*load_command, *arguments, pin=options.pin) as load:
        line_of(load)
        touch_memory()
        before = cpu_by_role(processes)
        with MemoryPeak(processes).watching() as peak:
            assert load.stdin is not None
            load.stdin.write("go\n")
            load.stdin.flush()
            sent: dict[str, float] = json.loads(line_of(load))
            events = int(sent["records"])
            wait_until(lambda: delivered() >= events, timeout_s=DELIVERY_TIMEOUT_S, what="all documents", poll_s=poll_s)
            ended = time.monotonic()
        after = cpu_by_role(processes)
    if collector.processes() != processes:
        raise SystemExit(f"a process of the collector died under load:\n{collector.log()[-4000:]}")
    arrived = checked()
    if arrived != events:
        raise SystemExit(f"{events} events sent, {arrived} documents arrived")
    cost = {role: (after[role] - before[role]) * 1e6 / events for role in before}
    return {
        "events": events,
        "intake_us": cost["intake"],
        "worker_us": cost["worker"],
        "rest_us": sum(cost.values()) - cost["intake"] - cost["worker"],
        "all_us": sum(cost.values()),
        "events_per_s": events / (ended - sent["began"]),
        "acked_per_s": events / (sent["ended"] - sent["began"]),
        **({"mean_bytes": sent["mean_bytes"]} if "mean_bytes" in sent else {}),
        "pss_mib": peak.bytes / (1 << 20),
        **{f"pss_{role}_mib": size / (1 << 20) for role, size in peak.roles.items()},
    }
