"""Dead letters as documents: each once, when it is certain to stay."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector import letter_teller, producer
from collector.config import Config
from collector.config_dead_letters import DeadLettersConfig
from collector.config_outputs import ElasticsearchOutputConfig
from collector.control import Message
from collector.dead_letters import PIPELINE, DeadLetterFile, Letter, decoded, letter_id, read_letters
from collector.internal import InternalServer
from collector.journal.cursors import write_cursor
from collector.letter_teller import ENCODING, ORIGINAL_BYTES, OWN_ORIGIN, PRODUCER, Untold, payload_of, tell_letters
from collector.role import Context
from pipelines import reference
from pipelines.frame import Origin, Position
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.memory_journal import MemoryJournal

EPOCH = 1_700_000_000
STREAM = "logs-tidewaiter.container-default"


def letter(number: int, *, source: str = "elastic", content: bytes = b"{}", **more: Any) -> Letter:
    """A letter of an output."""
    position = Position(0, EPOCH, number)
    made = {
        "id": letter_id(source, position),
        "position": position,
        "time": "2026-11-29T00:00:00.000000000Z",
        "stage": "output",
        "code": "too_large",
        "reason": "HTTP 413",
        "origin": source,
        "payload": base64.b64encode(content).decode(),
        "document_id": f"dc{number}",
        "stream": STREAM,
    }
    return Letter(**{**made, **more})


def keep(data_dir: Path, *letters: Letter, source: str = "elastic") -> DeadLetterFile:
    """Write letters as their output does."""
    file = DeadLetterFile(data_dir, source)
    file.open(None)
    for each in letters:
        file.append([each])
    return file


def pass_all(data_dir: Path, *consumers: str) -> None:
    """Let these consumers have settled everything."""
    (data_dir / "journal").mkdir(exist_ok=True)
    for name in consumers:
        write_cursor(data_dir / "journal", name, Position(0, EPOCH, 1000))


def document_of(payload: bytes) -> dict[str, Any]:
    """What the pipeline makes of a record."""
    frame = frame_of((ENCODING, [(payload, b"", -1)]), origins=(Origin("tidewaiter", "internal", PRODUCER),))
    (batch,) = reference.process(frame, Settings(version="1"), State())
    (part,) = batch.documents
    made: dict[str, Any] = json.loads(part.ndjson)
    assert str(part.stream) == "logs-tidewaiter.dead_letters-default"
    return made


def test_a_letter_of_an_output_is_a_document_that_says_why() -> None:
    """Whose refusal, of which document and stream, in the store's words; ECS where ECS has a field."""
    made = document_of(payload_of("elastic", letter(7, content=b'{"message":"x"}', kept_ns=EPOCH * 10**9)))

    assert made["@timestamp"] == "2023-11-14T22:13:20.000000000Z"
    assert made["message"] == f"Output elastic was refused a document of {STREAM}: too_large"
    assert made["error"] == {"type": "too_large", "message": "HTTP 413"}
    assert (made["event"]["kind"], made["event"]["original"]) == ("pipeline_error", '{"message":"x"}')
    assert made["tidewaiter"]["dead_letter"] == {
        "id": letter(7).id,
        "output": "elastic",
        "stream": STREAM,
        "document_id": "dc7",
        "arrived": "2026-11-29T00:00:00.000000000Z",
        "bytes": 15,
        "records": 1,
    }
    assert Schema(Path(__file__).parents[2] / "data").problems(made) == []


def test_a_record_that_could_not_be_decoded_names_its_sender() -> None:
    """Its bytes as text, those that are none by their numbers; a long one's beginning, with its size."""
    more: dict[str, Any] = {
        "document_id": None,
        "stream": "",
        "origin": "docker/192.0.2.7",
        "records": 3,
        "source": PIPELINE,
    }
    short = document_of(payload_of(PIPELINE, letter(1, content=b"\xc1\x00a", **more)))
    long = document_of(payload_of(PIPELINE, letter(1, content=b"x" * 100_000, **more)))

    assert short["message"] == "3 records from docker/192.0.2.7 could not be decoded: too_large"
    assert short["event"]["original"] == "\\xc1\0a"
    assert short["tidewaiter"]["dead_letter"]["sender"] == "docker/192.0.2.7"
    assert (len(long["event"]["original"]), long["tidewaiter"]["dead_letter"]["bytes"]) == (ORIGINAL_BYTES, 100_000)


