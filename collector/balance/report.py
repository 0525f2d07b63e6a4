"""The balance as it stands in the files: books, and what the journal holds behind them.

Whether the collector runs or not: books are replaced whole, and what is settled meanwhile counts as in flight. Of what
a consumer has not read yet, the frames' headers say how many records the senders claim; where another consumer has read
it, how many there are.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_type_hints

import msgspec

from collector.balance.book import OTHER_PEERS, Book, Row
from collector.balance.files import books, closed_rows, read_book
from collector.errors import UnreachableError
from collector.journal.format import PORTION, FrameHeader
from collector.journal.segments import (
    HEADERS_BYTES,
    FrameHead,
    Segment,
    acknowledged_ends,
    find_identity,
    first_position,
    segment_files,
    walk,
)
from pipelines.accounts import is_of_books
from pipelines.batch import Account
from pipelines.frame import Position
from pipelines.state import HOUR_NS


class BalanceRow(msgspec.Struct):
    """One hour, source and output. All counts are of records, but where the name says something else.

    received = delivered + joined + control + dead + dropped + damaged + skipped + in_flight; `balanced` says whether
    that is so, and whether this output has read what the others have. `made` and `derived` are documents. `claimed`,
    `claimed_more` and `claimed_fewer` are what messages say of their records; `resends` are messages.
    """

    hour: str
    input: str
    peer: str
    output: str
    received: int
    delivered: int
    joined: int
    control: int
    dead: int
    dropped: int
    damaged: int
    skipped: int
    in_flight: int
    made: int
    derived: int
    messages: int
    bytes: int
    claimed: int
    claimed_more: int
    claimed_fewer: int
    resends: int
    balanced: bool
    problem: str = ""


class Unread(msgspec.Struct):
    """What a consumer has not read of an account, by the frames' headers."""

    messages: int = 0
    bytes: int = 0
    claimed: int = 0
    records: int = 0


class Kept(msgspec.Struct):
    """What is known of one consumer."""

    name: str
    book: Book
    rows: dict[Account, Row]
    missing: int = 0
    unread: dict[Account, Unread] = {}

    def counts(self, account: Account) -> bool:
        """Whether it counts the whole hour: not where it began in it."""
        return not self.book.since.epoch or account.hour > self.book.since_hour


def balance(data_dir: Path, outputs: Sequence[str], others: Sequence[str], hours: range) -> Iterator[BalanceRow]:
    """Yield the rows of these hours, oldest first; raise UnreachableError where no book is, DataDirError, OSError.

    `others` are consumers that deliver nothing; what they have read tells of what outputs have not.
    """
    names = [name for name in books(data_dir) if name in {*outputs, *others}]
    kept = [each for name in names if (each := _kept(data_dir, name, hours)) is not None]
    if not kept:
        raise UnreachableError(f"there are no books in {data_dir}: has a collector run with this data folder?")
    _look_ahead(data_dir / "journal", kept, hours)
    furthest = max(kept, key=lambda each: each.book.position)
    for account in sorted({account for each in kept for account in (*each.rows, *each.unread)}):
        for each in kept:
            if each.name in outputs:
                yield _row(account, each, furthest if furthest.counts(account) else each)


def missing_rows(data_dir: Path, outputs: Sequence[str]) -> Mapping[str, int]:
    """Return of how many closed rows a consumer's file has lost the line, by name."""
    kept = {name: _kept(data_dir, name, range(0)) for name in books(data_dir) if name in outputs}
    return {name: each.missing for name, each in kept.items() if each is not None and each.missing}


def _kept(data_dir: Path, name: str, hours: range) -> Kept | None:
    # The book first: rows that are closed meanwhile have higher numbers than it knows of, and are left out.
    book = read_book(data_dir, name)
    if book is None:
        return None
    rows: dict[Account, Row] = {}
    last = missing = 0
    for closed in closed_rows(data_dir, name):
        if closed.number > book.closed:
            break
        missing += closed.number - last - 1 if last else 0
        last = closed.number
        if closed.account.hour in hours:
            _add(rows, closed.account, closed.row)
    missing += book.closed - last
    for account, row in book.rows.items():
        if account.hour in hours:
            _add(rows, account, row)
    return Kept(name, book, rows, missing)


def _add(rows: dict[Account, Row], account: Account, row: Row) -> None:
    """Add a row: an account has several where the hour came again for a book that began anew."""
    found = rows.setdefault(account, Row())
    for name in Row.__struct_fields__:
        setattr(found, name, getattr(found, name) + getattr(row, name))


