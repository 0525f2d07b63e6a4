"""The lock of the journal's one writer."""

import contextlib
import fcntl
import os
from pathlib import Path

from collector.errors import DataDirError


def take_lock(path: Path) -> int:
    """Hold a lock until the descriptor that is returned is closed; raise DataDirError naming who holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataDirError(f"{path.parent}: another process writes this journal (pid {holder})") from None
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        on_failure.pop_all()
    return descriptor
