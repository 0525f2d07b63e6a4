"""The configuration that holds, kept in the journal by the intake (`pipelines.configuration`)."""

import asyncio
import contextlib
import hashlib
from typing import Final, NamedTuple

from collector.config import OWN_INPUT, Config
from collector.journal.entry import Entry, Receipt
from collector.journal.writer import Journal
from collector.logs import get_logger
from pipelines.configuration import ENCODING, configuration_message
from pipelines.frame import INTERNAL, Origin, Producer

PRODUCER: Final = "configuration"
"""Its cursor names what stands in the journal, so that nothing is appended again at a start."""

APPEND_LIMIT_S: Final = 5.0
"""How long the journal may take to keep one before a reload is refused."""

RETRY_S: Final = 1.0
"""How often it is tried again while the journal takes nothing."""

MAY_HOLD: Final = (
    "; it was on its way: where the journal comes to keep it yet, it holds for what comes until the one before is kept"
    " behind it, about a second later"
)

logger = get_logger("intake")


class _Wanted(NamedTuple):
    cursor: bytes
    settings: str
    payload: bytes


def _wanted(config: Config) -> _Wanted:
    """Return what has to stand in the journal; raises ValueError for a configuration that is too large."""
    cursor = hashlib.sha256(f"{config.hash} {config.settings}".encode()).hexdigest()[:32].encode()
    return _Wanted(cursor, config.settings, configuration_message(config.hash, config.settings.encode()))


class RecordedConfiguration:
    """Sees to it that the newest configuration in the journal is the one that holds."""

    def __init__(self, journal: Journal, config: Config) -> None:
        """Raises ValueError for a configuration that is too large."""
        self._journal = journal
        self._holds = _wanted(config)
        self._turn = asyncio.Lock()
        last = journal.last_produced(PRODUCER)
        self._sequence = last.sequence if last is not None else 0

    async def begin(self) -> None:
        """Append it where another holds, before anything else comes; where the journal takes nothing, it is later."""
        if await self._append(self._holds) is not Receipt.DURABLE:
            logger.warning("configuration_not_recorded", reason="the journal takes nothing now", until="it does")

    async def change(self, config: Config) -> str:
        """Let another hold from the next frame on; return why not, empty where it does.

        One under which documents are made as before holds also where the journal takes nothing: it is appended later.
        """
        before = self._holds
        try:
            self._holds = wanted = _wanted(config)
        except ValueError as error:
            return str(error)
        receipt = await self._append(wanted)
        if receipt is Receipt.DURABLE or wanted.settings == before.settings:
            return ""
        self._holds = before
        refusal = "the journal takes nothing now, and what changes documents has to stand in it first: see its health"
        # It may come to stand there yet; then `keep` lets the one before stand behind it.
        return refusal if receipt is not None else f"{refusal}{MAY_HOLD}"

    async def keep(self) -> None:
        """Append it when the journal takes something again, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_S)
            if not self._turn.locked():
                await self._append(self._holds)

    async def _append(self, wanted: _Wanted) -> Receipt | None:
        """Try once to let it stand as the newest; None where that is not known in time."""
        receipt = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(APPEND_LIMIT_S), self._turn:
                last = self._journal.last_produced(PRODUCER)
                if last is not None and last.cursor == wanted.cursor:
                    return Receipt.DURABLE
                # Under a sequence of its own: one that is on its way still may hold another.
                self._sequence += 1
                producer = Producer(PRODUCER, self._sequence, wanted.cursor)
                entry = Entry(Origin(OWN_INPUT, INTERNAL, PRODUCER), ENCODING, (wanted.payload,), producer=producer)
                receipt = await self._journal.append(entry)
        return receipt
