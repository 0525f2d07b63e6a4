"""What stands in files of rules becomes one message, and a mistake costs the rules of its file at most."""

import os
import sys
from pathlib import Path

import blake3
import pytest

from collector import rule_build
from collector.rule_build import FOLDER, KEPT, Built, FaultyFile, build
from pipelines.detect import carried
from tests.kit.rule_folders import BROKEN, options, rule, titles_in


class Rules:
    """A folder of rules beside a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "rules"
        self.folder.mkdir()
        self.data_dir = folder / "data"

    def write(self, name: str, *rules: str) -> None:
        """Write a file."""
        (self.folder / name).write_text("---\n".join(rules))

    def build(self) -> Built:
        """Build what stands there now."""
        return build(options(self.folder), self.data_dir)

    @property
    def titles(self) -> list[str]:
        """Titles of the rules that run."""
        return titles_in(self.build().message)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """Two files with a rule each."""
    made = Rules(tmp_path)
    made.write("a.yml", rule(1, "alpha"))
    made.write("b.yml", rule(2, "beta"))
    return made


def test_files_become_a_message(rules: Rules) -> None:
    """With how many rules there are, and how many of them can match."""
    rules.write("c.yml", rule(3, "gamma").replace("category: application", "product: plan9"))

    built = rules.build()

    assert ["Word alpha", "Word beta"] == titles_in(built.message)
    assert (3, 2, 3, 0) == (built.rules, built.active, built.files, built.mistakes)


def test_what_is_kept_is_used_without_loading_rules(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a start without changes does not wait for pySigma."""
    built = rules.build()
    monkeypatch.setitem(sys.modules, "pipelines.detect.load", None)

    assert built == rules.build()

    rules.write("b.yml", rule(2, "delta"))
    with pytest.raises(ImportError):
        rules.build()


