"""Keeps what stands in the files of lookups in the journal: all of it at a start, and each file again when it changed.

A file that is no table changes nothing: the table before holds, and health and log say which line is wrong. One that is
being written is left alone until it looks the same twice.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from collector.config import LookupConfig
from collector.health import Health
from collector.logs import get_logger
from collector.lookup_files import LookupFileError, read_table
from collector.producer import JournalProducer, RejectedError
from pipelines.enrich.lookups import ENCODING, NamesMessage, encode_message

PRODUCER: Final = "lookups"

LOOK_S: Final = 1.0
"""How often it is looked whether a file changed."""

logger = get_logger("worker")

Signature = tuple[int, int, int]
Pause = Callable[[float], Awaitable[None]]
Append = Callable[[bytes], Awaitable[None]]


class LookupFiles:
    """Looks after the files; `append` is told of every message, and returns when it is durable."""

    def __init__(self, lookups: Mapping[str, LookupConfig], append: Append, health: Health) -> None:
        self._lookups = lookups
        self._append = append
        self._health = health
        self._looked: dict[str, Signature | None] = {}
        self._taken: dict[str, Signature | None] = {}
        self._appended: dict[str, bytes] = {}

    async def start(self) -> None:
        """Append which tables there are, and each whose file can be used."""
        await self._append(encode_message(NamesMessage(tuple(self._lookups))))
        for name in self._lookups:
            self._looked[name] = signature(self._lookups[name].file)
            await self._take(name)

    async def look(self) -> None:
        """Take each file that changed since it was taken, and not since the last look."""
        for name, options in self._lookups.items():
            before, now = self._looked[name], signature(options.file)
            self._looked[name] = now
            if now == before and now != self._taken[name]:
                await self._take(name)

    async def _take(self, name: str) -> None:
        component = f"lookup {name}"
        self._taken[name] = self._looked[name]
        try:
            payload = await asyncio.to_thread(read_table, name, self._lookups[name])
        except LookupFileError as error:
            kept = "; the table before holds" if name in self._appended else ""
            logger.error("lookup_not_loaded", lookup=name, reason=f"{error}{kept}")  # noqa: TRY400 - a sentence
            self._health.unhealthy(component, f"{error}{kept}")
            return
        if payload != self._appended.get(name):
            await self._append(payload)
            self._appended[name] = payload
            logger.info("lookup_loaded", lookup=name, file=self._lookups[name].file, bytes=len(payload))
        self._health.healthy(component)


def signature(file: str) -> Signature | None:
    """Return what changes when a file does; None for one that is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def keep_lookups(
    lookups: Mapping[str, LookupConfig], socket: Path, health: Health, *, pause: Pause = asyncio.sleep
) -> None:
    """Look after the files until cancelled. Without lookups nothing is appended, unless there are tables to forget."""
    async with JournalProducer(socket, PRODUCER, encoding=ENCODING) as producer:

        async def append(payload: bytes) -> None:
            try:
                await producer.append(payload)
            except RejectedError as error:
                logger.error("lookup_rejected", reason=str(error))  # noqa: TRY400 - a sentence

        if await producer.begin() is None and not lookups:
            return
        files = LookupFiles(lookups, append, health)
        await files.start()
        while lookups:
            await pause(LOOK_S)
            await files.look()
