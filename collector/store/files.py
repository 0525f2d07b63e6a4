"""Writing the store: append, commit, roll, seal, delete. Blocking; one thread at a time.

A commit syncs the data files, then replaces the manifest, then deletes what the new manifest does not name. So after
any crash the manifest speaks only of bytes that are on disk, and what it does not speak of is cut at the next start.
A closed file is sealed beside this (`collector.store.sealing`), under a name that no manifest speaks of, and taken in
the same way: synced, named instead of the lines, and only then are these deleted.
"""

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from collector.durable_files import sync_directory, write_all
from collector.errors import DataDirError
from collector.store.manifest import (
    MANIFEST_FILE,
    SEALED,
    Manifest,
    StoredFile,
    damage,
    read_manifest,
    write_manifest,
)
from pipelines.batch import Batch, Documents
from pipelines.frame import Position

ROLL_BYTES: Final = 64 << 20
ROLL_NS: Final = 3600 * 1_000_000_000
"""A file is closed at 64 MiB or when it spans an hour of journal time."""

FILES_IN_LIMIT: Final = 8
"""A store with a small limit closes its files earlier, so that at most about this part of it goes at once."""

MEASURED_BYTES: Final = 4 << 20
"""Where a batch is larger, its largest document is looked for; otherwise the whole is close enough."""

_timestamps = re.compile(rb'"@timestamp":"([^"]{30})"')


Reason = Literal["age", "size"]


class Removed(NamedTuple):
    """A file that was deleted, and whether for its age or for the store's size."""

    stream: str
    file: StoredFile
    reason: Reason


class ToSeal(NamedTuple):
    """A closed file of lines that stands at `source`; `target` is where its Parquet is written first."""

    stream: str
    file: StoredFile
    source: Path
    target: Path