def test_what_is_kept_and_damaged_is_built_anew(rules: Rules) -> None:
    """It is believed only where its checksum is right: here a byte of the message is another."""
    built = rules.build()
    kept = rules.data_dir / FOLDER / KEPT
    content = bytearray(kept.read_bytes())
    content[content.index(built.message) + len(built.message) // 2] ^= 1
    kept.write_bytes(content)

    assert built == rules.build()


def test_what_is_kept_and_is_something_else_is_built_anew(rules: Rules) -> None:
    """Empty after a crash of the machine, or of a program that kept other things."""
    built = rules.build()
    for content in (b"", blake3.blake3(b"\x90").digest() + b"\x90"):
        (rules.data_dir / FOLDER / KEPT).write_bytes(content)

        assert built == rules.build()


def test_a_set_that_cannot_be_kept_is_built_all_the_same(rules: Rules) -> None:
    """A full disk costs time at the next start, and no detection."""
    (rules.data_dir / FOLDER / KEPT).mkdir(parents=True)

    assert [["Word alpha", "Word beta"]] * 2 == [rules.titles, rules.titles]


def test_another_program_builds_anew(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of fields may have grown, and the rule that could not match can now."""
    rules.build()
    monkeypatch.setattr(rule_build, "_program", lambda: iter(["another"]))
    monkeypatch.setitem(sys.modules, "pipelines.detect.load", None)

    with pytest.raises(ImportError):
        rules.build()


def test_values_of_placeholders_count(rules: Rules, tmp_path: Path) -> None:
    """A changed list is a changed set."""
    admins = tmp_path / "admins"
    rules.write("a.yml", rule(1, "x").replace("words: ['x']", "words: {user.name|expand: '%admins%'}"))
    given = options(rules.folder, placeholders={"admins": str(admins)})
    admins.write_text("root\n")
    one = build(given, rules.data_dir)
    admins.write_text("root\ntoor\n")

    assert one.message != build(given, rules.data_dir).message


def test_a_broken_rule_stops_only_itself(rules: Rules) -> None:
    """Of a file that held none before, the sound ones run (P7)."""
    rules.write("c.yml", rule(3, "gamma"), BROKEN)

    built = rules.build()

    assert ["Word alpha", "Word beta", "Word gamma"] == titles_in(built.message)
    (faulty,) = built.faulty
    assert (f"{rules.folder}/c.yml", 1, False) == (faulty.file, faulty.mistakes, faulty.held)
    assert (faulty.first,) == built.problems
    assert faulty.first.startswith(f"{rules.folder}/c.yml:")


def test_a_file_that_breaks_keeps_its_rules(rules: Rules) -> None:
    """Also over builds in between, until it is mended; what changed elsewhere holds."""
    rules.build()
    rules.write("b.yml", BROKEN)
    assert ["Word alpha", "Word beta"] == rules.titles
    rules.write("a.yml", rule(1, "omega"))

    built = rules.build()

    assert ["Word omega", "Word beta"] == titles_in(built.message)
    assert [True] == [faulty.held for faulty in built.faulty]

    rules.write("b.yml", rule(2, "sigma"))
    assert ["Word omega", "Word sigma"] == rules.titles
    assert 0 == rules.build().mistakes


def test_a_file_that_cannot_be_read_keeps_its_rules(rules: Rules) -> None:
    """A file that is replaced by a link to nowhere is no file without rules."""
    rules.build()
    (rules.folder / "b.yml").unlink()
    (rules.folder / "b.yml").symlink_to("nowhere")

    assert ["Word alpha", "Word beta"] == rules.titles


def test_a_folder_that_cannot_be_read_keeps_its_rules(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not one without rules."""
    (rules.folder / "below").mkdir()
    rules.write("below/c.yml", rule(3, "gamma"))
    rules.build()
    scandir = os.scandir

    def closed(path: str | Path) -> object:
        if str(path).endswith("below"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)

    assert ["Word alpha", "Word beta", "Word gamma"] == sorted(rules.titles)


def test_a_file_that_is_gone_takes_its_rules_along(rules: Rules) -> None:
    """That is what its author wants."""
    rules.build()
    (rules.folder / "b.yml").unlink()

    assert ["Word alpha"] == rules.titles


def test_rules_of_before_do_not_hold_against_those_of_another_file(rules: Rules) -> None:
    """The rule went to another file, and the file it stood in broke: it is there once."""
    rules.build()
    rules.write("a.yml", rule(1, "alpha"), rule(2, "moved"))
    rules.write("b.yml", BROKEN)

    built = rules.build()

    assert ["Word alpha", "Word moved"] == titles_in(built.message)
    assert [False] == [faulty.held for faulty in built.faulty]


def test_a_new_file_does_not_take_the_place_of_a_rule_that_runs(rules: Rules) -> None:
    """Somebody copied it and forgot to give the copy an id of its own: the copy is at fault, wherever it stands."""
    rules.build()
    rules.write("a-copy.yml", rule(2, "gamma"))

    built = rules.build()

    assert ["Word alpha", "Word beta"] == sorted(titles_in(built.message))
    assert [f"{rules.folder}/a-copy.yml"] == [faulty.file for faulty in built.faulty]


def test_a_rule_that_no_message_can_carry_is_left_out(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as a mistake of its file."""
    monkeypatch.setattr(carried, "DEPTH_LIMIT", 2)
    rules.write("b.yml", rule(2, "beta").replace("condition: words", "condition: not (not (not words))"))

    built = rules.build()

    assert ["Word alpha"] == titles_in(built.message)
    assert [(f"{rules.folder}/b.yml", 1)] == [(faulty.file, faulty.mistakes) for faulty in built.faulty]


def test_a_set_that_is_too_large_is_none(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of it."""
    monkeypatch.setattr(carried, "RULES_BYTES_LIMIT", 1_000)
    rules.write("c.yml", *(rule(number, f"word{number * 7919}") for number in range(3, 40)))

    with pytest.raises(ValueError, match="bytes compressed, and 1000 go"):
        rules.build()

    assert not (rules.data_dir / FOLDER / KEPT).exists()


def test_mistakes_are_told_one_by_one_up_to_a_bound(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted."""
    monkeypatch.setattr(rule_build, "PROBLEMS_LIMIT", 3)
    for number in range(5):
        rules.write(f"z{number}.yml", BROKEN)

    built = rules.build()

    assert (5, 5, 3, 3) == (built.mistakes, built.faulty_files, len(built.faulty), len(built.problems))
    assert FaultyFile(f"{rules.folder}/z0.yml", 1, built.problems[0], held=False) == built.faulty[0]
