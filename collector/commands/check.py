"""`tidewaiter check`."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
import orjson

from collector.certificates import CertificateError, client_context, server_context
from collector.commands.journal import held_by_strangers
from collector.config import ElasticsearchOutputConfig
from collector.config_file import Loaded, absences
from collector.errors import ConfigError, Problem


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Check the configuration and name every problem with its place.

    Certificates and keys are loaded. Warnings say who could listen in on what the file allows, which secrets and
    certificates cannot be read from here, and which outputs that are no more still hold the journal.

    Exit code 0: nothing wrong; 1: problems, all of them listed.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    try:
        loaded = ctx.obj.load()
        source, problems = loaded.source, list(_unusable(loaded))
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


def _unusable(loaded: Loaded) -> Iterator[Problem]:
    """Yield the certificates and keys that are there and cannot be used; those that are not are absences."""
    for name, options in loaded.config.inputs.items():
        tls = options.tls
        if tls is not None and _readable(tls.certificate, tls.key, tls.client_ca):
            yield from _problem(loaded, ("inputs", name, "tls"), partial(server_context, tls))
    for name, output in loaded.config.outputs.items():
        if isinstance(output, ElasticsearchOutputConfig) and output.ca_file and _readable(output.ca_file):
            yield from _problem(loaded, ("outputs", name), partial(client_context, output.ca_file))


def _problem(loaded: Loaded, section: tuple[str, ...], use: Callable[[], object]) -> Iterator[Problem]:
    try:
        use()
    except CertificateError as error:
        path = (*section, error.option)
        yield Problem(".".join(path), loaded.line_of(*path), str(error))


def _readable(*files: str | None) -> bool:
    return all(os.access(file, os.R_OK) for file in files if file is not None)


def _count(problems: list[Problem]) -> str:
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "ok"


def _report(source: str, problems: list[Problem], warnings: list[str]) -> dict[str, Any]:
    return {"file": source, "problems": [problem._asdict() for problem in problems], "warnings": warnings}
