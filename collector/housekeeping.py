"""What the intake does once a second: lets go of segments, anchors the chain, looks after peers, counts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from collector import telemetry
from collector.audit import OwnRecords
from collector.errors import TidewaiterError
from collector.fullness import fullness
from collector.inputs.input import Counts, Input
from collector.journal.recogniser import Recogniser
from collector.journal.seals import Anchor
from collector.journal.state import VERIFICATION_FILE
from collector.journal.writer import Journal
from collector.logs import Recurring, get_logger
from collector.role import Context

INTERVAL_S: Final = 1.0
"""How often, and how long until a failed input is tried again."""

ANCHOR_LOG_S: Final = 60.0
"""How often the end of the journal's chain is logged, where it moved: logs are kept elsewhere."""

FULL_LOOKS: Final = 1
"""After so many looks a journal that is full is logged: a moment is none, and cursors that move are written by then."""

logger = get_logger("intake")


class Housekeeping:
    """Of one intake. `close` says the last of what there is to say, when the journal is closed."""

    def __init__(self, context: Context, journal: Journal, recogniser: Recogniser, inputs: Sequence[Input]) -> None:
        self._context = context
        self._journal = journal
        self._recogniser = recogniser
        self._inputs = inputs
        self._records = OwnRecords(journal)
        self._anchor_told_s = -ANCHOR_LOG_S
        self._anchor_told: Anchor | None = None
        self._failures_told = 0
        self._full_looks = 0
        self._duties: dict[str, Callable[[], object]] = {
            "journal_not_anchored": journal.anchor,
            "journal_not_reclaimed": journal.reclaim,
            "resends_not_swept": recogniser.sweep,
        }
        self._failing = {failure: Recurring() for failure in self._duties}
        self._index_failures_told = 0
        if journal.is_new:
            self._records.append("key_export", {"file": VERIFICATION_FILE}, outcome="success")
        recovered = journal.recovered
        if recovered.cut_bytes or recovered.gaps or recovered.set_aside:
            logger.warning(
                "journal_recovered", cut_bytes=recovered.cut_bytes, gaps=recovered.gaps, set_aside=recovered.set_aside
            )
        if recogniser.damaged:
            logger.warning("resend_indexes_not_read", files=recogniser.damaged)

    async def keep(self) -> None:
        """Keep house until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for failure, duty in self._duties.items():
                self._do(duty, failure)
            if time.monotonic() - self._anchor_told_s >= ANCHOR_LOG_S:
                self._tell_anchor()
            self.tell_journal()
            self._tell_failures()
            self._tell_recogniser()
            for each in self._inputs:
                each.tick()
            self.record()
            self._count()

    def _do(self, duty: Callable[[], object], failure: str) -> None:
        """Do something that is due each second; why it fails is told at its beginning, then now and then."""
        try:
            duty()
        except (TidewaiterError, OSError) as error:
            if self._failing[failure].is_due(str(error)):
                logger.error(failure, reason=str(error))  # noqa: TRY400 - a sentence

    def record(self, *, last: bool = False) -> None:
        """Put into the journal what inputs have to tell, for the `last` time everything."""
        for each in self._inputs:
            self._record_of(each, last=last)
        self._records.flush()

    def _record_of(self, each: Input, *, last: bool) -> None:
        for refusal in each.refusals.due(last=last):
            self._records.append("handshake", msgspec.structs.asdict(refusal), outcome="failure")
        for block in each.refusals.blocked():
            self._records.append("block", msgspec.structs.asdict(block), outcome="success")

    def left(self, each: Input) -> None:
        """Tell the last of an input that is no more."""
        self._record_of(each, last=True)
        telemetry.INPUT_CONNECTIONS.labels(input=each.name).set(0)

    async def finish(self) -> None:
        """Put the last of that into the journal, before it is closed."""
        self.record(last=True)
        await self._records.finish()

    def close(self) -> None:
        """Tell the end of the chain, and the last counts."""
        self._tell_recogniser()
        self._tell_anchor()
        self._count()

    def tell_journal(self) -> None:
        """Say whether the journal takes what comes."""
        room = self._journal.room
        if room.unopened:
            self._context.unhealthy("journal", f"takes nothing: {room.unopened}; senders wait")
        elif self._journal.full:
            found = fullness(self._journal, self._inputs)
            self._context.unhealthy("journal", found.sentence())
            if self._full_looks == FULL_LOOKS:
                logger.warning("journal_full", **found.fields())
            self._full_looks += 1
        else:
            self._context.healthy("journal")
            if self._full_looks > FULL_LOOKS:
                logger.info("journal_has_room", used_bytes=room.disk_bytes, limit_bytes=room.limit_bytes)
            self._full_looks = 0

    def _tell_failures(self) -> None:
        appended = self._journal.appended
        if appended.failures > self._failures_told:
            since = appended.failures - self._failures_told
            logger.error("journal_writes_failed", groups=since, reason=appended.last_failure)
            self._failures_told = appended.failures

    def _tell_anchor(self) -> None:
        anchor = self._journal.anchored
        if anchor is not None and anchor != self._anchor_told:
            self._anchor_told_s, self._anchor_told = time.monotonic(), anchor
            logger.info("journal_anchored", anchor=msgspec.json.encode(anchor).decode())

    def _tell_recogniser(self) -> None:
        failures = self._recogniser.index_failures
        if failures > self._index_failures_told:
            since = failures - self._index_failures_told
            logger.warning("resend_index_not_written", indexes=since, reason=self._recogniser.failure)
            self._index_failures_told = failures

    def _counts(self) -> dict[str, Counts]:
        """Return what is counted under each name: an input may be leaving while another has its name already."""
        found: dict[str, Counts] = {}
        for each in self._inputs:
            counts = found.setdefault(each.name, Counts())
            counts.add(each.counts)
            counts.connections += each.counts.connections
        return found

    def _count(self) -> None:
        for name, counts in self._counts().items():
            telemetry.INPUT_CONNECTIONS.labels(input=name).set(counts.connections)
            for counter, total in (
                (telemetry.INPUT_CONNECTIONS_TOTAL, counts.connections_total),
                (telemetry.INPUT_UNFINISHED, counts.unfinished),
                (telemetry.INPUT_BYTES, counts.bytes),
                (telemetry.INPUT_MESSAGES, counts.messages),
                (telemetry.INPUT_CLAIMED, counts.claimed_records),
                (telemetry.INPUT_ACKS, counts.acks),
                (telemetry.INPUT_REFUSED, counts.refused),
                (telemetry.INPUT_BROKEN_PAYLOADS, counts.broken_payloads),
                (telemetry.INPUT_FAILURES, counts.failures),
                (telemetry.INPUT_UNPROVEN, counts.unproven),
                (telemetry.INPUT_STALLED, counts.stalled),
                (telemetry.INPUT_IDLE, counts.idle),
            ):
                telemetry.set_total(counter.labels(input=name), total)
            for metric, totals in (
                (telemetry.INPUT_CONNECTIONS_REFUSED, counts.connections_refused),
                (telemetry.INPUT_BROKEN, counts.broken),
            ):
                for reason, total in totals.items():
                    telemetry.set_total(metric.labels(input=name, reason=reason), total)
        appended = self._journal.appended
        telemetry.set_total(telemetry.JOURNAL_FRAMES, appended.frames)
        telemetry.set_total(telemetry.JOURNAL_BYTES, appended.bytes)
        telemetry.set_total(telemetry.JOURNAL_SYNCS, appended.syncs)
        telemetry.set_total(telemetry.JOURNAL_SYNC_SECONDS, appended.sync_seconds)
        telemetry.set_total(telemetry.JOURNAL_FAILURES, appended.failures)
        telemetry.set_total(telemetry.JOURNAL_RESENDS, self._recogniser.recognised)
        telemetry.JOURNAL_REMEMBERED.set(self._recogniser.remembered)
        telemetry.JOURNAL_IN_FLIGHT.set(self._journal.room.in_flight_bytes)
        telemetry.JOURNAL_DISK.set(self._journal.room.disk_bytes)
        telemetry.JOURNAL_LIMIT.set(self._journal.room.limit_bytes)
        telemetry.JOURNAL_FULL.set(self._journal.full)
