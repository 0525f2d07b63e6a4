"""The judge role: tries the frame that a worker had in hand when it ended, and condemns what of it does harm.

It lives for one judgement. Its own memory never meets what is tried: that is done in forks. What the supervisor asks
stands in `run/judged.json`, what was found in `run/judgement.json`.
"""

import contextlib
import os
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from collector.condemned_letters import keep_lines, passed_to, write_lines
from collector.config import Config, WorkerConfig
from collector.dead_letters import DEAD_LETTERS, DeadLettersFullError
from collector.durable_files import replace_file
from collector.errors import DataDirError
from collector.internal import InternalClient, InternalClosed
from collector.isolation.in_hand import FOLDER
from collector.isolation.memory import own_limit
from collector.isolation.narrowing import HarmlessError, Lines, Narrowing, Outcome, UnclearError
from collector.isolation.questions import ASKED, FOUND, JUDGE_LIMIT_S, Asked, Judgement
from collector.isolation.tries import attempt
from collector.isolation.verdicts import ACTION, PRODUCER, FullError, append_verdict, verdicts_of
from collector.journal.checkpoints import delete_checkpoints_behind, replayed_from
from collector.journal.cursors import needed_position
from collector.journal.format import DurableEnd
from collector.logs import get_logger
from collector.pipeline_settings import pipeline_settings
from collector.reader import Listeners, Reader
from collector.role import Context
from pipelines.batch import Batch
from pipelines.condemned import Part, Verdict
from pipelines.culprit import CUT, ends_of
from pipelines.frame import Frame, Position
from pipelines.normalize.audit_sentences import sentence
from pipelines.pipeline import Pipeline
from pipelines.reference import messages
from pipelines.state import State

NARROWING_LIMIT_S: Final = 180.0
"""Time of a processor in which the single record is looked for; outputs wait meanwhile. Then what it lies in is
condemned as a whole."""

CONFIRM_LIMIT_S: Final = 10.0
"""How much time of a processor a try has that decides, where the worker's own limit is not lower."""

DECIDING_BYTES_A_SECOND: Final = 1 << 20
"""How much of the frame that is taken to need."""

SEARCH_LIMIT_S: Final = 1.0
SEARCH_BYTES_A_SECOND: Final = 2 << 20
"""How much a try has, by what it keeps of the frame, that only tells where to look next. What is slow, but no worse,
may be taken for a hang there; the tries that decide have more."""

MEMORY_ELSEWHERE: Final = (
    "tried apart, the memory sufficed for the same frame: something else took the worker's, see worker.memory_limit"
)

NARROWING_CLOCK_S: Final = JUDGE_LIMIT_S / 2
"""The same by the clock, from the judge's start: tries that wait use no time of a processor. The rest of its life is
for the try that confirms, and for the journal."""

UNANSWERED_LIMIT: Final = 2
"""After so many judges that came to no end nothing is narrowed down any more."""

TIMES_LIMIT: Final = 4
"""Where workers ended so often with the same frame in hand, one after the other, and it does no harm in tries, all of
it is condemned."""

ENTRIES_LIMIT_S: Final = 30.0
LETTERS_LIMIT_S: Final = 60.0
"""How much time of a processor a try has that passed already, and writes its letters as well."""

logger = get_logger("judge")


class _ReachedError(Exception):
    def __init__(self, frame: Frame) -> None:
        self.frame = frame


class _Stopping:
    """A pipeline that goes no further than to a frame; its state is then that before it."""

    def __init__(self, pipeline: Pipeline, until: Position) -> None:
        self._pipeline, self._until = pipeline, until
        self.fingerprint = pipeline.fingerprint

    @property
    def state(self) -> State:
        return self._pipeline.state

    @state.setter
    def state(self, state: State) -> None:
        self._pipeline.state = state

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        if frame.position == self._until:
            raise _ReachedError(frame)
        return self._pipeline(frame)


