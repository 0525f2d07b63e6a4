"""Letters of what is condemned behind the back of who writes them: an output that lags met it, they have passed it.

They are written once, before the verdict: a kill in between loses none, and who is asked again finds them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from collector.balance.files import read_book
from collector.dead_letters import DEAD_LETTERS, PIPELINE, DeadLetterFile, Letter, read_letters
from collector.journal.cursors import read_cursor
from collector.outputs.dead_letters import letters_of
from pipelines.batch import Batch
from pipelines.condemned import Cause
from pipelines.frame import Position

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Letter).decode


def passed_to(data_dir: Path, position: Position) -> Position | None:
    """Return where who writes letters goes on, None where the frame at a position comes then or in part.

    Raises DataDirError, OSError.
    """
    book, cursor = read_book(data_dir, DEAD_LETTERS), read_cursor(data_dir / "journal", DEAD_LETTERS)
    found = max(position if book is None else book.position, position if cursor is None else cursor)
    return found if found._replace(record=0) > position else None


def write_lines(batches: Iterable[Batch], cause: Cause, into: BinaryIO) -> None:
    """Write the letters of what is condemned for this in a frame, a line each."""
    for batch in batches:
        for letter in letters_of(batch):
            if letter.code == cause:
                into.write(_encode(letter) + b"\n")
    into.flush()


def keep_lines(data_dir: Path, lines: Iterable[bytes], *, passed: Position, limit_bytes: int) -> None:
    """Keep those letters that are not kept yet; raise DeadLettersFullError, OSError."""
    file = DeadLetterFile(data_dir, PIPELINE, limit_bytes=limit_bytes)
    file.open(passed)
    kept = {letter.id for letter in read_letters(data_dir, PIPELINE, damaged=lambda _: None)}
    letters = [letter for letter in map(_decode, lines) if letter.id not in kept]
    if letters:
        file.append(letters)
