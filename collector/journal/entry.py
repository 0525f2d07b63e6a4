"""What inputs hand to the journal, and what it answers."""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from collector.journal.arrivals import SenderConnection
from pipelines.frame import Origin, Producer, Sending

OVERHEAD_BYTES: Final = 1 << 10
"""What a message costs beside its bytes, in memory and in work: a flood of tiny ones is bounded as well."""

Buffer = bytes | bytearray | memoryview


class Receipt(enum.Enum):
    """The answer for one entry, given once: on disk; not taken, send again; never to be taken."""

    DURABLE = "durable"
    RETRY = "retry"
    REJECTED = "rejected"


class Entry(msgspec.Struct):
    """A message as its input delimited it, to be submitted once. `cost_bytes` is what it counts for in every bound.

    The journal owns the payload's buffers until the receipt is known; that stands in `receipt` then.

    `tag`, `chunk_id`, `claimed`, `digest`, `sending` and `portions` are those of `pipelines.frame.Message`; digest and
    sending are put in by who looks for resends (`recogniser`), and needs the `connection` for that, portions by the
    journal. An entry with a `producer` gets a frame of its own; one whose sequence is not above the last of that
    producer is answered DURABLE and dropped. One that is `urgent` is taken by a full journal as well, within bounds:
    without it nothing would ever be settled.
    """

    origin: Origin
    encoding: str
    payload: Sequence[Buffer]
    tag: bytes = b""
    chunk_id: bytes = b""
    claimed: int = -1
    producer: Producer | None = None
    connection: SenderConnection | None = None
    digest: bytes = b""
    sending: Sending | None = None
    portions: tuple[tuple[int, int], ...] = ()
    urgent: bool = False
    receipt: Receipt | None = None
    payload_bytes: int = -1
    table_bytes: int = -1
    cost_bytes: int = -1

    def __post_init__(self) -> None:
        """Measure the payload and what stands beside it, once: everybody on its way asks."""
        self.payload_bytes = sum(map(len, self.payload))
        self.table_bytes = len(self.tag) + len(self.chunk_id)
        if self.producer is not None:
            self.table_bytes += len(self.producer.name) + len(self.producer.cursor)
        self.cost_bytes = self.payload_bytes + self.table_bytes + OVERHEAD_BYTES
