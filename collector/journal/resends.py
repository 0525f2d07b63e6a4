"""Which message is a resend: a sender repeats what it had no acknowledgement for, on another connection.

A message is a resend of an earlier one when client, tag, chunk id and bytes are the same, it comes on another
connection, and the earlier one may have gone unacknowledged: the connection it came on has ended (or we restarted), and
nothing came on it afterwards that shows the acknowledgement had been read. Each stored message absorbs one resend; that
stands in its place then, so that it can be sent a third time.

What shows that an acknowledgement was read:

- A sender that waits, one message in flight at a time, sends the next only when it has read it. So of such a
  connection only the last message can come again. A client waits until one of its messages came while we still had to
  acknowledge another.
- A sender with several in flight tells less: whatever came more than a moment (GRACE_S) after we had acknowledged a
  message shows it, earlier ones do not. What it repeats it repeats in order and before anything new; an equal message
  that comes otherwise is a new one.

Chunk ids of fluentd and of Docker's driver have a random part and are unique by themselves, so an equal one on another
connection is always a resend: in any order, for longer (UNIQUE_GRACE_S), and even while we have not heard that the
first connection is gone. All others may be a hash of the content, as Fluent Bit's are: equal content then has equal
ids. On one connection equal is new.

No I/O, no clock of its own; the events are `arrived`, `settled` and `ended`, the rule follows from their order.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from collector.journal.arrivals import Arrival, SenderConnection
from collector.journal.remembered import CHANGE, LOOSE, Place, Remembered
from pipelines.frame import Sending

GRACE_S: Final = 1.0
"""A sender that still sends so long after our acknowledgement has read it: a round trip and its own loop."""

PIPELINING_LIMIT: Final = 10_000
"""Clients that are known to have several in flight; beyond, the one that was found out first counts as waiting."""

UNIQUE_GRACE_S: Final = 60.0
"""The same where an equal chunk id cannot be anything but a resend, so that patience costs nothing but memory."""

HELD_LIMIT: Final = 1024
WAITING_HELD_LIMIT: Final = 16
HELD_IN_ALL_LIMIT: Final = 100_000
"""Messages of one live connection that may come again, of one whose sender waits as far as we know, and of all of them
(some 300 bytes each). Of a longer tail the oldest count as read."""

REMEMBERED_LIMIT: Final = 1_000_000
REMEMBERED_S: Final = 3600
"""Messages of ended connections: so many, for so long."""

RESTORED_SPAN_S: Final = 60
"""What was remembered before a restart counts as so old at most, the oldest first: no clock tells how long that was."""

_NUMBERS: Final = (1 << 32) - 1


class Live(msgspec.Struct, frozen=True, array_like=True):
    """A connection that has not ended, and key and ordinal of what of it may come again."""

    client: bytes
    number: int
    messages: int
    waits: bool
    unique: bool
    held: tuple[tuple[bytes, int], ...]


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What changed since the snapshot before, all connections that have not ended, the clients that do not wait.

    `changes` are records of 21 bytes: whether a place was added or removed, its key, its connection, its ordinal with
    the highest bit set when it is loose; big-endian.
    """

    newest_number: int
    changes: bytes
    live: tuple[Live, ...]
    pipelining: tuple[bytes, ...]


