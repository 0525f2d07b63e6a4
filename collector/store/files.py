"""Writing the store: append, commit, roll, delete. Blocking; one thread at a time."""

import os
from pathlib import Path
from typing import Final

from collector.journal.files import sync_directory
from collector.store.manifest import Manifest, StoredFile, read_manifest, write_manifest
from pipelines.batch import Batch
from pipelines.frame import Position

ROLL_BYTES: Final = 64 << 20
ROLL_NS: Final = 3600 * 1_000_000_000
"""A file is closed at 64 MiB or when it spans an hour of journal time."""


class StoreFiles:
    """The files of one store. After an error it must be opened anew: what was appended since the last commit is cut."""

    def __init__(self, folder: Path, *, retention_s: float, limit_bytes: int) -> None:
        self._folder = folder
        self._retention_ns = int(retention_s * 1_000_000_000)
        self._limit_bytes = limit_bytes
        self._descriptors: dict[str, int] = {}
        self.manifest = Manifest(Position(0, 0, 0))
        self.uncommitted_bytes = 0

    def open(self, cursor: Position | None) -> Position | None:
        """Cut what no manifest speaks of; return where to go on, None for the oldest frame."""
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        manifest = read_manifest(self._folder)
        if manifest is None:
            self.manifest = Manifest(cursor or Position(0, 0, 0))
            self._cut()
            return cursor
        self.manifest = manifest
        self._cut()
        return max(manifest.position, cursor) if cursor is not None else manifest.position

    def _cut(self) -> None:
        """Bring the folder to what the manifest says."""
        for folder in self._folder.iterdir():
            if folder.is_dir():
                known = {file.name: file.length for file in self.manifest.streams.get(folder.name, [])}
                for path in folder.iterdir():
                    if path.name not in known:
                        path.unlink()
                    elif path.stat().st_size > known[path.name]:
                        os.truncate(path, known[path.name])
        self.uncommitted_bytes = 0

    def append(self, batch: Batch) -> None:
        """Write a batch's documents, uncommitted; raise OSError."""
        for part in batch.documents:
            files = self.manifest.streams.setdefault(str(part.stream), [])
            file = files[-1] if files and files[-1].open else None
            if file is not None and (file.length >= ROLL_BYTES or batch.journal_time - file.first_time >= ROLL_NS):
                self._seal(str(part.stream), file)
                file = None
            if file is None:
                file = StoredFile(f"{part.ids[0].decode()}.ndjson", 0, 0, batch.journal_time, batch.journal_time)
                files.append(file)
            descriptor = self._descriptor(str(part.stream), file)
            view = memoryview(part.ndjson)
            while view:
                view = view[os.write(descriptor, view) :]
            file.length += len(part.ndjson)
            file.documents += len(part.ids)
            file.last_time = batch.journal_time
            self.uncommitted_bytes += len(part.ndjson)
        self.manifest.position = batch.next

    def _descriptor(self, stream: str, file: StoredFile) -> int:
        descriptor = self._descriptors.get(stream)
        if descriptor is None:
            folder = self._folder / stream
            if not folder.exists():
                folder.mkdir(mode=0o700)
                sync_directory(self._folder)
            path = folder / file.name
            is_new = not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._descriptors[stream] = descriptor
            if is_new:
                sync_directory(folder)
        return descriptor

    def _seal(self, stream: str, file: StoredFile) -> None:
        file.open = False
        descriptor = self._descriptors.pop(stream, None)
        if descriptor is not None:
            os.fdatasync(descriptor)
            os.close(descriptor)

    def commit(self, now: int) -> None:
        """Make everything appended durable and visible, and delete what is past its time; `now` is journal time."""
        for descriptor in self._descriptors.values():
            os.fdatasync(descriptor)
        doomed = self._expired(now)
        write_manifest(self._folder, self.manifest)
        self.uncommitted_bytes = 0
        for stream, file in doomed:
            (self._folder / stream / file.name).unlink(missing_ok=True)

    def _expired(self, now: int) -> list[tuple[str, StoredFile]]:
        """Take files past retention or limit out of the manifest, oldest first, never the one being written."""
        sealed = [
            (file.last_time, stream, file)
            for stream, files in self.manifest.streams.items()
            for file in files
            if not file.open or now - file.last_time > self._retention_ns
        ]
        doomed = []
        excess_bytes = self.manifest.bytes - self._limit_bytes
        for last_time, stream, file in sorted(sealed, key=lambda item: item[0]):
            if now - last_time <= self._retention_ns and excess_bytes <= 0:
                break
            excess_bytes -= file.length
            if file.open:
                self._seal(stream, file)
            self.manifest.streams[stream].remove(file)
            doomed.append((stream, file))
        return doomed

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
