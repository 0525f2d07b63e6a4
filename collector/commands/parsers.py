"""`tidewaiter parsers`: which there are, what they make of lines, and which streams have which."""

from collections.abc import Iterator

import click
import msgspec

from collector.commands import terminal
from collector.commands.parsers_new import new
from collector.commands.parsers_streams import streams
from collector.commands.parsers_try import try_lines
from collector.config_nodes import unknown
from collector.logs import escaped
from parsers.describe import FieldFacts, facts, origin_of, page, summary
from parsers.format import formats


@click.group()
def parsers() -> None:
    """See what becomes of a line: list, explain and try parsers."""


parsers.add_command(try_lines)
parsers.add_command(streams)
parsers.add_command(new)


@parsers.command(name="list", short_help="List all parsers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for programs.")
@click.option("--markdown", is_flag=True, help="All of them with all their fields, as one page.")
def list_all(*, as_json: bool, markdown: bool) -> None:
    """List all parsers, in the order in which lines of an unknown stream are tried on them.

    A parser's name is what a container's label `tidewaiter.parser` and the rules under `parsers:` say.
    """
    with terminal.quiet_when_nobody_reads():
        if markdown:
            click.echo(page(), nl=False)
            return
        rows = (
            (about.name, about.title, _listed(about.datasets, as_json), _listed(about.images, as_json))
            for about in map(facts, formats())
        )
        terminal.write_rows(["name", "title", "datasets", "images"], rows, as_json=as_json)


@parsers.command(short_help="Explain a parser and its fields.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
def show(*, name: str, as_json: bool) -> None:
    """Explain the parser NAME: what it takes, and each field that its documents can have.

    `from` names the part of the line (or the key of the object) that a value is taken from, of several the first that
    is there and fits.
    """
    if name not in formats():
        raise click.UsageError(unknown(name, list(formats()), what="parser"))
    about = facts(name)
    with terminal.quiet_when_nobody_reads():
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(about)))
            return
        click.echo(about.documentation + "\n")
        for line in summary(about):
            click.echo(escaped(line))
        click.echo("")
        for line in _columns(about.fields):
            click.echo(line)


def _listed(values: list[str], as_json: bool) -> list[str] | str:
    return values if as_json else ", ".join(values)


def _columns(fields: list[FieldFacts]) -> Iterator[str]:
    width = max(len(each.name) for each in fields)
    yield f"{'field':{width}}  {'type':9}  from"
    for each in fields:
        yield f"{each.name:{width}}  {each.type:9}  {origin_of(each)}".rstrip()
