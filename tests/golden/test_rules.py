"""The rules that come with Tidewaiter, each by the test file beside it: lines it is for, and lines it is not."""

from pathlib import Path
from typing import Final

import pytest

from collector.config_rules import RulesConfig
from collector.rule_files import PACK_FOLDER
from collector.rule_tests import read_rule_tests, results
from pipelines.detect.told import told
from pipelines.settings import Settings

FILES: Final = sorted(path for path in PACK_FOLDER.rglob("*.yml") if not path.name.endswith(".test.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACK_FOLDER).with_suffix("")))
def test_a_rule_holds_on_what_it_is_for_and_on_nothing_else(path: Path) -> None:
    """It loads, can match, and each case of its test file makes the alerts that it expects; both kinds are there."""
    (file,) = read_rule_tests(RulesConfig(paths=[str(path)], pack=False))

    assert [str(problem) for problem in file.mistakes] == []
    assert [rule.never for rule in file.rules if rule.never is not None] == []
    assert file.test_name is not None

    ran = list(results(file, Settings(version="0")))

    assert "\n".join(f"{each.name}: {line}" for each in ran for line in told(each)) == ""
    assert {each.placed.expected > 0 for each in ran} == {True, False}


def test_every_test_file_has_its_rule() -> None:
    """A renamed rule does not leave its tests behind, where nothing would run them."""
    beside = {path.with_name(path.name.removesuffix(".yml") + ".test.yml") for path in FILES}

    assert [] == sorted(set(PACK_FOLDER.rglob("*.test.yml")) - beside)
