"""What the worker does when dead letters are to be offered again (`collector.replays` says how that is asked for).

A replay goes through an output of its own, made like the one that refused the letters: the same tries, pauses, splits
and verdicts, from the letters in place of the journal, and what is refused once more stays where it is. It never makes
the output wait that follows the journal.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from collector import telemetry
from collector.audit import leave_record
from collector.config import OutputConfig
from collector.dead_letters import PIPELINE, DeadLetterFile, Letter, Letters, Refusal, letters_in, sources
from collector.errors import sentence_of
from collector.logs import Recurring, get_logger
from collector.outputs import make_replaying_output
from collector.outputs.output import Output, Stopped, Surroundings
from collector.replays import (
    OUTCOMES,
    Answer,
    Request,
    answer_to,
    begin,
    finish,
    next_request,
    put_back,
    replays_folder,
    write_answer,
)
from collector.role import Context
from parsers.timestamps import rfc3339
from pipelines.batch import DOCUMENT_HEAD, Batch, DataStream, Documents, Tally
from pipelines.frame import Ids, Position

POLL_S: Final = 0.5
"""How often is looked whether a replay is asked for."""

PORTION_BYTES: Final = 4 << 20
PORTION_LETTERS: Final = 5_000
"""So much is offered at once; a larger document goes alone."""

PATIENCE_S: Final = 30.0
"""A replay ends when the output waits for so long: its letters stay, and who asked is told what it waits for."""

STARTS_LIMIT: Final = 3
"""Workers that may end in the middle of a replay before it is given up: it could be what ends them."""

SUFFIX: Final = ":replay"
"""What an output is called in log and metrics that offers letters again; no output's name holds a colon."""

_data_stream = re.compile(r"[a-z0-9_.]{1,100}-[a-z0-9_.]{1,100}-[a-z0-9_.]{1,100}")
_document_id = re.compile(r"[0-9A-Za-z_-]{1,512}")

logger = get_logger("worker")

MakeOutput = Callable[[str, OutputConfig, Path, Surroundings, Letters], Output | None]


async def serve_replays(context: Context) -> None:
    """Do what commands ask for until cancelled."""
    failures = Recurring()
    while True:
        try:
            await replay_asked(context)
        except OSError as error:
            reason = sentence_of(error) or str(error)
            if failures.is_due(reason):
                logger.error("replay_not_done", reason=reason)  # noqa: TRY400 - a sentence
        await asyncio.sleep(POLL_S)