def _look_ahead(journal: Path, kept: Sequence[Kept], hours: range) -> None:
    """Count what stands in the journal behind each consumer's book."""
    oldest = min(each.book.position for each in kept)
    names = segment_files(journal)
    behind = [name for name in names if first_position(name) > oldest]
    held = names[max(len(names) - len(behind) - 1, 0) :]
    identity = find_identity(journal, names[::-1])
    for name, end in reversed(acknowledged_ends(journal, names).items()):
        if name not in held:
            continue
        with (
            contextlib.suppress(FileNotFoundError),  # every consumer has passed it meanwhile
            contextlib.closing(Segment(journal, name, block_bytes=HEADERS_BYTES)) as segment,
        ):
            segment.identity = segment.identity or identity
            for found in walk(segment, end, payloads=False):
                if isinstance(found, FrameHead):
                    position = Position(segment.first.partition, segment.first.epoch, found.header.sequence)
                    _count_ahead(found.header, position, kept, hours)


def _count_ahead(header: FrameHeader, position: Position, kept: Sequence[Kept], hours: range) -> None:
    hour = header.journal_time // HOUR_NS
    waiting = [each for each in kept if each.book.position._replace(record=0) <= position]
    if not waiting or hour not in hours:
        return
    is_portion = bool(header.runs) and header.runs[0].encoding == PORTION
    for message in header.messages:
        origin = header.origins[message.origin]
        source = Account(hour, origin.input, origin.peer)
        if is_of_books(source):
            continue
        for each in waiting:
            account = _known(each, source)
            unread = each.unread.setdefault(account, Unread())
            unread.bytes += message.length
            if not is_portion:
                unread.messages += 1
                unread.claimed += max(message.claimed, 0)
                unread.records += message.claimed if message.claimed >= 0 else 1
    for each in waiting:
        if each.book.position.record and each.book.position._replace(record=0) == position:
            _leave_out_settled(each, header, hour)


def _leave_out_settled(kept: Kept, header: FrameHeader, hour: int) -> None:
    """Of a frame that is settled in part, leave out what is: its first records."""
    left = kept.book.position.record
    for message in header.messages:
        origin = header.origins[message.origin]
        unread = kept.unread.get(_known(kept, Account(hour, origin.input, origin.peer)), Unread())
        settled = min(left, message.claimed if message.claimed >= 0 else 1)
        unread.records -= settled
        left -= settled


def _known(kept: Kept, account: Account) -> Account:
    """Return the account under which a consumer counts a source."""
    others = account._replace(peer=OTHER_PEERS)
    return others if account not in kept.rows and others in kept.rows else account


def _row(account: Account, kept: Kept, furthest: Kept) -> BalanceRow:
    """Return a row of the balance; the furthest consumer says what was received."""
    own, unread = kept.rows.get(account, Row()), kept.unread.get(account, Unread())
    read, ahead = furthest.rows.get(account, Row()), furthest.unread.get(account, Unread())
    is_compared = kept.counts(account)
    received = read.records + ahead.records if is_compared else own.records + unread.records
    behind = received - own.records
    row = balanced_row(account, kept.name, own)
    row.received, row.in_flight = received, own.waiting + behind
    row.messages += unread.messages
    row.bytes += unread.bytes
    row.claimed += unread.claimed
    if row.problem:
        return row
    if behind < 0 or (behind and not unread.messages):
        row.problem = f"{furthest.name} has read {abs(behind)} records {'fewer' if behind < 0 else 'more'}"
    elif is_compared and row.messages != read.messages + ahead.messages:
        row.problem = f"{row.messages} messages were taken, and {read.messages + ahead.messages} for {furthest.name}"
    row.balanced = not row.problem
    return row


def balanced_row(account: Account, output: str, row: Row) -> BalanceRow:
    """Return a row of the balance with all that the book has read."""
    return BalanceRow(
        hour=hour_text(account.hour),
        input=account.input,
        peer=account.peer,
        output=output,
        received=row.records,
        delivered=row.delivered,
        joined=row.joined,
        control=row.control,
        dead=row.dead + row.refused,
        dropped=row.dropped,
        damaged=row.damaged,
        skipped=row.skipped,
        in_flight=row.waiting,
        made=row.documents,
        derived=row.derived,
        messages=row.messages,
        bytes=row.bytes,
        claimed=row.claimed,
        claimed_more=row.claimed_more,
        claimed_fewer=row.claimed_fewer,
        resends=row.resends,
        balanced=row.is_balanced,
        problem="" if row.is_balanced else "what was read is not what became of it",
    )


FIGURES: Final = tuple(field for field, kind in get_type_hints(BalanceRow).items() if kind is int)


def figures_of(row: BalanceRow) -> dict[str, int]:
    """Return the counts of a row by name."""
    return {name: getattr(row, name) for name in FIGURES}


def hour_text(hour: int) -> str:
    """Return an hour since 1970 as RFC 3339."""
    return f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H:00:00Z}"
