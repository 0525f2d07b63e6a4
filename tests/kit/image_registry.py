"""A real image registry for tests, in memory, on loopback: an Engine talks plain HTTP to one that is there.

`tests/engines/registry/build.sh` builds it where there is a Go that can, into the file that `program` names.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

import platformdirs

STOP_TIMEOUT_S: Final = 10.0


def program() -> Path:
    """Return where the built registry is, or would be."""
    cache = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
    return Path(cache) / "registry" / "registry"


class ImageRegistry:
    """A context manager; `address` is its host and port."""

    def __enter__(self) -> "ImageRegistry":
        """Start it; it listens when it says where."""
        self._process = subprocess.Popen([str(program())], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self._process.stdout is None:
            raise AssertionError("its output is a pipe")
        self.address = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
