"""Dead letters: what could not be decoded or was refused for good, with its bytes and the reason.

    dead-letters/<source>.ndjson           one JSON object a line; <source> is `pipeline` or an output's name
    dead-letters/<source>.<number>.ndjson  older ones of the same source; nothing is appended any more

A letter is on disk before the cursor passes its record. At a start every letter at or beyond the cursor is cut, since
its record will be met again; so a crash loses none and doubles none. When a source has reached its limit its output
waits, and nothing is deleted silently: an operator replays what stands there, or moves older files away.

Whoever changes files holds the folder's lock, for no longer than a file's rewriting takes; readers open all files of a
source under it, so they miss none that is renamed meanwhile.
"""

import base64
import contextlib
import fcntl
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from collector import telemetry
from collector.config import DEAD_LETTERS_OUTPUT, PIPELINE_SOURCE
from collector.config_values import size_text
from collector.durable_files import append_to_file, make_folder, sync_directory
from collector.errors import DataDirError
from collector.journal.segments import first_position, segment_files
from pipelines.frame import Position

DEAD_LETTERS: Final = DEAD_LETTERS_OUTPUT
"""Name of the folder, and of the built-in output that writes the pipeline's letters."""

PIPELINE: Final = PIPELINE_SOURCE

LIMIT_BYTES: Final = 1 << 30
"""Bound of one source's files; when it is reached the output waits, and nothing is deleted silently."""

FILE_BYTES: Final = 16 << 20
"""A file that is so long is closed and the next begun: what a replay delivered is taken out by writing a file anew."""

LOOKED_AT_BYTES: Final = 1 << 20
"""Read at once where a last line's beginning is looked for."""

_closed = re.compile(r"([a-z0-9_-]+)\.([0-9]{6,})\.ndjson")
_check = re.compile(rb',"check":([0-9]{1,10})\}\n')