class StoreFiles:
    """The files of one store. After an error it must be opened anew: what was appended since the last commit is cut."""

    def __init__(self, folder: Path, *, retention_s: float, limit_bytes: int) -> None:
        self._folder = folder
        self._retention_ns = int(retention_s * 1_000_000_000)
        self._limit_bytes = limit_bytes
        self._roll_bytes = min(ROLL_BYTES, max(limit_bytes // FILES_IN_LIMIT, 1))
        self._descriptors: dict[str, int] = {}
        self.manifest = Manifest(Position(0, 0, 0))

    def open(self, cursor: Position | None) -> Position | None:
        """Cut what the manifest does not speak of; return where to go on, None for the oldest frame.

        Raise DataDirError when the manifest or a file is damaged or gone, OSError when the disk is full.

        That is the committed position, but never before `cursor`: where the folder was deleted or an old copy put back,
        what the journal's cursor says is settled is not written again.
        """
        self.close()
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True)
            sync_directory(self._folder.parent)
        manifest = read_manifest(self._folder)
        if manifest is None:
            self._begin(cursor)
            return cursor
        self.manifest = manifest
        self._check()
        self._cut()
        return max(manifest.position, cursor) if cursor is not None else manifest.position

    def _begin(self, cursor: Position | None) -> None:
        """Write the first manifest, so that from here on files without one are known to be somebody's loss."""
        if any(path.is_dir() and any(path.iterdir()) for path in self._folder.iterdir()):
            raise DataDirError(
                f"{self._folder}: files but no manifest: put {MANIFEST_FILE} back or move the folder away"
            )
        self.manifest = Manifest(cursor or Position(0, 0, 0))
        write_manifest(self._folder, self.manifest)

    def _check(self) -> None:
        """Raise DataDirError where a file has lost what was committed: to append to it would garble it for good.

        Of one that is closed a search says so, and all others are searched.
        """
        for stream, files in self.manifest.streams.items():
            for file in (each for each in files if each.open):
                path = self._folder / stream / file.name
                size = path.stat().st_size if path.is_file() else 0
                if size < file.length:
                    raise DataDirError(damage(path, size, file))

    def _cut(self) -> None:
        """Bring the folder to what the manifest says."""
        for folder in self._folder.iterdir():
            if not folder.is_dir():
                continue
            known = {file.name: file.length for file in self.manifest.streams.get(folder.name, [])}
            if not known:
                shutil.rmtree(folder)
                continue
            for path in folder.iterdir():
                if path.name not in known:
                    path.unlink()
                elif path.stat().st_size > known[path.name]:
                    os.truncate(path, known[path.name])

    def store(self, batches: Sequence[Batch]) -> list[Removed]:
        """Append the batches' documents and commit them; return what was deleted; raise OSError."""
        for batch in batches:
            self.append(batch)
        return self.commit(batches[-1].journal_time)

    def append(self, batch: Batch) -> None:
        """Write a batch's documents, uncommitted; raise OSError."""
        for documents in batch.documents:
            if len(documents.ids):
                self._append(str(documents.stream), documents, batch.journal_time)
        self.manifest.position = batch.next

    def _append(self, stream: str, documents: Documents, now_ns: int) -> None:
        # Joined here and not by `documents.ndjson`, which would keep the bytes for as long as anybody has the batch.
        content = b"".join(documents.buffers)
        times = _timestamps.findall(content)
        earliest, latest = min(times).decode(), max(times).decode()
        files = self.manifest.streams.setdefault(stream, [])
        if files and files[-1].open and (files[-1].length >= self._roll_bytes or _is_old(files[-1], now_ns)):
            self._finish(stream, files[-1])
        if not files or not files[-1].open:
            first_id = documents.ids[0].decode()
            files.append(
                StoredFile(f"{first_id}.ndjson", 0, 0, now_ns, now_ns, first_id, first_id, earliest, latest, 0)
            )
        file = files[-1]
        write_all(self._descriptor(stream, file), content)
        file.length += len(content)
        file.documents += len(documents.ids)
        file.last_time = now_ns
        file.last_id = documents.ids[-1].decode()
        file.earliest, file.latest = min(file.earliest, earliest), max(file.latest, latest)
        file.largest = max(file.largest, _largest(content))

    def _descriptor(self, stream: str, file: StoredFile) -> int:
        descriptor = self._descriptors.get(stream)
        if descriptor is None:
            folder = self._folder / stream
            if not folder.exists():
                folder.mkdir(mode=0o700)
                sync_directory(self._folder)
            descriptor = os.open(folder / file.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._descriptors[stream] = descriptor
            if not file.length:
                sync_directory(folder)
        return descriptor

    def _finish(self, stream: str, file: StoredFile) -> None:
        """Close a file for good; its last bytes are synced before a manifest says so."""
        file.open = False
        descriptor = self._descriptors.pop(stream, None)
        if descriptor is not None:
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def commit(self, now_ns: int) -> list[Removed]:
        """Make everything appended durable and visible, and delete what is past its time; `now_ns` is journal time."""
        for descriptor in self._descriptors.values():
            os.fdatasync(descriptor)
        for stream, files in self.manifest.streams.items():
            if files and files[-1].open and _is_old(files[-1], now_ns):
                self._finish(stream, files[-1])
        doomed = self._expired(now_ns)
        write_manifest(self._folder, self.manifest)
        for removed in doomed:
            (self._folder / removed.stream / removed.file.name).unlink(missing_ok=True)
        return doomed

    def tidy(self, now_ns: int) -> list[Removed]:
        """Do what time alone asks for, where nothing comes that would be committed; raise OSError."""
        files = [file for files in self.manifest.streams.values() for file in files]
        due = any(
            _is_old(file, now_ns) if file.open else now_ns - file.last_time > self._retention_ns for file in files
        )
        return self.commit(now_ns) if due else []

    def to_seal(self) -> list[ToSeal]:
        """Return the closed files of lines, oldest first."""
        found = []
        for stream, files in self.manifest.streams.items():
            for file in files:
                if not file.open and not file.sealed:
                    source = self._folder / stream / file.name
                    target = source.with_name(f".{source.stem}.{secrets.token_hex(8)}{SEALED}")
                    found.append(ToSeal(stream, file, source, target))
        return sorted(found, key=lambda each: each.file.last_time)

    def take_sealed(self, sealing: ToSeal, *, odd: int) -> None:
        """Put what was sealed and synced, with so many odd documents, into the place of its lines; raise OSError.

        Its lines may have been deleted meanwhile: then so is this.
        """
        files = self.manifest.streams.get(sealing.stream, [])
        if sealing.file not in files:
            sealing.target.unlink()
            return
        name = f"{sealing.source.stem}{SEALED}"
        length = sealing.target.stat().st_size
        sealing.target.rename(sealing.source.with_name(name))
        sync_directory(sealing.source.parent)
        files[files.index(sealing.file)] = msgspec.structs.replace(
            sealing.file, name=name, length=length, unsealed=sealing.file.length, odd=odd
        )
        write_manifest(self._folder, self.manifest)
        sealing.source.unlink(missing_ok=True)

    def _expired(self, now_ns: int) -> list[Removed]:
        """Take closed files past retention or limit out of the manifest, oldest first."""
        closed = [
            (file.last_time, stream, file)
            for stream, files in self.manifest.streams.items()
            for file in files
            if not file.open
        ]
        doomed: list[Removed] = []
        excess_bytes = self.manifest.bytes - self._limit_bytes
        for last_time, stream, file in sorted(closed, key=lambda item: item[:2]):
            is_old = now_ns - last_time > self._retention_ns
            if not is_old and excess_bytes <= 0:
                break
            excess_bytes -= file.length
            self.manifest.streams[stream].remove(file)
            if not self.manifest.streams[stream]:
                del self.manifest.streams[stream]
            doomed.append(Removed(stream, file, "age" if is_old else "size"))
        return doomed

    def close(self) -> None:
        """Let go of the files; what was not committed is not kept."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def _is_old(file: StoredFile, now_ns: int) -> bool:
    return now_ns - file.first_time >= ROLL_NS


def _largest(content: bytes) -> int:
    """Return a bound of the size of each document in `content`."""
    return len(content) if len(content) <= MEASURED_BYTES else max(map(len, content.split(b"\n"))) + 1
