"""A message with a chunk id, the connection it came on, and whose that is: what the rule of resends is about.

See `collector.journal.resends`.
"""

import binascii
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from collector.journal.remembered import Place
from pipelines.frame import Origin, Sending

UNIQUE_ID_SPAN_S: Final = 86_400
"""A Docker chunk id begins with the sender's time; one that is further from ours is some other kind of id."""

_NAMING_PROOFS: Final = ("certificate:", "key:", "token:", "user:")
"""Parts of `Origin.auth` that name somebody; `shared-key` is said of everybody who has that key."""

AUDIT_ID: Final = b"audit.k8s.io"
"""Stands as chunk id where a protocol has none and the bytes hold ids of their own: the audit ids of an EventList."""

_FLUENTD_ID_BYTES: Final = 25
_DOCKER_ID_BYTES: Final = 24


class SenderConnection:
    """One connection of a client (its credential, else what its socket proves, else its address), as the rule sees it.

    `number` is 0 until a message with a chunk id came, `unique` None; that first id tells of what kind all are.
    `refused` says that one of its messages was not kept: then none behind it is, for the client sends all of them
    again, and what it repeats behind a message that is new to us would pass for new too.

    `behind` are its messages that the journal has not been given yet, in order, each as what gives it: the first waits
    for a first sending.
    """

    def __init__(self, client: bytes) -> None:
        self.client = client
        self.number = 0
        self.messages = 0
        self.waits = True
        self.ended = False
        self.refused = False
        self.unique: bool | None = None
        self.unsettled = 0
        self.held: deque[Arrival] = deque()
        self.behind: deque[tuple[Arrival | None, Callable[[], None]]] = deque()
        self.has_sent_new = False
        self.repeated: dict[int, int] = {}
        self.is_over = False
        self.on_end: Callable[[SenderConnection], None] | None = None

    def end(self) -> None:
        """Say that the connection is gone; messages that arrived on it may still be on their way to the rule."""
        self.is_over = True
        if self.on_end is not None:
            self.on_end(self)


class Arrival(msgspec.Struct, eq=False, gc=False):
    """A message with a chunk id that came on a connection, and what it repeats.

    `repeats` is the stored message whose place it takes; `waits_for` the same while that is not durable yet, which
    calls `on_settled` when it is known. `taken` says that nothing can repeat it any more: another has, `taker` as long
    as that is not durable itself, or it was not kept. `takes` is the other end of `taker`. `is_noted` says that the
    place stands among the changes for the disk.
    """

    connection: SenderConnection
    key: bytes
    ordinal: int
    ahead: int
    repeats: Place | None = None
    waits_for: "Arrival | None" = None
    settled_at_s: float | None = None
    taken: bool = False
    taker: "Arrival | None" = None
    takes: "Arrival | None" = None
    is_noted: bool = False
    on_settled: Callable[[bool], None] | None = None

    @property
    def sending(self) -> Sending:
        """What a frame's table says of it."""
        first = (self.repeats.connection, self.repeats.ordinal) if self.repeats is not None else None
        return Sending(self.connection.number, self.ordinal, self.ahead, first)


def client_of(origin: Origin) -> bytes:
    """Return who sends, as far as resends are concerned: a credential, else socket credentials, else the address.

    A proof that names nobody is no credential: what it proves stands beside the address.
    """
    is_named = any(part.startswith(_NAMING_PROOFS) for part in origin.auth.split("+"))
    client = origin.auth if is_named else " ".join(filter(None, (origin.auth, origin.peer)))
    return client.encode("utf-8", "surrogateescape")


def is_unique(chunk_id: bytes, now_s: float) -> bool:
    """Tell whether a chunk id has a random part (`forward.md` section 3), or stands for bytes that have.

    fluentd's is Base64 of 16 bytes and a newline, Docker's Base64 of Unix seconds (8 bytes, little-endian) and 8 random
    bytes.
    """
    if chunk_id == AUDIT_ID:
        return True
    if len(chunk_id) == _FLUENTD_ID_BYTES:
        return chunk_id.endswith(b"\n")
    if len(chunk_id) != _DOCKER_ID_BYTES:
        return False
    try:
        decoded = binascii.a2b_base64(chunk_id)
    except ValueError:
        return False
    return len(decoded) == 16 and abs(int.from_bytes(decoded[:8], "little") - now_s) < UNIQUE_ID_SPAN_S
