"""Every metric of the collector, declared once: type, meaning, and what to do when it rises.

    telemetry.WORKER_FRAMES.inc()
    telemetry.OUTPUT_DOCUMENTS.labels(output=name, outcome="delivered").inc(len(ids))

Names are `tidewaiter_<role>_<what>_<unit>`; a metric belongs to the role whose process counts it. Count per chunk,
never per record. Label values are names from the configuration or from a fixed set, never anything a sender chose.
A role reports its samples to the supervisor once a second; the console makes one page of all reports.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric


class _Role:
    """Declares the metrics of one role, in a registry of its own: a role reports nothing of another."""

    def __init__(self, name: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = f"tidewaiter_{name}_"

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(self._prefix + name, meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(self._prefix + name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(self._prefix + name, meaning, buckets=buckets, registry=self.registry)


_intake: Final = _Role("intake")
_worker: Final = _Role("worker")
_console: Final = _Role("console")
_supervisor: Final = _Role("supervisor")
_process: Final = _Role("process")
_ROLES: Final = {"intake": _intake, "worker": _worker, "console": _console, "supervisor": _supervisor}

INPUT_CONNECTIONS: Final = _intake.gauge(
    "connections_open",
    "Connections that senders hold open. Near the limit: raise it, or look for senders that never close.",
    "input",
)
INPUT_CONNECTIONS_TOTAL: Final = _intake.counter(
    "connections",
    "Connections accepted. Rising fast without new hosts: a sender reconnects all the time; see its log.",
    "input",
)
INPUT_CONNECTIONS_REFUSED: Final = _intake.counter(
    "connections_refused",
    "Connections closed at once by reason. `limit`: raise the input's, or add a collector; `peer`: one address has too "
    "many; `files`: raise `ulimit -n`; `handshakes`: of a peer too many failed, see the audit records `block`.",
    "input",
    "reason",
)
INPUT_BROKEN: Final = _intake.counter(
    "connections_broken",
    "Connections closed because their bytes were not the protocol. The log names peer and reason.",
    "input",
    "reason",
)
INPUT_UNFINISHED: Final = _intake.counter(
    "connections_unfinished",
    "Connections that ended within a message. A sender that asks for acks sends it again, any other lost it.",
    "input",
)
INPUT_UNPROVEN: Final = _intake.counter(
    "input_unproven", "Connections whose peer failed TLS or the handshake. See the audit records `handshake`.", "input"
)
INPUT_STALLED: Final = _intake.counter(
    "input_stalled",
    "Connections closed within a message of which nothing more came, or because their peer does not read.",
    "input",
)
INPUT_IDLE: Final = _intake.counter(
    "input_idle", "Silent connections closed to make room, since the input was near its limit.", "input"
)
INPUT_FAILURES: Final = _intake.counter(
    "connection_failures",
    "Connections ended by a fault of ours. Never expected: report it with the traceback from the log.",
    "input",
)
INPUT_MESSAGES: Final = _intake.counter(
    "messages",
    "Messages taken from senders. No longer rising: senders stopped, or wait because the journal is full.",
    "input",
)
INPUT_BYTES: Final = _intake.counter("received_bytes", "Bytes read from senders, as they came.", "input")
INPUT_CLAIMED: Final = _intake.counter(
    "claimed_records",
    "Records that senders say their messages hold. The worker counts what decoding finds.",
    "input",
)
INPUT_ACKS: Final = _intake.counter(
    "acks",
    "Acknowledgements sent after the durable append. Far below messages: those senders do not ask for acks.",
    "input",
)
INPUT_REFUSED: Final = _intake.counter(
    "messages_refused",
    "Messages the journal did not take; not acknowledged, their senders send them again. Look at disk and log.",
    "input",
)
INPUT_BROKEN_PAYLOADS: Final = _intake.counter(
    "payloads_broken",
    "Payloads in good frames that could not be decompressed. They are kept as dead letters.",
    "input",
)
JOURNAL_FRAMES: Final = _intake.counter(
    "journal_frames", "Frames appended to the journal. Bytes divided by frames is the size of a group commit."
)
JOURNAL_BYTES: Final = _intake.counter("journal_appended_bytes", "Bytes appended to the journal.")
JOURNAL_SYNCS: Final = _intake.counter("journal_syncs", "Groups made durable, by one sync each.")
JOURNAL_SYNC_SECONDS: Final = _intake.counter(
    "journal_sync_seconds", "Time spent writing and syncing. Divided by syncs, it is what an ack waits at least."
)
JOURNAL_SYNC_DURATION: Final = _intake.histogram(
    "journal_sync_duration_seconds",
    "Time of one sync; every ack waits for one. Rising: the disk is slow, or shared with something busy.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
JOURNAL_FAILURES: Final = _intake.counter(
    "journal_failures", "Groups whose write or sync failed; nothing of them was acknowledged. Check the disk now."
)
JOURNAL_RESENDS: Final = _intake.counter(
    "journal_resends", "Messages that senders sent again, recognised, acknowledged and not kept twice."
)
JOURNAL_REMEMBERED: Final = _intake.gauge(
    "journal_remembered_messages", "Messages of ended connections that would be recognised if they were sent again."
)
JOURNAL_IN_FLIGHT: Final = _intake.gauge(
    "journal_in_flight_bytes", "Bytes taken from senders and not durable yet. At its limit senders wait for the disk."
)
JOURNAL_DISK: Final = _intake.gauge(
    "journal_disk_bytes", "Bytes of the journal on disk. Rising: an output lags; see the worker's lag."
)
JOURNAL_LIMIT: Final = _intake.gauge(
    "journal_limit_bytes", "`journal.limit`: when the journal's bytes on disk come near it, senders wait."
)
JOURNAL_FULL: Final = _intake.gauge(
    "journal_full",
    "1 while the journal takes nothing, because its limit is reached or the disk is full: senders wait. The "
    "log and /health/ready name who holds it: bring that output back, or raise journal.limit.",
)

WORKER_FRAMES: Final = _worker.counter(
    "frames", "Frames read from the journal and processed; an output that lags reads frames a second time."
)
WORKER_BYTES: Final = _worker.counter("frame_bytes", "Payload bytes of the processed frames.")
WORKER_CLAIMED: Final = _worker.counter(
    "claimed_records", "Records that the processed messages claim. Differs from records: a sender miscounts."
)
WORKER_RECORDS: Final = _worker.counter("records", "Records that decoding found.")
WORKER_DOCUMENTS: Final = _worker.counter("documents", "Documents made.")
WORKER_DEAD: Final = _worker.counter(
    "dead_records",
    "Records that could not be processed; kept with their bytes in `dead-letters/pipeline.ndjson` of the data folder.",
)
WORKER_CONTROL: Final = _worker.counter("control_records", "Records that steer the collector and become no document.")
WORKER_JOINED: Final = _worker.counter(
    "joined_records", "Pieces of lines that settled with the document of their line, all but the first of each."
)
WORKER_PARKED: Final = _worker.counter(
    "parked_records", "Pieces of lines that were put aside until the rest of their line came."
)
WORKER_TAKEN_UP: Final = _worker.counter(
    "taken_up_records", "Pieces of lines that had been put aside, and settled. What parked_records is ahead, waits."
)
WORKER_LINES: Final = _worker.counter(
    "lines",
    "Lines by outcome: parsed; plain, no parser took them (no parser is named); failed, they do not fit the parser "
    "that was asked for. failed rising: a label or a rule is wrong; search for `tags:_parse_failure`.",
    "parser",
    "outcome",
)
WORKER_BATCHES: Final = _worker.counter("batches", "Batches that the pipeline made.")
PIPELINE_FAILURES: Final = _worker.counter(
    "pipeline_failures",
    "Frames on which a path of the pipeline failed by a fault of ours. Never expected: report it with the traceback.",
    "path",
)
JOURNAL_GAPS: Final = _worker.counter(
    "journal_gaps", "Damaged places of the journal that were passed over. The log has their positions: check the disk."
)
OUTPUT_DOCUMENTS: Final = _worker.counter(
    "output_documents",
    "Documents by outcome: delivered, duplicate (ours, already there), diverted (to the failure store), retried, dead. "
    "Dead rising: see `dead-letters/` in the data folder; retried rising: the output is overloaded or down.",
    "output",
    "outcome",
)
OUTPUT_REQUESTS: Final = _worker.counter(
    "output_requests",
    "Requests by their answer: 401, 403, 413 and 429 by themselves, else 2xx, 4xx, 5xx; none: nobody answered. The log "
    "says more.",
    "output",
    "status",
)
OUTPUT_BYTES: Final = _worker.counter(
    "output_sent_bytes", "Bytes of documents sent or written, before compression.", "output"
)
OUTPUT_FAILURES: Final = _worker.counter(
    "output_failures", "Times an output failed and was started again. The log names the reason.", "output"
)
OUTPUT_LAG_FRAMES: Final = _worker.gauge(
    "lag_frames", "Frames between an output's cursor and the journal's durable end, both of one epoch.", "output"
)
OUTPUT_LAG_SECONDS: Final = _worker.gauge(
    "lag_seconds",
    "Age of the oldest frame that an output has not settled; 0: none waits. Rising: the output is down or too slow.",
    "output",
)
STORE_BYTES: Final = _worker.gauge(
    "store_bytes", "Bytes of a local store on disk. At its limit the oldest files go.", "output"
)
STORE_FILES: Final = _worker.gauge("store_files", "Files of a local store.", "output")
STORE_DOCUMENTS: Final = _worker.gauge("store_documents", "Documents in a local store.", "output")

CONSOLE_REQUESTS: Final = _console.counter(
    "requests", "Requests to the console's port by path (`other`: there is none) and status.", "path", "status"
)

BUILD: Final = _supervisor.gauge("build_info", "Always 1; the label is the running version.", "version")
READY: Final = _supervisor.gauge(
    "ready",
    "1 while every input listens, the journal takes appends and every role is up. 0: /health/ready names the reason.",
)
ROLE_UP: Final = _supervisor.gauge("role_up", "1 while a role's process runs and reports.", "role")
RESTARTS: Final = _supervisor.counter(
    "restarts", "Times a role's process ended by itself and was started again. Any: read the log before it.", "role"
)

CPU_SECONDS: Final = _process.counter("cpu_seconds", "CPU time of a role's process, user and system.", "role")
RESIDENT_BYTES: Final = _process.gauge(
    "resident_bytes", "Resident memory of a role's process (Linux only). Rising for days: report it.", "role"
)
OPEN_FILES: Final = _process.gauge(
    "open_files", "Open files of a role's process (Linux only). Near its limit (`ulimit -n`): raise it.", "role"
)
START_SECONDS: Final = _process.gauge("start_seconds", "When a role's process started, as Unix time.", "role")


def declared() -> Iterator[Metric]:
    """Every declared metric: its name, documentation and type. The samples are those of this process."""
    for role in (*_ROLES.values(), _process):
        yield from role.registry.collect()


def set_total(counter: Counter, total: float) -> None:
    """Bring a counter (with its labels) to a total that a hot path counts elsewhere, in plain numbers."""
    counter.reset()
    counter.inc(total)


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number of a metric; `name` is the exposition's (`…_total`, `…_bucket`)."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The samples of one declared metric in one process."""

    name: str
    samples: list[Sample]


