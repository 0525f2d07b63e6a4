"""The collector's own audit records: what it did to the evidence, in the same journal, exactly once each."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from collector.internal import InternalClient, InternalClosed
from collector.journal.entry import Receipt
from collector.logs import get_logger
from pipelines.frame import Producer

PRODUCER: Final = "supervisor"
ENCODING: Final = "audit"

RETRY_S: Final = 0.05
"""Pause before the intake is asked again, while it starts or the journal takes nothing."""

logger = get_logger("supervisor")


class AuditTrail:
    """Appends records through the intake's internal socket; one after another, whoever calls."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._turn = asyncio.Lock()

    async def record(self, action: str, details: Mapping[str, Any]) -> None:
        """Append one record with the time of this call; return when it is durable, however long that takes.

        A try whose outcome is unknown is repeated under the same sequence, so the record is there once.
        """
        content = {"action": action, "outcome": "success", "time_ns": time.time_ns(), "details": dict(details)}
        payload = msgspec.json.encode(content)
        sequence: int | None = None
        async with self._turn:
            while True:
                try:
                    async with InternalClient(self._socket) as client:
                        if sequence is None:
                            last = await client.last_produced(PRODUCER)
                            sequence = last.sequence + 1 if last is not None else 1
                        receipt = await client.append(Producer(PRODUCER, sequence), ENCODING, payload)
                except (InternalClosed, OSError):
                    receipt = Receipt.RETRY
                if receipt is Receipt.DURABLE:
                    return
                if receipt is Receipt.REJECTED:
                    logger.error("audit_record_rejected", action=action)
                    return
                await asyncio.sleep(RETRY_S)
