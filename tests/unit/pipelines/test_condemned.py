"""What is condemned of a frame is a dead letter, and all else is as if it had never been decoded."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import pytest

from collector.balance.book import Book, Settled
from pipelines import chunk, culprit, layout, reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.condemned import Cause, Part, Verdict, apart
from pipelines.frame import Frame, position_of
from pipelines.pipeline import CULPRITS_LIMIT, Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from pipelines.trails import json_records
from tests.kit.frames import frame_of

SETTINGS = Settings(version="0.1.0")
RECORDS = 40
TAG = b"docker.web"


def entry(number: int) -> bytes:
    """Return one record of a container's."""
    fields = {"container_id": "ab" * 32, "container_name": "/web", "source": "stdout", "log": f"line {number}"}
    return bytes(msgpack.packb([1_700_000_000 + number, fields]))


ENTRIES = [entry(number) for number in range(RECORDS)]


def frame(claimed: int = RECORDS) -> Frame:
    """Return a frame of three messages, of which the one in the middle is cut."""
    whole = b"".join(ENTRIES)
    return frame_of(("forward", [(ENTRIES[0], TAG, 1), (whole, TAG, claimed), (ENTRIES[1], TAG, 1)]))


def record_part(number: int, *, before: int, behind: int) -> Part:
    """Return the part that is one record of that message."""
    start = sum(map(len, ENTRIES[:number]))
    return Part(1, 1, start, start + len(ENTRIES[number]), before, behind)


def failed(path: str, frame: Frame, error: Exception) -> None:
    """No path may fail here."""
    raise error


def by_id(batches: Sequence[Batch]) -> dict[bytes, bytes]:
    """Return the documents by their ids."""
    pairs = (
        (identifier, line)
        for batch in batches
        for made in batch.documents
        for identifier, line in zip(made.ids, made.ndjson.splitlines(), strict=True)
    )
    return dict(pairs)


def both(frame: Frame) -> Iterator[tuple[list[Batch], bytes]]:
    """Yield what each path makes of a frame, and the state behind it."""
    state = State()
    state.mark()
    yield list(ChunkPath(SETTINGS).process(frame, state)), state.encode()
    state = State()
    state.mark()
    yield list(reference.process(frame, SETTINGS, state)), state.encode()


@pytest.mark.parametrize("number", [0, 1, 17, RECORDS - 1])
@pytest.mark.parametrize("claimed", [RECORDS, -1, RECORDS + 7])
def test_a_condemned_record_is_a_letter_and_the_others_are_what_they_were(number: int, claimed: int) -> None:
    """Ids, documents, claims: only the one record's document is missing, by both paths and byte for byte."""
    whole = frame(claimed)
    part = record_part(number, before=number, behind=RECORDS - number - 1)
    cut = apart(whole, Verdict(whole.position, "crash", (part,)))

    (expected, _), _ = both(whole)
    (chunk, chunk_state), (plain, plain_state) = both(cut)
    documents = by_id(expected)
    assert chunk == plain
    assert chunk_state == plain_state
    (batch,) = chunk
    (letter,) = batch.dead_letters
    assert (ENTRIES[number], "crash", 1, 1 + number) == (
        letter.payload,
        letter.code,
        letter.records,
        letter.position.record,
    )
    missing = [identifier for identifier in documents if identifier not in by_id(chunk)]
    assert [sorted(documents)[1 + number]] == missing
    assert {**by_id(chunk), missing[0]: documents[missing[0]]} == documents
    assert (RECORDS + 2, 1, expected[0].tally.claimed) == (
        batch.tally.records,
        batch.tally.dead,
        batch.tally.claimed,
    )


def test_several_records_and_a_whole_message_of_one_frame() -> None:
    """Each is a letter of its own; neighbours share one."""
    whole = frame()
    parts = (
        Part(0, indexes=1),
        record_part(3, before=3, behind=1),
        record_part(5, before=1, behind=0),
        record_part(6, before=0, behind=33),
    )
    cut = apart(whole, Verdict(whole.position, "hang", parts))

    (chunk, _), (plain, _) = both(cut)
    assert chunk == plain
    assert [(1, 0), (1, 4), (2, 6)] == [(each.records, each.position.record) for each in chunk[0].dead_letters]
    assert RECORDS + 2 - 4 == len(by_id(chunk))


