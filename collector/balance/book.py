"""One consumer's book in memory: rows by account, and the checks that each record settles exactly once."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from pipelines.accounts import is_of_books
from pipelines.batch import Account, Accounts, Counts
from pipelines.frame import ID_CHARACTERS, Position, position_of
from pipelines.state import HOUR_NS

SOURCES_LIMIT: Final = 512
"""Rows of one hour; sources beyond it share a row for each input: peers could be made up without end."""

OTHER_PEERS: Final = "(others)"
"""The peer of that row."""

_ADDED: Final = Counts.__struct_fields__


class Row(Counts):
    """What is counted of one account for one consumer.

    Of its `documents`, `refused` are dead letters of the output's, and `skipped` were not delivered because the output
    is optional and held up the journal; all others are delivered. `refused_derived` and `skipped_derived` are the same
    of derived ones.
    """

    refused: int = 0
    refused_derived: int = 0
    skipped: int = 0
    skipped_derived: int = 0

    @property
    def delivered(self) -> int:
        """Records of which the output has the document."""
        return self.documents - self.refused - self.skipped

    @property
    def waiting(self) -> int:
        """Records that were read and wait for the rest of their line, or for what their container is."""
        return self.parked - self.taken_up

    @property
    def is_balanced(self) -> bool:
        """Whether every record that was read is settled in one way, or waits."""
        settled = self.documents + self.joined + self.control + self.dead + self.dropped + self.damaged
        return self.records == settled + self.waiting and min(self.delivered, self.waiting) >= 0


class Settled(msgspec.Struct):
    """What is settled at once: the records from `position` up to `next`. `made` are the documents of the batch."""

    position: Position
    next: Position
    journal_time: int
    accounts: Accounts
    made: int
    refused: list[bytes] = []
    skipped: bool = False


class Book:
    """The rows of one consumer. `since` is the position from which on it counts; `position` up to which.

    `closed` is the number of rows that were closed so far; `hour` that of the newest frame it counted. `problems` are
    sentences about what does not balance, `skipped` documents that were; who asks takes them.

    Where it begins in a journal, records that came before may wait: they count when they settle, in their own hour.
    """

    def __init__(self, since: Position, *, since_hour: int = 0) -> None:
        self.since = since
        self.since_hour = since_hour
        self.position = since
        self.hour = 0
        self.closed = 0
        self.rows: dict[Account, Row] = {}
        self.problems: list[str] = []
        self.skipped = 0
        self._sources = 0

    def restore(self, rows: Iterable[tuple[Account, Row]]) -> None:
        """Take over open rows."""
        self.rows = dict(rows)
        self._sources = sum(account.hour == self.hour for account in self.rows)

    def settle(self, settled: Settled) -> None:
        """Count what is settled."""
        hour = settled.journal_time // HOUR_NS
        if hour > self.hour:
            self.hour, self._sources = hour, 0
        here = self.position
        if settled.position.epoch == here.epoch and settled.position != here:
            self.problems.append(f"it goes on at {_text(settled.position)}, and was counted up to {_text(here)}")
        made = 0
        for account, counts in settled.accounts.rows.items():
            row = self._row(account)
            for name in _ADDED:
                value = getattr(counts, name)
                if value:
                    setattr(row, name, getattr(row, name) + value)
            made += counts.documents
            if settled.skipped:
                row.skipped += counts.documents
                row.skipped_derived += counts.derived
                self.skipped += counts.documents + counts.derived
            if row.waiting < 0 and self.since.epoch and account.hour <= self.since_hour:
                came_before = -row.waiting
                row.records += came_before
                row.parked += came_before
            if not row.is_balanced:
                self.problems.append(f"{account.input}/{account.peer} does not balance at {_text(settled.position)}")
        if made != settled.made:
            self.problems.append(f"{settled.made} documents of {made} records at {_text(settled.position)}")
        for identifier in settled.refused:
            self._refuse(settled, identifier)
        self.position = settled.next

    def _refuse(self, settled: Settled, identifier: bytes) -> None:
        account = settled.accounts.of(position_of(identifier))
        if account is None:
            self.problems.append(f"a dead letter is of no record at {_text(settled.position)}")
        elif is_of_books(account):
            return
        elif len(identifier) > ID_CHARACTERS:
            self._row(account).refused_derived += 1
        else:
            self._row(account).refused += 1

    def take_closed(self) -> Iterator[tuple[Account, Row]]:
        """Yield and forget the rows that will not change: their hour is over, and nothing in them waits."""
        for account in sorted(account for account in self.rows if account.hour < self.hour):
            row = self.rows[account]
            if not row.waiting:
                del self.rows[account]
                self.closed += 1
                yield account, row

    def _row(self, account: Account) -> Row:
        """Return the row of an account, or that of all further ones: what waits of an hour before has one of these."""
        row = self.rows.get(account)
        if row is None and (account.hour < self.hour or self._sources >= SOURCES_LIMIT):
            others = account._replace(peer=OTHER_PEERS)
            row = self.rows.get(others)
            if row is None and account.hour == self.hour:
                account = others
        if row is None:
            self._sources += account.hour == self.hour
            row = self.rows[account] = Row()
        return row


def _text(position: Position) -> str:
    return f"epoch {position.epoch}, sequence {position.sequence}, record {position.record}"
