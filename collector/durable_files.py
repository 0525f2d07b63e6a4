"""Making files durable: what the journal, the stores and the dead letters build their promises on."""

import os
from collections.abc import Iterator
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make creations, renames and removals in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, readable by us only, durably. Raises OSError.

    One that is there is synced all the same: who made it may have been killed before that.
    """
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_directory(folder.parent)


def free_bytes(directory: Path) -> int:
    """Return what the disk under `directory` still takes."""
    free = os.statvfs(directory)
    return free.f_bavail * free.f_frsize


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`, however little the kernel takes at once; raises OSError, after any part of it."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_all_at(descriptor: int, content: bytes, at: int) -> None:
    """Write all of `content` from an offset on; raises OSError, after any part of it."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def append_to_file(path: Path, content: bytes) -> None:
    """Append to `path`, made readable by us only where it is missing, durably. Raises OSError.

    Where that fails the file is left as it was, so that a later try begins at a line's start.
    """
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, content)
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)


def replace_file(path: Path, content: bytes | Iterator[bytes], *, owner: tuple[int, int] | None = None) -> None:
    """Replace `path`, readable by us only, durably: after a crash it holds old content or new. Raises OSError.

    Content that is large may come in parts, also ones made of the old. With `owner` (user, group) it is theirs from the
    first moment on.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, *owner)
        for part in (content,) if isinstance(content, bytes) else content:
            write_all(descriptor, part)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)