async def replay_asked(
    context: Context, *, make_output: MakeOutput = make_replaying_output, patience_s: float = PATIENCE_S
) -> None:
    """Do all that is asked for, one after another; nothing while another worker does. Raises OSError."""
    with _turn(replays_folder(context.data_dir)) as is_ours:
        while is_ours and (request := await asyncio.to_thread(next_request, context.data_dir)) is not None:
            replay = _Replay(context, request, make_output, patience_s)
            try:
                await replay.run()
            except OSError:
                raise
            except Exception as error:  # the boundary of a replay: the worker does more than that
                logger.exception("replay_failed", request=request.id)
                await replay.give_up(f"given up: {type(error).__name__}: {error}; see the worker's log")


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[bool]:
    """Tell whether it is ours to replay: no other worker does, and there is a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


class _Replay:
    """One replay, from its beginning or, after a crash, from where the former worker ended."""

    def __init__(self, context: Context, request: Request, make_output: MakeOutput, patience_s: float) -> None:
        self._context = context
        self._data_dir = context.data_dir
        self._request = request
        self._make_output = make_output
        self._patience_s = patience_s
        self._answer = Answer(request.id)

    async def run(self) -> None:
        """Offer what is asked for, and answer. Raises OSError when not even that can be written."""
        request = self._request = await asyncio.to_thread(begin, self._data_dir, self._request)
        self._answer = await asyncio.to_thread(answer_to, self._data_dir, request)
        if request.starts > STARTS_LIMIT:
            self._answer.tell(f"given up: the worker ended {STARTS_LIMIT} times in the middle of it, see its log")
        else:
            await self._sources()
        groups = self._answer.groups
        counts = {outcome: self._answer.total(outcome) for outcome in OUTCOMES}
        logger.info("letters_replayed", request=request.id, **counts)
        details = {
            "request": request.id,
            "uid": request.uid,
            "outputs": sorted({request.to or group.source for group in groups}),
            "selection": msgspec.to_builtins(request.selection),
            **counts,
        }
        outcome = "success" if counts["stored"] or not groups else "failure"
        await asyncio.to_thread(leave_record, self._data_dir, "replay", details, outcome=outcome)
        await asyncio.to_thread(finish, self._data_dir, self._answer)

    async def give_up(self, problem: str) -> None:
        """Answer that there is no going on. Raises OSError."""
        self._answer.tell(problem)
        await asyncio.to_thread(finish, self._data_dir, self._answer)

    async def _sources(self) -> None:
        """Offer the letters of all sources that are meant; a worker that is told to stop counts as no start."""
        try:
            for source in await asyncio.to_thread(sources, self._data_dir):
                if not self._request.selection.sources or source in self._request.selection.sources:
                    await self._source(source)
        except asyncio.CancelledError:
            await asyncio.to_thread(put_back, self._data_dir, self._request)
            raise

    async def _source(self, source: str) -> None:
        """Offer the letters of one source, a file at a time."""
        file = DeadLetterFile(self._data_dir, source)
        with contextlib.suppress(FileNotFoundError):  # there is none, or it was closed just now
            if await asyncio.to_thread(any, self._chosen(file.path, source)):
                await asyncio.to_thread(file.close)
        target = self._request.to or source
        options = self._context.config.outputs.get(target)
        problem = ""
        if options is None and source != PIPELINE:
            others = ", ".join(self._context.config.outputs)
            problem = f"output {target} is not in the configuration: name another by --to, of {others}"
        for path in file.closed:
            if source == PIPELINE:
                await asyncio.to_thread(self._pass_over, path, source, "unsent")
            elif problem or options is None:
                await asyncio.to_thread(self._pass_over, path, source, "waiting")
            else:
                problem = await self._file(file, path, source, options)
            self._answer.tell(problem)
            await asyncio.to_thread(write_answer, self._data_dir, self._answer)

    def _chosen(self, path: Path, source: str) -> Iterator[Letter]:
        """Yield the letters of a file that are meant and that this replay did not offer yet."""
        for letter in letters_in(path):
            if letter.tried < self._request.asked_at and self._request.selection.takes(source, letter):
                yield letter

    def _pass_over(self, path: Path, source: str, outcome: str) -> None:
        for letter in self._chosen(path, source):
            self._answer.count(source, letter.code, outcome)

    async def _file(self, file: DeadLetterFile, path: Path, source: str, options: OutputConfig) -> str:
        """Offer the letters of one file and take out of it what was stored; return what was in the way of more."""
        target = self._request.to or source
        surroundings = _Surroundings(self._patience_s)
        portions = _Portions(self._chosen(path, source), surroundings.stopping)
        again = _RefusedAgain(path)
        output = self._make_output(target + SUFFIX, options, self._data_dir, surroundings, again)
        if output is None:
            await asyncio.to_thread(self._pass_over, path, source, "waiting")
            return f"output {target}: it refuses nothing, and takes no replays"
        problem = ""
        try:
            output.resume(None)
            await output.run(portions)
        except Exception as error:  # the boundary of an output
            problem = sentence_of(error) or f"{type(error).__name__}: {error}"
            logger.exception("replay_failed", output=target)
        finally:
            surroundings.forget()
        await portions.ended()
        problem = problem or surroundings.problem
        tried = {letter.id: again.refusals.get(letter.document_id) for letter in portions.settled}
        await asyncio.to_thread(self._note, source, portions, again)
        try:
            await asyncio.to_thread(file.take_out, path, tried, at=rfc3339(time.time_ns()))
        except OSError as error:
            problem = f"what was stored stays a letter, for {path.name} cannot be written anew: {error.strerror}"
        return f"output {target}: {problem}" if problem else ""

    def _note(self, source: str, portions: "_Portions", again: "_RefusedAgain") -> None:
        """Count what became of the letters of a file."""
        refused = 0
        for letter in portions.settled:
            refusal = again.refusals.get(letter.document_id)
            if refusal is None:
                self._answer.count(source, letter.code, "stored")
            else:
                refused += 1
                self._answer.count(source, letter.code, "refused").reason = f"{refusal.code}: {refusal.reason}"
        for code in portions.unsent.elements():
            self._answer.count(source, code, "unsent")
        for code in portions.left():
            self._answer.count(source, code, "waiting")
        told = telemetry.LETTERS_REPLAYED
        told.labels(source=source, outcome="stored").inc(len(portions.settled) - refused)
        told.labels(source=source, outcome="refused").inc(refused)


class _Surroundings:
    """What the output is told, and where it says how it is: one that waits for too long is told to stop."""

    def __init__(self, patience_s: float) -> None:
        self.stopping = asyncio.Event()
        self.problem = ""
        self._patience_s = patience_s
        self._timer: asyncio.TimerHandle | None = None

    def healthy(self, _component: str) -> None:
        """Note that the output gets on."""
        if not self.stopping.is_set():
            self.problem = ""
            self.forget()

    def unhealthy(self, _component: str, reason: str) -> None:
        """Note what the output waits for."""
        self.problem = reason
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience_s, self.stopping.set)

    def forget(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _RefusedAgain:
    """Where the output puts what it is refused (`collector.dead_letters.Letters`): letters of that exist already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refusals: dict[str, Refusal] = {}

    def open(self, cursor: Position | None) -> None:
        """Nothing is to be got ready."""

    def append(self, letters: Sequence[Letter]) -> None:
        """Remember why, by the documents' ids."""
        for letter in letters:
            self.refusals[letter.document_id or ""] = Refusal(letter.code, letter.reason)


