"""`tidewaiter check`."""

import sys
from typing import Any

import click
import orjson

from collector.commands.journal import held_by_strangers
from collector.commands.rules import summary
from collector.config_file import Loaded, absences
from collector.errors import ConfigError, Problem
from collector.logs import escaped
from collector.rule_build import loaded as loaded_rules
from collector.rule_files import RuleFilesError
from collector.usable import unusable
from pipelines.detect.rule import Problem as RuleProblem
from pipelines.detect.rule import RuleSet


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Check the configuration and name every problem with its place.

    Certificates, keys, the tables of lookups and rules are loaded. Warnings say who could listen in on what the file
    allows, which secrets, certificates and tables cannot be read from here, which outputs that are no more still hold
    the journal, and which part of a rule no document can have.

    Exit code 0: nothing wrong; 1: problems, all of them listed.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    rules = RuleSet()
    try:
        loaded = ctx.obj.load()
        source, problems = loaded.source, list(unusable(loaded))
        warnings = [*loaded.warnings, *absences(loaded.config), *held_by_strangers(loaded.config)]
        if not problems:
            rules, problems = _rules(loaded)
    except ConfigError as error:
        source, problems = error.file, error.problems
    mistakes = [problem for problem in rules.problems if problem.fatal]
    if as_json:
        report = {"file": source, "problems": [problem._asdict() for problem in problems], "warnings": warnings}
        click.echo(orjson.dumps(report | {"rules": _report(rules)}, option=orjson.OPT_INDENT_2))
    else:
        for mistake in mistakes:
            click.echo(_shown(mistake))
        for problem in problems:
            click.echo(f"{source}:{problem.line or 1}: {problem.path}: {problem.message}")
        for remark in _remarks(rules):
            click.echo(_shown(remark))
        for warning in warnings:
            click.echo(f"{source}: warning: {warning}")
        if rules.rules or mistakes:
            click.echo(f"{source}: {summary(rules)}")
        click.echo(f"{source}: {_count(len(problems) + len(mistakes))}")
    sys.exit(1 if problems or mistakes else 0)


def _rules(loaded: Loaded) -> tuple[RuleSet, list[Problem]]:
    """Load the rules; of a set that is none return why."""
    try:
        return loaded_rules(loaded.config.rules), []
    except RuleFilesError as error:
        return RuleSet(), [Problem("rules", loaded.line_of("rules"), str(error))]


def _remarks(rules: RuleSet) -> list[RuleProblem]:
    found = [problem for problem in rules.problems if not problem.fatal]
    return [*found, *(remark for rule in rules.rules for remark in rule.remarks)]


def _shown(problem: RuleProblem) -> str:
    """Return what is wrong with a rule as a line, whatever its file holds (P5)."""
    said = f"{problem.place}: {'' if problem.fatal else 'warning: '}{problem.message}"
    return escaped(said, limit=len(said))


def _count(problems: int) -> str:
    return f"{problems} problem{'s' if problems > 1 else ''}" if problems else "ok"


def _report(rules: RuleSet) -> dict[str, Any]:
    return {
        "loaded": len(rules.rules),
        "active": sum(rule.never is None for rule in rules.rules),
        "problems": [_placed(problem) for problem in rules.problems if problem.fatal],
        "warnings": [_placed(remark) for remark in _remarks(rules)],
    }


def _placed(problem: RuleProblem) -> dict[str, Any]:
    place = problem.place
    return {"file": place.file, "line": place.line, "column": place.column, "message": problem.message}
