"""The rule by which a resend is known: each clause by itself, then senders that live by it, cut at every turn."""

import base64
import random
from collections import Counter, deque
from collections.abc import Callable
from itertools import pairwise

import pytest

from collector.journal.arrivals import Arrival, SenderConnection, is_unique
from collector.journal.remembered import Place
from collector.journal.resends import GRACE_S, HELD_LIMIT, UNIQUE_GRACE_S, Resends

X, Y, Z = (bytes([number]) * 12 for number in (1, 2, 3))
NOW_S = 1_700_000_000


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the present time."""
        return self.now_s


def _arrived(resends: Resends, connection: SenderConnection, key: bytes, *, unique: bool = False) -> Arrival:
    """Let a message arrive."""
    if not connection.number:
        resends.begun(connection, unique=unique)
    return resends.arrived(connection, key)


def _stored(resends: Resends, connection: SenderConnection, key: bytes, *, unique: bool = False) -> Arrival:
    """Let a message arrive and become durable."""
    arrival = _arrived(resends, connection, key, unique=unique)
    resends.settled(arrival, durable=True)
    return arrival


def test_equal_on_another_connection_after_the_first_ended_is_a_resend() -> None:
    """The last message of a connection may not have been acknowledged, as far as its sender knows."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    _stored(resends, first, X)
    first.end()

    arrival = _arrived(resends, second, X)

    assert arrival.repeats == Place(1, 1, loose=True)
    assert arrival.sending.first == (1, 1)


def test_equal_on_one_connection_is_new() -> None:
    """Fluent Bit's chunk id is a hash of the content: two equal batches have one id."""
    resends = Resends(Clock())
    connection = SenderConnection(b"a")
    _stored(resends, connection, X)

    assert _arrived(resends, connection, X).repeats is None


def test_equal_on_one_connection_is_new_whatever_its_id() -> None:
    """No sender repeats on the same connection, so not even an id that is unique makes it a resend."""
    resends = Resends(Clock())
    connection = SenderConnection(b"a")
    _stored(resends, connection, X, unique=True)

    arrival = _arrived(resends, connection, X)

    assert (arrival.repeats, arrival.waits_for) == (None, None)


def test_equal_while_the_first_connection_lives_is_new() -> None:
    """Two connections of one client that send equal batches at a time send two."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    _stored(resends, first, X)

    assert _arrived(resends, second, X).repeats is None


def test_something_sent_after_it_shows_that_its_ack_was_read() -> None:
    """Who waits for each acknowledgement has read that of X when he sends Y: an equal X is then a new one."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    _stored(resends, first, X)
    _stored(resends, first, Y)
    first.end()

    assert _arrived(resends, second, X).repeats is None
    assert _arrived(resends, second, Y).repeats == Place(1, 2, loose=True)


def test_each_stored_message_absorbs_one_resend() -> None:
    """The second repetition on the same connection is a new message."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    _stored(resends, first, X)
    first.end()

    assert _stored(resends, second, X).repeats is not None
    assert _stored(resends, second, X).repeats is None


def test_a_resend_whose_ack_is_lost_too_may_come_a_third_time() -> None:
    """The resend stands in the place of the first sending."""
    resends = Resends(Clock())
    connections = [SenderConnection(b"a") for _ in range(4)]
    _stored(resends, connections[0], X)
    for before, connection in pairwise(connections):
        before.end()
        assert _stored(resends, connection, X).repeats is not None


def test_several_in_flight_are_all_recognised_in_their_order() -> None:
    """A pipelining sender repeats all that it has no acknowledgement for, although more was sent after each."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    sent = [_arrived(resends, first, key) for key in (X, Y, Z)]
    for arrival in sent:
        resends.settled(arrival, durable=True)
    first.end()

    assert [_stored(resends, second, key).repeats is not None for key in (X, Y, Z)] == [True] * 3


@pytest.mark.parametrize(
    ("again", "expected"), [((X, Z, Y), [True, False, False]), ((Y, X), [True, False])], ids=["behind", "order"]
)
def test_of_several_in_flight_nothing_is_a_resend_behind_something_new(
    again: tuple[bytes, ...], expected: list[bool]
) -> None:
    """What a pipelining sender repeats it repeats in order and before anything new; an equal message else is new."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    sent = [_arrived(resends, first, key) for key in (X, Y)]
    for arrival in sent:
        resends.settled(arrival, durable=True)
    first.end()

    assert [_stored(resends, second, key).repeats is not None for key in again] == expected


@pytest.mark.parametrize(("unique", "grace_s"), [(False, GRACE_S), (True, UNIQUE_GRACE_S)])
def test_sending_on_long_after_an_ack_shows_that_it_was_read(unique: bool, grace_s: float) -> None:
    """Also of several in flight: what comes more than a moment after the acknowledgement is the proof."""
    clock = Clock()
    for wait_s, is_resend in ((grace_s, True), (grace_s + 0.1, False)):
        resends = Resends(clock)
        first, second = SenderConnection(b"a"), SenderConnection(b"a")
        sent = [_arrived(resends, first, key, unique=unique) for key in (X, Y)]
        for arrival in sent:
            resends.settled(arrival, durable=True)
        clock.now_s += wait_s
        _stored(resends, first, Z, unique=unique)
        first.end()

        assert (_arrived(resends, second, X, unique=unique).repeats is not None) == is_resend


def test_an_id_that_is_unique_is_recognised_while_the_first_connection_lives_and_in_any_order() -> None:
    """A half-open connection is not known to be dead; fluentd retries its chunks in any order, on any connection."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    sent = [_arrived(resends, first, key, unique=True) for key in (X, Y)]
    for arrival in sent:
        resends.settled(arrival, durable=True)

    assert [_stored(resends, second, key, unique=True).repeats is not None for key in (Z, Y, X)] == [False, True, True]


