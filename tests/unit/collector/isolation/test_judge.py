"""A judge over a real journal: tries in real forks, where lines with a word end the process that parses them."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.config import Config, WorkerConfig
from collector.dead_letters import DEAD_LETTERS, PIPELINE, read_letters
from collector.internal import InternalServer
from collector.isolation.judge import TIMES_LIMIT, UNANSWERED_LIMIT, judge
from collector.isolation.narrowing import HarmlessError, UnclearError
from collector.isolation.questions import Asked
from collector.isolation.verdicts import PRODUCER, verdicts_of
from collector.journal.checkpoints import Checkpoint, checkpoints, write_checkpoint
from collector.journal.cursors import write_cursor
from collector.journal.entry import Entry
from collector.journal.writer import Journal
from pipelines import chunk, reference
from pipelines.condemned import Cause, Part, Verdict
from pipelines.detect import scan
from pipelines.frame import Origin, Position
from tests.kit.detection import SHELL, rules_message
from tests.kit.frames import OWN_ORIGIN
from tests.kit.journals import open_journal
from tests.kit.pieces import docker_pieces, packed

pytestmark = [
    # Other tests of this process may have left a thread that waits; a judge has none.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.timeout(60),
]

ORIGIN = Origin("docker", "tcp", "192.0.2.7")
ROOM_BYTES = 1 << 30


class Court:
    """A journal that is written frame by frame, and what is asked about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal: Journal = open_journal(folder)
        self.server = InternalServer(self.journal, folder / "run" / "intake.sock")
        lines = Path("/proc/self/status").read_text().splitlines()
        data_bytes = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
        limits = WorkerConfig(hang_limit=1.0, memory_limit=data_bytes + ROOM_BYTES)
        self.config = Config(data_dir=str(folder), outputs={}, worker=limits)

    async def append(self, *records: bytes) -> Position:
        """Append a frame of one message of these records; return where it stands."""
        position = self.journal.durable.position
        await self.journal.append(Entry(ORIGIN, "forward", records, tag=b"docker.web", claimed=len(records)))
        return position

    async def judge(
        self, position: Position, *, times: int = 1, cause: Cause = "crash", unanswered: int = 0
    ) -> Verdict:
        """Have a frame judged; return the verdict that stands in the journal."""
        asked = Asked(position, cause, "ended by SIGABRT", times, unanswered)
        judgement = await judge(self.folder, self.config, asked)
        assert "crash" == judgement.cause
        return verdicts_of(self.journal.last_produced(PRODUCER))[position]


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    """A court in session."""
    each = Court(tmp_path)
    await each.server.start()
    yield each
    await each.server.close()
    await each.journal.close()


def hang() -> None:
    """Come to no end."""
    while True:
        pass


def eat() -> None:
    """Take memory until there is none."""
    taken = []
    while True:
        taken.append(bytearray(16 << 20))


@pytest.fixture(autouse=True)
def harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have lines that hold one of these words do what it says, on both paths, but never to the test's own process."""
    words: dict[str, Callable[[], None]] = {"abort": os.abort, "hang": hang, "memory": eat}
    mine = os.getpid()
    parse_columns, parse_line = vars(chunk)["parse_columns"], vars(reference)["parse_line"]

    def meet(lines: Sequence[str]) -> None:
        for word, harm in words.items():
            if os.getpid() != mine and any(word in line for line in lines):
                harm()

    def columns(held: Any, lines: Sequence[str], *arguments: Any, **named: Any) -> Any:
        meet(lines)
        return parse_columns(held, lines, *arguments, **named)

    def line(stream: Any, text: str, *arguments: Any, **named: Any) -> Any:
        meet([text])
        return parse_line(stream, text, *arguments, **named)

    monkeypatch.setattr(chunk, "parse_columns", columns)
    monkeypatch.setattr(reference, "parse_line", line)


def records(*lines: str) -> list[bytes]:
    """Return records of one container."""
    return [packed(docker_pieces(line.encode(), 64)[0]) for line in lines]


def letters_of_pipeline(court: Court) -> list[tuple[Position, str]]:
    """Return the letters of the pipeline that are on disk, with their codes."""
    return [(letter.position, letter.code) for letter in read_letters(court.folder, PIPELINE)]


@pytest.mark.parametrize("word", ["abort", "hang", "memory"])
async def test_one_record_of_many_is_condemned(court: Court, word: str) -> None:
    """The one that does harm when it is parsed, whatever it does."""
    await court.append(*records("before"))
    each = records(*(f"line {number}" for number in range(20)), f"does {word}", *("behind",) * 3)
    position = await court.append(*each)
    start = sum(map(len, each[:20]))

    assert Verdict(position, "crash", (Part(0, 1, start, start + len(each[20]), 20, 3),)) == await court.judge(position)


