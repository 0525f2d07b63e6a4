"""What `tidewaiter rules explain` finds out, and shows of rules."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.commands.rules_tested import print_marked
from collector.config_nodes import unknown
from collector.config_rules import RulesConfig
from collector.rule_build import loaded as loaded_rules
from collector.rule_tests import with_rules_of
from pipelines.detect.cases import Case, Line, Placed
from pipelines.detect.clauses import clauses_of, required_keys
from pipelines.detect.rule import Place, Rule, RuleSet, Variant
from pipelines.detect.steps import fields_read, steps_of
from pipelines.detect.told import documents_told, step_lines, where_text
from pipelines.detect.trial import Result, Trial
from pipelines.settings import Settings

ALL: Final = 1_000
"""Alternatives that are named where no document says which of them matter."""


def loaded(options: RulesConfig, rule: str) -> RuleSet:
    """Load the file that is named, else what the configuration runs."""
    if Path(rule).exists():
        options = msgspec.structs.replace(options, paths=[with_rules_of(rule)], pack=False)
    return loaded_rules(options)


def meant(found: RuleSet, rule: str) -> list[Rule]:
    """Return the rules that are asked for; raise UsageError where there is none."""
    if Path(rule).exists():
        return list(found.rules)
    rules = [each for each in found.rules if rule in (each.id, each.name, each.title)]
    if not rules:
        names = [name for each in found.rules for name in (each.title, each.name, each.id) if name]
        raise click.UsageError(
            unknown(rule, names, what="rule") if names else f"there is no file {rule!r}, and no rule"
        )
    return rules


def result_of(rules: Sequence[Rule], case: Case, lines: Sequence[str], settings: Settings) -> Result:
    """Send the lines through the pipeline, a second apart."""
    numbered = tuple(Line(number, content) for number, content in enumerate(lines))
    placed = Placed(case, Place("line"), tuple(each.id or each.name or each.title for each in rules), numbered)
    return Trial(rules, settings).run(placed)


def show(rules: Sequence[Rule], result: Result | None) -> None:
    """Show people rules, or what lines are to them."""
    print_marked(_lines(rules, result))


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


def object_of(rule: Rule, result: Result | None) -> dict[str, Any]:
    """Return a rule, and what lines are to it, for programs."""
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
