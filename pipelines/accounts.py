"""Whose records a batch is about: its tally by hour and source, by which the books balance (P2).

The hour is that of the record's own frame in journal time, also where the record waited and settles in a later one; the
source is the input and the peer of the message that it came in. All that is counted here is a function of the frame and
of the state before it, so whoever reads a frame again counts the same.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from pipelines.batch import Account, Accounts, Batch, Counts
from pipelines.books import Control, Refused
from pipelines.frame import Frame, Message
from pipelines.normalize.parsed import Document
from pipelines.settled import Joined, Piece, Settled
from pipelines.state import HOUR_NS, OpenLine

RESEND: Final = "resend"
"""Encoding of a message that came again: it claims what the stored one holds, and is one record itself."""

BOOKS_INPUT: Final = "tidewaiter"
BOOKS_PEER: Final = "balance"
"""The source of the books' own records, which no book counts: rows would make rows for ever."""

_origin, _length, _claimed = attrgetter("origin"), attrgetter("length"), attrgetter("claimed")


class Ledger:
    """What a path notes of one frame while it goes through it: whose records begin where, which claims are wrong."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._hour = frame.journal_time // HOUR_NS
        self._accounts = [Account(self._hour, origin.input, origin.peer) for origin in frame.origins]
        self._runs: list[tuple[int, Account]] = []
        self._differences: dict[Account, tuple[int, int]] = {}

    def begin(self, index: int, message: Message) -> None:
        """Note that the record of this index, and those behind it, are of this message."""
        account = self._accounts[message.origin]
        if not self._runs or self._runs[-1][1] != account:
            self._runs.append((index, account))

    def compare(self, messages: Sequence[Message], encoding: str, found: int) -> None:
        """Note what messages claim that hold `found` records, where it is something else."""
        first = messages[0]
        claimed = first.claimed * len(messages)
        if first.claimed < 0 or claimed == found or encoding == RESEND:
            return
        account = self._accounts[first.origin]
        more, fewer = self._differences.get(account, (0, 0))
        self._differences[account] = (more + max(claimed - found, 0), fewer + max(found - claimed, 0))

    def close(
        self, records: range, settled: Iterable[tuple[int, Settled]], waited: Sequence[Joined], *, last: bool
    ) -> Accounts:
        """Return the accounts of a slice of the frame. Of `settled`, with indexes, plain documents may be left out.

        What messages say is counted with the `last`.
        """
        rows: dict[Account, Counts] = {}
        runs = tuple(self._runs_of(records))
        starts = [start for start, _ in runs]
        for (start, account), stop in zip(runs, [*starts[1:], records.stop], strict=False):
            counts = rows.setdefault(account, Counts())
            counts.records += stop - start
            counts.documents += stop - start
        lines = list(waited)
        for index, item in settled:
            account = runs[0][1] if len(runs) == 1 else runs[bisect_right(starts, index) - 1][1]
            self._count(rows[account], item)
            if isinstance(item, Piece):
                lines += item.lines
        for line in lines:
            self._settle(line, rows)
        if last:
            self._count_messages(rows)
        uncounted = sum(rows.pop(account).documents for account in [*rows] if is_of_books(account))
        firsts = {line.frame.position._replace(record=line.index): _first(line) for line in lines}
        return Accounts(rows, runs, firsts, uncounted)

    def _runs_of(self, records: range) -> Iterator[tuple[int, Account]]:
        """Yield where whose records begin, of these."""
        if not records:
            return
        at = bisect_right(self._runs, records.start, key=lambda run: run[0]) - 1
        yield records.start, self._runs[at][1]
        for start, account in self._runs[at + 1 :]:
            if start >= records.stop:
                return
            yield start, account

    def _count(self, counts: Counts, item: Settled) -> None:
        """Count a record that is no plain document."""
        if isinstance(item, Document):
            counts.derived += len(item.derived)
            return
        counts.documents -= 1
        if isinstance(item, Refused):
            counts.dead += 1
        elif isinstance(item, Control):
            counts.control += 1
        elif item.parked:
            counts.parked += 1
        elif all(line.waited == line.pieces for line in item.lines):
            counts.control += 1

    def _settle(self, line: Joined, rows: dict[Account, Counts]) -> None:
        """Count a line's document, and its pieces in their hours; one of them may be the record at hand."""
        first = _first(line)
        counts = rows.setdefault(first, Counts())
        counts.documents += 1
        counts.derived += len(line.document.derived)
        for hour, pieces in line.by_hour.items():
            own = rows.setdefault(first._replace(hour=hour), Counts())
            own.joined += pieces - (hour == first.hour)
            own.taken_up += pieces
        if line.waited < line.pieces:
            rows[first._replace(hour=self._hour)].taken_up -= line.pieces - line.waited

    def _count_messages(self, rows: dict[Account, Counts]) -> None:
        for origin, each in groupby(self._frame.messages, key=_origin):
            messages = list(each)
            counts = rows.setdefault(self._accounts[origin], Counts())
            counts.messages += len(messages)
            counts.bytes += sum(map(_length, messages))
            counts.claimed += sum(claimed for claimed in map(_claimed, messages) if claimed > 0)
        at = 0
        for run in self._frame.runs:
            if run.encoding == RESEND:
                for message in self._frame.messages[at : at + run.messages]:
                    counts = rows[self._accounts[message.origin]]
                    counts.resends += 1
                    counts.claimed -= max(message.claimed, 0)
            at += run.messages
        for account, (more, fewer) in self._differences.items():
            rows[account].claimed_more += more
            rows[account].claimed_fewer += fewer


def is_of_books(account: Account) -> bool:
    """Tell whether a source is the books themselves."""
    return account.peer == BOOKS_PEER and account.input == BOOKS_INPUT


def with_dead(accounts: Accounts, lines: Iterable[OpenLine]) -> Accounts:
    """Return the accounts with the pieces of lines that waited and are dead letters now."""
    rows = {account: msgspec.structs.replace(counts) for account, counts in accounts.rows.items()}
    for line in lines:
        for hour, pieces in line.by_hour.items():
            counts = rows.setdefault(Account(hour, line.origin.input, line.origin.peer), Counts())
            counts.dead += pieces
            counts.taken_up += pieces
    return msgspec.structs.replace(accounts, rows=rows)


def as_taken(batch: Batch, frame: Frame) -> Batch:
    """Return a batch of a frame in which parts were set apart, with the messages that the intake took of it."""
    if batch.next.sequence == batch.position.sequence:
        return batch
    rows = {account: msgspec.structs.replace(counts, messages=0) for account, counts in batch.accounts.rows.items()}
    for message in frame.messages:
        origin = frame.origins[message.origin]
        account = Account(frame.journal_time // HOUR_NS, origin.input, origin.peer)
        if account in rows:
            rows[account].messages += 1
    return msgspec.structs.replace(batch, accounts=msgspec.structs.replace(batch.accounts, rows=rows))


def _first(line: Joined) -> Account:
    """Return the account of a line's first piece."""
    origin = line.frame.origins[0]
    return Account(line.frame.journal_time // HOUR_NS, origin.input, origin.peer)