def test_a_resend_of_what_is_not_durable_yet_waits_for_it() -> None:
    """It is acknowledged only when the first sending is durable; when that was not kept, the resend is not either."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    earlier = _arrived(resends, first, X)
    first.end()
    again = _arrived(resends, second, X)
    assert again.waits_for is earlier
    assert again.repeats is None

    resends.settled(earlier, durable=True)
    resends.now_repeats(again)

    assert again.repeats == Place(1, 1, loose=True)


def test_what_was_not_kept_is_not_remembered() -> None:
    """A message that was refused is stored when it comes again."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    resends.settled(_arrived(resends, first, X), durable=False)
    first.end()

    assert _arrived(resends, second, X).repeats is None


def test_a_resend_that_was_not_kept_may_come_again() -> None:
    """Its record failed to become durable, so it was not acknowledged; the stored message absorbs the next."""
    resends = Resends(Clock())
    connections = [SenderConnection(b"a") for _ in range(3)]
    _stored(resends, connections[0], X)
    connections[0].end()
    resends.settled(_arrived(resends, connections[1], X), durable=False)
    connections[1].end()

    assert _arrived(resends, connections[2], X).repeats == Place(1, 1, loose=True)


def test_what_a_live_connection_may_send_again_is_bounded() -> None:
    """A flood in flight costs no more memory than HELD_LIMIT messages."""
    resends = Resends(Clock())
    first = SenderConnection(b"a")
    sent = [_arrived(resends, first, number.to_bytes(12), unique=True) for number in range(HELD_LIMIT + 100)]
    assert len(first.held) == HELD_LIMIT
    for arrival in sent:
        resends.settled(arrival, durable=True)
    first.end()

    assert len(resends.remembered) == HELD_LIMIT


def test_which_chunk_ids_are_unique() -> None:
    """Ids of fluentd and Docker have a random part; Fluent Bit's looks like Docker's, but for the time in it."""
    fluentd = base64.b64encode(bytes(range(16))) + b"\n"
    docker = base64.b64encode(NOW_S.to_bytes(8, "little") + bytes(8))
    fluent_bit = base64.b64encode(bytes(range(200, 216)))

    assert [is_unique(each, NOW_S) for each in (fluentd, docker, fluent_bit, b"", b"*" * 24)] == [
        True,
        True,
        False,
        False,
        False,
    ]


class Sender:
    """A client with a window: it sends, reads acknowledgements, and after a cut repeats what it has none for."""

    def __init__(self, content: Callable[[], bytes], window: int) -> None:
        self.content, self.window = content, window
        self.sent: Counter[bytes] = Counter()
        self.queue: deque[bytes] = deque()
        self.in_flight: deque[bytes] = deque()
        self.last_before_cut: set[bytes] = set()
        self.last = b""

    def next(self) -> bytes:
        """Return the next message to send."""
        if not self.queue:
            new = self.content()
            self.sent[new] += 1
            self.queue.append(new)
        self.last = self.queue.popleft()
        self.in_flight.append(self.last)
        return self.last

    def cut(self) -> None:
        """Lose the connection: all that is not acknowledged is to be sent again, first."""
        self.last_before_cut.add(self.last)
        self.queue.extendleft(reversed(self.in_flight))
        self.in_flight.clear()


