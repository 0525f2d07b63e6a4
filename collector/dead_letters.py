"""Dead letters: what could not be decoded or was refused for good, with its bytes and the reason.

    dead-letters/<source>.ndjson    one JSON object a line; <source> is `pipeline` or an output's name

A letter is on disk before the cursor passes its record. At a start every letter at or beyond the cursor is cut, since
its record will be met again; so a crash loses none and doubles none. A full file makes its output wait; an operator
moves it away.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from collector.config import DEAD_LETTERS_OUTPUT, PIPELINE_SOURCE
from collector.durable_files import make_folder, sync_directory, write_all
from collector.errors import DataDirError
from collector.journal.segments import first_position, segment_files
from pipelines.frame import Position

DEAD_LETTERS: Final = DEAD_LETTERS_OUTPUT
"""Name of the folder, and of the built-in output that writes the pipeline's letters."""

PIPELINE: Final = PIPELINE_SOURCE

LIMIT_BYTES: Final = 1 << 30
"""Bound of one source's file; when it is reached the output waits, and nothing is deleted silently."""


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dead letter. `time` is journal time; `payload` the bytes as they came, or the refused document, in Base64."""

    id: str
    position: Position
    time: str
    stage: str
    code: str
    reason: str
    origin: str
    payload: str
    records: int = 1
    document_id: str | None = None

    @property
    def payload_bytes(self) -> bytes:
        """The bytes themselves."""
        return base64.b64decode(self.payload)


class DeadLettersFullError(Exception):
    """The file has reached its limit: an operator has to look at it."""


class DeadLetterFile:
    """The letters of one source. Blocking; one thread at a time."""

    def __init__(self, data_dir: Path, source: str, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = data_dir / DEAD_LETTERS / f"{source}.ndjson"
        self._journal = data_dir / "journal"
        self._limit_bytes = limit_bytes

    def open(self, cursor: Position | None) -> None:
        """Make the folder; cut what will be met again from `cursor` on (None: the oldest frame), and a torn end.

        Letters stand in the order of their refusals, which is not that of their records: several requests are in
        flight. A damaged line between others is nobody's to judge and stays.
        """
        make_folder(self.path.parent)
        if not self.path.exists():
            return
        again_from = _oldest(self._journal) if cursor is None else cursor
        sound_bytes = at = 0
        met_again = False
        with self.path.open("rb") as file:
            for line in file:
                at += len(line)
                letter = _decoded(line)
                if letter is not None:
                    sound_bytes = at
                    met_again |= not _is_before(letter, again_from)
        if met_again:
            self._rewrite(sound_bytes, again_from)
        elif sound_bytes < at:
            os.truncate(self.path, sound_bytes)

    def _rewrite(self, sound_bytes: int, again_from: Position | None) -> None:
        temporary = self.path.with_name(f".{self.path.name}.new")
        at = 0
        with self.path.open("rb") as old, temporary.open("wb") as new:
            temporary.chmod(0o600)
            for line in old:
                at += len(line)
                if at > sound_bytes:
                    break
                letter = _decoded(line)
                if letter is None or _is_before(letter, again_from):
                    new.write(line)
            new.flush()
            os.fsync(new.fileno())
        temporary.rename(self.path)
        sync_directory(self.path.parent)

    def append(self, letters: Sequence[Letter]) -> None:
        """Write letters durably, all or none; raise DeadLettersFullError or OSError."""
        content = b"".join(msgspec.json.encode(letter) + b"\n" for letter in letters)
        is_new = not self.path.exists()
        size = 0 if is_new else self.path.stat().st_size
        if size and size + len(content) > self._limit_bytes:
            raise DeadLettersFullError(f"{self.path} has reached {self._limit_bytes} bytes: move it away to go on")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write(descriptor, content, size)
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self.path.parent)


def _write(descriptor: int, content: bytes, size: int) -> None:
    """Append and sync; when that fails leave the file as it was, so that a later try begins at a line's start."""
    try:
        write_all(descriptor, content)
        os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _oldest(journal: Path) -> Position | None:
    """Return the position of the oldest frame that the journal still has, None when it has none."""
    names = segment_files(journal) if journal.is_dir() else []
    return first_position(names[0]) if names else None


def _is_before(letter: Letter, position: Position | None) -> bool:
    return position is None or letter.position < position


def read_letters(data_dir: Path, source: str) -> Iterator[Letter]:
    """Yield the letters of a source, oldest first; raise DataDirError on a damaged line that is not the last."""
    path = data_dir / DEAD_LETTERS / f"{source}.ndjson"
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            letter = _decoded(line)
            if letter is None:
                if line.endswith(b"\n"):
                    raise DataDirError(f"{path}:{number}: damaged")
                return
            yield letter


def letter_id(source: str, position: Position) -> str:
    """Return an id that the same refusal gets again after a crash."""
    return f"{source}-{position.partition}-{position.epoch}-{position.sequence}-{position.record}"


def _decoded(line: bytes) -> Letter | None:
    try:
        return msgspec.json.decode(line, type=Letter) if line.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
