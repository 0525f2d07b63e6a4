"""Senders of every kind that lose connections and acknowledgements, for tests of resends."""

import base64
import random
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from collector.journal.arrivals import SenderConnection, client_of
from collector.journal.entry import Entry, Receipt
from collector.journal.recogniser import Recogniser
from pipelines.frame import Origin

RECENT = 12
"""From so many of its last messages a sender takes one to send it anew."""

Key = tuple[str, bytes, bytes]
"""What a message is counted as: its origin's peer, its chunk id, its bytes."""


class Kind(msgspec.Struct, frozen=True):
    """How a sender behaves, and what it gives to be known by.

    `window` is what it has in flight on each of its `lines` (connections). `in_order` it repeats before anything
    new, else when it likes. Unless the collector `hears_cuts` at once, a connection may be half-open for long. What
    `recurs` is sent more than once and meant each time.
    """

    name: str
    identify: Callable[[random.Random, bytes], bytes]
    window: int = 1
    lines: int = 1
    in_order: bool = True
    hears_cuts: bool = True
    recurs: bool = True


def _docker(chance: random.Random, content: bytes) -> bytes:
    return base64.b64encode(int(time.time()).to_bytes(8, "little") + chance.randbytes(8))


def _fluentd(chance: random.Random, content: bytes) -> bytes:
    return base64.b64encode(chance.randbytes(16)) + b"\n"


def _content(chance: random.Random, content: bytes) -> bytes:
    return content


KINDS = (
    Kind("docker", _docker, hears_cuts=False),
    Kind("fluentd", _fluentd, window=4, lines=3, in_order=False, hears_cuts=False),
    Kind("fluent bit", _content, lines=3, in_order=False),
    Kind("one at a time", _content),
    Kind("named", _content, window=6, recurs=False),
)
ORIGINS = [
    *(Origin("forward", "tcp", f"192.0.2.{number}") for number in (1, 2)),
    *(Origin("forward", "tls", f"192.0.2.{number}", "shared-key") for number in (3, 4)),
    Origin("forward", "tls", "192.0.2.5", "certificate:web"),
]


class Message(msgspec.Struct, frozen=True):
    """What a sender sends, as often as it has to."""

    chunk_id: bytes
    content: bytes


class Line:
    """A connection, with what is on its way in both directions. `is_cut`: its sender has left it."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.sender = SenderConnection(client_of(origin))
        self.unacked: deque[Message] = deque()
        self.wire: deque[Message] = deque()
        self.in_hand: deque[tuple[Message, Entry]] = deque()
        self.acks: deque[Message] = deque()
        self.is_cut = self.is_refused = False
        self.last: dict[str, bytes] = {}

    def receive(self, recogniser: Recogniser) -> None:
        """Take the next message off the wire, as an input does."""
        message = self.wire.popleft()
        self.last["received"] = message.content
        if self.is_refused:
            return
        entry = Entry(
            self.origin, "forward", (message.content,), chunk_id=message.chunk_id, claimed=1, connection=self.sender
        )
        recogniser.submit(entry, self.settle)
        self.in_hand.append((message, entry))

    def settle(self) -> None:
        """Acknowledge in order what is durable, and nothing behind what was not kept."""
        while self.in_hand and self.in_hand[0][1].receipt is not None:
            message, entry = self.in_hand.popleft()
            if entry.receipt is not Receipt.DURABLE:
                self.is_refused = True
                continue
            self.last["kept"] = message.content
            if not self.is_refused:
                self.acks.append(message)


class Sender:
    """One client; `sent` is what has to stand in the journal in the end.

    It never sends anew what nobody could tell from a repetition: a content-named message equal to one that is not
    acknowledged, or to the last of a connection.
    """

    def __init__(self, kind: Kind, origin: Origin, chance: random.Random) -> None:
        self.kind, self.origin, self.chance = kind, origin, chance
        self.lines: list[Line] = []
        self.left: list[Line] = []
        self.queue: deque[Message] = deque()
        self.sent: Counter[Key] = Counter()
        self._doubtful: set[bytes] = set()
        self._number = 0
        self._shown = kind.window == 1

    @property
    def is_done(self) -> bool:
        """Whether everything was acknowledged."""
        return not (self.queue or any(line.unacked for line in self.lines))

    def send(self, *, anew: bool = True) -> None:
        """Send something, if there is room for it."""
        if len(self.lines) < self.kind.lines and (not self.lines or self.chance.random() < 0.2):
            self.lines.append(Line(self.origin))
        line = self.chance.choice(self.lines)
        # That it has several in flight has to be seen once.
        for _ in range(1 if self._shown else 2):
            if len(line.unacked) < self.kind.window and (anew or self.queue):
                message = self._next()
                line.last["sent"] = message.content
                line.unacked.append(message)
                line.wire.append(message)

    def show(self, recogniser: Recogniser) -> None:
        """Let the collector see that there are several in flight."""
        if not self._shown:
            self._shown = True
            while self.lines[0].wire:
                self.lines[0].receive(recogniser)

    def _next(self) -> Message:
        if self.queue and (self.kind.in_order or self.chance.random() < 0.5):
            return self.queue.popleft()
        content = self._fresh()
        message = Message(self.kind.identify(self.chance, content), content)
        self.sent[self.origin.peer, message.chunk_id, content] += 1
        return message

    def _fresh(self) -> bytes:
        self._number += 1
        excluded = {message.content for line in self.lines for message in line.unacked}
        excluded.update(self._doubtful, (message.content for message in self.queue))
        for line in self.lines:
            excluded.update(line.last.values())
        numbers = range(max(self._number - RECENT, 0), self._number) if self.kind.recurs else ()
        recurring = [content for number in numbers if (content := b"line %d" % number) not in excluded]
        if recurring and self.chance.random() < 0.5:
            return self.chance.choice(recurring)
        return b"line %d" % self._number

    def read_acks(self, line: Line, count: int = 1 << 30) -> None:
        """Read acknowledgements of a connection."""
        while line.acks and count and not line.is_cut:
            acked = line.acks.popleft()
            assert line.unacked.popleft() == acked
            count -= 1

    def cut(self, line: Line) -> None:
        """Leave a connection; what has no acknowledgement is sent again."""
        line.is_cut = True
        self.lines.remove(line)
        self._doubtful.update(line.last.values())
        if self.kind.in_order:
            self.queue.extendleft(reversed(line.unacked))
        else:
            for message in line.unacked:
                self.queue.insert(self.chance.randint(0, len(self.queue)), message)
        line.unacked.clear()
