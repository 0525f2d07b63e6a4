"""One connection of the `forward` input: bytes in, entries to the journal, acknowledgements back, in order."""

import asyncio
import contextlib
from typing import Final, Protocol, cast

from collector.inputs.in_hand import Giver, InHand
from collector.inputs.peers import Peer
from collector.inputs.proof import Proof, certificate_name
from collector.inputs.sockets import keep_alive, peer_name
from collector.logs import get_logger
from collector.wire.forward import BrokenStream, ForwardDecoder
from collector.wire.forward_handshake import Handshake
from collector.wire.forward_message import ForwardMessage
from pipelines.frame import Origin, auth_text

WRITE_LIMIT_BYTES: Final = 64 << 10
"""Acknowledgements a peer may leave unread before we stop reading from it."""

SLOWEST_BYTES_PER_S: Final = 1 << 10
"""A message that arrives more slowly for longer than the stall timeout only keeps a connection busy."""

LINGER_S: Final = 1.0
"""How long we read on, and throw away, after our last acknowledgement: closing at once with something unread would
reset the connection, and the peer would lose acknowledgements that it has not read yet."""

logger = get_logger("intake")
_scratch: Final = memoryview(bytearray(64 << 10))
"""Where reads go that are taken at once, or thrown away."""


class Owner(Giver, Protocol):
    """What a connection needs of its input."""

    pressed: bool
    proof: Proof | None
    now_s: float
    connections: "set[ForwardConnection]"

    def admit(self, peer: str) -> bool:
        """Note a new connection; False when it is one too many."""

    def leave(self, peer: str) -> None:
        """Forget a connection that was admitted."""

    def peer(self, name: str) -> Peer:
        """Return what the connections of a peer that was admitted share."""

    def unproven(self, peer: str, reason: str, claimed: str = "") -> None:
        """Note that a peer failed to prove who it is."""


