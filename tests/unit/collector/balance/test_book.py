"""A book counts each record once, stays small, and survives what may happen to its file."""

import tracemalloc
from pathlib import Path

import pytest

from collector.balance import files
from collector.balance.book import OTHER_PEERS, SOURCES_LIMIT, Book, Row, Settled
from collector.balance.files import KEPT_HOURS, TRIM_HOURS, book_path, closed_path, closed_rows, read_book
from collector.balance.keeper import Books
from collector.journal.cursors import read_cursor
from pipelines.batch import Account, Accounts, Counts
from pipelines.frame import Position
from pipelines.state import HOUR_NS

EPOCH = 1_700_000_000
HOUR = EPOCH // 3600
START = Position(0, EPOCH, 0)


def settled(sequence: int, rows: dict[Account, Counts], *, hour: int = HOUR) -> Settled:
    """Return what a batch of one frame settles."""
    at = START._replace(sequence=sequence)
    runs = tuple((0, account) for account in rows)
    made = sum(counts.documents for counts in rows.values())
    return Settled(at, at._replace(sequence=sequence + 1), hour * HOUR_NS, Accounts(rows, runs), made)


def lines(count: int) -> Counts:
    """Return what so many lines give."""
    return Counts(messages=1, records=count, documents=count)


def account(peer: str = "192.0.2.7", hour: int = HOUR) -> Account:
    """Return an account."""
    return Account(hour, "docker", peer)


def begun(folder: Path) -> tuple[Books, Book]:
    """Return books with that of a store, which begins at START."""
    books = Books(folder)
    (folder / "journal").mkdir(exist_ok=True)
    return books, books.open("store", START)


def written(books: Books, folder: Path) -> None:
    """Write the store's book and cursor."""
    books.write(folder / "journal", "store", books.take("store"))


def test_what_a_batch_left_out_or_repeated_is_a_problem() -> None:
    """So is a document too many: the books are checked as they are written."""
    book = Book(START)
    book.settle(settled(0, {account(): lines(2)}))
    book.settle(settled(2, {account(): lines(1)}))
    book.settle(settled(3, {account(): Counts(records=1, documents=2)}))

    passed_over, unbalanced = book.problems
    assert passed_over.startswith(f"it goes on at epoch {EPOCH}, sequence 2, record 0, and was counted up to epoch")
    assert unbalanced == f"docker/192.0.2.7 does not balance at epoch {EPOCH}, sequence 3, record 0"


def test_a_refused_document_is_a_dead_letter_of_its_source() -> None:
    """Its id says which record it is of; one that derives from a record's own is counted apart."""
    book = Book(START)
    one = settled(0, {account(): lines(3)})
    identifier = b"0" * 23 + b"1"
    one.refused = [identifier, identifier + b"000"]
    book.settle(one)

    row = book.rows[account()]
    assert (row.documents, row.refused, row.refused_derived, row.delivered) == (3, 1, 1, 2)


def test_a_book_is_written_before_the_cursor_and_counts_nothing_twice(tmp_path: Path) -> None:
    """After a kill between the two the consumer goes on where the book ends."""
    books, book = begun(tmp_path)
    book.settle(settled(0, {account(): lines(2)}))
    written(books, tmp_path)
    cursor = read_cursor(tmp_path / "journal", "store")
    book.settle(settled(1, {account(): lines(3)}))
    book.settle(settled(2, {account(hour=HOUR + 1): lines(1)}, hour=HOUR + 1))
    written(books, tmp_path)
    again = Books(tmp_path).open("store", cursor)

    assert again.position == START._replace(sequence=3)
    assert again.rows == {account(hour=HOUR + 1): Row(messages=1, records=1, documents=1)}
    assert [(row.number, row.row.documents) for row in closed_rows(tmp_path, "store")] == [(1, 5)]


def test_rows_that_were_closed_before_a_kill_are_closed_once(tmp_path: Path) -> None:
    """A line of the file that the book does not know of is cut, whole or torn, and comes again."""
    books, book = begun(tmp_path)
    book.settle(settled(0, {account(): lines(2)}))
    written(books, tmp_path)
    before = book_path(tmp_path, "store").read_bytes()
    book.settle(settled(1, {account(hour=HOUR + 1): lines(1)}, hour=HOUR + 1))
    written(books, tmp_path)
    book_path(tmp_path, "store").write_bytes(before)
    path = closed_path(tmp_path, "store")
    path.write_bytes(path.read_bytes() + b'{"number":2,"acc')
    books = Books(tmp_path)
    book = books.open("store", START._replace(sequence=1))

    assert list(closed_rows(tmp_path, "store")) == []
    book.settle(settled(1, {account(hour=HOUR + 1): lines(1)}, hour=HOUR + 1))
    written(books, tmp_path)
    assert [(row.number, row.row.documents) for row in closed_rows(tmp_path, "store")] == [(1, 2)]