class Case:
    """One frame, and a pipeline that stands before it. `verdicts` are those that the pipeline heeds.

    A single record is looked for until `until_s` by the monotonic clock at the latest.
    """

    def __init__(
        self,
        frame: Frame,
        pipeline: Pipeline,
        verdicts: dict[Position, Verdict],
        limits: WorkerConfig,
        *,
        until_s: float,
    ) -> None:
        self._frame = frame
        self._pipeline = pipeline
        # Once, and not in each try: for thousands of rules it takes longer than a try that looks may.
        pipeline.prepare()
        self._verdicts = verdicts
        self._hang_limit_s = limits.hang_limit
        self._memory_limit_bytes = own_limit(limits.memory_limit)
        self._lengths = [message.length for message in frame.messages]
        self._ends: dict[int, Sequence[int]] = {}
        self._used_s = _used_by_tries_s()
        self._until_s = until_s

    def has_time(self) -> bool:
        """Tell whether there is time left to look for a single record."""
        return time.monotonic() < self._until_s and _used_by_tries_s() - self._used_s < NARROWING_LIMIT_S

    def attempt(self, parts: tuple[Part, ...], lines: Lines, *, patient: bool) -> Outcome:
        """Try the frame with these parts and waiting lines condemned."""
        at, size = self._frame.position, len(self._frame.payload)
        kept = size - sum(map(self._bytes_of, parts))
        self._verdicts.pop(at, None)
        if parts or lines:
            self._verdicts[at] = Verdict(at, "crash", parts, lines)
        decides_s = min(self._hang_limit_s, CONFIRM_LIMIT_S) + size / DECIDING_BYTES_A_SECOND
        looks_s = SEARCH_LIMIT_S + kept / SEARCH_BYTES_A_SECOND
        return attempt(
            lambda: exhaust(self._pipeline(self._frame)),
            cpu_limit_s=decides_s if patient else min(looks_s, decides_s),
            memory_limit_bytes=self._memory_limit_bytes,
        )

    def _bytes_of(self, part: Part) -> int:
        if not part.is_whole:
            return part.end - part.start
        return sum(self._lengths[part.message : part.message + part.messages])

    def entries(self, number: int) -> Sequence[int]:
        """Return where the records of a message end; to find that out may do harm itself, so it is a try as well."""
        if number not in self._ends:
            self._ends[number] = self._found_entries(number)
        return self._ends[number]

    def keep_letters(self, data_dir: Path, verdict: Verdict, *, passed: Position, limit_bytes: int) -> None:
        """Keep the letters of a verdict; made in a try as well. Raises UnclearError, DeadLettersFullError, OSError."""
        self._verdicts[verdict.position] = verdict
        with tempfile.TemporaryFile() as told:
            outcome = attempt(
                lambda: write_lines(self._pipeline(self._frame), verdict.cause, told),
                cpu_limit_s=LETTERS_LIMIT_S,
                memory_limit_bytes=self._memory_limit_bytes,
            )
            if outcome != "passed":
                raise UnclearError("what is to be condemned is known, but its dead letters cannot be made")
            told.seek(0)
            keep_lines(data_dir, told, passed=passed, limit_bytes=limit_bytes)

    def _found_entries(self, number: int) -> Sequence[int]:
        encoding, payload = _message_at(self._frame, number)
        if encoding not in CUT:
            return [len(payload)]
        with tempfile.TemporaryFile() as told:

            def find() -> None:
                array("Q", ends_of(encoding, payload)).tofile(told)
                told.flush()

            outcome = attempt(find, cpu_limit_s=ENTRIES_LIMIT_S, memory_limit_bytes=self._memory_limit_bytes)
            told.seek(0)
            found = array("Q", told.read()) if outcome == "passed" else array("Q")
        return found or [len(payload)]


def _used_by_tries_s() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _message_at(frame: Frame, number: int) -> tuple[str, memoryview]:
    for at, (_, encoding, payload) in enumerate(messages(frame)):
        if at == number:
            return encoding, payload
    raise IndexError(number)


def exhaust(batches: Iterator[Batch]) -> None:
    """Have all batches made, and keep none."""
    for _ in batches:
        pass


def reached(journal: Path, until: Position, pipeline: Pipeline, end: DurableEnd) -> Frame:
    """Bring the pipeline's state before the frame at a position; return the frame. Raises UnclearError."""
    ignored = Listeners(lambda gap: None, lambda checkpoint: None, lambda reason: None)
    reader = Reader(journal, until, _Stopping(pipeline, until), ignored)
    with contextlib.closing(reader):
        try:
            while reader.read(end) is None and reader.replaying:
                pass
        except _ReachedError as error:
            return error.frame
    raise UnclearError("the frame is not in the journal any more, or is damaged")