class Receiver:
    """The rule, the network in front of it and the journal behind it, for one client and one connection at a time."""

    def __init__(self, sender: Sender, *, unique: bool) -> None:
        self.clock = Clock()
        self.resends = Resends(self.clock)
        self.sender, self.unique = sender, unique
        self.connection = SenderConnection(b"a")
        self.stored: Counter[bytes] = Counter()
        self.wire: deque[bytes] = deque()
        self.arrivals: deque[Arrival] = deque()
        self.acks = 0

    def receive(self) -> None:
        """Read the next message off the wire."""
        self.arrivals.append(_arrived(self.resends, self.connection, self.wire.popleft(), unique=self.unique))

    def settle(self) -> None:
        """Let the oldest message become durable, and acknowledge it."""
        arrival = self.arrivals.popleft()
        if arrival.waits_for is not None:
            self.resends.now_repeats(arrival)
        self.stored[arrival.key] += arrival.repeats is None
        self.resends.settled(arrival, durable=True)
        self.acks += 1

    def cut(self, taken: int) -> None:
        """Lose the connection behind so many messages that the network had already taken."""
        self.sender.cut()
        for _ in range(taken):
            self.receive()
        self.wire.clear()
        self.connection.end()
        self.connection = SenderConnection(b"a")
        while self.arrivals:
            self.settle()  # what was in the journal's hands when its sender went
        self.acks = 0

    def step(self, action: str, chance: random.Random) -> None:
        """Send, receive, keep, acknowledge or cut, where there is something to do it with."""
        if action == "s" and len(self.sender.in_flight) < self.sender.window:
            self.wire.append(self.sender.next())
        elif action == "r" and self.wire:
            self.receive()
        elif action == "k" and self.arrivals:
            self.settle()
        elif action == "a" and self.acks:
            self.acks -= 1
            self.sender.in_flight.popleft()
        elif action == "c":
            self.cut(chance.randint(0, len(self.wire)))


def _live(sender: Sender, chance: random.Random, *, unique: bool, turns: int = 400) -> Counter[bytes]:
    """Run a sender against the rule, with cuts at any moment; return what was stored."""
    receiver = Receiver(sender, unique=unique)
    if sender.window > 1:  # a pipelining client is known by its first two messages
        receiver.wire.extend((sender.next(), sender.next()))
        receiver.receive()
        receiver.receive()
    for turn in range(turns):
        action = chance.choices("srkac", (6, 6, 6, 6, 1))[0]
        receiver.step(action if turn <= turns - 60 else "rka"[turn % 3], chance)
        receiver.clock.now_s += chance.choice((0.0, 0.001, 0.01))
    while sender.queue or sender.in_flight or receiver.wire:
        if sender.queue:
            receiver.wire.append(sender.next())
        receiver.receive()
        receiver.settle()
        sender.in_flight.popleft()
    return receiver.stored


@pytest.mark.parametrize("seed", range(60))
def test_a_sender_that_waits_is_stored_exactly_once_however_it_is_cut(seed: int) -> None:
    """One in flight, ids that are hashes, contents that recur: nothing twice, nothing swallowed.

    Only the last message before a cut does not recur: nobody could tell it from a resend.
    """
    chance = random.Random(seed)
    numbers = iter(range(100_000))

    def recurring() -> bytes:
        contents = (bytes([number % 5, number % 7]) * 6 for number in numbers)
        return next(content for content in contents if content not in sender.last_before_cut)

    sender = Sender(recurring, window=1)

    assert _live(sender, chance, unique=False) == sender.sent


@pytest.mark.parametrize("seed", range(60))
def test_a_sender_with_several_in_flight_is_stored_exactly_once_however_it_is_cut(seed: int) -> None:
    """Eight in flight: nothing twice, nothing swallowed."""
    chance = random.Random(seed)
    numbers = iter(number.to_bytes(12) for number in range(10_000))
    sender = Sender(lambda: next(numbers), window=8)

    assert _live(sender, chance, unique=bool(seed % 2)) == sender.sent


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_messages_that_come_up_after_their_connection_has_ended_are_known_again_and_leave_nothing(
    *, unique: bool, begun: bool
) -> None:
    """A peer sent much at once and vanished: what waited for its turn was held for ever, and nothing known again."""
    resends = Resends(Clock())
    for turn in range(3):
        gone, again = SenderConnection(b"a"), SenderConnection(b"a")
        if begun:
            _stored(resends, gone, bytes([turn, 0] * 6), unique=unique)
        gone.end()
        keys = [bytes([turn, number] * 6) for number in range(1, 9)]
        late = [_arrived(resends, gone, key, unique=unique) for key in keys]
        for arrival in late:
            resends.settled(arrival, durable=True)

        repeated = [_stored(resends, again, key, unique=unique).repeats for key in keys]
        again.end()

        assert [(each.connection, each.ordinal) for each in repeated if each is not None] == [
            (gone.number, begun + number) for number in range(1, 9)
        ]
    assert resends._held == 0
    assert [] == [*resends._connections, *resends._live_unique, *resends._late]


def test_a_snapshot_remembers_what_a_message_took_that_is_not_durable() -> None:
    """Were we killed now that message would not have come, and what it repeats has to be known when it comes again."""
    resends = Resends(Clock())
    first, second = SenderConnection(b"a"), SenderConnection(b"a")
    _stored(resends, first, X, unique=True)
    again = _arrived(resends, second, X, unique=True)
    before = resends.snapshot()
    resends.settled(again, durable=True)

    assert [live.held for live in before.live] == [((X, 1),), ()]
    assert [live.held for live in resends.snapshot().live] == [(), ((X, 1),)]
