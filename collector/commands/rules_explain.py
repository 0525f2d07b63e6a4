"""`tidewaiter rules explain`: what a rule has become, and with a line, step by step whether it holds."""

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.commands import terminal
from collector.pipeline_settings import pipeline_settings
from pipelines.detect.cases import INPUTS, STREAMS, Case, Container

EXIT_FOUND: Final = 1

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
    # Pipeline and pySigma are slow to import; the group's other commands do without.
    from collector.commands import rules_explained as explained

    config = ctx.obj.load().config
    found = explained.loaded(config.rules, rule)
    rules = explained.meant(found, rule)
    result = None
    if line is not None:
        container = _container(about)
        lines = _read() if line == STANDARD_INPUT else [line]
        case = Case(name="line", lines=line, expect="none", input=come_by, container=container, tag=tag)
        result = explained.result_of(rules, case, lines, pipeline_settings(config))
    with terminal.quiet_when_nobody_reads():
        if as_json:
            for each in rules:
                click.echo(msgspec.json.encode(explained.object_of(each, result)))
        else:
            explained.show(rules, result)
    mistakes = [problem for problem in found.problems if problem.fatal] if Path(rule).exists() else []
    for problem in mistakes:
        click.echo(f"not loaded: {terminal.visible(str(problem))}", err=True)
    if mistakes:
        ctx.exit(EXIT_FOUND)


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
