"""The bench's cases: each runs a real collector once and returns its figures by name.

| case | what |
| --- | --- |
| `uncompressed` | the headline: PackedForward messages, durable, the shipped rules, documents to the sink, no gzip |
| `unruled` | the same without rules |
| `gzip` | the same with gzip bodies |
| `local` | the same into the local store instead of the sink (delivered/s to the second only) |
| `audit` | Kubernetes audit events of 1.9 kB in the mean, 400 in a POST, to the sink |
| `acks` | 200 senders, one message in flight each, each waiting for its ack; then one sender alone |
| `fairness` | 20 quiet peers that wait for acks: alone, beside a busy neighbour, beside a flood in five shapes |
| `first` | an idle collector: start to ready, one message sent to found by `tidewaiter search` |

`search` stands in `search_cases`: 1,000,000 documents in the local store, sealed, searched by container and time.
Those of the journal alone stand in `journal_cases`, those of a worker that is behind in `pressure_cases`.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import journal_cases, pressure_cases, search_cases
from tests.bench.collectors import (
    COLLECTOR_CORE,
    DELIVERY_TIMEOUT_S,
    Figures,
    collector_with,
    counts,
    helper,
    line_of,
    sink_output,
    stored,
    throughput,
    written,
)
from tests.bench.corpus import CHUNK_KEY, single_messages
from tests.bench.format_cases import format_costs
from tests.bench.load import ack_of, chunk_id, connect
from tests.bench.measure import cpu_by_role, on_core, touch_memory
from tests.kit.running import RunningCollector, free_port, wait_until

WAITING_SENDERS: Final = 200
FLOODS: Final = ("chunks", "tiny", "large", "gzip", "bombs")
WAITING_S: Final = 4.0
ALONE_S: Final = 2.0


def to_sink(options: argparse.Namespace, *, gzip: bool, rules: bool = True) -> Figures:
    """Deliver to the sink, with the shipped rules or without any."""
    check = ("--check",) if options.check else ()
    with helper("tests.bench.sink", *check, pin=options.pin) as sink:
        port = int(line_of(sink))
        settings = {"rules": {"pack": rules}}
        with collector_with(sink_output(port, gzip=gzip), pin=options.pin, settings=settings) as collector:

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


def unruled(options: argparse.Namespace) -> Figures:
    """The headline without rules."""
    return to_sink(options, gzip=False, rules=False)


def gzip(options: argparse.Namespace) -> Figures:
    """With gzip bodies."""
    return to_sink(options, gzip=True)


def local(options: argparse.Namespace) -> Figures:
    """Into the local store."""
    with collector_with({"store": {"type": "local"}}, pin=options.pin) as collector:
        return throughput(
            collector, options, delivered=lambda: written(collector), checked=lambda: stored(collector), poll_s=0.1
        )


def audit(options: argparse.Namespace) -> Figures:
    """Kubernetes audit events, from the POST to the document at the sink."""
    with helper("tests.bench.sink", pin=options.pin) as sink:
        port, listen = int(line_of(sink)), free_port()
        inputs = {"audit": {"type": "kubernetes_audit", "listen": f"127.0.0.1:{listen}"}}
        with collector_with(sink_output(port, gzip=False), pin=options.pin, settings={"inputs": inputs}) as collector:

            def arrived() -> int:
                return counts(port)["documents"]

            return throughput(
                collector,
                options,
                delivered=arrived,
                checked=arrived,
                poll_s=0.02,
                load_command=("tests.bench.audit_load",),
                port=listen,
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
                touch_memory()
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
    "unruled": unruled,
    "gzip": gzip,
    "local": local,
    "audit": audit,
    "acks": acks,
    "fairness": fairness,
    "first": first,
    "formats": lambda options: format_costs(),
    "append": journal_cases.append,
    "read": journal_cases.read,
    "ids": journal_cases.ids,
    "behind": pressure_cases.behind,
    "hold": pressure_cases.hold,
    "start": journal_cases.start,
    "search": search_cases.search,
}

ASKED_FOR: Final = frozenset({"hold", "start", "search"})
"""Cases that take minutes, or tens of gigabytes of disk, and so are run only when they are named."""
