"""The contract between the intake and its inputs.

The intake makes an input, starts it (again, while that fails), tells it when the journal is pressed, changes its
options where a reload does, and drains it at the end. The input hands each message to the journal and answers its
sender after the durable append, never before.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from collector.inputs.peers import REASONS, NotAdmitted, Traffic
from collector.inputs.refusals import Refusals
from collector.journal.entry import Entry


class Appender(Protocol):
    """What an input needs of the journal."""

    @property
    def full(self) -> bool:
        """Whether the journal takes no more."""

    @property
    def room_bytes(self) -> int:
        """What may still be in flight before all senders have to wait."""

    def submit(self, entry: Entry, on_receipt: Callable[[], None]) -> None:
        """Take the entry and its buffers; call `on_receipt` later, from the event loop, when `entry.receipt` is known.

        Receipts come in the order of the entries, but for those that are not taken at all.
        """


class Counts(msgspec.Struct):
    """What an input has seen since it was made; `connections` is the present number.

    `connections_refused` counts connections closed at once, by the reason, `broken` those closed for broken framing, by
    its code, `unfinished` those that ended within a message, `refused` messages that the journal did not take,
    `failures` faults of our own that ended a connection, `unproven` connections whose peer did not prove who it is,
    `stalled` those closed within a message that did not go on, or since the peer did not read, `idle` those closed to
    make room.
    """

    connections: int = 0
    connections_total: int = 0
    connections_refused: dict[NotAdmitted, int] = msgspec.field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    bytes: int = 0
    messages: int = 0
    claimed_records: int = 0
    acks: int = 0
    refused: int = 0
    unfinished: int = 0
    broken_payloads: int = 0
    failures: int = 0
    unproven: int = 0
    stalled: int = 0
    idle: int = 0
    broken: dict[str, int] = {}

    def add(self, before: "Counts") -> None:
        """Go on from what the input before counted, of whose connections none is left."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(before, name)
            if isinstance(mine, dict):
                setattr(self, name, {each: mine.get(each, 0) + theirs.get(each, 0) for each in {**theirs, **mine}})
            elif name != "connections":
                setattr(self, name, mine + theirs)


class Input(Protocol):
    """Listens for senders of one protocol."""

    @property
    def name(self) -> str:
        """The name the configuration gives it."""

    @property
    def counts(self) -> Counts:
        """What it has seen; read by the intake, changed by the input only."""

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""

    async def start(self, bound: Sequence[socket.socket] = ()) -> None:
        """Begin to listen; raise ListenError. May be tried again after that.

        Sockets that are `bound` where it is to listen, and listen already, are used and taken over.
        """

    def load(self, options: Any) -> Any:
        """Read the secrets and certificates that options of its type name; raise ListenError. Changes nothing."""

    def keeps(self, options: Any) -> bool:
        """Tell whether it can `change` to these options: who is connected would be let in under them as well."""

    def change(self, options: Any, proof: Any) -> None:
        """Change to options that it keeps, and to what was loaded for them; connections that stand stay."""

    def listening_sockets(self) -> list[socket.socket]:
        """Return sockets of the caller's own that listen where this input does; none while it does not."""

    @property
    def refusals(self) -> Refusals:
        """Peers that failed to prove who they are."""

    def traffic(self) -> Traffic:
        """Return what came of late, and who sent most of it; while senders wait it stays as it is."""

    def tick(self) -> None:
        """Look after connections that are silent or stuck; called once a second."""

    def press(self, pressed: bool) -> None:
        """Let all senders wait, or go on."""

    async def stop_accepting(self) -> None:
        """Listen no more; connections stay."""

    async def drain(self, *, timeout_s: float) -> None:
        """Stop listening and reading, wait for receipts, answer, close; after `timeout_s` close what is left."""