@pytest.mark.parametrize("cause", ["crash", "hang", "memory"])
def test_the_letter_says_why(cause: Cause) -> None:
    """A bounded code, by which they are listed, and a sentence."""
    whole = frame()
    pipeline = Pipeline(SETTINGS, failed, {whole.position: Verdict(whole.position, cause, (Part(0, 3),))})

    (batch,) = pipeline(whole)
    (letter,) = batch.dead_letters
    assert (cause, 3, bytes(whole.payload)) == (letter.code, letter.records, letter.payload)
    assert "tried apart" in letter.reason


def test_a_condemned_record_leaves_nothing_in_the_state() -> None:
    """The state behind the frame is that of a frame without it."""
    whole = frame()
    cut = apart(whole, Verdict(whole.position, "crash", (record_part(7, before=7, behind=32),)))
    without = frame_of(
        ("forward", [(ENTRIES[0], TAG, 1), (b"".join(ENTRIES[:7] + ENTRIES[8:]), TAG, 39), (ENTRIES[1], TAG, 1)])
    )

    (_, state), _ = both(cut)
    (_, expected), _ = both(without)
    assert expected == state


def test_memory_that_does_not_suffice_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a frame becomes must not depend on the machine: the pipeline raises, and makes no letter of it."""

    def eat(*_: object) -> Iterator[Batch]:
        raise MemoryError
        yield

    monkeypatch.setattr(ChunkPath, "process", eat)
    pipeline = Pipeline(SETTINGS, lambda path, frame, error: None)

    with pytest.raises(MemoryError):
        list(pipeline(frame()))


def harmful(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Have both paths fail on lines of these numbers: a fault of ours."""
    wanted = {f"line {number}" for number in numbers}
    parse_columns, parse_line = vars(chunk)["parse_columns"], vars(reference)["parse_line"]

    def columns(held: Any, lines: Sequence[str], *arguments: Any, **named: Any) -> Any:
        if wanted.intersection(lines):
            raise ValueError("a fault of ours")
        return parse_columns(held, lines, *arguments, **named)

    def line(stream: Any, text: str, *arguments: Any, **named: Any) -> Any:
        if text in wanted:
            raise ValueError("a fault of ours")
        return parse_line(stream, text, *arguments, **named)

    monkeypatch.setattr(chunk, "parse_columns", columns)
    monkeypatch.setattr(reference, "parse_line", line)


@pytest.mark.parametrize("numbers", [(17,), (39,), (5, 6, 30)])
@pytest.mark.parametrize("claimed", [RECORDS, -1])
def test_a_record_on_which_both_paths_fail_costs_itself(
    monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...], claimed: int
) -> None:
    """All others of the frame are delivered as they would be, and the state is that without it."""
    whole = frame(claimed)
    (expected, _), _ = both(whole)
    harmful(monkeypatch, *numbers)
    pipeline = Pipeline(SETTINGS, lambda path, frame, error: None)

    (batch,) = pipeline(whole)
    documents, made = by_id(expected), by_id([batch])
    ids = sorted(documents)
    assert {identifier: documents[identifier] for identifier in ids if ids.index(identifier) - 1 not in numbers} == made
    assert b"".join(ENTRIES[number] for number in numbers) == b"".join(each.payload for each in batch.dead_letters)
    assert {("crash", "neither path could process it")} == {(each.code, each.reason) for each in batch.dead_letters}
    assert expected[0].tally.claimed == batch.tally.claimed


