"""What inputs hand to the journal, and what it answers."""

import enum
from collections.abc import Sequence

import msgspec

from pipelines.frame import Origin, Producer


class Receipt(enum.Enum):
    """The answer for one entry, given once: on disk; not taken, send again; never to be taken."""

    DURABLE = "durable"
    RETRY = "retry"
    REJECTED = "rejected"


class Entry(msgspec.Struct, frozen=True):
    """A message as its input delimited it. The journal owns the payload's buffers until the receipt is known.

    `tag`, `chunk_id` and `claimed` are those of `pipelines.frame.Message`. An entry with a `producer` gets a frame of
    its own; one whose sequence is not above the last of that producer is answered DURABLE and dropped.
    """

    origin: Origin
    encoding: str
    payload: Sequence[bytes | bytearray | memoryview]
    tag: bytes = b""
    chunk_id: bytes = b""
    claimed: int = -1
    producer: Producer | None = None
