"""`tidewaiter rules test`: the test files beside rules are run, from raw lines to alerts."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final
from xml.etree import ElementTree

import click
import msgspec

from collector.commands import terminal
from collector.config_rules import RulesConfig
from collector.pipeline_settings import pipeline_settings
from collector.rule_tests import RuleFile, read_rule_tests, results
from pipelines.detect.told import told
from pipelines.detect.trial import Result

EXIT_FOUND: Final = 1

STYLES: Final = {"✓": "green", "✗": "red"}


class Counts(msgspec.Struct):
    """What was run so far."""

    rules: int = 0
    passed: int = 0
    failed: int = 0
    mistakes: int = 0
    untested: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.failed or self.mistakes)


@click.command(short_help="Run the test files beside rules.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--pack", is_flag=True, help="The rules that come with Tidewaiter as well.")
@click.option("--json", "as_json", is_flag=True, help="An object a line: one for each case, and for each mistake.")
@click.option("--junit", type=click.File("wb", lazy=True), metavar="FILE", help="Write results as JUnit's XML as well.")
@click.pass_context
def test(ctx: click.Context, *, paths: tuple[str, ...], pack: bool, as_json: bool, junit: Any) -> None:
    """Run the tests of rules: of `NAME.yml` they stand beside it in `NAME.test.yml`.

    PATHs are files of rules, their test files, and folders; else what the configuration names under `rules.paths`.
    The lines of each case go through the pipeline as in production. For a case that fails it is shown which documents
    they became, and which condition of the rule failed on which value. A rule without a test file is named.

    Exit code 0; 1 where a case fails, a rule does not load or a test file is wrong; 2 for wrong usage.
    """
    config = ctx.obj.load().config
    options: RulesConfig = msgspec.structs.replace(config.rules, paths=list(paths or config.rules.paths), pack=pack)
    if not options.wanted:
        raise click.UsageError("nothing to test: name files or folders of rules, or --pack for our own")
    settings = pipeline_settings(config)
    counts, suites = Counts(), ElementTree.Element("testsuites")
    with terminal.quiet_when_nobody_reads():
        for file in read_rule_tests(options):
            ran = list(results(file, settings))
            _count(counts, file, ran)
            _objects_shown(file, ran) if as_json else _printed(file, ran)
            suites.append(_suite(file, ran))
        if not as_json:
            click.echo(_summary(counts))
    if junit is not None:
        junit.write(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n")
    if not counts.good:
        ctx.exit(EXIT_FOUND)


def _count(counts: Counts, file: RuleFile, ran: list[Result]) -> None:
    counts.rules += len(file.rules) + len(file.unable)
    counts.passed += sum(result.passed for result in ran)
    counts.failed += sum(not result.passed for result in ran)
    counts.mistakes += len(file.mistakes)
    counts.untested += len(_untested(file))


def _untested(file: RuleFile) -> list[str]:
    """Return the titles of rules that no test file stands beside."""
    return [rule.title for rule in file.rules] if file.test_name is None else []


def _summary(counts: Counts) -> str:
    parts = [f"{counts.passed} cases passed", f"{counts.failed} failed"]
    if counts.mistakes:
        parts.append(f"{counts.mistakes} mistakes in files")
    if counts.untested:
        parts.append(f"{counts.untested} rules have no test file")
    return f"{counts.rules} rules: {', '.join(parts)}"


def _printed(file: RuleFile, ran: list[Result]) -> None:
    """Show people a file: a line for what is good, and why the rest is not."""
    print_marked(_lines(file, ran))


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


def _objects_shown(file: RuleFile, ran: list[Result]) -> None:
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
