"""The messages of one connection between the decoder and the acknowledgement."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from collector.config import ForwardInputConfig
from collector.inputs.inflater import Inflater, Payer
from collector.inputs.input import Appender, Counts
from collector.journal.arrivals import SenderConnection, client_of
from collector.journal.entry import Entry, Receipt
from collector.logs import get_logger
from collector.wire.forward_message import ForwardInflation, ForwardMessage
from pipelines.frame import Origin

ACKS_LIMIT_BYTES: Final = 64 << 10
"""Acknowledgements that may be due to one connection at once: nobody knows whether it is going to read them."""

SHARE_PARTS: Final = 8
"""One connection may have so large a part in the journal's hands of what is left for all: an eighth."""

logger = get_logger("intake")


class Giver(Protocol):
    """What is needed of an input."""

    name: str
    options: ForwardInputConfig
    counts: Counts
    journal: Appender
    inflater: Inflater


class InHand:
    """What waits to be given to the journal, and what is in its hands.

    `refused` says that the journal did not take a message: nothing is acknowledged any more. `waiting` are those for
    which there is no room yet.
    """

    def __init__(self, giver: Giver, origin: Origin, peer: Payer) -> None:
        self.refused = False
        self.waiting: deque[ForwardMessage] = deque()
        self._giver = giver
        self._in_flight: deque[tuple[ForwardMessage, Entry]] = deque()
        self._unacked_bytes = 0
        self._acks_bytes = 0
        self._origin = origin
        self._peer = peer
        self._sender = SenderConnection(client_of(origin))
        self._inflation: tuple[ForwardInflation, asyncio.Future[None]] | None = None
        self._given_up = False

    @property
    def is_empty(self) -> bool:
        """Whether everything was answered."""
        return not (self.is_held or self._in_flight)

    @property
    def is_held(self) -> bool:
        """Whether a message cannot be given to the journal yet: there is no room, or it is being inflated."""
        return bool(self.waiting) or self._inflation is not None

    @property
    def has_its_share(self) -> bool:
        """Whether no more of it may be in the journal's hands.

        A part of what is left, and one message at least: however many flood, there is room for who sends little.
        """
        unacked_bytes, giver = self._unacked_bytes, self._giver
        return unacked_bytes > 0 and (
            self._acks_bytes >= ACKS_LIMIT_BYTES or unacked_bytes * SHARE_PARTS > giver.journal.room_bytes
        )

    def submit(self, on_receipt: Callable[[], None]) -> None:
        """Give waiting messages to the journal as far as this connection may have more in its hands.

        `on_receipt` is called for each once its receipt is known, and has to call `settle`; and when one is inflated:
        this has to be called again then.
        """
        inflating = self._inflation
        if inflating is not None and inflating[1].done():
            self._inflation = None
            self._give(_inflated(*inflating), on_receipt)  # whatever there is room for: its memory is taken
        while self.waiting and self._inflation is None and not self.has_its_share:
            message = self.waiting.popleft()
            if self._is_refused(message) or not message.compressed or self._is_inflated(message, on_receipt):
                self._give(message, on_receipt)

    def _is_refused(self, message: ForwardMessage) -> bool:
        """Whether nobody is to keep it any more: the client sends it again."""
        return self._given_up or (self.refused and bool(message.ack))

    def _is_inflated(self, message: ForwardMessage, on_receipt: Callable[[], None]) -> bool:
        """Inflate a message if that is quick; else see to it, and return False."""
        options = self._giver.options
        inflation = ForwardInflation(message, limit_bytes=options.message_limit, ratio_limit=options.inflation_limit)
        if inflation.is_quick():
            self._peer.spend(inflation.made_bytes, 0)
            inflation.end()
            return True
        done = self._giver.inflater.submit(self._peer, inflation.run)
        self._inflation = inflation, done
        done.add_done_callback(lambda _: on_receipt())
        return False

    def _give(self, message: ForwardMessage, on_receipt: Callable[[], None]) -> None:
        if self._is_refused(message):
            message.release()
            return
        giver = self._giver
        entry = Entry(
            origin=self._origin,
            encoding=message.encoding,
            payload=message.payload,
            tag=message.tag,
            chunk_id=message.chunk_id,
            claimed=message.claimed,
            connection=self._sender,
        )
        giver.journal.submit(entry, on_receipt)
        self._in_flight.append((message, entry))
        self._unacked_bytes += entry.cost_bytes
        self._acks_bytes += len(message.ack)
        giver.counts.messages += 1
        giver.counts.claimed_records += max(message.claimed, 0)
        giver.counts.broken_payloads += message.encoding == "forward-broken"

    def end(self) -> None:
        """Take note that nothing more arrives: what comes under the same ids on another connection is sent again."""
        self._sender.end()

    def give_up(self) -> None:
        """Take note of a fault of ours: nothing more is given to the journal, nothing acknowledged."""
        self.refused = self._given_up = True
        while self.waiting:
            self.waiting.popleft().release()

    def settle(self) -> list[bytes]:
        """Let go of the messages whose receipts are known; return the acknowledgements that are due, in order."""
        acks = []
        while self._in_flight and self._in_flight[0][1].receipt is not None:
            message, entry = self._in_flight.popleft()
            self._unacked_bytes -= entry.cost_bytes
            self._acks_bytes -= len(message.ack)
            message.release()
            if entry.receipt is not Receipt.DURABLE:
                self._refuse()
            elif message.ack and not self.refused:
                acks.append(message.ack)
        return acks

    def _refuse(self) -> None:
        self._giver.counts.refused += 1
        if not self.refused:
            self.refused = True
            logger.warning("forward_message_refused", input=self._giver.name, peer=self._origin.peer)


def _inflated(inflation: ForwardInflation, done: "asyncio.Future[None]") -> ForwardMessage:
    """Return a message that was inflated; raise what went wrong with that."""
    if done.exception() is not None:
        inflation.message.release()
    done.result()
    return inflation.end()