async def test_rules_are_made_ready_before_the_first_try(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not in each: for thousands of them it takes longer than a try may, and would be taken for what does harm."""
    mine, made = os.getpid(), scan.HyperscanScanner.__init__

    def make(scanner: scan.HyperscanScanner, *about: Any) -> None:
        if os.getpid() != mine:
            os.abort()
        made(scanner, *about)

    monkeypatch.setattr(scan.HyperscanScanner, "__init__", make)
    await court.journal.append(Entry(OWN_ORIGIN, "rules", [rules_message(SHELL)], tag=b"", claimed=1))
    each = records("before", "does abort", "behind")
    position = await court.append(*each)
    start = len(each[0])

    assert Verdict(position, "crash", (Part(0, 1, start, start + len(each[1]), 1, 1),)) == await court.judge(position)


async def test_a_line_that_waits_is_condemned_and_not_the_record_that_ends_it(court: Court) -> None:
    """The state is that which the worker had: pieces of two frames before."""
    first, second, last = (packed(each) for each in docker_pieces(b"does abort it", 6))
    begun = await court.append(first)
    await court.append(second, *records("of none"))
    position = await court.append(*records("well"), last, *records("well too"))

    assert Verdict(position, "crash", (), (begun,)) == await court.judge(position)


async def test_a_frame_that_does_no_harm_is_not_condemned(court: Court) -> None:
    """Once; a worker that ends with the same frame again and again would deliver nothing any more."""
    position = await court.append(*records("one", "two"))

    with pytest.raises(HarmlessError, match="did no harm"):
        await court.judge(position, times=TIMES_LIMIT - 1)
    assert court.journal.last_produced(PRODUCER) is None
    assert Verdict(position, "crash", (Part(0, 1),)) == await court.judge(position, times=TIMES_LIMIT)


async def test_a_frame_is_not_condemned_for_memory_that_something_else_takes(court: Court) -> None:
    """However often the worker ends with it in hand: its records would be lost, and the memory taken all the same."""
    position = await court.append(*records("one", "two"))

    with pytest.raises(UnclearError, match=r"worker\.memory_limit"):
        await court.judge(position, times=TIMES_LIMIT, cause="memory")
    assert court.journal.last_produced(PRODUCER) is None


@pytest.mark.parametrize(("clock_s", "unanswered"), [(0.0, 0), (300.0, UNANSWERED_LIMIT)])
async def test_a_judge_that_has_no_time_condemns_the_whole(
    court: Court, monkeypatch: pytest.MonkeyPatch, clock_s: float, unanswered: int
) -> None:
    """By the clock too, for tries that wait; and where judges before it came to no end, as this one would."""
    monkeypatch.setattr("collector.isolation.judge.NARROWING_CLOCK_S", clock_s)
    position = await court.append(*records("one", "abort", "three"))

    assert Verdict(position, "crash", (Part(0, 1),)) == await court.judge(position, unanswered=unanswered)


async def test_what_an_output_that_lags_finds_has_its_letter(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes letters has passed the frame; so the judge writes them, once, though the verdict comes later."""
    position = await court.append(*records("one", "abort"))
    write_cursor(court.folder / "journal", DEAD_LETTERS, court.journal.durable.position)

    async def not_durable(*_: object, needed: Position) -> bool:
        return False

    with monkeypatch.context() as patched:
        patched.setattr("collector.isolation.judge.append_verdict", not_durable)
        with pytest.raises(AssertionError):
            await court.judge(position)
    assert [(position._replace(record=1), "crash")] == letters_of_pipeline(court)
    await court.judge(position)
    assert [(position._replace(record=1), "crash")] == letters_of_pipeline(court)


async def test_what_is_met_again_gets_its_letter_then(court: Court) -> None:
    """The output that writes letters stands before the frame, or in the middle of it: a judge leaves that to it."""
    position = await court.append(*records("one", "abort"))
    write_cursor(court.folder / "journal", DEAD_LETTERS, position._replace(record=1))

    await court.judge(position)
    assert [] == letters_of_pipeline(court)


async def test_a_second_record_of_the_same_frame_is_added_to_the_verdict(court: Court) -> None:
    """The newer verdict holds both."""
    each = records("one", "two", "three abort")
    position = await court.append(*each)
    first = await court.judge(position)

    with pytest.raises(HarmlessError):
        await court.judge(position)
    assert (position, 1) == (first.position, len(first.parts))


async def test_a_frame_that_is_not_there_cannot_be_judged(court: Court) -> None:
    """Deleted, or damaged, meanwhile."""
    position = await court.append(*records("one"))

    with pytest.raises(UnclearError, match="not in the journal"):
        await court.judge(position._replace(sequence=position.sequence + 7))


async def test_checkpoints_that_know_the_frame_otherwise_go(court: Court) -> None:
    """Whoever went on from one would make other documents than a replay."""
    position = await court.append(*records("one", "abort"))
    journal = court.folder / "journal"
    for sequence in (position.sequence, position.sequence + 1):
        write_checkpoint(journal, Checkpoint(position._replace(sequence=sequence), "", b""))

    await court.judge(position)
    assert [position] == checkpoints(journal)


def test_what_is_asked_and_found_is_json() -> None:
    """A supervisor and a judge of one version speak it; it is readable for people too."""
    asked = Asked(Position(0, 1, 2), "hang", "hung", 2)

    assert asked == msgspec.json.decode(msgspec.json.encode(asked), type=Asked)
