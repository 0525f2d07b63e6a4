"""`tidewaiter check`."""

import sys
from typing import Any

import click
import orjson

from collector.commands.journal import held_by_strangers
from collector.config_file import absences
from collector.errors import ConfigError, Problem
from collector.usable import unusable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Check the configuration and name every problem with its place.

    Certificates, keys and the tables of lookups are loaded. Warnings say who could listen in on what the file allows,
    which secrets, certificates and tables cannot be read from here, and which outputs that are no more still hold the
    journal.

    Exit code 0: nothing wrong; 1: problems, all of them listed.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    try:
        loaded = ctx.obj.load()
        source, problems = loaded.source, list(unusable(loaded))
        warnings = [*loaded.warnings, *absences(loaded.config), *held_by_strangers(loaded.config)]
    except ConfigError as error:
        source, problems = error.file, error.problems
    if as_json:
        click.echo(orjson.dumps(_report(source, problems, warnings), option=orjson.OPT_INDENT_2))
    else:
        for problem in problems:
            click.echo(f"{source}:{problem.line or 1}: {problem.path}: {problem.message}")
        for warning in warnings:
            click.echo(f"{source}: warning: {warning}")
        click.echo(f"{source}: {_count(problems)}")
    sys.exit(1 if problems else 0)


def _count(problems: list[Problem]) -> str:
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "ok"


def _report(source: str, problems: list[Problem], warnings: list[str]) -> dict[str, Any]:
    return {"file": source, "problems": [problem._asdict() for problem in problems], "warnings": warnings}