class _Offered(NamedTuple):
    """What is remembered of a letter that was offered: a file's documents would fill the memory."""

    id: str
    document_id: str
    code: str


class _Portions:
    """Letters as batches (`collector.outputs.output.BatchSource`), and which of them were settled."""

    def __init__(self, letters: Iterator[Letter], stopping: asyncio.Event) -> None:
        self.settled: list[_Offered] = []
        self.unsent: Counter[str] = Counter()
        self._letters = letters
        self._offered: dict[Position, list[_Offered]] = {}
        self._count = 0
        self._stopping = stopping
        self._changed = asyncio.Event()
        self._reading: asyncio.Future[Batch | None] | None = None

    async def ended(self) -> None:
        """Wait for a portion that is being read still: an output that failed did not."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def left(self) -> Iterator[str]:
        """Yield the reasons of the letters that were offered and not settled, and of those that nobody asked for."""
        for offered in self._offered.values():
            yield from (each.code for each in offered)
        yield from (letter.code for letter in self._letters)

    async def next(self) -> Batch:
        """Return the next batch; raise Stopped when all were settled, or the output is to stop."""
        while not self._stopping.is_set():
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._portion))
            batch = await asyncio.shield(self._reading)
            if batch is not None:
                return batch
            if not self._offered:
                break
            self._changed.clear()
            waits = [asyncio.ensure_future(each.wait()) for each in (self._changed, self._stopping)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        raise Stopped

    def ready(self) -> Batch | None:
        """Nothing is at hand: letters are read from the disk."""
        return None

    def refuse(self, position: Position, identifiers: Sequence[bytes]) -> None:
        """Nothing more is to be noted of these: `_RefusedAgain` knows why."""

    def settle(self, position: Position) -> None:
        """Note that the batch at `position`, and all before it, are settled."""
        for each in [offered for offered in self._offered if offered <= position]:
            self.settled += self._offered.pop(each)
        self._changed.set()

    def _portion(self) -> Batch | None:
        """Make a batch of the next letters that can be sent; None where there are none."""
        offered: list[_Offered] = []
        lines: dict[str, list[tuple[bytes, bytes]]] = {}
        size = 0
        for letter in self._letters:
            document = document_of(letter)
            if document is None:
                self.unsent[letter.code] += 1
                continue
            identifier = letter.document_id or ""
            offered.append(_Offered(letter.id, identifier, letter.code))
            lines.setdefault(letter.target, []).append((identifier.encode(), document + b"\n"))
            size += len(document)
            if size >= PORTION_BYTES or len(offered) >= PORTION_LETTERS:
                break
        if not offered:
            return None
        self._count += 1
        here = Position(0, 0, self._count)
        self._offered[here] = offered
        documents = tuple(
            Documents.of_lines(
                DataStream(*stream.split("-")), [line for _, line in parts], Ids(b"", [each for each, _ in parts])
            )
            for stream, parts in lines.items()
        )
        after = here._replace(sequence=self._count + 1)
        return Batch(here, after, 0, documents, (), Tally(documents=len(offered)), 0)


def document_of(letter: Letter) -> bytes | None:
    """Return the document of a letter as it may be sent; None where it holds none, or one that we did not make.

    A letter is a file's line, which anything may have written: no raw newline and no id may become a bulk action, no
    data stream another address (P5).
    """
    if letter.document_id is None or not _document_id.fullmatch(letter.document_id):
        return None
    if not _data_stream.fullmatch(letter.target):
        return None
    try:
        document = letter.payload_bytes
        msgspec.json.decode(document)
    except (ValueError, RecursionError):
        return None
    return document if document.startswith(DOCUMENT_HEAD) and b"\n" not in document else None
