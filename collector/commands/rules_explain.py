"""`tidewaiter rules explain`: what a rule has become, and with a line, step by step whether it holds."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.commands import terminal
from collector.commands.rules_test import print_marked
from collector.config_nodes import unknown
from collector.config_rules import RulesConfig
from collector.pipeline_settings import pipeline_settings
from collector.rule_files import read_rule_files
from collector.rule_tests import with_rules_of
from pipelines.detect.cases import INPUTS, STREAMS, Case, Container, Line, Placed
from pipelines.detect.clauses import clauses_of, required_keys
from pipelines.detect.rule import Place, Rule, RuleSet, Variant
from pipelines.detect.steps import fields_read, steps_of
from pipelines.detect.told import documents_told, step_lines, where_text
from pipelines.detect.trial import Result, Trial
from pipelines.settings import Settings

EXIT_FOUND: Final = 1

ALL: Final = 1_000
"""Alternatives that are named where no document says which of them matter."""

STANDARD_INPUT: Final = "-"

EXAMPLES: Final = """
tidewaiter rules explain rules/shell.yml
docker logs web 2>&1 | tidewaiter rules explain rules/shell.yml - --image nginx:1.27"""
"""Shown below the help, line by line."""


@click.command(short_help="Explain a rule, and whether it holds on a line.", epilog=f"\b\nExamples:{EXAMPLES}")
@click.argument("rule")
@click.argument("line", required=False)
@click.option("--input", "come_by", type=click.Choice(INPUTS), default="forward", help="Where the line comes from.")
@click.option("--container", metavar="NAME", help="The container whose line it is.")
@click.option("--image", metavar="IMAGE", help="Its image, e.g. nginx:1.27.")
@click.option("--namespace", metavar="NAME", help="Its namespace.")
@click.option("--stream", type=click.Choice(STREAMS), help="Where it writes the line.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the container.")
@click.option("--tag", metavar="TAG", default="", help="The tag of the Forward message.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a rule for programs.")
@click.pass_context
def explain(
    ctx: click.Context, /, *, rule: str, line: str | None, come_by: Any, tag: str, as_json: bool, **about: Any
) -> None:
    """Explain RULE: a file of rules, or the id, name or title of one that the configuration runs.

    Shown are its log source, and for each kind of documents that this means: the condition with the fields where our
    documents have them, and the literals that the scan looks for. With LINE (`-`: lines of the standard input) the
    documents are shown that it becomes, and which part of the condition holds on which value.

    Exit code 0; 1 for a rule that does not load; 2 where there is no such rule.
    """
    config = ctx.obj.load().config
    found = _loaded(config.rules, rule)
    rules = _meant(found, rule)
    result = None
    if line is not None:
        container = _container(about)
        lines = _read() if line == STANDARD_INPUT else [line]
        case = Case(name="line", lines=line, expect="none", input=come_by, container=container, tag=tag)
        result = _result(rules, case, lines, pipeline_settings(config))
    with terminal.quiet_when_nobody_reads():
        if as_json:
            for each in rules:
                click.echo(msgspec.json.encode(_object(each, result)))
        else:
            print_marked(_lines(rules, result))
    mistakes = [problem for problem in found.problems if problem.fatal] if Path(rule).exists() else []
    for problem in mistakes:
        click.echo(f"not loaded: {terminal.visible(str(problem))}", err=True)
    if mistakes:
        ctx.exit(EXIT_FOUND)


def _loaded(options: RulesConfig, rule: str) -> RuleSet:
    """Load the file that is named, else what the configuration runs."""
    from pipelines.detect.load import load  # pySigma is slow to import

    if Path(rule).exists():
        options = msgspec.structs.replace(options, paths=[with_rules_of(rule)], pack=False)
    texts = read_rule_files(options)
    return load(texts.files.items(), placeholders=texts.placeholders)


def _meant(found: RuleSet, rule: str) -> list[Rule]:
    if Path(rule).exists():
        return list(found.rules)
    rules = [each for each in found.rules if rule in (each.id, each.name, each.title)]
    if not rules:
        names = [name for each in found.rules for name in (each.title, each.name, each.id) if name]
        raise click.UsageError(
            unknown(rule, names, what="rule") if names else f"there is no file {rule!r}, and no rule"
        )
    return rules


def _container(about: dict[str, Any]) -> Container | None:
    said = {
        "name": about["container"],
        "image": about["image"],
        "namespace": about["namespace"],
        "stream": about["stream"],
        "labels": dict(_pair(label) for label in about["labels"]) or None,
    }
    given = {name: value for name, value in said.items() if value is not None}
    return Container(**given) if given else None


def _pair(label: str) -> tuple[str, str]:
    key, equals, value = label.partition("=")
    if not (key and equals):
        raise click.BadParameter("write KEY=VALUE", param_hint="--label")
    return key, value


def _read() -> list[str]:
    if sys.stdin.isatty():
        click.echo("Reading lines from the terminal; end them by Ctrl-D.", err=True)
    return [line.rstrip(b"\n").decode("utf-8", "surrogateescape") for line in sys.stdin.buffer]


def _result(rules: Sequence[Rule], case: Case, lines: Sequence[str], settings: Settings) -> Result:
    """Send the lines through the pipeline, a second apart."""
    numbered = tuple(Line(number, content) for number, content in enumerate(lines))
    placed = Placed(case, Place("line"), tuple(each.id or each.name or each.title for each in rules), numbered)
    return Trial(rules, settings).run(placed)


def _lines(rules: Sequence[Rule], result: Result | None) -> Iterator[str]:
    for rule in rules:
        yield from _about(rule)
        if result is None:
            yield from _compiled(rule)
    if result is not None:
        yield from (fault for fault in result.faults if not fault.startswith("expected "))
        yield from documents_told(result, list(enumerate(result.made, start=1)))


def _about(rule: Rule) -> Iterator[str]:
    yield rule.title
    said = [rule.id or rule.name, rule.level, rule.status]
    yield f"  {', '.join(each for each in said if each)}; {rule.place}"
    yield f"  log source: {rule.log_source}"
    if rule.never is not None:
        yield f"  ✗ it can never match: {rule.never}"
    for remark in rule.remarks:
        yield f"  remark: {remark}"


def _compiled(rule: Rule) -> Iterator[str]:
    for variant in rule.variants:
        yield f"  as {variant.source}, on documents of {where_text(variant.where)}:"
        yield from (f"    {line}" for line in step_lines(steps_of(variant.expression, alternatives=ALL)))
        yield f"    reads {', '.join(fields_read(variant.expression)) or 'all values of a record'}"
        yield f"    the scan looks for {_sought(variant)}"


def _sought(variant: Variant) -> str:
    """Return which literals make a document worth a look."""
    clauses = [_one_of(clause) for clause in clauses_of(variant.expression)]
    if clauses:
        return " and ".join(clauses)
    keys = required_keys(variant.expression)
    needed = f"that has {_one_of(keys)}" if keys else "of its datasets"
    return f"nothing: each document {needed} is looked at, which costs time"


def _one_of(atoms: Any) -> str:
    texts = [repr(atom.decode("utf-8", "replace")) for atom in sorted(atoms)]
    return texts[0] if len(texts) == 1 else f"one of ({', '.join(texts)})"


def _object(rule: Rule, result: Result | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "title": rule.title,
        "id": rule.id,
        "place": str(rule.place),
        "log_source": str(rule.log_source),
        "never": rule.never,
        "variants": [
            {
                "source": variant.source,
                "datasets": where_text(variant.where),
                "condition": steps_of(variant.expression, alternatives=ALL),
                "fields": fields_read(variant.expression),
                "clauses": [
                    sorted(atom.decode("utf-8", "replace") for atom in clause)
                    for clause in clauses_of(variant.expression)
                ],
            }
            for variant in rule.variants
        ],
    }
    if result is not None:
        made["documents"] = [
            {"dataset": each.dataset, "holds": rule in each.rules, "document": each.document} for each in result.made
        ]
        made["told"] = list(documents_told(result, list(enumerate(result.made, start=1))))
    return made
