"""Messages that may be sent again, remembered in few bytes: a million of them in less than 40 MB.

A hash table of byte strings: the first two bytes of a key choose a bucket, the rest of it and where the message stands
are a record of 22 bytes in there. Finding is one search in a few hundred bytes, adding one concatenation, both done by
the interpreter's C code; dicts of integers would take three times the memory.
"""

import struct
from collections import deque
from typing import Final, NamedTuple

KEY_BYTES: Final = 12
_BUCKETS: Final = 1 << 16
LOOSE: Final = 1 << 31
_record = struct.Struct(">10sIII")
CHANGE: Final = struct.Struct(">?12sII")
"""One change as it is kept on disk: added or removed, key, connection, ordinal with LOOSE."""

_seconds = struct.Struct(">10xI")

SWEPT_AT_ONCE: Final = 256
"""Buckets swept by each `sweep`: with one a second, what expired takes memory for some four minutes longer."""


class Place(NamedTuple):
    """Which message: the `ordinal`-th of a connection. `loose` says that it may come again in any order."""

    connection: int
    ordinal: int
    loose: bool


class Remembered:
    """Places by key, several for one where equal messages were sent. Times are whole seconds of any clock that rises.

    At most `limit` are remembered, for `kept_s` seconds; beyond, the oldest second's are forgotten.
    """

    def __init__(self, *, limit: int, kept_s: int) -> None:
        self._limit = limit
        self._kept_s = kept_s
        self._buckets = [b""] * _BUCKETS
        self._added: deque[list[int]] = deque()
        self._count = 0
        self._forgotten_before = 0
        self._swept = 0

    def __len__(self) -> int:
        """How many were added and have not expired; those removed meanwhile are among them."""
        return self._count

    def add(self, key: bytes, place: Place, now_s: int) -> None:
        """Remember a place; the same one twice is there once."""
        number = _bucket_of(key)
        ordinal = place.ordinal | (LOOSE if place.loose else 0)
        record = _record.pack(key[2:], now_s, place.connection, ordinal)
        bucket = self._live(self._buckets[number])
        if any(found.connection == place.connection and found.ordinal == place.ordinal for found in self.matches(key)):
            return
        self._buckets[number] = bucket + record
        if not self._added or self._added[-1][0] != now_s:
            self._added.append([now_s, 0])
        self._added[-1][1] += 1
        self._count += 1
        self.expire(now_s)
        self._sweep(1)

    def matches(self, key: bytes) -> list[Place]:
        """Return the places remembered for a key, the oldest first."""
        bucket, rest = self._buckets[key[0] << 8 | key[1]], key[2:]
        at = bucket.find(rest)
        found: list[Place] = []
        while at >= 0:
            if at % _record.size == 0:
                _, added_s, connection, ordinal = _record.unpack_from(bucket, at)
                if added_s >= self._forgotten_before:
                    found.append(Place(connection, ordinal & (LOOSE - 1), bool(ordinal & LOOSE)))
            at = bucket.find(rest, at + 1)
        return found

    def remove(self, key: bytes, connection: int, ordinal: int) -> bool:
        """Forget one place; return whether it was there."""
        number = _bucket_of(key)
        bucket = self._buckets[number]
        for at in range(0, len(bucket), _record.size):
            rest, _, its_connection, its_ordinal = _record.unpack_from(bucket, at)
            if rest == key[2:] and (its_connection, its_ordinal & (LOOSE - 1)) == (connection, ordinal):
                self._buckets[number] = bucket[:at] + bucket[at + _record.size :]
                return True
        return False

    def restore(self, changes: bytes, now_s: int) -> None:
        """Add and remove as these records (CHANGE) say; what they add must not be there yet."""
        buckets, pack = self._buckets, _record.pack
        before = self._count
        for added, key, connection, ordinal in CHANGE.iter_unpack(changes):
            if added:
                buckets[key[0] << 8 | key[1]] += pack(key[2:], now_s, connection, ordinal)
                self._count += 1
            else:
                self.remove(key, connection, ordinal & (LOOSE - 1))
        self._added.append([now_s, self._count - before])
        self.expire(now_s)

    def expire(self, now_s: int) -> None:
        """Forget what is too old or too much."""
        while self._added and (self._added[0][0] <= now_s - self._kept_s or self._count > self._limit):
            second, count = self._added.popleft()
            self._forgotten_before = second + 1
            self._count -= count

    def sweep(self, now_s: int) -> None:
        """Forget what is too old, and free some of its memory; to be called once a second."""
        self.expire(now_s)
        self._sweep(SWEPT_AT_ONCE)

    def _sweep(self, buckets: int) -> None:
        for _ in range(buckets):
            self._swept = (self._swept + 1) % _BUCKETS
            self._buckets[self._swept] = self._live(self._buckets[self._swept])

    def _live(self, bucket: bytes) -> bytes:
        """Return a bucket without what is forgotten, which is at its front."""
        at = 0
        while at < len(bucket) and _seconds.unpack_from(bucket, at)[0] < self._forgotten_before:
            at += _record.size
        return bucket[at:] if at else bucket


def _bucket_of(key: bytes) -> int:
    return key[0] << 8 | key[1]
