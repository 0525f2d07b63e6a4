"""What becomes of a compressed payload, whatever protocol it came by: where and within what bounds it is inflated."""

import contextlib
from collections.abc import Sequence
from typing import Final

from collector.wire.forward_compression import BeyondLimitError, InflateError, inflate

RATIO_FREE_BYTES: Final = 1 << 20
"""To so much anything may inflate, whatever its size: it costs nobody."""

QUICK_BYTES: Final = 64 << 10
"""To so much a message is inflated where it is met: measured 0.1 ms, as much as the way to another thread and back."""

QUICK_COMPRESSED_BYTES: Final = 8 << 10
"""A larger one hardly inflates to so little, and may have many members: it is not tried."""


class Inflation:
    """Inflates one payload. Made and read by the thread that has the payload.

    `compression` is `gzip` or `zstd`. `buffers` is what it inflates to; None where it is broken, or cannot be inflated
    within `limit_bytes`, or is no small one and would grow more than `ratio_limit` times. `made_bytes` is what was
    inflated, at most.
    """

    def __init__(self, compressed: memoryview, compression: str, *, limit_bytes: int, ratio_limit: int) -> None:
        self.buffers: Sequence[bytes] | None = None
        self.made_bytes = 0
        self._compressed = compressed
        self._compression = compression
        self._limit_bytes = min(limit_bytes, max(ratio_limit * len(compressed), RATIO_FREE_BYTES))

    def is_quick(self) -> bool:
        """Do it if it takes no time; return whether it is done."""
        if len(self._compressed) > QUICK_COMPRESSED_BYTES:
            return False
        try:
            self._inflate(min(self._limit_bytes, QUICK_BYTES))
        except BeyondLimitError:
            return self._limit_bytes <= QUICK_BYTES
        except InflateError:
            pass
        return True

    def run(self) -> int:
        """Do it, in any thread; return how many bytes were made, at most."""
        with contextlib.suppress(InflateError):
            self._inflate(self._limit_bytes)
        return self.made_bytes

    def _inflate(self, limit_bytes: int) -> None:
        self.made_bytes += limit_bytes
        self.buffers = inflate(self._compressed, self._compression, limit_bytes=limit_bytes)
        self.made_bytes += sum(map(len, self.buffers)) - limit_bytes
