"""Rules are built in a process of its own: whatever it dies of is a sentence, and nothing is left of it."""

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from collector import rule_process
from collector.config_rules import RulesConfig
from collector.rule_process import NotBuiltError, build_apart
from tests.kit.rule_folders import options, rule, titles_in

WAIT_S = 60.0


def children() -> str:
    """Processes that we started, and that are not gone."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one rule."""
    made = tmp_path / "rules"
    made.mkdir()
    (made / "a.yml").write_text(rule(1, "alpha"))
    return made


async def test_a_set_is_built_by_another_process(folder: Path, tmp_path: Path) -> None:
    """Twice the same, the second time as it is kept; this process never imports pySigma for it."""
    made = [await build_apart(options(folder), tmp_path / "data") for _ in range(2)]

    assert [["Word alpha"]] * 2 == [titles_in(built.message) for built in made]


async def test_a_set_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    """In the words of whoever could not."""
    given = RulesConfig(paths=[f"{tmp_path}/nowhere"], pack=False)

    with pytest.raises(NotBuiltError, match=f"^{tmp_path}/nowhere: there is no such file or folder$"):
        await build_apart(given, tmp_path / "data")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "the process that loads rules ended with signal 11",
        ),
        ("raise SystemExit(3)", "the process that loads rules ended with exit code 3"),
        ("print('x' * 2_000)", "the process that loads rules says more than is taken"),
        ("print('x')", "the process that loads rules said nothing that can be read"),
        ("import sys; sys.stdin.read()", "rules are not loaded after 2 s"),
    ],
)
async def test_a_process_that_fails_is_told_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """It crashes, ends, says too much, says nonsense, or hangs."""
    stub = tmp_path / "stub"
    stub.write_text(f"#!{sys.executable}\n{program}\n")
    stub.chmod(0o700)
    monkeypatch.setattr(rule_process, "RESULT_LIMIT_BYTES", 1_000)
    monkeypatch.setattr(sys, "executable", str(stub))

    with pytest.raises(NotBuiltError, match=reason):
        await build_apart(RulesConfig(), tmp_path, limit_s=2.0)

    assert "" == children()


async def test_it_ends_with_whoever_started_it(folder: Path, tmp_path: Path) -> None:
    """What it waits for is a lock that we hold, and we hang up."""
    data = tmp_path / "data" / "rules"
    data.mkdir(parents=True)
    lock = os.open(data, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "collector.rule_process", str(tmp_path / "data"), stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    process.stdin.write(b'{"pack": false}\n')
    process.stdin.close()

    async with asyncio.timeout(WAIT_S):
        assert 1 == await process.wait()

    os.close(lock)
