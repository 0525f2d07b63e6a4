"""The data folder: ours alone, and one collector's at a time."""

import asyncio
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

from collector.durable_files import make_folder
from collector.errors import DataDirError

LOCK_WAIT_S: Final = 5.0
"""How long a dead supervisor's children may take to die: they hold the lock as well, so two never share a journal."""

POLL_S: Final = 0.02

OWN: Final = frozenset({"lock", "run", "journal", "evidence", "store", "dead-letters", "audit", "rules", "lost+found"})
"""What may stand in a data folder that was just made; `lost+found` is of a new file system."""

OURS: Final = frozenset({"journal", "evidence"})
"""What together makes a folder ours, whatever else was put there."""


def make_data_dir(data_dir: Path) -> None:
    """Make the folder if need be, readable by us only; raise DataDirError when it is not ours to use."""
    try:
        if not data_dir.exists():
            make_folder(data_dir)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        found = data_dir.lstat()
    except FileExistsError as error:
        raise DataDirError(f"{data_dir}: is no folder") from error
    except OSError as error:
        raise DataDirError(f"{data_dir}: cannot be made: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise DataDirError(f"{data_dir}: is a symbolic link; name the folder itself")
    if found.st_uid != os.geteuid():
        raise DataDirError(f"{data_dir}: belongs to user {found.st_uid}, and this is user {os.geteuid()}")
    _refuse_foreign(data_dir)
    try:
        data_dir.chmod(0o700)
    except OSError as error:
        raise DataDirError(f"{data_dir}: cannot be made private: {error.strerror}") from error
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirError(f"{data_dir}: is not writable")


def _refuse_foreign(data_dir: Path) -> None:
    """Raise DataDirError for a folder in use for something else: making `/tmp` or a home private would break it."""
    try:
        names = set(os.listdir(data_dir))
    except OSError as error:
        raise DataDirError(f"{data_dir}: cannot be read: {error.strerror}") from error
    if names - OWN and not names >= OURS:
        raise DataDirError(f"{data_dir}: holds other files; name an empty folder or one of tidewaiter's own")


async def lock_data_dir(data_dir: Path) -> int:
    """Return the descriptor of the held lock, to be passed to every child; raise DataDirError naming who holds it.

    The lock ends with the last process that has the descriptor. While its holder is dead already, and only its
    children are not, it is waited for.
    """
    try:
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DataDirError(f"{data_dir}: cannot be locked: {error.strerror}") from error
    try:
        await _take(lock, data_dir)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(lock)
        raise DataDirError(f"{data_dir}: cannot be locked: {error.strerror}") from error
    except (DataDirError, asyncio.CancelledError):
        os.close(lock)
        raise
    return lock


def holder_of(data_dir: Path) -> str | None:
    """Return the pid of the collector that runs with this data folder; None where none does, or it cannot be told."""
    try:
        lock = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name_in(lock)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(lock)


async def _take(lock: int, data_dir: Path) -> None:
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while not _locked(lock):
        holder = _name_in(lock)
        if time.monotonic() > deadline_s or _lives(holder):
            raise DataDirError(f"{data_dir}: in use by another tidewaiter (pid {holder})")
        await asyncio.sleep(POLL_S)


def _name_in(lock: int) -> str:
    return os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(holder: str) -> bool:
    """Tell whether the process named in the lock lives; of one that has not written its name yet we cannot know."""
    if not holder.isdecimal() or int(holder) == os.getpid():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
