"""Opening what is committed of a store: exactly that, of one manifest.

Every file is opened before the first is read, so what the writer seals or deletes meanwhile is still read to the end.
Of a file that may grow, only the committed part is read: from a copy without a name.
"""

import errno
import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from collector.errors import UnreachableError
from collector.store.manifest import Manifest, StoredFile, damage, read_manifest

AUDIT_STREAMS: Final = "logs-tidewaiter.audit-*"
BALANCE_STREAMS: Final = "logs-tidewaiter.balance-*"
APART: Final = (AUDIT_STREAMS, BALANCE_STREAMS)
"""Data streams that a search leaves out unless they are asked for."""

LOGS: Final = "logs"
AUDIT: Final = "audit"
"""Views: what was chosen, and the collector's own audit records, where they are wanted apart."""

OPEN_TRIES: Final = 5
"""How often the manifest is read anew when a file it names was sealed or deleted meanwhile."""

DESCRIPTORS_SPARE: Final = 256
"""Descriptors a process needs beside those of the store's files, for DuckDB opens each once more, and we one."""

COPIED_AT_ONCE: Final = 1 << 20


class Choice(msgspec.Struct, frozen=True):
    """What of the store is read.

    `streams` names data streams by a glob; without it all but the collector's own audit records and rows of the books
    are read, and with `audit` those too. With `apart` the audit records can be read in a view of their own. `since`
    (inclusive) and `until` (exclusive) bound `@timestamp`, written as documents write it.
    """

    streams: str | None = None
    audit: bool = False
    apart: bool = False
    since: str | None = None
    until: str | None = None

    def holds(self, stream: str) -> bool:
        """Tell whether a data stream is among what is searched."""
        if self.streams is not None:
            return fnmatchcase(stream, self.streams)
        return self.audit or not any(fnmatchcase(stream, apart) for apart in APART)

    def views(self, stream: str, file: StoredFile) -> tuple[str, ...]:
        """Return the views whose documents a file may hold."""
        is_audit = fnmatchcase(stream, AUDIT_STREAMS)
        wanted = self.holds(stream)
        late_enough = self.since is None or file.latest >= self.since
        within = late_enough and (self.until is None or file.earliest < self.until)
        if not (within and file.length > 0):
            return ()
        return (LOGS,) * wanted + (AUDIT,) * (self.apart and is_audit)


class OpenFile(msgspec.Struct, frozen=True):
    """A file of the store that stays readable at `path`, and the views its documents are of."""

    path: str
    named: Path
    file: StoredFile
    views: tuple[str, ...]


class OpenFiles(msgspec.Struct, frozen=True):
    """What is read, as `manifest` says; `damaged` says of each file that cannot be what is wrong with it."""

    manifest: Manifest
    files: list[OpenFile]
    damaged: list[str]


def open_files(folder: Path, choice: Choice, held: ExitStack) -> OpenFiles:
    """Open what is chosen; raise UnreachableError when there is no store. `held` closes the files."""
    missed: set[str] = set()
    for _ in range(OPEN_TRIES):
        manifest = committed(folder)
        with ExitStack() as opened:
            found = _opened(folder, manifest, choice, opened)
            if not missed.issuperset(found.damaged):
                missed = set(found.damaged)  # it may be gone with its time, or sealed: a newer manifest knows
                continue
            if found.damaged and not found.files:
                raise UnreachableError("\n".join(found.damaged))
            held.push(opened.pop_all())
            return found
    raise UnreachableError(f"the store in {folder} changes faster than it can be read: its size limit is too small")


def _opened(folder: Path, manifest: Manifest, choice: Choice, opened: ExitStack) -> OpenFiles:
    chosen = [
        (folder / stream / file.name, file, views)
        for stream, files in manifest.streams.items()
        for file in files
        if (views := choice.views(stream, file))
    ]
    _allow_descriptors(3 * len(chosen) + DESCRIPTORS_SPARE)
    found = OpenFiles(manifest, [], [])
    for path, file, views in chosen:
        try:
            readable = _exactly(path, file, opened)
        except _ShortFileError as error:
            found.damaged.append(str(error))
        except OSError as error:
            if error.errno == errno.EIO:
                found.damaged.append(f"{path}: cannot be read: {error.strerror}")
                continue
            raise UnreachableError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error
        else:
            found.files.append(OpenFile(f"/dev/fd/{readable.fileno()}", path, file, views))
    return found


@contextmanager
def nameless(files: Sequence[OpenFile]) -> Iterator[None]:
    """Let the paths lead to a file without a name for a while.

    When it is told what may be read, DuckDB notes where a path leads. So it also notes where one leads when the file
    is sealed or deleted meanwhile: nowhere but to the descriptor.
    """
    with tempfile.TemporaryFile() as none, ExitStack() as kept:
        for each in files:
            descriptor = int(each.path.rpartition("/")[2])
            aside = os.dup(descriptor)
            kept.callback(os.close, aside)
            os.dup2(none.fileno(), descriptor, inheritable=False)
            kept.callback(os.dup2, aside, descriptor, inheritable=False)
        yield


class _ShortFileError(Exception):
    """A file has less than the manifest said; a newer manifest may know it no more."""


def committed(folder: Path) -> Manifest:
    """Return the manifest; raise UnreachableError."""
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        raise UnreachableError(f"the local store in {folder} cannot be read: {error.strerror}") from error
    if manifest is None:
        raise UnreachableError(f"there is no local store in {folder}: has a collector run with this data folder?")
    return manifest


def _exactly(path: Path, file: StoredFile, opened: ExitStack) -> BinaryIO:
    """Open a file, or a copy of its committed part; raise _ShortFileError when that is there no more."""
    try:
        source: BinaryIO = opened.enter_context(path.open("rb"))
    except FileNotFoundError as error:
        raise _ShortFileError(damage(path, 0, file)) from error
    if not file.open and os.fstat(source.fileno()).st_size == file.length:
        return source
    copy: BinaryIO = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the rest
    left = file.length
    while left:
        content = source.read(min(left, COPIED_AT_ONCE))
        if not content:
            raise _ShortFileError(damage(path, file.length - left, file))
        copy.write(content)
        left -= len(content)
    copy.flush()
    return copy


def _allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
        )