class Letter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One dead letter. `time` is journal time; `payload` the bytes as they came, or the refused document, in Base64.

    `code` is the store's own type of the refusal and `reason` its words. `stream` is the document's data stream,
    `tries` how often it was offered, `tried` when a replay offered it last (RFC 3339). `kept_ns` is when it was
    written, in nanoseconds since 1970, later than all of its source before; 0 in those of older versions.
    """

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
    stream: str = ""
    tries: int = 1
    tried: str = ""
    kept_ns: int = 0

    @property
    def payload_bytes(self) -> bytes:
        """The bytes themselves; raises ValueError where they are no Base64."""
        return base64.b64decode(self.payload, validate=True)

    @property
    def target(self) -> str:
        """The data stream of its document; empty where it holds none."""
        if self.stream or self.document_id is None:
            return self.stream
        with contextlib.suppress(ValueError, RecursionError):
            return "-".join(_stream(self.payload_bytes).data_stream)
        return ""


class _StreamOf(msgspec.Struct):
    type: str
    dataset: str
    namespace: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.type, self.dataset, self.namespace))


class _Streamed(msgspec.Struct):
    data_stream: _StreamOf


_stream = msgspec.json.Decoder(_Streamed).decode
_letter = msgspec.json.Decoder(Letter).decode


class Refusal(NamedTuple):
    """Why a letter was refused again."""

    code: str
    reason: str


class DeadLettersFullError(Exception):
    """A source has reached its limit: an operator has to look at it."""


class Letters(Protocol):
    """Where an output puts what is refused for good."""

    path: Path

    def open(self, cursor: Position | None) -> None:
        """Get ready for letters from `cursor` on. May block."""

    def append(self, letters: Sequence[Letter]) -> None:
        """Keep letters, all or none; raise DeadLettersFullError or OSError. May block."""


class DeadLetterFile:
    """The letters of one source. Blocking; several may stand for one source, in any thread or process."""

    def __init__(
        self, data_dir: Path, source: str, *, limit_bytes: int = LIMIT_BYTES, file_bytes: int = FILE_BYTES
    ) -> None:
        self.path = data_dir / DEAD_LETTERS / f"{source}.ndjson"
        self._source = source
        self._journal = data_dir / "journal"
        self._limit_bytes = limit_bytes
        self._file_bytes = file_bytes
        self._kept_ns = 0

    @property
    def files(self) -> list[Path]:
        """All files that are there, oldest first."""
        return [*self.closed, *([self.path] if self.path.exists() else [])]

    @property
    def closed(self) -> list[Path]:
        """The files that nothing is appended to any more, oldest first."""
        return _closed_files(self.path.parent, self._source)

    def open(self, cursor: Position | None) -> None:
        """Make the folder; cut what will be met again from `cursor` on (None: the oldest frame), and a torn end.

        Letters stand in the order of their refusals, which is not that of their records: several requests are in
        flight. A damaged line is nobody's to judge and stays.
        """
        make_folder(self.path.parent)
        again_from = _oldest(self._journal) if cursor is None else cursor

        def not_met_again(letter: Letter) -> Letter | None:
            self._kept_ns = max(self._kept_ns, letter.kept_ns)
            return letter if again_from is None or letter.position < again_from else None

        with _locked(self.path.parent):
            for path in self.files:
                _cut_torn_end(path)
                _rewrite(path, not_met_again)
            self._count()

    def append(self, letters: Sequence[Letter]) -> None:
        """Write letters durably, all or none; raise DeadLettersFullError or OSError."""
        first_ns = max(time.time_ns(), self._kept_ns + 1)
        content = b"".join(
            _line(msgspec.structs.replace(letter, kept_ns=first_ns + number)) for number, letter in enumerate(letters)
        )
        with _locked(self.path.parent):
            used = sum(path.stat().st_size for path in self.files)
            if used and used + len(content) > self._limit_bytes:
                reached = f"those of {self._source} have reached {size_text(self._limit_bytes)}"
                raise DeadLettersFullError(f"{reached}: {self._what_to_do}")
            if self.path.exists() and self.path.stat().st_size >= self._file_bytes:
                self._close()
            append_to_file(self.path, content)
            self._kept_ns = first_ns + len(letters) - 1
            self._count()

    @property
    def _what_to_do(self) -> str:
        away = f"move {self.path.with_suffix('')}.*ndjson away"
        if self._source == PIPELINE:
            return f"look at them (tidewaiter dead-letters list) and {away}, or raise dead_letters.limit"
        return f"deliver them (tidewaiter dead-letters replay --output {self._source}), or {away}"

    def close(self) -> None:
        """Let nothing more be appended to what is there: the next letter begins a new file."""
        with _locked(self.path.parent):
            if self.path.exists():
                self._close()

    def _close(self) -> None:
        number = max((_number(path) for path in self.closed), default=0) + 1
        self.path.rename(self.path.with_name(f"{self._source}.{number:06}.ndjson"))
        sync_directory(self.path.parent)

    def take_out(self, path: Path, tried: Mapping[str, Refusal | None], *, at: str) -> None:
        """Take letters out of a closed file that a replay delivered; of those refused again note when and why.

        `tried` is by the letters' ids, `at` the time (RFC 3339). A file that is gone, or letters that are, was
        somebody's wish. Raises OSError, after which the file is as it was.
        """

        def kept(letter: Letter) -> Letter | None:
            if letter.id not in tried:
                return letter
            refusal = tried[letter.id]
            if refusal is None:
                return None
            code, reason = refusal
            return msgspec.structs.replace(letter, code=code, reason=reason, tries=letter.tries + 1, tried=at)

        with _locked(self.path.parent), contextlib.suppress(FileNotFoundError):
            _rewrite(path, kept)
            self._count()

    def _count(self) -> None:
        used = sum(path.stat().st_size for path in self.files)
        telemetry.DEAD_LETTER_BYTES.labels(source=self._source).set(used)


@contextlib.contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the folder's lock; it ends with the process at the latest."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _rewrite(path: Path, kept: Callable[[Letter], Letter | None]) -> None:
    """Put for each letter of a file what `kept` returns, nothing for None; other lines stay as they are.

    A file that nothing changes in is left alone. One in which nothing is left is removed, which needs no room.
    """
    changed = left = 0
    with path.open("rb") as old:
        for line in old:
            letter = decoded(line)
            after = kept(letter) if letter is not None else None
            changed += after is not letter
            left += letter is None or after is not None
    if left and changed:
        _write_anew(path, kept)
    elif changed:
        path.unlink()
        sync_directory(path.parent)


def _write_anew(path: Path, kept: Callable[[Letter], Letter | None]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        with path.open("rb") as old, temporary.open("wb") as new:
            temporary.chmod(0o600)
            for line in old:
                letter = decoded(line)
                after = kept(letter) if letter is not None else None
                if after is letter:
                    new.write(line)
                elif after is not None:
                    new.write(_line(after))
            new.flush()
            os.fsync(new.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def _cut_torn_end(path: Path) -> None:
    """Cut what a crash left of a last line; looked for from the end, for the file may be long."""
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        sound_bytes = 0
        while end and not sound_bytes:
            start = max(end - LOOKED_AT_BYTES, 0)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            sound_bytes = start + found + 1 if found >= 0 else 0
            end = start
        if sound_bytes < size:
            file.truncate(sound_bytes)


def _line(letter: Letter) -> bytes:
    """Encode a letter with a checksum (CRC-32 of what stands before it) that tells of damage on the disk."""
    content = msgspec.json.encode(letter)[:-1]
    return b'%b,"check":%d}\n' % (content, zlib.crc32(content))


def decoded(line: bytes) -> Letter | None:
    """Return the letter of a line, None for a damaged one; letters of older versions have no checksum."""
    if not line.endswith(b"}\n"):
        return None
    found = _check.search(line, max(len(line) - 24, 0))
    if found is not None:
        content = line[: found.start()]
        if zlib.crc32(content) != int(found[1]):
            return None
        line = content + b"}"
    try:
        return _letter(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _oldest(journal: Path) -> Position | None:
    """Return the position of the oldest frame that the journal still has, None when it has none."""
    names = segment_files(journal) if journal.is_dir() else []
    return first_position(names[0]) if names else None


def _number(path: Path) -> int:
    found = _closed.fullmatch(path.name)
    return int(found[2]) if found is not None else 0


def _closed_files(folder: Path, source: str) -> list[Path]:
    found = [path for path in folder.glob(f"{source}.*.ndjson") if _number(path)]
    return sorted(found, key=_number)


def sources(data_dir: Path) -> list[str]:
    """Return who has letters: `pipeline`, and outputs by name, also those that the configuration has no more."""
    found = {path.name.split(".")[0] for path in (data_dir / DEAD_LETTERS).glob("[!.]*.ndjson")}
    return sorted(found)


def letters_in(path: Path) -> Iterator[Letter]:
    """Yield the letters of one file, passing over damaged ones."""
    with path.open("rb") as file:
        for line in file:
            if (letter := decoded(line)) is not None:
                yield letter


def opened_files(data_dir: Path, source: str, until: contextlib.ExitStack) -> list[Any]:
    """Open all files of a source as they are at one moment, oldest first."""
    folder = data_dir / DEAD_LETTERS
    if not folder.is_dir():
        return []
    with _locked(folder, fcntl.LOCK_SH):
        return [until.enter_context(path.open("rb")) for path in DeadLetterFile(data_dir, source).files]


def read_letters(data_dir: Path, source: str, *, damaged: Callable[[str], object] | None = None) -> Iterator[Letter]:
    """Yield the letters of a source, oldest first, as they are at the first one's reading.

    `damaged` is told the place of each damaged line; without it one raises DataDirError. A last line that has no end is
    being written.
    """
    with contextlib.ExitStack() as until:
        for file in opened_files(data_dir, source, until):
            for number, line in enumerate(file, 1):
                letter = decoded(line)
                if letter is not None:
                    yield letter
                elif line.endswith(b"\n"):
                    place = f"{file.name}:{number}: damaged"
                    if damaged is None:
                        raise DataDirError(place)
                    damaged(place)


def letter_id(source: str, position: Position, number: int = 0) -> str:
    """Return an id that the same refusal gets again after a crash."""
    apart = f"-{number}" if number else ""
    return f"{source}-{position.partition}-{position.epoch}-{position.sequence}-{position.record}{apart}"
