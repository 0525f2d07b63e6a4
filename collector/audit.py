"""The collector's own audit records: what it did to the evidence, in the same journal, exactly once each."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from collector.config import OWN_INPUT
from collector.durable_files import make_folder, replace_file
from collector.internal import InternalClient, InternalClosed
from collector.journal.entry import Entry, Receipt
from collector.journal.writer import Journal
from collector.logs import get_logger
from pipelines.frame import Origin, Producer

PRODUCER: Final = "supervisor"
INTAKE_PRODUCER: Final = "intake"
COMMANDS_PRODUCER: Final = "command"
"""Who appends: each counts its own records."""

FOLDER: Final = "audit"
"""In the data folder: records that commands leave, until they stand in the journal."""

ENCODING: Final = "audit"

WAITING_LIMIT: Final = 10_000
"""Records that wait while the journal is full; one more is told by the log alone."""

LAST_RECORDS_S: Final = 1.0
"""How long a stop waits for records of the intake that have to become durable."""

RETRY_S: Final = 0.05
"""Pause before the intake is asked again, while it starts or the journal takes nothing."""

logger = get_logger("supervisor")


def audit_payload(action: str, details: Mapping[str, Any], *, outcome: str = "success") -> bytes:
    """Encode a record with the present time."""
    content = {"action": action, "outcome": outcome, "time_ns": time.time_ns(), "details": dict(details)}
    return msgspec.json.encode(content)


class OwnRecords:
    """Records of the intake, which has the journal itself. What that does not take is tried again by `flush`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[bytes] = deque()
        last = journal.last_produced(INTAKE_PRODUCER)
        self._sequence = last.sequence if last is not None else 0
        self._appending = False
        self._settled = asyncio.Event()

    async def finish(self) -> None:
        """Wait until all are durable; those that the journal does not take now, or not in time, the log has to tell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_RECORDS_S):
                while self._appending:
                    self._settled.clear()
                    await self._settled.wait()
        for payload in self._waiting:
            logger.error("audit_record_dropped", payload=payload.decode(errors="replace"))

    def append(self, action: str, details: Mapping[str, Any], *, outcome: str) -> None:
        """Take a record with the present time."""
        if len(self._waiting) >= WAITING_LIMIT:
            logger.error("audit_record_dropped", action=action, outcome=outcome, **details)
            return
        self._waiting.append(audit_payload(action, details, outcome=outcome))
        self.flush()

    def flush(self) -> None:
        """Append the oldest, and those behind it when that is durable: a later one kept would hide an earlier."""
        if not self._waiting or self._appending:
            return
        self._appending = True
        origin, producer = Origin(OWN_INPUT, "internal", INTAKE_PRODUCER), Producer(INTAKE_PRODUCER, self._sequence + 1)
        entry = Entry(origin, ENCODING, (self._waiting[0],), producer=producer)
        self._journal.submit(entry, lambda: self._settle(entry))

    def _settle(self, entry: Entry) -> None:
        self._appending = False
        self._settled.set()
        if entry.receipt is not Receipt.RETRY:
            self._sequence += 1
            self._waiting.popleft()
            self.flush()


def leave_record(data_dir: Path, action: str, details: Mapping[str, Any], *, outcome: str = "success") -> None:
    """Leave a record in the data folder, durably: the collector takes it up when it runs. Raises OSError.

    It belongs to the folder's owner then, whoever ran the command.
    """
    folder = data_dir / FOLDER
    make_folder(folder)
    path = folder / f"{time.time_ns():020}-{os.getpid()}.json"
    owner = data_dir.stat()
    if owner.st_uid != os.geteuid():
        os.chown(folder, owner.st_uid, owner.st_gid)
    replace_file(path, audit_payload(action, details, outcome=outcome), owner=(owner.st_uid, owner.st_gid))


class AuditTrail:
    """Appends records through the intake's internal socket; one after another, whoever calls."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._socket = data_dir / "run" / "intake.sock"
        self._turn = asyncio.Lock()
        self._told: set[str] = set()

    async def record(self, action: str, details: Mapping[str, Any], *, outcome: str = "success") -> None:
        """Append one record with the time of this call; return when it is durable, however long that takes."""
        await self._append(PRODUCER, audit_payload(action, details, outcome=outcome))

    async def take_left(self) -> None:
        """Append what commands have left, once each. A file that cannot be read, or removed, is told once, and stays.

        Behind one that cannot be removed nothing is appended: the producer's cursor tells of the last one only.
        """
        for path in sorted(self._folder.glob("[!.]*.json")):
            try:
                content = path.read_bytes()
            except OSError as error:
                self._tell(path, error)
                continue
            await self._append(COMMANDS_PRODUCER, content, cursor=path.name.encode())
            try:
                path.unlink()
            except OSError as error:
                self._tell(path, error)
                return

    def _tell(self, path: Path, error: OSError) -> None:
        if path.name not in self._told:
            self._told.add(path.name)
            logger.error("audit_record_not_taken", file=str(path), reason=error.strerror or str(error))

    async def _append(self, producer: str, payload: bytes, cursor: bytes = b"") -> None:
        """Append, until that is known to have succeeded; not again what the producer's cursor says is there.

        A try whose outcome is unknown is repeated under the same sequence, so the record is there once.
        """
        sequence: int | None = None
        async with self._turn:
            while True:
                try:
                    async with InternalClient(self._socket) as client:
                        if sequence is None:
                            last = await client.last_produced(producer)
                            if last is not None and cursor and last.cursor == cursor:
                                return
                            sequence = last.sequence + 1 if last is not None else 1
                        receipt = await client.append(Producer(producer, sequence, cursor), ENCODING, payload)
                except (InternalClosed, OSError):
                    receipt = Receipt.RETRY
                if receipt is Receipt.DURABLE:
                    return
                if receipt is Receipt.REJECTED:
                    logger.error("audit_record_rejected", payload=payload.decode(errors="replace"))
                    return
                await asyncio.sleep(RETRY_S)
