"""The books as documents: each closed row is appended to the journal once, as a record of an internal producer.

Told is a row that the book on disk counts as closed. How far each output's rows are told stands in the producer's
cursor, so a crash tells none twice. These records are in no book: they would make rows of their own for ever. An hour
that is over while nothing comes is closed by a tick, unless nothing but ticks came in it. One is enough, however long
an output needs to come to it.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from collector.balance.book import Book
from collector.balance.files import ClosedRow, closed_rows, read_book
from collector.balance.report import balanced_row, figures_of
from collector.errors import DataDirError, sentence_of
from collector.internal import TICK_ORIGIN, InternalClient, InternalClosed
from collector.logs import Recurring, get_logger
from collector.producer import JournalProducer
from collector.role import Context
from pipelines.accounts import BOOKS_PEER
from pipelines.normalize.balance import BalanceRecord
from pipelines.state import HOUR_NS

ENCODING: Final = "balance"

INTERVAL_S: Final = 5.0
"""How often closed rows are looked for."""

PORTION_ROWS: Final = 256
"""Rows that are appended at once."""

logger = get_logger("worker")

_told = msgspec.json.Decoder(dict[str, int]).decode


async def tell_balance(context: Context) -> None:
    """Append closed rows that are not told yet, and those that come, until cancelled."""
    failures = Recurring()
    socket = context.data_dir / "run" / "intake.sock"
    outputs = sorted(context.config.outputs)
    async with JournalProducer(socket, BOOKS_PEER, encoding=ENCODING) as producer:
        told = _known(await producer.cursor())
        ticked_hour = 0
        while True:
            try:
                books = await asyncio.to_thread(_read, context.data_dir, outputs)
                told = {key: told.get(key, 0) for key in (_key(name, book) for name, book in books.items())}
                for name, book in books.items():
                    rows = untold(context.data_dir, name, book, told[_key(name, book)])
                    while portion := await asyncio.to_thread(_portion, rows):
                        await producer.append_all(list(_messages(name, book, portion, told)))
                    # What the file has lost is not looked for again.
                    told[_key(name, book)] = max(told[_key(name, book)], book.closed)
                hour = time.time_ns() // HOUR_NS
                if wants_tick([*books.values()], hour, ticked_hour) and await _tick(socket):
                    ticked_hour = hour
            except (OSError, DataDirError) as error:
                reason = sentence_of(error) or str(error)
                if failures.is_due(reason):
                    logger.error("balance_not_told", reason=reason)  # noqa: TRY400 - a sentence
            await asyncio.sleep(INTERVAL_S)


def untold(data_dir: Path, output: str, book: Book, told: int) -> Iterator[ClosedRow]:
    """Yield an output's closed rows behind the one that was told last. Blocks; raises OSError."""
    if book.closed > told:
        yield from (row for row in closed_rows(data_dir, output) if told < row.number <= book.closed)


def wants_tick(books: Sequence[Book], hour: int, ticked_hour: int) -> bool:
    """Tell whether an hour before this one is over in which something came, and no frame says so yet.

    A book that is behind another, or behind a tick, comes to such a frame by itself, when its output is well again.
    """
    reached = max([ticked_hour, *(book.hour for book in books)])
    clock = (TICK_ORIGIN.input, TICK_ORIGIN.peer)
    return reached < hour and any(
        (account.input, account.peer) != clock for book in books if book.hour == reached for account in book.rows
    )


def payload_of(output: str, closed: ClosedRow) -> bytes:
    """Encode what the pipeline makes a document of."""
    account = closed.account
    return msgspec.json.encode(
        BalanceRecord(
            hour=account.hour,
            output=output,
            input=account.input,
            peer=account.peer,
            balanced=closed.row.is_balanced,
            figures=figures_of(balanced_row(account, output, closed.row)),
        )
    )


def _portion(rows: Iterator[ClosedRow]) -> list[ClosedRow]:
    return list(islice(rows, PORTION_ROWS))


def _read(data_dir: Path, outputs: Sequence[str]) -> Mapping[str, Book]:
    books = {name: read_book(data_dir, name) for name in outputs}
    return {name: book for name, book in books.items() if book is not None}


def _messages(
    output: str, book: Book, rows: Sequence[ClosedRow], told: dict[str, int]
) -> Iterator[tuple[bytes, bytes]]:
    for row in rows:
        told[_key(output, book)] = row.number
        yield payload_of(output, row), msgspec.json.encode(told)


def _key(output: str, book: Book) -> str:
    """Return what tells an output's book from one before it, whose rows were counted from 1 on as well."""
    return f"{output}@{book.since.epoch}-{book.since.sequence}"


def _known(cursor: bytes) -> dict[str, int]:
    try:
        return _told(cursor or b"{}")
    except msgspec.DecodeError:
        return {}


async def _tick(socket: Path) -> bool:
    """Let journal time go on; tell whether it does, durably."""
    with contextlib.suppress(InternalClosed, OSError):
        async with InternalClient(socket) as client:
            return await client.tick()
    return False