def test_what_an_output_skips_is_not_delivered() -> None:
    """Documents are skipped; what settles without one, such as a dead letter, is what it is."""
    book = Book(START)
    one = settled(0, {account(): Counts(records=4, documents=3, derived=2, dead=1)})
    one.skipped = True
    book.settle(one)

    row = book.rows[account()]
    assert (row.delivered, row.skipped, row.skipped_derived, row.dead, row.is_balanced) == (0, 3, 2, 1, True)
    assert book.skipped == 5


def test_what_waited_where_a_book_begins_counts_when_it_settles() -> None:
    """In its own hour; anywhere else it is a problem."""
    waited = Counts(documents=1, joined=1, taken_up=2)
    book = Book(START, since_hour=HOUR)
    book.settle(settled(0, {account(): waited}))
    late = Book(START, since_hour=HOUR - 1)
    late.settle(settled(0, {account(): waited}))

    assert (book.rows[account()].records, book.rows[account()].waiting, book.problems) == (2, 0, [])
    assert len(late.problems) == 1


END = START._replace(sequence=9)


def test_at_the_first_start_all_begin_with_the_oldest_record(tmp_path: Path) -> None:
    """Also the one that can deliver nothing before the next start: it is not new then."""
    (tmp_path / "journal").mkdir()
    Books(tmp_path).begin(tmp_path / "journal", {"store": False, "elastic": False}, END)
    Books(tmp_path).begin(tmp_path / "journal", {"store": False, "elastic": False, "new": False, "old": True}, END)

    read = {name: read_cursor(tmp_path / "journal", name) for name in ("store", "elastic", "old", "new")}
    nothing = Position(0, 0, 0)
    assert {"store": nothing, "elastic": nothing, "old": nothing, "new": END} == read


def test_a_start_that_a_kill_cut_short_is_the_first_again(tmp_path: Path) -> None:
    """Until the collector's own consumer has a book, which comes last."""
    (tmp_path / "journal").mkdir()
    Books(tmp_path).begin(tmp_path / "journal", {"store": False}, END)
    book_path(tmp_path, "dead-letters").unlink()
    Books(tmp_path).begin(tmp_path / "journal", {"store": False, "elastic": False}, END)

    assert read_cursor(tmp_path / "journal", "elastic") == Position(0, 0, 0)
    assert book_path(tmp_path, "dead-letters").exists()


def test_an_hour_in_which_a_record_waits_stays_open(tmp_path: Path) -> None:
    """What it becomes is counted where the record came."""
    books, book = begun(tmp_path)
    book.settle(settled(0, {account(): Counts(records=1, parked=1)}))
    book.settle(settled(1, {account(hour=HOUR + 1): lines(1)}, hour=HOUR + 1))
    written(books, tmp_path)

    assert set(book.rows) == {account(), account(hour=HOUR + 1)}
    book.settle(settled(2, {account(): Counts(documents=1, taken_up=1)}, hour=HOUR + 1))
    written(books, tmp_path)
    assert [row.account for row in closed_rows(tmp_path, "store")] == [account()]


def test_peers_without_end_share_a_row(tmp_path: Path) -> None:
    """All of them are counted, in one row for each input, also across a restart."""
    books, book = begun(tmp_path)
    for number in range(SOURCES_LIMIT + 10):
        book.settle(settled(number, {account(f"2001:db8::{number:x}"): lines(1)}))
    written(books, tmp_path)
    again = Books(tmp_path).open("store", None)
    again.settle(settled(SOURCES_LIMIT + 10, {account("192.0.2.9"): lines(1), account("2001:db8::1"): lines(1)}))

    assert len(again.rows) == SOURCES_LIMIT + 1
    assert again.rows[account(OTHER_PEERS)].documents == 11
    assert again.rows[account("2001:db8::1")].documents == 2
    assert again.problems == []


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff"])
def test_a_damaged_book_begins_anew_and_stops_nothing(tmp_path: Path, damage: bytes) -> None:
    """At the cursor; the damaged one is kept aside for who asks."""
    books, book = begun(tmp_path)
    book.settle(settled(0, {account(): lines(2)}))
    written(books, tmp_path)
    path = book_path(tmp_path, "store")
    path.write_bytes(damage or path.read_bytes().replace(b'"records":2', b'"records":3'))
    cursor = read_cursor(tmp_path / "journal", "store")
    again = Books(tmp_path).open("store", cursor)

    assert (again.position, again.rows) == (cursor, {})
    assert path.with_suffix(".damaged").exists()
    assert read_book(tmp_path, "store") is None


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_book_that_begins_anew_has_no_rows_of_the_one_before(tmp_path: Path, *, is_damaged: bool) -> None:
    """Both count theirs from one on: what the old one closed would stand in the place of what the new one does."""
    books, book = begun(tmp_path)
    for sequence in range(3):
        hour = HOUR + sequence
        book.settle(settled(sequence, {account(hour=hour): lines(10)}, hour=hour))
    written(books, tmp_path)
    if is_damaged:
        book_path(tmp_path, "store").write_bytes(b"{}")
    books = Books(tmp_path)
    book = books.open("store", START._replace(sequence=7))
    for sequence in range(7, 9):
        hour = HOUR + sequence
        book.settle(settled(sequence, {account(hour=hour): lines(77)}, hour=hour))
    written(books, tmp_path)

    rows = [(row.number, row.account.hour, row.row.records) for row in closed_rows(tmp_path, "store")]
    assert rows == [(1, HOUR + 7, 77)]
    aside = closed_path(tmp_path, "store").with_suffix(".closed.damaged")
    assert len(aside.read_bytes().splitlines()) == 2
    assert Books(tmp_path).open("store", None).closed == 1