class Resends:
    """The rule and what it remembers. `clock` is monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: int = REMEMBERED_LIMIT,
        kept_s: int = REMEMBERED_S,
    ) -> None:
        self._clock = clock
        self._started_s = clock() - RESTORED_SPAN_S
        self._limit, self._kept_s = limit, kept_s
        self._pipelining: dict[bytes, None] = {}
        self.newest_number = 0
        self.forget()

    def forget(self) -> None:
        """Begin with no message remembered, before anything arrives: what is known of those before is not all."""
        self.remembered = Remembered(limit=self._limit, kept_s=self._kept_s)
        self._connections: dict[int, SenderConnection] = {}
        self._live_unique: dict[bytes, Arrival] = {}
        self._held = 0
        self._late: dict[bytes, list[Arrival]] = {}
        self._changes = bytearray()

    def begun(self, connection: SenderConnection, *, unique: bool) -> None:
        """Number a connection, whose first message with a chunk id comes now."""
        self.newest_number = self.newest_number % _NUMBERS + 1
        connection.number, connection.unique = self.newest_number, unique
        self._connections[connection.number] = connection
        connection.on_end = self.ended
        if connection.is_over:
            self.ended(connection)

    def arrived(self, connection: SenderConnection, key: bytes) -> Arrival:
        """Take note of a message, before it is stored; tell what it repeats."""
        connection.messages += 1
        ahead = connection.unsettled
        arrival = Arrival(connection, key, connection.messages, ahead)
        if ahead and connection.waits:
            self._does_not_wait(connection)
        self._let_go_of_read(connection, self._clock())
        self._find(arrival)
        if arrival.repeats is None and arrival.waits_for is None:
            connection.has_sent_new = True
        connection.unsettled += 1
        if connection.ended:
            # It had arrived when the connection ended, and was waiting for its turn.
            self._late.setdefault(key, []).append(arrival)
        else:
            self._hold(arrival)
        return arrival

    def settled(self, arrival: Arrival, *, durable: bool) -> None:
        """Take note that a message is durable and acknowledged, or was not kept: then what it repeats may come again.

        One that waits for another is settled when it is known to be durable itself, as a repetition.
        """
        connection = arrival.connection
        connection.unsettled -= 1
        if durable:
            arrival.settled_at_s = self._clock()
            if connection.ended:
                self._remember(arrival)
            if arrival.repeats is not None:
                self._note(arrival.key, arrival.repeats, added=False)
        else:
            arrival.taken = True
            if self._live_unique.get(arrival.key) is arrival:
                del self._live_unique[arrival.key]
            if arrival.repeats is not None:
                self._give_back(arrival, arrival.repeats)
        if arrival.takes is not None:
            arrival.takes.taker = None
            arrival.takes = None
        self._forget_late(arrival)
        if connection.ended and not connection.unsettled:
            self._connections.pop(connection.number, None)

    def ended(self, connection: SenderConnection) -> None:
        """Take note that a connection is gone: what may have gone unacknowledged is remembered."""
        if connection.ended:
            return
        connection.ended = True
        self._held -= len(connection.held)
        if connection.waits and connection.client not in self._pipelining and not connection.unique:
            while len(connection.held) > 1:
                connection.held.popleft()
        for arrival in connection.held:
            if self._live_unique.get(arrival.key) is arrival:
                del self._live_unique[arrival.key]
            if arrival.settled_at_s is not None:
                self._remember(arrival)
            elif not arrival.taken:
                self._late.setdefault(arrival.key, []).append(arrival)
        connection.held.clear()
        if not connection.unsettled:
            self._connections.pop(connection.number, None)

    def sweep(self) -> None:
        """Forget what is too old; to be called once a second."""
        self.remembered.sweep(self._now_s())

    def _hold(self, arrival: Arrival) -> None:
        connection = arrival.connection
        connection.held.append(arrival)
        self._held += 1
        if connection.unique:
            self._live_unique[arrival.key] = arrival
        limit = WAITING_HELD_LIMIT if connection.waits else HELD_LIMIT
        if len(connection.held) > limit or self._held > HELD_IN_ALL_LIMIT:
            self._let_go(connection)

    def _does_not_wait(self, connection: SenderConnection) -> None:
        """Take note that a client has several messages in flight."""
        connection.waits = False
        self._pipelining[connection.client] = None
        if len(self._pipelining) > PIPELINING_LIMIT:
            del self._pipelining[next(iter(self._pipelining))]

    def _let_go_of_read(self, connection: SenderConnection, now_s: float) -> None:
        """Let go of the messages whose acknowledgement was read, as what comes now shows."""
        held = connection.held
        read_before_s = now_s - (UNIQUE_GRACE_S if connection.unique else GRACE_S)
        while held:
            oldest = held[0]
            if not oldest.taken and (oldest.settled_at_s is None or oldest.settled_at_s >= read_before_s):
                break
            self._let_go(connection)

    def _let_go(self, connection: SenderConnection) -> None:
        arrival = connection.held.popleft()
        self._held -= 1
        if connection.unique and self._live_unique.get(arrival.key) is arrival:
            del self._live_unique[arrival.key]

    def _find(self, arrival: Arrival) -> None:
        """Say what a message repeats: `repeats`, or `waits_for`; neither for a new one."""
        connection, key = arrival.connection, arrival.key
        if connection.unique:
            live = self._live_unique.get(key)
            if live is not None and live.connection is not connection and not live.taken:
                self._take(arrival, live)
                return
        if key in self._late:
            for late in self._late[key]:
                if not late.taken and self._may_repeat(connection, _place_of(late)):
                    self._take(arrival, late)
                    return
        if places := self.remembered.matches(key):
            place = min((each for each in places if self._may_repeat(connection, each)), default=None)
            if place is not None:
                arrival.repeats = place
                self.remembered.remove(key, place.connection, place.ordinal)
                connection.repeated[place.connection] = place.ordinal

    def _may_repeat(self, connection: SenderConnection, place: Place) -> bool:
        in_order = not connection.has_sent_new and place.ordinal > connection.repeated.get(place.connection, 0)
        return place.connection != connection.number and (place.loose or in_order)

    def _take(self, arrival: Arrival, earlier: Arrival) -> None:
        """Let a message stand in the place of one that nobody remembers yet."""
        earlier.taken, earlier.taker, arrival.takes = True, arrival, earlier
        place = _place_of(earlier)
        arrival.connection.repeated[place.connection] = place.ordinal
        if earlier.settled_at_s is None:
            arrival.waits_for = earlier
        else:
            arrival.repeats = place

    def _remember(self, arrival: Arrival) -> None:
        """Remember a durable message of an ended connection that may come again.

        Where another has taken its place that is not durable, it is remembered on disk: were we killed, that other
        would not have come.
        """
        place = _place_of(arrival)
        if not arrival.taken:
            self.remembered.add(arrival.key, place, self._now_s())
        if not arrival.taken or arrival.taker is not None:
            self._note(arrival.key, place, added=True)
            arrival.is_noted = True

    def _give_back(self, arrival: Arrival, place: Place) -> None:
        """Remember the place again that a message took which was not kept."""
        self.remembered.add(arrival.key, place, self._now_s())
        if arrival.takes is not None and not arrival.takes.is_noted:
            self._note(arrival.key, place, added=True)
            arrival.takes.is_noted = True

    def now_repeats(self, arrival: Arrival) -> None:
        """Take note that the message is durable which this one waits for."""
        if arrival.waits_for is not None:
            arrival.repeats, arrival.waits_for = _place_of(arrival.waits_for), None

    def _forget_late(self, arrival: Arrival) -> None:
        late = self._late.get(arrival.key)
        if late is not None and arrival in late:
            late.remove(arrival)
            if not late:
                del self._late[arrival.key]

    def _now_s(self) -> int:
        return int(self._clock() - self._started_s)

    def _note(self, key: bytes, place: Place, *, added: bool) -> None:
        self._changes += CHANGE.pack(added, key, place.connection, place.ordinal | (LOOSE if place.loose else 0))

    # What is kept across restarts.

    def snapshot(self) -> Snapshot:
        """Return what changed since the last one, and all connections that have not ended."""
        changes, self._changes = bytes(self._changes), bytearray()
        live = tuple(map(_live, self._connections.values()))
        return Snapshot(self.newest_number, changes, live, tuple(self._pipelining))

    def restore(self, snapshots: Sequence[Snapshot], then_s: float) -> None:
        """Begin as the last of these snapshots left off, at `then_s` of journal time."""
        for number, snapshot in enumerate(snapshots):
            age_s = RESTORED_SPAN_S - number * RESTORED_SPAN_S // len(snapshots)
            self.remembered.restore(snapshot.changes, self._now_s() - age_s)
            self.newest_number = snapshot.newest_number
        if not snapshots:
            return
        self._pipelining = dict.fromkeys(snapshots[-1].pipelining)
        for live in snapshots[-1].live:
            connection = self._connections[live.number] = SenderConnection(live.client)
            connection.number, connection.messages = live.number, live.messages
            connection.waits, connection.unique = live.waits, live.unique
            for key, ordinal in live.held:
                self._hold(Arrival(connection, key, ordinal, 0, settled_at_s=then_s))

    def replay(self, client: bytes, key: bytes, sending: Sending, *, unique: bool, journal_s: float) -> None:
        """Take note of a message that stands in the journal, in its order, before anything arrives."""
        connection = self._connections.get(sending.connection)
        if connection is None:
            connection = self._connections[sending.connection] = SenderConnection(client)
            connection.number, connection.unique = sending.connection, unique
            self.newest_number = max(self.newest_number, sending.connection)
        connection.messages = max(connection.messages, sending.ordinal)
        if sending.ahead and connection.waits:
            self._does_not_wait(connection)
        self._let_go_of_read(connection, journal_s)
        if sending.first is not None:
            self._replay_taking(key, *sending.first)
        self._hold(Arrival(connection, key, sending.ordinal, 0, settled_at_s=journal_s))

    def _replay_taking(self, key: bytes, number: int, ordinal: int) -> None:
        for arrival in self._connections[number].held if number in self._connections else ():
            if arrival.ordinal == ordinal:
                arrival.taken = True
        for place in self.remembered.matches(key):
            if (place.connection, place.ordinal) == (number, ordinal):
                self.remembered.remove(key, number, ordinal)
                self._note(key, place, added=False)

    def replayed(self) -> None:
        """Take note that the journal ends here: every connection in it has ended."""
        for connection in tuple(self._connections.values()):
            self.ended(connection)


def _place_of(arrival: Arrival) -> Place:
    connection = arrival.connection
    waited = connection.waits and arrival.ordinal == connection.messages
    return Place(connection.number, arrival.ordinal, bool(connection.unique) or waited)


def _live(connection: SenderConnection) -> Live:
    held = tuple(
        (arrival.key, arrival.ordinal)
        for arrival in connection.held
        if arrival.settled_at_s is not None and (not arrival.taken or arrival.taker is not None)
    )
    settled = connection.messages - connection.unsettled
    return Live(connection.client, connection.number, settled, connection.waits, bool(connection.unique), held)
