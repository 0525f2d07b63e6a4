"""An internal producer: appends through the intake's internal socket, each message once, in order, across crashes.

A message is tried under one sequence until it is known to be durable, so that a receipt which was lost doubles nothing.
Beside it the journal keeps the producer's cursor: where to go on after a restart.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from collector.config import OWN_INPUT
from collector.errors import TidewaiterError
from collector.internal import MESSAGE_LIMIT_BYTES, TICK_ENCODING, InternalClient, InternalClosed
from collector.journal.entry import Receipt
from collector.logs import Recurring, get_logger
from pipelines.frame import Producer

RETRY_S: Final = 0.2
"""Pause before the intake is asked again, while it starts or the journal takes nothing."""

LIFE: Final = 1 << 20
"""Sequences between two lives of a producer. A message that the former left on its way has one below all of ours: it
comes before them or not at all, and never in the place of one."""

TOGETHER_LIMIT_BYTES: Final = 4 << 20
"""Messages that are sent at once, so that one sync makes them durable."""

HEADERS_BYTES: Final = 128
"""Allowed for what a message has on the internal socket beside its texts: lengths, tags, the sequence."""

logger = get_logger("producer")
_Result = TypeVar("_Result")


class RejectedError(TidewaiterError):
    """The journal will never take a message."""


class JournalProducer:
    """Appends the messages of one name. An async context manager; one task calls it at a time.

    `name` is the producer's, `input_name` and `peer` the origin's: whom the messages are of; empty: the name.
    `on_durable` is called for each message that became durable. Every call waits as long as the intake is away or the
    journal is full.
    """

    def __init__(
        self,
        socket: Path,
        name: str,
        *,
        encoding: str,
        input_name: str = OWN_INPUT,
        peer: str = "",
        on_durable: Callable[[], None] | None = None,
    ) -> None:
        self._socket = socket
        self._name = name
        self._encoding = encoding
        self._input = input_name
        self._peer = peer
        self._on_durable = on_durable
        self._sequence = 0
        self._client: InternalClient | None = None
        self._refusals = Recurring()

    async def __aenter__(self) -> "JournalProducer":
        """Nothing is connected before the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._hang_up()

    async def begin(self) -> Producer | None:
        """Begin a life of sequences; return the triple of the last message that is durable, None before the first."""
        last = await self._until_answered(lambda client: client.last_produced(self._name))
        self._sequence = last.sequence + LIFE if last is not None else 0
        return last

    async def cursor(self) -> bytes:
        """Begin a life of sequences; return the cursor of the last message that is durable, empty before the first."""
        last = await self.begin()
        return last.cursor if last is not None else b""

    async def append(self, payload: bytes, cursor: bytes = b"") -> None:
        """Append a message, as `append_all` does."""
        await self.append_all([(payload, cursor)])

    async def append_all(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Append messages with their cursors, by few syncs; return when all are durable.

        `begin` or `cursor` must have been called before. Raises RejectedError where one never can be, behind the
        others. A call that is cancelled may or may not have appended some of them, the first ones.
        """
        await self._append_all(messages, self._encoding)

    async def keep(self, cursor: bytes) -> None:
        """Keep a cursor though there is nothing to tell: a tick carries it."""
        await self._append_all([(b"", cursor)], TICK_ENCODING)

    async def _append_all(self, messages: Sequence[tuple[bytes, bytes]], encoding: str) -> None:
        due: deque[tuple[Producer, bytes]] = deque()
        rejected = ""
        for payload, cursor in messages:
            self._sequence += 1
            message = (Producer(self._name, self._sequence, cursor), payload)
            if self._size_bytes(message, encoding) <= MESSAGE_LIMIT_BYTES:
                due.append(message)
            else:
                rejected = f"a message of {len(payload)} bytes is over the limit of the internal socket"
        while due:
            portion = list(self._portion(due, encoding))
            receipts = await self._offer(portion, encoding)
            for receipt in itertools.takewhile(lambda each: each is not Receipt.RETRY, receipts):
                _, payload = due.popleft()
                if receipt is Receipt.REJECTED:
                    rejected = f"the journal does not take a message of {len(payload)} bytes"
                elif self._on_durable is not None:
                    self._on_durable()
            if Receipt.RETRY in receipts:
                if self._refusals.is_due("refused"):
                    logger.warning("append_refused", producer=self._name, reason="the journal takes nothing now")
                await asyncio.sleep(RETRY_S)
        if rejected:
            raise RejectedError(rejected)

    async def _offer(self, portion: Sequence[tuple[Producer, bytes]], encoding: str) -> list[Receipt]:
        return await self._until_answered(
            lambda client: client.append_all(portion, encoding, input_name=self._input, peer=self._peer)
        )

    def _portion(self, due: Iterable[tuple[Producer, bytes]], encoding: str) -> Iterator[tuple[Producer, bytes]]:
        """Yield as many as go together, one at least."""
        size_bytes = 0
        for message in due:
            message_bytes = self._size_bytes(message, encoding)
            size_bytes += message_bytes
            if size_bytes > TOGETHER_LIMIT_BYTES and size_bytes > message_bytes:
                return
            yield message

    def _size_bytes(self, message: tuple[Producer, bytes], encoding: str) -> int:
        """Return what a message takes on the internal socket, at most."""
        producer, payload = message
        texts = (producer.name, encoding, self._input, self._peer)
        return len(payload) + len(producer.cursor) + sum(len(each.encode()) for each in texts) + HEADERS_BYTES

    async def _until_answered(self, ask: Callable[[InternalClient], Awaitable[_Result]]) -> _Result:
        """Ask the intake, again and again until it answers: the outcome of a try that broke is not known."""
        while True:
            try:
                if self._client is None:
                    self._client = await InternalClient(self._socket).__aenter__()
                return await ask(self._client)
            except (InternalClosed, OSError):
                await self._hang_up()
            except BaseException:
                # Cancelled, most likely: the reply to this must not be taken for one to what is asked next.
                await self._hang_up()
                raise
            await asyncio.sleep(RETRY_S)

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__()
