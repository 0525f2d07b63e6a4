"""Small files that must be whole or as before, whatever happens in between; and the lock of the one writer."""

import contextlib
import fcntl
import os
from pathlib import Path

from collector.errors import DataDirError


def sync_directory(directory: Path) -> None:
    """Make creations, renames and removals in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(directory: Path) -> int:
    """Return what the disk under `directory` still takes."""
    free = os.statvfs(directory)
    return free.f_bavail * free.f_frsize


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` durably: after any crash it holds the old content or the new. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)


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