def test_what_is_no_record_of_a_letter_is_a_dead_letter_itself() -> None:
    """As every record that cannot be decoded."""
    frame = frame_of((ENCODING, [(b"{}", b"", -1)]), origins=(Origin("tidewaiter", "internal", PRODUCER),))
    (batch,) = reference.process(frame, Settings(version="1"), State())

    assert [each.code for each in batch.dead_letters] == ["bad_dead_letter"]


def test_a_letter_is_told_when_its_cursor_has_passed_it(tmp_path: Path) -> None:
    """One beyond is cut at a start, and written anew."""
    keep(tmp_path, letter(1), letter(5), letter(2))
    (tmp_path / "journal").mkdir()
    untold = Untold(tmp_path, {"elastic": None})

    def numbers() -> list[int]:
        return [each.position.sequence for each in untold.next("elastic", 0)]

    assert numbers() == []
    write_cursor(tmp_path / "journal", "elastic", Position(0, EPOCH, 2))
    assert numbers() == [1]
    write_cursor(tmp_path / "journal", "elastic", Position(0, EPOCH, 6))
    assert numbers() == [1, 5, 2]


def test_letters_of_an_output_that_is_no_more_are_told(tmp_path: Path) -> None:
    """Nobody will meet their records again."""
    keep(tmp_path, letter(1, source="gone"), source="gone")

    assert len(Untold(tmp_path, {}).next("gone", 0)) == 1


def test_files_in_which_all_is_told_are_not_read_again(tmp_path: Path) -> None:
    """Until they change."""
    pass_all(tmp_path, "elastic")
    file = keep(tmp_path, letter(1))
    untold = Untold(tmp_path, {"elastic": None})
    before = untold.sources()
    (first,) = untold.next("elastic", 0)
    after = untold.sources()
    file.append([letter(2)])

    assert (before, after, untold.sources()) == (["elastic"], [], ["elastic"])
    assert [each.position.sequence for each in untold.next("elastic", first.kept_ns)] == [2]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that were read."""
    read: list[bytes] = []

    def noted(line: bytes) -> Letter | None:
        read.append(line)
        return decoded(line)

    monkeypatch.setattr(letter_teller, "decoded", noted)
    return read


def test_what_is_told_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> None:
    """Each portion goes on behind the one before, and so does a letter that comes when all were told."""
    monkeypatch.setattr(letter_teller, "PORTION_LETTERS", 10)
    pass_all(tmp_path, "elastic")
    file = keep(tmp_path, *map(letter, range(100)))
    untold = Untold(tmp_path, {"elastic": None})
    after, found = 0, []
    while letters := untold.next("elastic", after):
        found += letters
        after = letters[-1].kept_ns
    in_all = len(lines)
    file.close()
    file.append([letter(100)])
    lines.clear()

    assert [each.position.sequence for each in found] == [*range(100)]
    assert in_all < 3 * 100
    assert [each.position.sequence for each in untold.next("elastic", after)] == [100]
    assert len(lines) == 2


def test_while_a_letter_waits_for_its_cursor_no_file_is_read(tmp_path: Path, lines: list[bytes]) -> None:
    """An output that is held up would have all of its letters read each second."""
    file = keep(tmp_path, *map(letter, range(3)))
    (tmp_path / "journal").mkdir()
    untold = Untold(tmp_path, {"elastic": None})
    write_cursor(tmp_path / "journal", "elastic", Position(0, EPOCH, 1))
    (first,) = untold.next("elastic", 0)
    file.append([letter(3)])
    waiting = untold.sources()
    write_cursor(tmp_path / "journal", "elastic", Position(0, EPOCH, 9))

    assert (waiting, untold.sources()) == ([], ["elastic"])
    assert [each.position.sequence for each in untold.next("elastic", first.kept_ns)] == [1, 2, 3]


def test_files_that_are_written_anew_hide_no_letter(tmp_path: Path) -> None:
    """Where another letter stands in the place of the last that was told, reading begins anew."""
    pass_all(tmp_path, "elastic")
    file = keep(tmp_path, *map(letter, range(6)))
    untold = Untold(tmp_path, {"elastic": None})
    kept = untold.next("elastic", 0)
    untold.next("elastic", kept[3].kept_ns)
    lines = file.path.read_bytes().splitlines(keepends=True)
    damaged = b"x" * (sum(map(len, lines[:3])) - len(lines[4]) - 1) + b"\n"
    file.path.write_bytes(lines[4] + damaged + lines[5])

    assert untold.next("elastic", kept[3].kept_ns) == kept[4:]


class Channel:
    """Takes what a role reports."""

    def send(self, message: Message) -> None:
        """Forget it."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(letter_teller, "INTERVAL_S", 0.01)
    monkeypatch.setattr(producer, "RETRY_S", 0.01)


