"""What `tidewaiter rules test` shows of files and their cases: to people, to programs, to build servers."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final
from xml.etree import ElementTree

import msgspec

from collector.commands import terminal
from collector.rule_tests import RuleFile
from pipelines.detect.told import told
from pipelines.detect.trial import Result

STYLES: Final = {"✓": "green", "✗": "red"}


class Report:
    """What was run so far; each file is shown when it has been."""

    def __init__(self) -> None:
        self._rules = self._passed = self._failed = self._mistakes = self._untested = 0
        self._suites = ElementTree.Element("testsuites")

    def show(self, file: RuleFile, ran: list[Result], *, as_json: bool) -> None:
        """Show a file with what came of its cases, and count it."""
        self._rules += len(file.rules) + len(file.unable)
        self._passed += sum(result.passed for result in ran)
        self._failed += sum(not result.passed for result in ran)
        self._mistakes += len(file.mistakes)
        self._untested += len(_untested(file))
        self._suites.append(_suite(file, ran))
        if as_json:
            _write_objects(file, ran)
        else:
            print_marked(_lines(file, ran))

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self._failed or self._mistakes)

    @property
    def summary(self) -> str:
        """All files in one line."""
        parts = [f"{_counted(self._passed, 'case')} passed", f"{self._failed} failed"]
        if self._mistakes:
            parts.append(f"{_counted(self._mistakes, 'mistake')} in files")
        if self._untested:
            parts.append(f"{_counted(self._untested, 'rule')} without a test file")
        return f"{_counted(self._rules, 'rule')}: {', '.join(parts)}"

    def junit(self) -> bytes:
        """All files as JUnit's readers know them."""
        return bytes(ElementTree.tostring(self._suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _untested(file: RuleFile) -> list[str]:
    """Return the titles of rules that no test file stands beside."""
    return [rule.title for rule in file.rules] if file.test_name is None else []


def print_marked(lines: Iterable[str]) -> None:
    """Print lines for people; those that begin with a mark have its colour."""
    from rich.console import Console  # for people only

    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(terminal.visible(line), style=STYLES.get(line.lstrip()[:1], ""), markup=False)


def _lines(file: RuleFile, ran: list[Result]) -> Iterator[str]:
    failed = [result for result in ran if not result.passed]
    good = not failed and not file.mistakes
    if file.test_name is None and good:
        for title in _untested(file):
            yield f"· {file.name}: {title}: no test file"
        return
    yield f"{'✓' if good else '✗'} {file.test_name or file.name}: {len(ran) - len(failed)} of {len(ran)} cases"
    for problem in file.mistakes:
        yield f"    ✗ {problem}"
    for result in failed:
        yield f"    ✗ {result.name} ({result.placed.place})"
        for line in told(result):
            yield f"        {line}"


def _write_objects(file: RuleFile, ran: list[Result]) -> None:
    for each in _objects(file, ran):
        sys.stdout.buffer.write(msgspec.json.encode(each) + b"\n")
    sys.stdout.buffer.flush()


def _objects(file: RuleFile, ran: list[Result]) -> Iterator[dict[str, Any]]:
    for problem in file.mistakes:
        yield {"file": problem.place.file, "line": problem.place.line, "passed": False, "faults": [str(problem)]}
    for title in _untested(file):
        yield {"file": file.name, "rule": title, "passed": None, "faults": ["no test file"]}
    for result in ran:
        yield {
            "file": result.placed.place.file,
            "line": result.placed.place.line,
            "case": result.name,
            "rules": [rule.key for rule in result.rules],
            "passed": result.passed,
            "expected": result.placed.expected,
            "alerts": [alert.document for alert in result.alerts],
            "faults": list(result.faults),
            "told": list(told(result)),
            "documents": [each.document for each in result.made],
        }


def _suite(file: RuleFile, ran: list[Result]) -> ElementTree.Element:
    """Return a file's results as JUnit's readers know them."""
    failures = sum(not result.passed for result in ran)
    name = file.test_name or file.name
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(ran) + len(file.mistakes) + len(_untested(file))),
        failures=str(failures),
        errors=str(len(file.mistakes)),
        skipped=str(len(_untested(file))),
    )
    for problem in file.mistakes:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=f"line {problem.place.line}")
        ElementTree.SubElement(case, "error", message=_xml(problem.message)).text = _xml(str(problem))
    for title in _untested(file):
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=_xml(title))
        ElementTree.SubElement(case, "skipped", message="no test file")
    for result in ran:
        place = result.placed.place
        case = ElementTree.SubElement(
            suite, "testcase", classname=name, name=_xml(result.name), file=place.file, line=str(place.line)
        )
        if not result.passed:
            failure = ElementTree.SubElement(case, "failure", message=_xml(result.faults[0]))
            failure.text = "\n".join(map(_xml, told(result)))
    return suite


def _xml(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return terminal.visible(text, limit=len(text))
