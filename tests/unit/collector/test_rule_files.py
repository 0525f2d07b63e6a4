"""Which files of rules there are, and what stands in them."""

import os
from pathlib import Path

import pytest

from collector import rule_files
from collector.config_rules import RulesConfig
from collector.rule_files import RuleFilesError, missing, read_rule_files, signature
from tests.kit.rule_folders import options


def write(path: Path, text: str = "title: x\n") -> Path:
    """Write a file, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(folder: Path, given: RulesConfig | None = None) -> list[str]:
    """Return the files that are read, as the folder names them."""
    return [name.removeprefix(f"{folder}/") for name in read_rule_files(given or options(folder)).files]


def test_a_folder_is_read_with_all_below_it(tmp_path: Path) -> None:
    """Not tests of rules, nor what is hidden, nor other files."""
    for name in ("b.yml", "a/c.yaml", "a/d/e.yml", "b.test.yml", "b.test.yaml", "notes.md", ".git/f.yml", ".g.yml"):
        write(tmp_path / name)

    assert ["a/c.yaml", "a/d/e.yml", "b.yml"] == names(tmp_path)


def test_a_volume_of_kubernetes_is_read_once(tmp_path: Path) -> None:
    """Its files are links into a hidden folder that is exchanged as a whole."""
    write(tmp_path / "..2026_11_30" / "a.yml")
    (tmp_path / "..data").symlink_to("..2026_11_30")
    (tmp_path / "a.yml").symlink_to("..data/a.yml")

    assert ["a.yml"] == names(tmp_path)


def test_a_folder_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    """A link to a folder is followed, but not for ever."""
    write(tmp_path / "elsewhere" / "a.yml")
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)

    assert ["linked/a.yml"] == names(folder)


def test_a_file_that_two_paths_name_is_read_once(tmp_path: Path) -> None:
    """A folder, and one file in it."""
    file = write(tmp_path / "a.yml")

    given = RulesConfig(paths=[str(tmp_path), str(file)], pack=False)

    assert [str(file)] == list(read_rule_files(given).files)


def test_what_cannot_be_read_is_a_problem_of_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are read."""
    monkeypatch.setattr(rule_files, "FILE_BYTES_LIMIT", 1 << 20)
    write(tmp_path / "good.yml")
    write(tmp_path / "large.yml", "#" * ((1 << 20) + 1))
    (tmp_path / "gone.yml").symlink_to("nowhere")

    found = read_rule_files(options(tmp_path))

    assert [f"{tmp_path}/good.yml"] == list(found.files)
    assert [
        f"{tmp_path}/gone.yml:1:1: cannot be read: No such file or directory",
        f"{tmp_path}/large.yml:1:1: the file is larger than 1 MiB",
    ] == [str(problem) for problem in found.problems]


def test_a_path_that_is_not_there_is_a_problem_of_the_set(tmp_path: Path) -> None:
    """Without what is below it a set would end what was detected until now."""
    given = RulesConfig(paths=[str(tmp_path), f"{tmp_path}/nowhere"], pack=False)

    with pytest.raises(RuleFilesError, match="nowhere: there is no such file or folder") as raised:
        read_rule_files(given)

    assert [("paths", 1)] == [raised.value.option] == [each.option for each in missing(given)]


def test_too_many_files_are_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody named a folder that holds something else."""
    monkeypatch.setattr(rule_files, "FILES_LIMIT", 2)
    for name in "abc":
        write(tmp_path / f"{name}.yml")

    with pytest.raises(RuleFilesError, match="more than 2 files of rules"):
        read_rule_files(options(tmp_path))


def test_too_much_text_is_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read has a bound, whatever its files are (P6)."""
    monkeypatch.setattr(rule_files, "SET_BYTES_LIMIT", 1 << 20)
    for name in "abc":
        write(tmp_path / f"{name}.yml", "#" * 400_000)

    with pytest.raises(RuleFilesError, match="more than 1 MiB together"):
        read_rule_files(options(tmp_path))


def test_placeholders_are_lines_of_files(tmp_path: Path) -> None:
    """Without what is around them, and without empty ones."""
    file = write(tmp_path / "admins", "root\n\n  toor \r\nadmin*")

    assert {"admins": ("root", "toor", "admin*")} == read_rule_files(
        RulesConfig(pack=False, placeholders={"admins": str(file)})
    ).placeholders


def test_a_signature_changes_with_files(tmp_path: Path) -> None:
    """With what stands in one, who may read it, which there are, values of placeholders; with nothing else."""
    file, values = write(tmp_path / "rules" / "a.yml"), write(tmp_path / "admins", "root\n")
    given = options(tmp_path / "rules", placeholders={"admins": str(values)})
    seen = [signature(given)]
    write(tmp_path / "rules" / "a.test.yml")

    assert seen == [signature(given)]

    os.utime(file, (1, 1))
    seen.append(signature(given))
    file.chmod(0o600)
    seen.append(signature(given))
    write(tmp_path / "rules" / "b.yml")
    seen.append(signature(given))
    os.utime(values, (1, 1))
    seen.append(signature(given))
    (tmp_path / "rules").rename(tmp_path / "elsewhere")
    seen.append(signature(given))

    assert 6 == len(set(seen))


def test_names_of_our_own_rules_say_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in alerts, and in the journal."""
    monkeypatch.setattr(rule_files, "PACK_FOLDER", tmp_path)
    write(tmp_path / "kubernetes" / "exec.yml")

    assert ["pack/kubernetes/exec.yml"] == list(read_rule_files(RulesConfig()).files)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no file is a problem of its own, and all else is read."""
    write(tmp_path / "a.yml")
    os.mkfifo(tmp_path / "b.yml")

    read = read_rule_files(options(tmp_path))

    assert ["a.yml"] == names(tmp_path)
    assert [f"{tmp_path}/b.yml:1:1: is no regular file"] == list(map(str, read.problems))


def test_a_link_to_itself_does_not_stop_the_others(tmp_path: Path) -> None:
    """It is a problem of its own."""
    write(tmp_path / "a.yml")
    (tmp_path / "b.yml").symlink_to("b.yml")

    read = read_rule_files(options(tmp_path))

    assert [f"{tmp_path}/a.yml"] == list(read.files)
    assert [f"{tmp_path}/b.yml:1:1: cannot be read: Too many levels of symbolic links"] == list(map(str, read.problems))


def test_a_folder_below_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `lost+found` of a volume, for whoever is not root."""
    write(tmp_path / "a.yml")
    write(tmp_path / "closed" / "b.yml")
    scandir = os.scandir

    def closed(path: str | Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)

    read = read_rule_files(options(tmp_path))

    assert [f"{tmp_path}/a.yml"] == list(read.files)
    assert [f"{tmp_path}/closed"] == [problem.place.file for problem in read.problems]


def test_files_whose_names_are_no_text_are_told_apart(tmp_path: Path) -> None:
    """Each by its bytes; one that is called like another all the same is a problem, and not lost in silence."""
    for name in (b"caf\xe8.yml", b"caf\xe9.yml", rb"caf\xe9.yml"):
        write(Path(os.fsdecode(os.fsencode(tmp_path / "x")[:-1] + name)))

    read = read_rule_files(options(tmp_path))

    assert [r"caf\xe8.yml", r"caf\xe9.yml"] == sorted(Path(name).name for name in read.files)
    assert [r"caf\xe9.yml"] == [Path(problem.place.file).name for problem in read.problems]
