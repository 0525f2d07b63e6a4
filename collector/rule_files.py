"""Files of Sigma rules: which there are, and what stands in them.

Of a folder all below it counts: `*.yml` and `*.yaml`, but no `*.test.yml`, for those hold tests of rules, and nothing
that is hidden. A file that cannot be read is a problem of its own (P7); a path that is not there is one of the whole
set, for without the rules below it a set would end what was detected until now.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import pipelines
from collector.config_rules import RulesConfig
from collector.errors import TidewaiterError
from pipelines.detect.rule import Place, Problem

SUFFIXES: Final = (".yml", ".yaml")

TEST_SUFFIXES: Final = (".test.yml", ".test.yaml")
"""Of files that stand beside rules and hold their tests."""

FILES_LIMIT: Final = 20_000
"""Files of one set; SigmaHQ publishes 3,800."""

FILE_BYTES_LIMIT: Final = 1 << 20
"""Largest file of rules, or of a placeholder's values."""

SET_BYTES_LIMIT: Final = 64 << 20
"""All files of one set together."""

PACK: Final = "pack"
"""What the files of our own rules are called, wherever they are installed: `pack/kubernetes/exec.yml`."""

PACK_FOLDER: Final = Path(pipelines.__file__).with_name("rules")

Signature = tuple[object, ...]
_Stated = tuple[int, int, int, int] | None
_path = itemgetter(0)


class RuleFilesError(TidewaiterError):
    """A set of which a part cannot be read; `option` names where the configuration asks for it."""

    def __init__(self, option: Sequence[str | int], message: str) -> None:
        self.option = tuple(option)
        super().__init__(message)


class RuleTexts(NamedTuple):
    """What is compiled: texts by the names that problems give them, values by placeholder, and what is unreadable."""

    files: dict[str, str]
    placeholders: dict[str, tuple[str, ...]]
    problems: tuple[Problem, ...]


class FoundFile(NamedTuple):
    """A file, by what problems call it, and where it is."""

    name: str
    path: str


def read_rule_files(options: RulesConfig) -> RuleTexts:
    """Read all files of a set; raise RuleFilesError. Blocking."""
    files: dict[str, str] = {}
    problems: list[Problem] = []
    size_bytes = 0
    for name, path in rule_files(options):
        if name in files:
            problems.append(Problem(Place(name), "another file has the same name where it is told"))
            continue
        try:
            files[name] = text = read_text(path)
        except OSError as error:
            problems.append(Problem(Place(name), f"cannot be read: {error.strerror}"))
        except ValueError as error:
            problems.append(Problem(Place(name), str(error)))
        else:
            size_bytes += len(text)
        if size_bytes > SET_BYTES_LIMIT:
            raise RuleFilesError(("paths",), f"the files of rules hold more than {SET_BYTES_LIMIT >> 20} MiB together")
    return RuleTexts(files, _placeholders(options), tuple(problems))


def signature(options: RulesConfig) -> Signature:
    """Return what changes when a file does, or which there are; for a set that cannot be read, why. Blocking.

    Our own rules are left out: they change with the program.
    """
    found: list[object] = [str(error) for error in missing(options)]
    for path in options.paths:
        try:
            found += _below(path) if os.path.isdir(path) else [(path, _signature(path))]
        except OSError as error:
            found.append(f"{error.filename}: {error.strerror}")
    return (*found, *((file, _signature(file)) for file in options.placeholders.values()))


def missing(options: RulesConfig) -> Iterator[RuleFilesError]:
    """Yield which paths and files that the options name are not there, or cannot be opened."""
    named: list[tuple[tuple[str | int, ...], str]] = [
        *((("paths", place), path) for place, path in enumerate(options.paths)),
        *((("placeholders", name), file) for name, file in options.placeholders.items()),
    ]
    for option, path in named:
        if not os.path.exists(path):
            yield RuleFilesError(option, f"{path}: there is no such file or folder")
        elif not os.access(path, os.R_OK):
            yield RuleFilesError(option, f"{path}: cannot be read")


