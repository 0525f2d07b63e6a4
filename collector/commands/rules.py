"""`tidewaiter rules`: which rules run, and what rule authors need. Each other command is a module `rules_NAME`."""

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from collector.commands import terminal
from collector.commands.rules_explain import explain
from collector.commands.rules_new import new, print_schema
from collector.commands.rules_test import test
from collector.config_rules import RulesConfig
from collector.logs import escaped
from collector.rule_build import loaded
from collector.rule_page import page
from pipelines.detect.rule import Rule, RuleSet


@click.group()
def rules() -> None:
    """Sigma rules: which run on documents and why some never do; begin, test and explain them."""


rules.add_command(new)
rules.add_command(test)
rules.add_command(explain)
rules.add_command(print_schema)


@rules.command(name="list", short_help="List all rules.")
@click.argument("paths", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for programs.")
@click.option("--markdown", is_flag=True, help="All of them with what they mean, as one page.")
@click.option("--why", is_flag=True, help="Say why a rule can never match, and which part of another cannot.")
@click.pass_context
def list_all(ctx: click.Context, *, paths: tuple[str, ...], as_json: bool, markdown: bool, why: bool) -> None:
    """List the rules that the configuration asks for, or those of PATHS, files and folders.

    State: `active`, or `never` for one that no document can match. What is wrong with files is told beside it;
    `tidewaiter check` names each mistake with its place.
    """
    found = loaded(chosen(ctx, paths))
    if markdown:
        with terminal.quiet_when_nobody_reads():
            click.echo(page(found.rules), nl=False)
        return
    columns = [*_COLUMNS, *(["why"] if why or as_json else [])]
    with terminal.quiet_when_nobody_reads():
        rows = (tuple(_cell(rule, column, as_json=as_json) for column in columns) for rule in found.rules)
        terminal.write_rows(columns, rows, as_json=as_json)
    for problem in found.problems:
        if problem.fatal:
            click.echo(f"not loaded: {escaped(str(problem))}", err=True)
    click.echo(summary(found), err=True)


_COLUMNS = ("title", "id", "level", "state", "log_source", "file")


def chosen(ctx: click.Context, paths: tuple[str, ...]) -> RulesConfig:
    """Return the configuration's rules, or these paths with the configuration's placeholders; raise ConfigError."""
    options: RulesConfig = ctx.obj.load().config.rules
    return msgspec.structs.replace(options, paths=list(paths), pack=False) if paths else options


def summary(found: RuleSet) -> str:
    """Return how many rules there are, for people."""
    failed = sum(problem.fatal for problem in found.problems)
    active = sum(rule.never is None for rule in found.rules)
    said = f"{len(found.rules)} rules, {active} can match"
    return f"{said}; mistakes that keep others from loading: {failed}" if failed else said


def _cell(rule: Rule, column: str, *, as_json: bool) -> Any:
    if column == "state":
        return "active" if rule.never is None else "never"
    if column == "file":
        return str(rule.place)
    if column == "log_source":
        return str(rule.log_source)
    if column == "why":
        told = list(_why(rule))
        return told if as_json else "; ".join(told)
    value = getattr(rule, column)
    return value if as_json or value is not None else "-"


def _why(rule: Rule) -> Iterator[str]:
    if rule.never is not None:
        yield rule.never
    yield from (remark.message for remark in rule.remarks)