class Telemetry:
    """What one process reports: the metrics of its role, and its own use of the machine."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._before: list[Callable[[], None]] = []
        START_SECONDS.labels(role=role).set(time.time())

    def before_report(self, callback: Callable[[], None]) -> None:
        """Call `callback` before each report, to bring metrics up to date that are not counted as things happen.

        It runs in the event loop once a second and must be quick.
        """
        self._before.append(callback)

    def families(self) -> list[Family]:
        """Return all samples as they are now."""
        for callback in self._before:
            callback()
        self._measure_process()
        found = []
        for role in (_ROLES[self._role], _process):
            for metric in role.registry.collect():
                samples = [
                    Sample(sample.name, dict(sample.labels), float(sample.value))
                    for sample in metric.samples
                    if not sample.name.endswith("_created")
                ]
                if samples:
                    found.append(Family(metric.name, samples))
        return found

    def _measure_process(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        set_total(CPU_SECONDS.labels(role=self._role), usage.ru_utime + usage.ru_stime)
        try:
            pages = int(Path("/proc/self/statm").read_bytes().split()[1])
            files = len(os.listdir("/proc/self/fd"))
        except OSError:
            return
        RESIDENT_BYTES.labels(role=self._role).set(pages * resource.getpagesize())
        OPEN_FILES.labels(role=self._role).set(files)
