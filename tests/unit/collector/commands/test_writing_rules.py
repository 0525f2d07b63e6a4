"""The authors' guide, walked: its commands print what it says, and its files pass where it says so."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from collector.cli import cli

GUIDE: Final = Path(__file__).parents[4] / "deploy" / "writing-rules.md"
BLOCK: Final = re.compile(r"^```(console|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PIPE: Final = re.compile(r"\$ (?:echo '(?P<line>[^']*)' \| )?tidewaiter (?P<words>.*)")


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with what it prints."""
    for each in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
        command, _, printed = each.partition("\n")
        if command:
            yield command, printed


def printed_by(command: str) -> str:
    """Run a command of the guide."""
    found = PIPE.fullmatch(command)
    assert found is not None, command
    given = f"{found['line']}\n" if found["line"] else None
    return CliRunner().invoke(cli, shlex.split(found["words"]), input=given).output


def test_the_first_rule_comes_to_be_as_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in their order, in an empty folder; `…` stands for what differs from day to day, or is long."""
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, block in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        about, _, rest = block.partition("\n")
        name = about.removeprefix("# ")
        if kind == "console":
            for command, printed in commands(block):
                pattern = ".*".join(map(re.escape, printed.split("…")))
                found = printed_by(command)
                assert re.fullmatch(pattern, found, re.DOTALL), f"{command}\n{found}"
                ran += 1
        elif name == "large_refund.yml, changed":
            path = tmp_path / "large_refund.yml"
            assert path.read_text().count("    message: refund\n") == 1
            path.write_text(path.read_text().replace("    message: refund\n", rest))
        elif name.startswith("large_refund."):
            (tmp_path / name).write_text(block, encoding="utf-8")

    assert 6 == ran
