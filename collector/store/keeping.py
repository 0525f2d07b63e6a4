"""Keeps a local store in shape beside its writing: closed files are sealed one by one, old ones deleted in time.

A file is sealed by a process of its own (`collector.store.sealing`). What cannot be sealed stays as lines, is said once
and tried again later; searches and retention do not depend on it.
"""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, ParamSpec, TypeVar

import msgspec

from collector import telemetry
from collector.durable_files import free_bytes
from collector.logs import get_logger
from collector.store.files import Removed, StoreFiles, ToSeal
from parsers.timestamps import rfc3339

TIDY_S: Final = 60.0
"""How often retention is looked after where nothing comes that would be committed."""

RETRY_S: Final = 60.0
RETRY_LIMIT_S: Final = 3600.0
"""Pause before what could not be sealed is tried again: the first, and the longest."""

SEALING_LIMIT_S: Final = 600.0
"""Longest that sealing one file may take."""

logger = get_logger("worker")

Given = ParamSpec("Given")
Made = TypeVar("Made")
Seal = Callable[[ToSeal], Awaitable[int]]


class NotSealedError(Exception):
    """A file was not sealed; the text says why."""


async def seal_apart(sealing: ToSeal) -> int:
    """Seal a file in a process of its own; return how many of its documents are odd. Raise NotSealedError."""
    command = (sys.executable, "-P", "-m", "collector.store.sealing")
    file = sealing.file
    arguments = (str(sealing.source), str(sealing.target), str(file.length), str(file.largest))
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        reason = error.strerror or error
        raise NotSealedError(f"{sealing.source}: cannot be sealed: no process can be started: {reason}") from error
    try:
        async with asyncio.timeout(SEALING_LIMIT_S):
            told = await process.stdout.read() if process.stdout is not None else b""
            code = await process.wait()
    except TimeoutError as error:
        raise NotSealedError(f"{sealing.source}: cannot be sealed: not done after {SEALING_LIMIT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = told.decode("utf-8", "replace").strip().splitlines()
    if code == 0 and lines and lines[-1].isdecimal():
        return int(lines[-1])
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    raise NotSealedError(lines[-1] if lines else f"{sealing.source}: cannot be sealed: its process ended with {ending}")


async def whole(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Do blocking work on files in a thread, to its end even when cancelled: they must not be closed under it."""
    doing = asyncio.create_task(asyncio.to_thread(work, *given, **named))
    try:
        return await asyncio.shield(doing)
    finally:
        await asyncio.wait((doing,))


class _Failed(msgspec.Struct):
    again_at_s: float
    pause_s: float


class Keeper:
    """Looks after the files of the output `name`; `lock` is held by whoever changes them.

    `clock` gives seconds that never go back, `now_ns` the time in nanoseconds.
    """

    def __init__(
        self,
        name: str,
        files: StoreFiles,
        lock: asyncio.Lock,
        *,
        seal: Seal = seal_apart,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name = name
        self._files = files
        self._lock = lock
        self._seal = seal
        self._clock = clock
        self._now_ns = now_ns
        self._wake = asyncio.Event()
        self._tidied_at_s = clock()
        self._failed: dict[str, _Failed] = {}

    def committed(self, removed: Sequence[Removed]) -> None:
        """Note a commit, which looks after retention itself, and tell what it deleted."""
        self._tidied_at_s = self._clock()
        self._tell_removed(removed)
        self._tell_size()
        if self._waiting():
            self._wake.set()

    async def keep(self) -> None:
        """Seal and delete until cancelled; raise OSError, after which the files must be opened anew."""
        while True:
            self._tell_size()
            for sealing in self._waiting():
                await self._try(sealing)
                self._tell_size()
            if self._clock() - self._tidied_at_s >= TIDY_S:
                async with self._lock:
                    self.committed(await whole(self._files.tidy, self._now_ns()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._due_in_s()):
                    await self._wake.wait()
            self._wake.clear()

    def _waiting(self) -> list[ToSeal]:
        """Return what is to be sealed and did not fail of late."""
        waiting = self._files.to_seal()
        telemetry.STORE_UNSEALED.labels(output=self._name).set(len(waiting))
        now_s = self._clock()
        return [each for each in waiting if (at := self._failed.get(each.file.name)) is None or at.again_at_s <= now_s]

    def _due_in_s(self) -> float:
        due_s = [self._tidied_at_s + TIDY_S, *(failed.again_at_s for failed in self._failed.values())]
        return max(min(due_s) - self._clock(), 0.0)

    async def _try(self, sealing: ToSeal) -> None:
        """Seal one file and take it; on failure leave nothing behind, and try it again later."""
        if not self._is_kept(sealing):
            return
        before_s, taken, reason = _children_cpu_s(), False, ""
        try:
            if not sealing.source.exists():
                reason = f"{sealing.source}: is not there"
            elif free_bytes(sealing.source.parent) < sealing.file.length:
                reason = f"{sealing.source}: cannot be sealed: the disk has no room for it"
            else:
                odd = await self._seal(sealing)
                async with self._lock:
                    await whole(self._files.take_sealed, sealing, odd=odd)
                taken = True
        except NotSealedError as error:
            reason = str(error)
        finally:
            if not taken:
                sealing.target.unlink(missing_ok=True)
        self._count(sealing, reason, taken=taken, cpu_s=_children_cpu_s() - before_s)

    def _is_kept(self, sealing: ToSeal) -> bool:
        """Tell whether retention has left the file: it deletes also what is sealed just now."""
        return sealing.file in self._files.manifest.streams.get(sealing.stream, [])

    def _count(self, sealing: ToSeal, reason: str, *, taken: bool, cpu_s: float) -> None:
        telemetry.STORE_SEALING_SECONDS.labels(output=self._name).inc(max(cpu_s, 0.0))
        name = sealing.file.name
        if not reason or not self._is_kept(sealing):
            self._failed.pop(name, None)
            if taken:
                telemetry.STORE_SEALED.labels(output=self._name, outcome="sealed").inc()
                telemetry.STORE_SEALED_DOCUMENTS.labels(output=self._name).inc(sealing.file.documents)
            return
        telemetry.STORE_SEALED.labels(output=self._name, outcome="failed").inc()
        known = self._failed.get(name)
        pause_s = RETRY_S if known is None else min(2 * known.pause_s, RETRY_LIMIT_S)
        self._failed[name] = _Failed(self._clock() + pause_s, pause_s)
        if known is None:
            logger.warning("store_file_not_sealed", output=self._name, reason=reason, again_in_s=pause_s)

    def _tell_size(self) -> None:
        manifest = self._files.manifest
        telemetry.STORE_BYTES.labels(output=self._name).set(manifest.bytes)
        telemetry.STORE_FILES.labels(output=self._name).set(manifest.files)
        telemetry.STORE_DOCUMENTS.labels(output=self._name).set(manifest.documents)

    def _tell_removed(self, removed: Sequence[Removed]) -> None:
        for each in removed:
            self._failed.pop(each.file.name, None)
        for reason in ("age", "size"):
            files = [each.file for each in removed if each.reason == reason]
            if not files:
                continue
            documents = sum(file.documents for file in files)
            telemetry.STORE_REMOVED.labels(output=self._name, reason=reason).inc(documents)
            logger.info(
                "store_files_removed",
                output=self._name,
                reason=reason,
                files=len(files),
                documents=documents,
                since=rfc3339(min(file.first_time for file in files)),
                until=rfc3339(max(file.last_time for file in files)),
            )


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