def test_of_very_many_such_records_the_rest_of_the_frame_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs both paths once more, so a sender cannot have a frame gone through for ever."""
    harmful(monkeypatch, *range(RECORDS))
    failures: list[str] = []
    pipeline = Pipeline(SETTINGS, lambda path, frame, error: failures.append(path))

    (batch,) = pipeline(frame())
    (letter,) = batch.dead_letters
    assert bytes(frame().payload) == letter.payload
    assert 2 * (CULPRITS_LIMIT + 1) == len(failures)


def test_a_message_that_goes_as_a_whole_after_its_first_slice_is_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slice that it is in now begins before what was made already, and was passed over with what is behind it."""
    for module in (layout, reference):
        monkeypatch.setattr(module, "RECORDS_LIMIT", 8)
    monkeypatch.setattr(culprit, "CUT", ())
    harmful(monkeypatch, 20)
    pipeline = Pipeline(SETTINGS, lambda path, frame, error: None)
    whole = frame(-1)

    first, *further = pipeline(whole)
    (last,) = further[-1:]
    (letter,) = (letter for each in further for letter in each.dead_letters)
    assert b"".join(ENTRIES) == letter.payload
    assert whole.position._replace(sequence=whole.sequence + 1) == last.next
    assert [each.next for each in (first, *further[:-1])] == [each.position for each in further]
    assert letter.position == further[-2].position
    assert 1 == last.tally.documents


MANY = 200
SLICE = 64
OBJECTS = b"\n".join(b'{"a":%d}' % number for number in range(MANY))


def behind_many() -> Frame:
    """Return a frame of many slices: a body of objects, and another sender's line behind it."""
    return frame_of(("json", [(OBJECTS, b"x", -1)]), ("forward", [(ENTRIES[0], TAG, 1)]))


def books_of(batches: Sequence[Batch]) -> list[str]:
    """Return what does not balance where a book counts these batches; each begins where the one before it ends."""
    book = Book(batches[0].position)
    for batch in batches:
        book.settle(Settled(batch.position, batch.next, batch.journal_time, batch.accounts, batch.tally.documents))
    return book.problems


@pytest.mark.parametrize("indexes", [0, MANY])
def test_what_stands_behind_a_condemned_message_has_no_index_that_another_record_had(indexes: int) -> None:
    """Documents of the frame may be delivered already: one of the same id would be taken for delivered as well."""
    whole = behind_many()
    cut = apart(whole, Verdict(whole.position, "hang", (Part(0, indexes=indexes),)))

    (chunk, _), (plain, _) = both(cut)
    assert chunk == plain
    ((identifier, _),) = by_id(chunk).items()
    record = position_of(identifier).record
    assert (record == MANY) if indexes else (record > MANY)
    assert [(0, 1), (0, 1)] == [(batch.tally.control, batch.tally.records) for batch in chunk]
    assert OBJECTS == chunk[0].dead_letters[0].payload
    assert [] == books_of(chunk)


def test_of_condemned_neighbours_there_is_one_letter_and_all_their_indexes_are_left_out() -> None:
    """What is cut apart in the same frame keeps its index too."""
    whole = frame()
    parts = (Part(0, 1, indexes=1), Part(1, 1, indexes=RECORDS))

    (chunk, _), (plain, _) = both(apart(whole, Verdict(whole.position, "hang", parts)))
    assert chunk == plain
    assert [(2, 0)] == [(each.records, each.position.record) for batch in chunk for each in batch.dead_letters]
    assert [RECORDS + 1] == [position_of(identifier).record for identifier in by_id(chunk)]
    assert [] == books_of(chunk)


def test_a_fault_late_in_a_long_message_costs_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of it are out when the fault is met: the rest of it is a letter, and the next sender's line a document."""
    made = vars(json_records)["_document"]

    def document(line: Any, *arguments: Any) -> Any:
        if f'"a":{MANY - 10}}}' in repr(line.message):
            raise ValueError("a fault of ours")
        return made(line, *arguments)

    monkeypatch.setattr(json_records, "_document", document)
    monkeypatch.setattr(layout, "RECORDS_LIMIT", SLICE)
    monkeypatch.setattr(reference, "RECORDS_LIMIT", SLICE)
    failures: list[str] = []
    pipeline = Pipeline(SETTINGS, lambda path, frame, error: failures.append(path))
    whole = behind_many()
    batches = list(pipeline(whole))

    assert ["chunk", "reference"] == failures
    assert [OBJECTS] == [each.payload for batch in batches for each in batch.dead_letters]
    assert b'"message":"line 0"' in b"".join(by_id(batches).values())
    assert SLICE + 1 == len(by_id(batches))
    assert whole.position._replace(sequence=whole.sequence + 1) == batches[-1].next
    assert [] == books_of(batches)