def test_a_new_output_has_no_rows_of_a_forgotten_one(tmp_path: Path) -> None:
    """Of the same name, whose rows a kill had left."""
    (tmp_path / "journal").mkdir()
    closed_path(tmp_path, "store").parent.mkdir()
    closed_path(tmp_path, "store").write_bytes(b"{}\n")
    Books(tmp_path).begin(tmp_path / "journal", {"store": False}, END)

    assert not closed_path(tmp_path, "store").exists()


def test_a_cursor_passes_nothing_that_the_book_does_not_count(tmp_path: Path) -> None:
    """Where the book cannot be written, the cursor is not."""
    books, book = begun(tmp_path)
    written(books, tmp_path)
    book.settle(settled(0, {account(): lines(2)}))
    path = book_path(tmp_path, "store")
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        written(books, tmp_path)

    assert read_cursor(tmp_path / "journal", "store") == START


def test_rows_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    """On a full disk, say: a closed row is with the next book that can be."""
    books, book = begun(tmp_path)
    book.settle(settled(0, {account(): lines(2)}))
    book.settle(settled(1, {account(hour=HOUR + 1): lines(1)}, hour=HOUR + 1))
    books.put_back("store", books.take("store"))
    written(books, tmp_path)

    assert [row.row.documents for row in closed_rows(tmp_path, "store")] == [2]


def test_rows_of_a_month_ago_are_left_out_while_it_runs(tmp_path: Path) -> None:
    """The newest stays, which says how many there were."""
    books, book = begun(tmp_path)
    hours = [HOUR, HOUR + KEPT_HOURS + TRIM_HOURS, HOUR + KEPT_HOURS + TRIM_HOURS + 1]
    for sequence, hour in enumerate(hours):
        book.settle(settled(sequence, {account(hour=hour): lines(1)}, hour=hour))
        written(books, tmp_path)

    assert [row.number for row in closed_rows(tmp_path, "store")] == [2]


def test_a_first_row_that_is_damaged_keeps_no_old_ones(tmp_path: Path) -> None:
    """The oldest that can be read says whether rows are past their time."""
    books, book = begun(tmp_path)
    hours = [HOUR, HOUR + 1, HOUR + KEPT_HOURS + TRIM_HOURS + 1, HOUR + KEPT_HOURS + TRIM_HOURS + 2]
    for sequence, hour in enumerate(hours):
        book.settle(settled(sequence, {account(hour=hour): lines(1)}, hour=hour))
        written(books, tmp_path)
        if sequence == 1:
            closed_path(tmp_path, "store").write_bytes(b"\xff{\n")

    assert [row.number for row in closed_rows(tmp_path, "store")] == [3]


def test_a_month_of_rows_is_never_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start, when old rows are left out, and for who reads them: 512 sources have 380,000 of them."""
    monkeypatch.setattr(files, "PORTION_ROWS", 16)
    books, book = begun(tmp_path)
    first, last = HOUR, HOUR + TRIM_HOURS + KEPT_HOURS
    peers = [f"2001:db8::{number:x}" for number in range(400)]
    for sequence, hour in enumerate([first, first + TRIM_HOURS + 1]):
        book.settle(settled(sequence, {account(peer, hour): lines(1) for peer in peers}, hour=hour))
    book.settle(settled(2, {account(hour=last): lines(1)}, hour=last))
    written(books, tmp_path)
    size = closed_path(tmp_path, "store").stat().st_size

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    books = Books(tmp_path)
    book = books.open("store", None)
    counted = sum(1 for _ in closed_rows(tmp_path, "store"))
    book.settle(settled(3, {account(hour=last + 1): lines(1)}, hour=last + 1))
    written(books, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert counted == 2 * len(peers)
    assert [row.number for row in closed_rows(tmp_path, "store")] == list(range(401, 802))
    assert peak - before < size // 3
