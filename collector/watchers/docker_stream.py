"""From the bytes of `GET /events` to events: lines cut at any place, bounded, and decoded one by one. Pure."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
import xxhash

LINE_LIMIT_BYTES: Final = 1 << 20
"""Longest event; a longer one is passed over."""

FILTERS: Final = {
    "type": ["container", "image", "network"],
    # `health_status` makes all of them match as beginnings; no other action begins like one of these.
    "event": [
        *("create", "start", "restart", "stop", "die", "pause", "unpause", "rename", "update", "health_status"),
        *("destroy", "connect", "disconnect"),
        *("pull", "tag", "untag", "delete", "load", "import"),
    ],
}
"""What is asked for: whatever changes what is known of a container. The many `exec_…` of health checks do not come."""

LOST_KEY_BYTES: Final = 8
"""Length of the key of a line that cannot be read."""

_identity = re.compile(r"[0-9a-f]{64}")


class Actor(msgspec.Struct, frozen=True):
    """Of what an event tells."""

    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] | None = msgspec.field(name="Attributes", default=None)


class Event(msgspec.Struct, frozen=True):
    """One event. `time_ns` is nanoseconds of the Engine's clock, which may be set back like any other."""

    type: str = msgspec.field(name="Type", default="")
    action: str = msgspec.field(name="Action", default="")
    actor: Actor = msgspec.field(name="Actor", default=Actor())
    time_s: int = msgspec.field(name="time", default=0)
    nanoseconds: int = msgspec.field(name="timeNano", default=0)

    @property
    def time_ns(self) -> int:
        """When it happened."""
        return self.nanoseconds or self.time_s * 1_000_000_000

    @property
    def cause(self) -> str:
        """The action without what stands behind it (`health_status: healthy`)."""
        return self.action.partition(":")[0]

    @property
    def attributes(self) -> dict[str, str]:
        """What it tells, labels among it."""
        return self.actor.attributes or {}

    @property
    def container(self) -> str:
        """The id of the container whose state it changed, empty where it is of something else."""
        if self.type == "network":
            identity = self.attributes.get("container", "")
        else:
            identity = self.actor.id if self.type == "container" else ""
        return identity if _identity.fullmatch(identity) else ""

    @property
    def key(self) -> str:
        """By which it is known again among those of one instant."""
        return xxhash.xxh3_64_hexdigest("\0".join((self.type, self.action, self.actor.id, self.container)).encode())


class Lost(msgspec.Struct, frozen=True):
    """An event that cannot be read: `malformed` or `oversized`.

    By its `key` it is known again: a digest of the line, of one that is too long of its beginning.
    """

    reason: str
    key: bytes = b""


_decode = msgspec.json.Decoder(Event).decode


class EventLines:
    """Takes the stream's bytes as they come; holds at most `limit_bytes` of them."""

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held = bytearray()
        self._passing_over = False

    def feed(self, received: bytes) -> Iterator[bytes | Lost]:
        """Yield the lines that are complete."""
        *whole, rest = received.split(b"\n")
        for end in whole:
            line, passed_over = bytes(self._held + end), self._passing_over
            self._held.clear()
            self._passing_over = False
            if len(line) > self._limit_bytes:
                yield self._oversized(line)
            elif not passed_over and line.strip(b"\x1e \r\t"):
                yield line
        if self._passing_over:
            return
        self._held += rest
        if len(self._held) > self._limit_bytes:
            self._passing_over = True
            lost = self._oversized(bytes(self._held))
            self._held.clear()
            yield lost

    def _oversized(self, line: bytes) -> Lost:
        return Lost("oversized", line_key(line[: self._limit_bytes]))


def decoded(line: bytes) -> Event | Lost:
    """Read one line; what is no event is lost."""
    try:
        return _decode(line.lstrip(b"\x1e"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Lost("malformed", line_key(line))


def line_key(line: bytes) -> bytes:
    """Return by what a line is known again that cannot be read."""
    return xxhash.xxh3_64_digest(line)


def since(time_ns: int) -> str:
    """Write a time as `GET /events` wants it."""
    return f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09}" if time_ns > 0 else ""
