"""The books of a worker: opened where consumers go on, written before their cursors, and what does not balance told."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collector import telemetry
from collector.balance.book import Book
from collector.balance.files import Snapshot, book_path, open_book, set_aside, snapshot, write_snapshot
from collector.config import DEAD_LETTERS_OUTPUT
from collector.errors import DataDirError
from collector.journal.cursors import read_cursor, write_cursor
from collector.logs import get_logger
from pipelines.frame import Position
from pipelines.state import HOUR_NS

PROBLEMS_TOLD: Final = 8
"""So many sentences of what does not balance are logged at once; all are counted."""

NOTHING_SETTLED: Final = Position(0, 0, 0)

logger = get_logger("worker")


class Books:
    """Books by consumer. `open` and `write` block; all else belongs to the event loop."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._books: dict[str, Book] = {}
        self._unwritten: dict[str, bytes] = {}

    def open(self, consumer: str, cursor: Position | None) -> Book:
        """Return the book of a consumer whose cursor this is; raises OSError. Read once, and then the one in memory.

        Its position is where the consumer goes on: the book is written first, so a kill leaves the cursor behind it.
        One that cannot be read, or that the cursor has passed, begins anew at the cursor.
        """
        if consumer in self._books:
            return self._books[consumer]
        book, reason = None, ""
        try:
            book = open_book(self._data_dir, consumer)
        except DataDirError as error:
            reason = str(error)
        if book is not None and cursor is not None and cursor > book.position:
            book, reason = None, "the cursor stands behind what was counted"
        if reason:
            logger.error("balance_begins_anew", output=consumer, reason=reason)
        if book is None:
            book = self._begun(consumer, cursor or NOTHING_SETTLED)
        self._books[consumer] = book
        return book

    def begin(self, journal: Path, consumers: Mapping[str, bool], end: Position) -> None:
        """Write down where consumers begin that are new, with the oldest record or at `end`; raises OSError.

        The collector's own is written last: as long as it has no book, this is the first start, with this data folder
        or of a program that keeps books, and nobody is new beside others.
        """
        is_first = not book_path(self._data_dir, DEAD_LETTERS_OUTPUT).exists()
        for consumer, oldest in {**consumers, DEAD_LETTERS_OUTPUT: True}.items():
            try:
                cursor = read_cursor(journal, consumer)
            except DataDirError:
                continue  # the consumer says so when it is run
            if cursor is not None or book_path(self._data_dir, consumer).exists():
                if consumer == DEAD_LETTERS_OUTPUT and is_first:
                    self.open(consumer, cursor)
                    self.write(journal, consumer, self.take(consumer))
                continue
            self._books[consumer] = self._begun(consumer, NOTHING_SETTLED if is_first or oldest else end)
            self.write(journal, consumer, self.take(consumer))

    def take(self, consumer: str) -> Snapshot:
        """Return what is to be written of a book now, and tell what does not balance."""
        book = self._books[consumer]
        if book.skipped:
            skipped, book.skipped = book.skipped, 0
            telemetry.OUTPUT_DOCUMENTS.labels(output=consumer, outcome="skipped").inc(skipped)
        if book.problems:
            problems, book.problems = book.problems, []
            telemetry.BALANCE_MISMATCHES.labels(output=consumer).inc(len(problems))
            for problem in problems[:PROBLEMS_TOLD]:
                logger.error("balance_mismatch", output=consumer, reason=problem)
        taken = snapshot(book)
        return Snapshot(taken.position, self._unwritten.pop(consumer, b"") + taken.closed, taken.content)

    def put_back(self, consumer: str, taken: Snapshot) -> None:
        """Take back what could not be written: rows that were closed are written with the next one."""
        self._unwritten[consumer] = taken.closed + self._unwritten.get(consumer, b"")

    def write(self, journal: Path, consumer: str, taken: Snapshot) -> None:
        """Write a book, then the cursor; raises OSError."""
        write_snapshot(self._data_dir, consumer, taken)
        write_cursor(journal, consumer, taken.position)

    def _begun(self, consumer: str, since: Position) -> Book:
        """Return a new book, beside nothing of one before; in the hours up to now it may lack what came before."""
        set_aside(self._data_dir, consumer)
        return Book(since, since_hour=time.time_ns() // HOUR_NS if since.epoch else 0)
