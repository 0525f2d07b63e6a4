"""Rules in the journal: at a start, after each change, and never a set that cannot be built."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collector.config_rules import RulesConfig
from collector.internal import InternalServer
from collector.journal.writer import Journal
from collector.producer import JournalProducer, RejectedError
from collector.rule_build import Built, build
from collector.rule_process import NotBuiltError
from collector.rules import LOOK_S, PRODUCER, RETRY_LOOKS, RuleFiles, keep_rules
from tests.kit.journals import frames_in, open_journal, payloads_in, read_all
from tests.kit.rule_folders import BROKEN, options, rule, titles_in

TIMEOUT_S = 10.0


class Enough(Exception):
    """Ends what never ends."""


class Health:
    """Keeps what is wrong."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""
        self.said[component] = ""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""
        self.said[component] = reason


class Rules:
    """A folder of rules that is looked after; they are built here, and not in another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "rules"
        self.folder.mkdir()
        self.data_dir = folder / "data"
        self.options = options(self.folder)
        self.health = Health()
        self.messages: list[bytes] = []
        self.builds = 0
        self.fault: Exception | None = None
        self.files = RuleFiles(self.options, self.append, self.health, self.build)
        self._written = 0

    async def append(self, payload: bytes) -> None:
        """Take a message."""
        self.messages.append(payload)

    async def build(self) -> Built:
        """Build, or fail."""
        self.builds += 1
        if self.fault is not None:
            raise self.fault
        return build(self.options, self.data_dir)

    def write(self, name: str, text: str) -> None:
        """Change a file, at a time of its own."""
        path = self.folder / name
        path.write_text(text)
        self._written += 1
        os.utime(path, (self._written, self._written))

    async def settle(self) -> None:
        """Let the files be looked at until they are taken."""
        await self.files.look()
        await self.files.look()

    @property
    def titles(self) -> list[list[str]]:
        """Titles of the rules of each message so far."""
        return [titles_in(message) for message in self.messages]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """One file with a rule."""
    made = Rules(tmp_path)
    made.write("a.yml", rule(1, "alpha"))
    return made


async def test_at_a_start_the_set_is_appended(rules: Rules) -> None:
    """And nothing is wrong."""
    await rules.files.start()

    assert [["Word alpha"]] == rules.titles
    assert {"rules": ""} == rules.health.said


async def test_a_changed_file_is_taken_once_it_is_at_rest(rules: Rules) -> None:
    """One that changed since the last look may be half written."""
    await rules.files.start()
    rules.write("a.yml", rule(1, "beta"))
    await rules.files.look()
    rules.write("a.yml", rule(1, "gamma"))
    await rules.files.look()

    assert 1 == rules.builds

    await rules.files.look()
    await rules.settle()

    assert [["Word alpha"], ["Word gamma"]] == rules.titles
    assert 2 == rules.builds


async def test_a_set_that_says_the_same_is_not_appended(rules: Rules) -> None:
    """Only the time of a file changed."""
    await rules.files.start()
    rules.write("a.yml", rule(1, "alpha"))
    await rules.settle()

    assert (2, 1) == (rules.builds, len(rules.messages))


async def test_a_file_with_mistakes_is_told_and_its_rules_before_hold(rules: Rules) -> None:
    """Until it is mended; the others go on, and new ones come."""
    await rules.files.start()
    rules.write("a.yml", BROKEN)
    rules.write("b.yml", rule(2, "beta"))
    await rules.settle()

    assert ["Word alpha", "Word beta"] == rules.titles[-1]
    said = rules.health.said["rules"]
    assert said.startswith(f"{rules.folder}/a.yml has 1 mistake; its rules before hold: {rules.folder}/a.yml:")

    rules.write("a.yml", rule(1, "omega"))
    await rules.settle()

    assert ["Word omega", "Word beta"] == rules.titles[-1]
    assert {"rules": ""} == rules.health.said


async def test_health_names_some_files_and_counts_the_others(rules: Rules) -> None:
    """It is a line for people."""
    for number in range(5):
        rules.write(f"z{number}.yml", BROKEN)
    await rules.files.start()

    said = rules.health.said["rules"]
    assert 3 == said.count(" has 1 mistake: ")
    assert said.endswith("; 2 further files as well")


async def test_a_set_that_cannot_be_built_leaves_the_one_before(rules: Rules) -> None:
    """It is told, and tried again after a while, or at the next change."""
    await rules.files.start()
    rules.fault = NotBuiltError("no memory")
    rules.write("a.yml", rule(1, "beta"))
    await rules.settle()

    assert [["Word alpha"]] == rules.titles
    assert {"rules": "no memory; the rules before hold"} == rules.health.said

    rules.fault = None
    for _ in range(RETRY_LOOKS - 2):
        await rules.files.look()
    assert [["Word alpha"]] == rules.titles
    await rules.files.look()

    assert [["Word alpha"], ["Word beta"]] == rules.titles
    assert {"rules": ""} == rules.health.said


async def test_a_set_that_the_journal_does_not_take_leaves_the_one_before(rules: Rules) -> None:
    """It is told like one that cannot be built."""

    async def refuse(_payload: bytes) -> None:
        raise RejectedError("too large")

    await RuleFiles(rules.options, refuse, rules.health, rules.build).start()

    assert {"rules": "too large; the rules before hold"} == rules.health.said


async def test_a_folder_that_comes_later_is_taken_then(rules: Rules) -> None:
    """One that goes away ends nothing."""
    await rules.files.start()
    rules.folder.rename(rules.folder.with_name("elsewhere"))
    rules.fault = NotBuiltError("there is no such file or folder")
    await rules.settle()

    assert [["Word alpha"]] == rules.titles
    assert {"rules": "there is no such file or folder; the rules before hold"} == rules.health.said

    rules.folder.with_name("elsewhere").rename(rules.folder)
    rules.write("b.yml", rule(2, "beta"))
    rules.fault = None
    await rules.settle()

    assert [["Word alpha"], ["Word alpha", "Word beta"]] == rules.titles


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Journal]:
    """Serve a journal as the intake does."""
    journal = open_journal(folder)
    server = InternalServer(journal, folder / "run" / "intake.sock")
    await server.start()
    try:
        yield journal
    finally:
        await server.close()
        await journal.close()


async def test_files_are_looked_at_again_and_again(rules: Rules, tmp_path: Path) -> None:
    """A look after each pause; what changed is a frame of its own, made ready before; appended also where it is not."""
    pauses: list[float] = []
    ready: list[bytes] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            rules.write("a.yml", rule(1, "beta"))
        if len(pauses) == 4:
            raise Enough

    def prepare(message: bytes) -> None:
        ready.append(message)
        raise ValueError("not ready")

    socket = tmp_path / "run" / "intake.sock"
    async with asyncio.timeout(TIMEOUT_S), serving(tmp_path) as journal:
        with pytest.raises(Enough):
            await keep_rules(
                rules.options, rules.data_dir, socket, rules.health, prepare=prepare, build=rules.build, pause=pause
            )
        found = read_all(tmp_path / "journal", journal.durable)

    assert [["Word alpha"], ["Word beta"]] == [titles_in(payload) for payload in payloads_in(found)]
    assert ready == [bytes(payload) for payload in payloads_in(found)]
    assert {("rules", "rules")} == {
        (run.encoding, frame.origins[0].peer) for frame in frames_in(found) for run in frame.runs
    }
    assert [LOOK_S] * 4 == pauses


@pytest.mark.parametrize(("former", "expected"), [(False, []), (True, [["Word alpha"], []])])
async def test_without_rules_only_those_of_before_are_forgotten(
    rules: Rules, tmp_path: Path, former: bool, expected: list[list[str]]
) -> None:
    """Nobody who has none pays a frame for them."""
    socket = tmp_path / "run" / "intake.sock"
    async with asyncio.timeout(TIMEOUT_S), serving(tmp_path) as journal:
        if former:
            async with JournalProducer(socket, PRODUCER, encoding="rules") as producer:
                await producer.begin()
                await producer.append((await rules.build()).message)
        await keep_rules(RulesConfig(pack=False), rules.data_dir, socket, rules.health, prepare=lambda _: None)
        found = read_all(tmp_path / "journal", journal.durable)

    assert expected == [titles_in(payload) for payload in payloads_in(found)]