def rule_files(options: RulesConfig) -> Iterator[FoundFile]:
    """Yield each file once, our own first, then the paths' in their order; raise RuleFilesError."""
    if options.pack:
        folder = str(PACK_FOLDER)
        try:
            pack = _below(folder)
        except OSError as error:
            raise RuleFilesError(("pack",), f"our own rules cannot be read: {error.strerror}") from error
        yield from (FoundFile(f"{PACK}{path.removeprefix(folder)}", path) for path, _ in pack)
    for missed in missing(options):
        raise missed
    seen: set[str] = set()
    for place, given in enumerate(options.paths):
        try:
            paths = [path for path, _ in _below(given)] if os.path.isdir(given) else [given]
        except OSError as error:
            raise RuleFilesError(("paths", place), f"{error.filename}: cannot be read: {error.strerror}") from error
        for path in paths:
            if (absolute := os.path.abspath(path)) not in seen:
                seen.add(absolute)
                # A name may hold bytes that are no text; it stands in messages and documents.
                yield FoundFile(os.fsencode(path).decode("utf-8", "backslashreplace"), path)
        if len(seen) > FILES_LIMIT:
            raise RuleFilesError(("paths",), f"there are more than {FILES_LIMIT} files of rules")


def _below(folder: str) -> list[tuple[str, _Stated]]:
    """Return the files of rules below a folder, by name; raise OSError. A folder that holds itself is read once.

    A folder below that cannot be read stands among the files: it is a problem of its own when it is read as one.
    """
    found: list[tuple[str, _Stated]] = []
    folders, seen = [folder], {_inode(os.stat(folder))}
    while folders:
        path = folders.pop()
        try:
            entries = sorted(os.scandir(path), key=attrgetter("name"))
        except OSError:
            if path == folder:
                raise
            found.append((path, _signature(path)))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if (inode := _folder(entry)) is not None:
                if inode not in seen:
                    seen.add(inode)
                    folders.append(entry.path)
            elif _holds_rules(entry.name):
                found.append((entry.path, _signature(entry)))
        if len(found) > FILES_LIMIT:
            break
    return sorted(found, key=_path)


def _folder(entry: "os.DirEntry[str]") -> tuple[int, int] | None:
    """Return what tells a folder from others; None for what is none, as a link that leads round in a circle."""
    try:
        return _inode(entry.stat()) if entry.is_dir() else None
    except OSError:
        return None


def _holds_rules(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.endswith(TEST_SUFFIXES)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _signature(file: "str | os.DirEntry[str]") -> _Stated:
    """Return what changes when a file does; None for one that is not there."""
    try:
        found = os.stat(file) if isinstance(file, str) else file.stat()
    except OSError:
        return None
    # A file that may be read now, and might not before, has no other time but that of its change.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def read_text(path: str) -> str:
    """Return a file's text, in which bytes that are no UTF-8 stay; raise OSError, or ValueError for one of no use."""
    # A pipe's end would wait for the other one.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", closefd=True) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("is no regular file")
        content = stream.read(FILE_BYTES_LIMIT + 1)
    if len(content) > FILE_BYTES_LIMIT:
        raise ValueError(f"the file is larger than {FILE_BYTES_LIMIT >> 20} MiB")
    return content.decode("utf-8-sig", "surrogateescape")


def _placeholders(options: RulesConfig) -> dict[str, tuple[str, ...]]:
    made = {}
    for name, file in options.placeholders.items():
        try:
            made[name] = tuple(_values(read_text(file).splitlines()))
        except OSError as error:
            raise RuleFilesError(("placeholders", name), f"{file}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise RuleFilesError(("placeholders", name), f"{file}: {error}") from error
    return made


def _values(lines: Iterable[str]) -> Iterator[str]:
    return (line.strip() for line in lines if line.strip())
