"""The bench's cases: each runs a real collector once and returns its figures by name.

| case | what |
| --- | --- |
| `uncompressed` | the headline: the corpus as PackedForward messages, durable, documents to the sink, no gzip |
| `gzip` | the same with gzip bodies |
| `local` | the same into the local store instead of the sink (delivered/s to the second only) |
| `acks` | 200 senders, one message in flight each, each waiting for its ack; then one sender alone |
| `fairness` | 20 quiet peers that wait for acks: alone, beside a busy neighbour, beside a flood in three shapes |
| `first` | an idle collector: start to ready, one message sent to found by `tidewaiter search` |
"""

import argparse
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from collector.testing.running import RunningCollector, wait_until
from tests.bench.corpus import CHUNK_KEY, single_messages
from tests.bench.load import ack_of, chunk_id, connect
from tests.bench.measure import MemoryPeak, cpu_by_role, on_core, touch_memory

Figures = dict[str, float]

WRITTEN: Final = re.compile(
    r'^tidewaiter_worker_output_documents_total\{outcome="delivered",output="store"\} (\S+)', re.M
)
DELIVERY_TIMEOUT_S: Final = 120.0
COLLECTOR_CORE: Final = 0
OTHERS_CORE: Final = 1
WAITING_SENDERS: Final = 200
FLOODS: Final = ("chunks", "tiny", "large")
WAITING_S: Final = 4.0
ALONE_S: Final = 2.0


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
def collector_with(outputs: dict[str, dict[str, object]], *, pin: bool) -> Iterator[RunningCollector]:
    """A ready collector with a data folder of its own, stopped and removed with the block."""
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as folder:
        collector = RunningCollector(Path(folder), outputs=outputs)
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
) -> Figures:
    """Send the corpus, wait until every document has arrived; cost per event by role, pace and memory.

    `delivered` is polled and must cost the collector little; `checked` is the count that is compared in the end.
    """
    processes = collector.processes()
    load_command = ("tests.bench.load", "chunks", "--events", str(options.events), "--port")
    with helper(*load_command, str(collector.forward_port), pin=options.pin) as load:
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
        "pss_mib": peak.bytes / (1 << 20),
        **{f"pss_{role}_mib": size / (1 << 20) for role, size in peak.roles.items()},
    }


def to_sink(options: argparse.Namespace, *, gzip: bool) -> Figures:
    """Deliver to the sink."""
    check = ("--check",) if options.check else ()
    with helper("tests.bench.sink", *check, pin=options.pin) as sink:
        port = int(line_of(sink))
        with collector_with(sink_output(port, gzip=gzip), pin=options.pin) as collector:

            def arrived() -> int:
                return counts(port)["documents"]

            figures = throughput(collector, options, delivered=arrived, checked=arrived, poll_s=0.02)
        total = counts(port)
        if total["doubled"] or total["wrong"]:
            raise SystemExit(f"the sink found {total['doubled']} doubled and {total['wrong']} wrong documents")
        return figures


def uncompressed(options: argparse.Namespace) -> Figures:
    """The headline."""
    return to_sink(options, gzip=False)


def gzip(options: argparse.Namespace) -> Figures:
    """With gzip bodies."""
    return to_sink(options, gzip=True)


def local(options: argparse.Namespace) -> Figures:
    """Into the local store."""
    with collector_with({"store": {"type": "local"}}, pin=options.pin) as collector:
        return throughput(
            collector, options, delivered=lambda: written(collector), checked=lambda: stored(collector), poll_s=0.1
        )


def waiting(collector: RunningCollector, senders: int, seconds: float, *, pin: bool) -> dict[str, float]:
    """Let senders wait for their acks for a while."""
    arguments = ("messages", "--senders", str(senders), "--seconds", str(seconds))
    with helper("tests.bench.load", *arguments, "--port", str(collector.forward_port), pin=pin) as load:
        line_of(load)
        assert load.stdin is not None
        load.stdin.write("go\n")
        load.stdin.flush()
        figures: dict[str, float] = json.loads(line_of(load))
        return figures


