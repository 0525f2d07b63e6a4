"""Tests of rules on disk: which files of rules there are, and the test file that stands beside each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from collector.config_rules import RulesConfig
from collector.rule_files import SUFFIXES, TEST_SUFFIXES, RuleFilesError, read_rule_files, read_text, rule_files
from pipelines.detect.cases import Placed, read_cases
from pipelines.detect.documents import read
from pipelines.detect.load import load
from pipelines.detect.rule import Place, Problem, Rule
from pipelines.detect.trial import Result, Trial
from pipelines.settings import Settings

Each = TypeVar("Each", Rule, Problem)


class RuleFile(NamedTuple):
    """A file of rules, what of it loads, and its tests: None where no test file stands beside it.

    `unable` says by id, name or title which of its rules cannot be run, and why.
    """

    name: str
    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]
    unable: dict[str, str]
    test_name: str | None = None
    cases: tuple[Placed, ...] = ()

    @property
    def mistakes(self) -> list[Problem]:
        """What keeps a rule from loading, or a test file from being run."""
        return [problem for problem in self.problems if problem.fatal]


def with_rules_of(path: str) -> str:
    """Return a path, of a test file that of the rules beside it; raise RuleFilesError where there are none."""
    for suffix in TEST_SUFFIXES:
        if path.endswith(suffix):
            stem = path.removesuffix(suffix)
            for each in SUFFIXES:
                if Path(stem + each).is_file():
                    return stem + each
            raise RuleFilesError(("paths",), f"{path}: there are no rules beside it: {stem}{SUFFIXES[0]} is not there")
    return path


def read_rule_tests(options: RulesConfig) -> Iterator[RuleFile]:
    """Yield the files of a set with their tests; raise RuleFilesError. Filters hold for rules of all its files."""
    options = msgspec.structs.replace(options, paths=[with_rules_of(path) for path in options.paths])
    texts = read_rule_files(options)
    loaded = load(texts.files.items(), placeholders=texts.placeholders)
    rules = _by_file(loaded.rules)
    problems = _by_file((*texts.problems, *loaded.problems))
    for found in rule_files(options):
        file = RuleFile(
            found.name,
            tuple(rules.get(found.name, ())),
            tuple(problems.get(found.name, ())),
            correlations(found.name, texts.files.get(found.name, "")),
        )
        yield _with_tests(file, Path(found.path))
    for path in options.paths:
        yield from _alone(Path(path))


def _alone(folder: Path) -> Iterator[RuleFile]:
    """Yield test files below a folder beside which there are no rules: nothing would run them."""
    for suffix in TEST_SUFFIXES:
        for test in sorted(folder.rglob(f"*{suffix}")) if folder.is_dir() else ():
            try:
                with_rules_of(str(test))
            except RuleFilesError as error:
                yield RuleFile(str(test), (), (Problem(Place(str(test)), str(error)),), {})


def results(file: RuleFile, settings: Settings) -> Iterator[Result]:
    """Yield what comes of each case."""
    trial = Trial(file.rules, settings, file.unable)
    yield from map(trial.run, file.cases)


def correlations(file: str, text: str) -> dict[str, str]:
    """Return the correlation rules of a file by id, name or title, with why they cannot be run."""
    found = {}
    for document in read(file, text):
        if not isinstance(document, Problem) and isinstance(document.content, dict):
            content = document.content
            if "correlation" in content:
                key = content.get("id") or content.get("name") or content.get("title") or str(document.place())
                found[str(key)] = f"{key}: a correlation rule is not evaluated by this version"
    return found


def _with_tests(file: RuleFile, path: Path) -> RuleFile:
    for suffix in TEST_SUFFIXES:
        beside = path.with_name(path.name.removesuffix(path.suffix) + suffix)
        if beside.is_file():
            name = str(Path(file.name).with_name(beside.name))
            try:
                cases, problems = read_cases(name, read_text(str(beside)))
            except OSError as error:
                cases, problems = [], [Problem(Place(name), f"cannot be read: {error.strerror}")]
            except ValueError as error:
                cases, problems = [], [Problem(Place(name), str(error))]
            cases = [] if problems else cases
            return file._replace(problems=(*file.problems, *problems), test_name=name, cases=tuple(cases))
    return file


def _by_file(items: Sequence[Each]) -> dict[str, list[Each]]:
    found: dict[str, list[Each]] = {}
    for each in items:
        found.setdefault(each.place.file, []).append(each)
    return found