def told(frame: Frame, verdict: Verdict, ending: str) -> dict[str, Any]:
    """Return the details of a verdict for the audit record and the log."""
    parts = verdict.parts
    numbers = [frame.messages[part.message].origin for part in parts]
    origin = frame.origins[numbers[0]] if numbers else None
    whole = [number for part in parts if part.is_whole for number in range(part.message, part.message + part.messages)]
    return {
        "epoch": frame.epoch,
        "sequence": frame.sequence,
        "cause": verdict.cause,
        "ending": ending,
        "records": len(parts) - sum(part.is_whole for part in parts) + len(verdict.lines),
        "messages": len(whole),
        "bytes": sum(part.end - part.start for part in parts) + sum(frame.messages[number].length for number in whole),
        **({"input": origin.input, "peer": origin.peer} if origin is not None else {}),
    }


async def judge(data_dir: Path, config: Config, asked: Asked) -> Judgement:
    """Judge a frame, and have the journal keep the verdict."""
    until_s = time.monotonic() + (NARROWING_CLOCK_S if asked.unanswered < UNANSWERED_LIMIT else 0.0)
    journal, socket = data_dir / "journal", data_dir / FOLDER / "intake.sock"
    async with InternalClient(socket) as client:
        known = await client.last_produced(PRODUCER)
        async with contextlib.aclosing(client.durable_ends()) as ends:
            end = await anext(ends)
    verdicts = verdicts_of(known)
    before = verdicts.get(asked.position)
    pipeline = Pipeline(pipeline_settings(config), lambda path, frame, error: None, verdicts)
    frame = reached(journal, asked.position, pipeline, end)
    case = Case(frame, pipeline, verdicts, config.worker, until_s=until_s)
    waiting = tuple(line.position for line in pipeline.state.open_lines())
    narrowing = Narrowing(frame, case.attempt, case.entries, case.has_time, waiting)
    try:
        parts, lines = narrowing.condemn(before)
    except HarmlessError:
        if asked.cause == "memory":
            # It is somebody else who takes it, an output that lags perhaps: all records would go, and nothing be won.
            raise UnclearError(MEMORY_ELSEWHERE) from None
        if asked.times < TIMES_LIMIT:
            raise
        # Whatever is different there: a worker that never gets past a frame delivers nothing at all.
        parts, lines = (Part(0, len(frame.messages)),), before.lines if before is not None else ()
    # It is told by what it did to the worker: a slow machine may take longer to eat the memory than a try has.
    verdict = Verdict(frame.position, asked.cause, parts, lines)
    details = told(frame, verdict, asked.ending)
    if passed := passed_to(data_dir, frame.position):
        case.keep_letters(data_dir, verdict, passed=passed, limit_bytes=config.dead_letters.limit)
    # What was made of this frame otherwise must not be gone on from.
    delete_checkpoints_behind(journal, frame.position)
    needed = replayed_from(journal, needed_position(journal, {*config.outputs, DEAD_LETTERS}))
    if not await append_verdict(socket, journal, verdict, details, known, needed=needed):
        return Judgement("what did it is known, but the journal takes no verdict now")
    logger.error("records_condemned", **details, see="tidewaiter dead-letters list")
    return Judgement(sentence(PRODUCER, ACTION, details), verdict.cause)


async def main(context: Context) -> None:
    """Run the role."""
    folder = context.data_dir / FOLDER
    asked = msgspec.json.decode((folder / ASKED).read_bytes(), type=Asked)
    try:
        judgement = await judge(context.data_dir, context.config, asked)
    except (UnclearError, FullError, DeadLettersFullError) as error:
        judgement = Judgement(str(error))
    except (InternalClosed, DataDirError, OSError) as error:
        judgement = Judgement(f"nothing could be judged: {error}")
    if not judgement.cause:
        logger.warning("nothing_condemned", reason=judgement.reason, ending=asked.ending)
    replace_file(folder / FOUND, msgspec.json.encode(judgement))