def acks(options: argparse.Namespace) -> Figures:
    """Senders that wait for every ack: many, then one alone; every line must arrive."""
    with helper("tests.bench.sink", pin=options.pin) as sink:
        port = int(line_of(sink))
        with collector_with(sink_output(port, gzip=False), pin=options.pin) as collector:
            processes = collector.processes()
            before = cpu_by_role(processes)
            many = waiting(collector, WAITING_SENDERS, WAITING_S, pin=options.pin)
            after = cpu_by_role(processes)
            alone = waiting(collector, 1, ALONE_S, pin=options.pin)
            lines = int(many["records"] + alone["records"])
            wait_until(
                lambda: counts(port)["documents"] >= lines, timeout_s=DELIVERY_TIMEOUT_S, what="all lines", poll_s=0.05
            )
            if counts(port)["documents"] != lines:
                raise SystemExit(f"{lines} lines acknowledged, {counts(port)['documents']} documents arrived")
    return {
        "events": many["records"],
        "p50_ms": many["p50_ms"],
        "p99_ms": many["p99_ms"],
        "lines_per_s_per_sender": many["lines_per_s_per_sender"],
        "lines_per_s_slowest": many["lines_per_s_slowest"],
        "intake_us": (after["intake"] - before["intake"]) * 1e6 / many["records"],
        "alone_lines_per_s": alone["lines_per_s_per_sender"],
        "alone_p50_ms": alone["p50_ms"],
        "alone_p99_ms": alone["p99_ms"],
    }


def fairness(options: argparse.Namespace) -> Figures:
    """How much longer quiet peers wait for their acks when another floods, in each shape.

    Each on a collector of its own, that has nothing left to do when the quiet peers are measured alone. A flood takes
    cores and disk as well; what that alone costs, the peers are measured for beside a neighbour that never connects.
    """
    figures: Figures = {}
    for shape in FLOODS:
        with (
            helper("tests.bench.sink", pin=options.pin) as sink,
            collector_with(sink_output(int(line_of(sink)), gzip=False), pin=options.pin) as collector,
        ):
            port = str(collector.forward_port)
            with helper("tests.bench.flood", "quiet", "--port", port, pin=options.pin) as quiet:
                line_of(quiet)
                alone = told(quiet)
                with helper("tests.bench.flood", "busy", pin=options.pin) as busy:
                    line_of(busy)
                    neighbour = told(quiet)
                with helper("tests.bench.flood", "flood", "--shape", shape, "--port", port, pin=options.pin) as flood:
                    line_of(flood)
                    beside = told(quiet)
        for part in ("p50_ms", "p99_ms"):
            for name, figure in (("alone", alone), ("neighbour", neighbour), ("flood", beside)):
                figures[f"{shape}_{name}_{part}"] = figure[part]
    return figures


def told(process: subprocess.Popen[str]) -> Figures:
    """What a helper answers to a line."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    found: Figures = json.loads(line_of(process))
    return found


def first(options: argparse.Namespace) -> Figures:
    """Start to ready, and one message sent to found, on an idle collector."""
    message = single_messages(1)[0] + b"\x81" + CHUNK_KEY + chunk_id(1)
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as folder:
        collector = RunningCollector(Path(folder))
        try:
            with on_core(COLLECTOR_CORE if options.pin else None):
                began = time.monotonic()
                collector.start()
            collector.wait_ready()
            ready_s = time.monotonic() - began
            sent = time.monotonic()
            with connect(collector.forward_port) as connection:
                connection.sendall(message)
                ack_of(connection, chunk_id(1))
            acked_s = time.monotonic() - sent
            wait_until(lambda: len(collector.search("*")) == 1, timeout_s=20, what="the document")
            found_s = time.monotonic() - sent
            collector.stop()
        finally:
            collector.kill_all()
    return {"ready_s": ready_s, "acked_ms": acked_s * 1000, "found_s": found_s}


CASES: Final[dict[str, Callable[[argparse.Namespace], Figures]]] = {
    "uncompressed": uncompressed,
    "gzip": gzip,
    "local": local,
    "acks": acks,
    "fairness": fairness,
    "first": first,
}