async def told(data_dir: Path, journal: MemoryJournal, count: int) -> list[dict[str, Any]]:
    """Let a worker tell letters until so many records stand in the journal; return them all."""
    elastic = ElasticsearchOutputConfig(urls=["http://192.0.2.1:9200"])
    config = Config(data_dir=str(data_dir), outputs={"elastic": elastic}, dead_letters=DeadLettersConfig(stream=True))
    grown = asyncio.Event()
    journal.on_durable(lambda _: grown.set())
    task = asyncio.create_task(tell_letters(Context("worker", config, Channel())))
    async with asyncio.timeout(20):
        while len(journal.entries) < count:
            await grown.wait()
            grown.clear()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [msgspec.json.decode(b"".join(map(bytes, entry.payload))) for entry in journal.entries]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[MemoryJournal]:
    """What stands behind the intake's internal socket."""
    kept = MemoryJournal()
    server = InternalServer(kept, tmp_path / "run" / "intake.sock")
    await server.start()
    yield kept
    await server.close()


async def test_each_letter_is_told_once_whatever_ends_a_worker(tmp_path: Path, journal: MemoryJournal) -> None:
    """The next goes on behind the last that is durable, of each source, though files were written anew meanwhile."""
    pass_all(tmp_path, "elastic", "dead-letters")
    file = keep(tmp_path, *map(letter, range(3)))
    keep(tmp_path, letter(9, source=PIPELINE), source=PIPELINE)
    first = await told(tmp_path, journal, 4)
    file.close()
    file.take_out(file.closed[0], {letter(0).id: None}, at="")
    file.append([letter(3)])
    second = await told(tmp_path, journal, 5)
    for path in file.files:
        path.unlink()
    keep(tmp_path, letter(4))
    third = await told(tmp_path, journal, 6)

    assert [each["id"] for each in first] == [
        *(letter(number).id for number in range(3)),
        letter(9, source=PIPELINE).id,
    ]
    assert [each["id"] for each in second[4:]] == [letter(3).id]
    assert [each["id"] for each in third[5:]] == [letter(4).id]
    assert {entry.encoding for entry in journal.entries} == {ENCODING}


async def test_letters_about_documents_of_letters_are_not_told(tmp_path: Path, journal: MemoryJournal) -> None:
    """A store that refuses these would make more and more of them."""
    pass_all(tmp_path, "elastic", "dead-letters")
    keep(tmp_path, letter(1, stream="logs-tidewaiter.dead_letters-default"), letter(2))
    keep(tmp_path, letter(1, source=PIPELINE, origin=OWN_ORIGIN), letter(3, source=PIPELINE), source=PIPELINE)
    found = await told(tmp_path, journal, 2)

    assert [each["id"] for each in found] == [letter(2).id, letter(3, source=PIPELINE).id]


async def test_damage_keeps_no_letter_from_being_told(tmp_path: Path, journal: MemoryJournal) -> None:
    """The damaged one is named by `dead-letters list`."""
    pass_all(tmp_path, "elastic")
    file = keep(tmp_path, *map(letter, range(3)))
    file.path.write_bytes(file.path.read_bytes().replace(letter(1).id.encode(), b"x"))
    found = await told(tmp_path, journal, 2)

    assert [each["id"] for each in found] == [letter(0).id, letter(2).id]
    assert len(list(read_letters(tmp_path, "elastic", damaged=lambda _: None))) == 2
