"""Every metric of the collector, declared once: type, meaning, and what to do when it rises.

    telemetry.WORKER_FRAMES.inc()
    telemetry.OUTPUT_DOCUMENTS.labels(output=name, outcome="delivered").inc(len(ids))

Names are `tidewaiter_<role>_<what>_<unit>`; a metric belongs to the role whose process counts it. Count per chunk,
never per record. Label values are names from the configuration or from a fixed set, never anything a sender chose.
A role reports its samples to the supervisor once a second; the console makes one page of all reports.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter
from prometheus_client.metrics_core import Metric

from collector.metric_roles import MetricRole

_intake: Final = MetricRole("intake")
_worker: Final = MetricRole("worker")
_console: Final = MetricRole("console")
_supervisor: Final = MetricRole("supervisor")
_process: Final = MetricRole("process")
_watcher: Final = MetricRole("watcher")
_judge: Final = MetricRole("judge")
_ROLES: Final = {
    "intake": _intake,
    "worker": _worker,
    "console": _console,
    "supervisor": _supervisor,
    "watcher": _watcher,
    "judge": _judge,
}

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
WORKER_DOCUMENTS: Final = _worker.counter("documents", "Documents made of records.")
WORKER_DERIVED: Final = _worker.counter(
    "derived_documents", "Documents beside those of records: the findings of reports, one each."
)
WORKER_DEAD: Final = _worker.counter(
    "dead_records",
    "Records that could not be processed; kept with their bytes: see `tidewaiter dead-letters list`.",
)
WORKER_CONTROL: Final = _worker.counter("control_records", "Records that steer the collector and become no document.")
WORKER_JOINED: Final = _worker.counter(
    "joined_records", "Pieces of lines that settled with the document of their line, all but the first of each."
)
WORKER_PARKED: Final = _worker.counter(
    "parked_records", "Records put aside until the rest of their line came, or what their container is."
)
WORKER_TAKEN_UP: Final = _worker.counter(
    "taken_up_records", "Records that had been put aside, and settled. What parked_records is ahead, waits."
)
WORKER_LINES: Final = _worker.counter(
    "lines",
    "Lines by outcome: parsed; plain, no parser took them (no parser is named); failed, they do not fit the parser "
    "that was asked for. failed rising: a label or a rule is wrong; search for `tags:_parse_failure`.",
    "parser",
    "outcome",
)
WORKER_ALERTS: Final = _worker.counter(
    "alerts",
    "Alerts by their rule's level and outcome: raised, suppressed (the next alert of that rule and group says how "
    "many). suppressed rising: a rule fires on what is ordinary; search for `rule.name` in tidewaiter.alerts.",
    "level",
    "outcome",
)
RULES_ACTIVE: Final = _worker.gauge("rules_active", "Rules that run: those that loaded, and that a document can match.")
RULE_MISTAKES: Final = _worker.gauge(
    "rule_mistakes", "Mistakes in files of rules. Above 0: rules are missing or old; see `tidewaiter check`."
)
RULE_FAILURES: Final = _worker.counter(
    "rule_failures",
    "Rules that could not be evaluated on a document, once for each. Never expected: report it with the traceback.",
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
    "Documents by outcome: delivered, duplicate (ours, already there), diverted (to the failure store), moved (stored "
    "without a field that conflicts with the mapping), retried, dead, uncertain (delivered, but perhaps twice; see "
    "`uncertain/` in the data folder), skipped (an optional output held up the journal). Dead rising: see `tidewaiter "
    "dead-letters list`; diverted or moved rising: mend the stream's mapping; retried rising: the output is overloaded "
    "or down.",
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
OUTPUT_BODY_LIMIT: Final = _worker.gauge(
    "output_request_limit_bytes",
    "Largest request body at the moment. Below the output's request_limit: Elasticsearch is busy or slow.",
    "output",
)
OUTPUT_REQUESTS_LIMIT: Final = _worker.gauge(
    "output_requests_limit", "Most requests at once at the moment; 1: Elasticsearch is busy or slow.", "output"
)
OUTPUT_FAILURES: Final = _worker.counter(
    "output_failures", "Times an output failed and was started again. The log names the reason.", "output"
)
BALANCE_MISMATCHES: Final = _worker.counter(
    "balance_mismatches",
    "Times an output's book did not balance: a record settled twice, or not at all. Never expected: report it with "
    "what the log says, and keep the journal.",
    "output",
)
OUTPUT_LAG_FRAMES: Final = _worker.gauge(
    "lag_frames", "Frames between an output's cursor and the journal's durable end, both of one epoch.", "output"
)
OUTPUT_LAG_SECONDS: Final = _worker.gauge(
    "lag_seconds",
    "Age of the oldest frame that an output has not settled; 0: none waits. Rising: the output is down or too slow.",
    "output",
)
DEAD_LETTER_BYTES: Final = _worker.gauge(
    "dead_letter_bytes",
    "Bytes of the dead letters of an output, or of the pipeline. At the limit that output waits: see `tidewaiter "
    "dead-letters list`.",
    "source",
)
LETTERS_REPLAYED: Final = _worker.counter(
    "replayed_letters",
    "Dead letters that were offered again by outcome: stored, refused. They count as dead all the same.",
    "source",
    "outcome",
)
STORE_BYTES: Final = _worker.gauge(
    "store_bytes", "Bytes of a local store on disk. At its limit the oldest files go.", "output"
)
STORE_FILES: Final = _worker.gauge("store_files", "Files of a local store.", "output")
STORE_DOCUMENTS: Final = _worker.gauge("store_documents", "Documents in a local store.", "output")
STORE_REMOVED: Final = _worker.counter(
    "store_removed_documents",
    "Documents deleted from a local store, for their age or for its size. Rising by size: what `retention` asks for"
    " does not fit into `limit`.",
    "output",
    "reason",
)
STORE_UNSEALED: Final = _worker.gauge(
    "store_unsealed_files", "Closed files of a local store that are not Parquet yet. Rising: sealing fails.", "output"
)
STORE_SEALED: Final = _worker.counter(
    "store_sealed_files", "Closed files of a local store by what became of them: sealed, failed.", "output", "outcome"
)
STORE_SEALED_DOCUMENTS: Final = _worker.counter(
    "store_sealed_documents", "Documents that were put into Parquet.", "output"
)
STORE_SEALING_SECONDS: Final = _worker.counter(
    "store_sealing_cpu_seconds", "Processor time that sealing took, in processes of their own.", "output"
)

CONSOLE_REQUESTS: Final = _console.counter(
    "requests", "Requests to the console's port by path (`other`: there is none) and status.", "path", "status"
)

WATCHER_CONNECTED: Final = _watcher.gauge(
    "connected", "1 while whom an input asks answers. 0: /health/ready names the reason; documents go without.", "input"
)
WATCHER_OBJECTS: Final = _watcher.gauge("objects", "Containers (of Kubernetes: objects) that are known.", "input")
WATCHER_LEFT_OUT: Final = _watcher.gauge(
    "objects_left_out", "Containers beyond the input's limit, of which only the id is known. Raise the limit.", "input"
)
WATCHER_EVENTS: Final = _watcher.counter("events", "Events read.", "input")
WATCHER_EVENTS_LOST: Final = _watcher.counter(
    "events_lost",
    "Events that could not be read (reason `malformed`, `oversized`), or came faster than they were taken up "
    "(`overflow`). All is listed again then; only what lived too short for that is missed.",
    "input",
    "reason",
)
WATCHER_MESSAGES: Final = _watcher.counter("messages", "Messages appended to the journal.", "input")
WATCHER_INCOMPLETE: Final = _watcher.counter(
    "incomplete_objects",
    "Containers of which only an event or the list told: `gone` before they were asked for; `failed`: the Engine's "
    "answer was an error, malformed or too long.",
    "input",
    "reason",
)
WATCHER_RECONNECTS: Final = _watcher.counter(
    "reconnects", "Times a connection ended or was not to be had. Rising: the log says why.", "input"
)

WATCHER_TRAIL_CONNECTED: Final = _watcher.gauge(
    "trail_connected", "1 while an Engine tells its events to the trail. 0: /health/ready names the reason.", "input"
)
WATCHER_TRAIL_EVENTS: Final = _watcher.counter("trail_events", "Events of the trail that are in the journal.", "input")
WATCHER_TRAIL_GAPS: Final = _watcher.counter(
    "trail_gaps",
    "Gaps in the trail, each told by a document: `engine_restarted`, `memory_exceeded` (the Engine remembers 256 "
    "events), `overflow` (the journal took nothing for long), `unreadable`, `rejected` (the journal "
    "never takes it).",
    "input",
    "reason",
)
WATCHER_TRAIL_WAITING: Final = _watcher.gauge(
    "trail_waiting", "Events of the trail that are read and not yet in the journal.", "input"
)
WATCHER_TRAIL_LAG: Final = _watcher.gauge(
    "trail_lag_seconds", "How long the oldest of these has waited. Rising: the journal takes nothing.", "input"
)
WATCHER_EXECS_UNANSWERED: Final = _watcher.counter(
    "execs_unanswered",
    "Events of execs told without what the Engine knows of them at that moment: it was refused, late, or already gone.",
    "input",
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
WORKER_CRASHES: Final = _supervisor.counter(
    "worker_crashes",
    "Times the worker ended of itself: crash, hang, memory (its own limit). Any: report it with the log before it.",
    "cause",
)
CONDEMNED: Final = _supervisor.counter(
    "condemned_frames",
    "Frames of which something went into the dead letters unread, since the worker ends with it. Report it with the "
    "letter's bytes; the audit records `condemn` say what and whose.",
    "cause",
)

RELOADS: Final = _supervisor.counter(
    "reloads", "Reloads of the configuration by how they went. Refused: the log says each problem.", "outcome"
)
RELOAD_REFUSED: Final = _supervisor.gauge(
    "reload_refused", "1 while the last reload was refused: what runs is not what the file says. See the log."
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


def of_role(role: str) -> Iterator[Metric]:
    """What a role's process reports: the metrics of the role, and its own use of the machine."""
    for each in (_ROLES[role], _process):
        yield from each.registry.collect()