class ForwardConnection(asyncio.BufferedProtocol):
    """One peer: bytes in, entries to the journal, acknowledgements back.

    `heard_s` is when something arrived last, as precisely as its input ticks. Event loops call its methods.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._peer: Peer  # of whom was admitted
        self._decoder: ForwardDecoder
        self._hand: InHand
        self._transport: asyncio.Transport | None = None
        self._origin = Origin(owner.name, "", "")
        self._reading = True
        self._waits_for_turn = False
        self._finishing = False
        self._write_paused = False
        self._has_acked = False
        self._peer_finished = False
        self._linger: asyncio.TimerHandle | None = None
        self._admitted = False
        self._handshake: Handshake | None = None
        self._greeting: asyncio.TimerHandle | None = None
        self.heard_s = owner.now_s
        self._received_bytes = 0
        self._progressed = self.heard_s, 0
        self._unread_since_s: float | None = None

    @property
    def peer(self) -> str:
        """Who it is, by address or socket credentials."""
        return self._origin.peer

    def is_stalled(self, timeout_s: float) -> bool:
        """Tell whether a message came to a halt, or trickles, while we read, or nobody reads our answers: ask often."""
        now_s = self._owner.now_s
        if self._unread_since_s is not None:
            return now_s - self._unread_since_s >= timeout_s
        if not (self._reading and self._decoder.unfinished_bytes):
            self._progress(now_s)
        since_s, before_bytes = self._progressed
        if now_s - since_s < timeout_s:
            return False
        self._progress(now_s)
        return self._received_bytes - before_bytes < timeout_s * SLOWEST_BYTES_PER_S

    def _progress(self, now_s: float) -> None:
        self._progressed = now_s, self._received_bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is in hand or under way."""
        return self._hand.is_empty and not (self._decoder.unfinished_bytes or self._finishing)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with the handshake where one is demanded; over TLS it comes here once that stands."""
        kind, peer = peer_name(transport)
        if self._admitted or self._owner.admit(peer):
            self.greet(cast(asyncio.Transport, transport), kind, peer)
        else:
            self._finishing = True
            cast(asyncio.Transport, transport).abort()

    def admitted(self, peer: str) -> None:
        """Take note that the input has admitted this connection already; `abort` gives its place back."""
        self._admitted = True
        self._origin = Origin(self._owner.name, "", peer)

    def greet(self, transport: asyncio.Transport, kind: str, peer: str) -> None:
        """Begin to speak with a peer that was admitted."""
        owner = self._owner
        self._transport, self._admitted = transport, True
        self.heard_s = owner.now_s
        owner.connections.add(self)
        self._peer = owner.peer(peer)
        self._decoder = ForwardDecoder(self._peer.blocks, limit_bytes=owner.options.message_limit)
        if kind == "tcp":
            keep_alive(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        name = certificate_name(transport.get_extra_info("peercert"))
        transport_name = "tls" if transport.get_extra_info("ssl_object") is not None else kind
        self._identify(Origin(owner.name, transport_name, peer, auth_text([f"certificate:{name}"] if name else [])))
        self._handshake = owner.proof.handshake() if owner.proof is not None else None
        if self._handshake is not None and owner.proof is not None:
            transport.write(self._handshake.helo)
            self._greeting = asyncio.get_running_loop().call_later(owner.proof.timeout_s, self._refuse_peer, "too slow")
        self.flow()

    def _identify(self, origin: Origin) -> None:
        self._origin = origin
        self._hand = InHand(self._owner, origin, self._peer)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        if self._linger is not None or self._handshake is not None:
            return _scratch
        return self._decoder.writable()

    def buffer_updated(self, count: int) -> None:
        """Take what was read."""
        if self._linger is not None:
            return
        self.heard_s = self._owner.now_s
        self._owner.counts.bytes += count
        if self._handshake is not None:
            self._prove(self._handshake, bytes(_scratch[:count]))
        else:
            self._take(count)

    def _prove(self, handshake: Handshake, piece: bytes) -> None:
        """Go on with the handshake; what comes behind it is the first of the messages."""
        verdict = handshake.received(piece)
        if verdict is None or self._transport is None or self._finishing:
            return
        if not verdict.proven:
            self._transport.write(verdict.pong)
            self._refuse_peer(verdict.refused, verdict.claimed)
            return
        self._handshake = None
        if self._greeting is not None:
            self._greeting.cancel()
        self._transport.write(verdict.pong)
        origin = self._origin
        auth = "+".join(part for part in (origin.auth, auth_text(list(verdict.proven))) if part)
        self._identify(Origin(origin.input, origin.transport, origin.peer, auth))
        rest = verdict.rest
        while rest:
            room = self._decoder.writable()
            taken = min(len(room), len(rest))
            room[:taken] = rest[:taken]
            rest = rest[taken:]
            self._take(taken)

    def _refuse_peer(self, reason: str, claimed: str = "") -> None:
        """End a connection whose peer did not prove who it is."""
        if self._greeting is not None:
            self._greeting.cancel()  # else it would be too slow as well
        logger.warning(
            "forward_peer_not_proven", input=self._owner.name, peer=self.peer, reason=reason, claimed=claimed
        )
        self._owner.unproven(self.peer, reason, claimed)
        self._finishing = True
        if self._transport is not None:
            self._transport.close()

    def _take(self, count: int) -> None:
        if self._linger is not None:
            return
        messages = 0
        try:
            self._received_bytes += count
            received = self._received(count)
            if received:
                messages = len(received)
                self._progress(self.heard_s)
                self._hand.waiting.extend(received)
            self._submit()
        except Exception as error:
            self._fail(error)
        if self._peer.spend(count, messages) and not self._finishing:
            self._waits_for_turn = True
            self._peer.wait(self._go_on)
            self.flow()
        elif self._decoder.behind:
            asyncio.get_running_loop().call_soon(self._take, 0)  # others come first
        elif self._transport is None or self._peer_finished:
            self._let_go()

    def _fail(self, error: Exception) -> None:
        """End this connection and no other (P7), whatever a peer's bytes have provoked."""
        self._owner.counts.failures += 1
        logger.error("forward_connection_failed", input=self._owner.name, peer=self._origin.peer, exc_info=error)
        self._hand.give_up()
        self._decoder.close()
        self.finish()
        if self._transport is not None:
            self._transport.abort()

    def _go_on(self) -> None:
        """Go on when it is this connection's turn again."""
        self._waits_for_turn = False
        self._take(0)

    def _received(self, count: int) -> list[ForwardMessage]:
        try:
            return self._decoder.received(count)
        except BrokenStream as error:
            broken = self._owner.counts.broken
            broken[error.code] = broken.get(error.code, 0) + 1
            logger.warning(
                "forward_connection_broken",
                input=self._owner.name,
                peer=self._origin.peer,
                reason=error.reason,
                offset=error.offset,
            )
            self._finishing = True
            return error.messages

    def _submit(self) -> None:
        self._hand.submit(self._settle)
        self.flow()
        self._close_when_done()

    def _settle(self) -> None:
        """Answer, in order, all messages whose receipts are known."""
        acks, transport = self._hand.settle(), self._transport
        if acks and transport is not None and not transport.is_closing():
            # Several acks share a write only when several were due at once: who waits for each gets each by itself.
            self._has_acked = True
            self._owner.counts.acks += len(acks)
            transport.write(b"".join(acks))
        if self._hand.refused:
            self._finishing = True
        if self._hand.is_held or not self._reading:
            try:
                self._submit()
            except Exception as error:
                self._fail(error)
        elif self._finishing:
            self._close_when_done()

    def flow(self) -> None:
        """Read, or let the sender wait."""
        held_back = self._waits_for_turn or self._hand.is_held or self._decoder.behind or self._hand.has_its_share
        wait = self._finishing or self._owner.pressed or self._write_paused or held_back
        reading = self._linger is not None or not wait
        if reading == self._reading or self._transport is None:
            return
        self._reading = reading
        if reading:
            self._progress(self._owner.now_s)  # what we did not read nobody could hear
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The peer does not read what we write."""
        self._write_paused = True
        self._unread_since_s = self._owner.now_s
        self.flow()

    def resume_writing(self) -> None:
        """It has read."""
        self._write_paused = False
        self._unread_since_s = None
        self.flow()

    def eof_received(self) -> bool:
        """The peer sends no more, and may still read: acknowledgements go out before we close."""
        self._peer_finished = True
        self._hand.end()
        self.finish()
        if not self._decoder.behind:
            self._let_go()
        return True

    def finish(self) -> None:
        """Read no more; close once what is in hand has been answered."""
        self._finishing = True
        if self._waits_for_turn and self._decoder.behind:
            asyncio.get_running_loop().call_soon(self._go_on)  # it is not much any more
        self.flow()
        self._close_when_done()

    def abort(self) -> None:
        """Close now, and forget what is in hand."""
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    def _leave(self) -> None:
        if self._admitted:
            self._admitted = False
            self._owner.connections.discard(self)
            self._owner.leave(self.peer)

    def _close_when_done(self) -> None:
        transport = self._transport
        done = self._hand.is_empty and not self._decoder.behind
        if transport is None:
            if done:
                self._leave()
        elif self._finishing and (done or self._hand.refused):
            self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        over_tls = not transport.can_write_eof()
        if (self._peer_finished or not self._has_acked) and not over_tls:
            if self._unread_since_s is None:
                self._unread_since_s = self._owner.now_s  # it closes once everything is read
            transport.close()
        elif self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
            if not over_tls:
                with contextlib.suppress(OSError):  # it has vanished, and we are about to hear of it
                    transport.write_eof()
            elif not transport.is_closing():
                transport.close()  # what was written goes out, and then its farewell, for which we read on
            self.flow()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; what is in the journal's hands stays there."""
        if self._linger is not None:
            self._linger.cancel()
        if self._greeting is not None:
            self._greeting.cancel()
        if self._transport is None:
            return  # it was refused before a word was said
        self._transport = None
        self._finishing = True
        self._hand.end()
        if self._hand.refused or not self._decoder.behind:
            self._let_go()

    def _let_go(self) -> None:
        """Give back the decoder's memory: the peer sends no more, and whatever arrived whole is in hand."""
        if self._decoder.unfinished_bytes:
            self._owner.counts.unfinished += 1
        self._decoder.close()
        self._close_when_done()
