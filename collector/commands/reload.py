"""`tidewaiter reload`."""

import sys
from typing import Final

import click
import msgspec

from collector.data_dir import holder_of
from collector.errors import UnreachableError
from collector.logs import escaped
from collector.reload import Outcome
from collector.reload_socket import ask_for_reload

WAIT_S: Final = 180.0
"""How long is waited for the outcome unless told otherwise: what is new gets 60 s, and the old worker its drain."""


@click.command()
@click.option("--timeout", "wait_s", default=WAIT_S, show_default=True, help="Seconds to wait for the outcome.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def reload(ctx: click.Context, *, wait_s: float, as_json: bool) -> None:
    """Let the collector that runs with this data folder read its configuration again, and wait for the outcome.

    It reads the file it was started with, and the keys and certificates that this names. Inputs whose address and
    protections stay keep their connections. If anything is wrong, everything stays as it was.

    Exit code 0: it holds; 1: refused, with every problem and its place; 3: no collector runs here.
    """
    data_dir = ctx.obj.folder_named
    if holder_of(data_dir) is None:
        raise UnreachableError(f"no collector runs with the data folder {data_dir}: name that of the one that does")
    outcome = ask_for_reload(data_dir, limit_s=wait_s)
    if as_json:
        report = msgspec.to_builtins(outcome) | {"problems": [problem._asdict() for problem in outcome.problems]}
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        _show(outcome)
    sys.exit(1 if outcome.status == "refused" else 0)


def _show(outcome: Outcome) -> None:
    source = escaped(outcome.source)
    for problem in outcome.problems:
        click.echo(f"{source}:{problem.line or 1}: {problem.path}: {escaped(problem.message)}")
    if outcome.status == "refused":
        count = len(outcome.problems)
        click.echo(f"refused: {count} problem{'s' if count > 1 else ''}; the configuration before holds, unchanged")
        return
    for warning in outcome.warnings:
        click.echo(f"{source}: warning: {escaped(warning)}")
    for change in outcome.changes:
        click.echo(f"{change}{_what_is_left(change)}")
    nothing = "" if outcome.changes else "; nothing in it changed, keys and certificates were read again"
    click.echo(f"reloaded: {source} holds since now ({outcome.seconds:.1f} s){nothing}")


def _what_is_left(change: str) -> str:
    """Say of an output that is no more how the journal lets go of what it has not settled."""
    place, _, what = change.rpartition(" ")
    if what != "removed" or not place.startswith("outputs."):
        return ""
    name = place.removeprefix("outputs.")
    return f": what it has not settled holds the journal until `tidewaiter journal forget {name}`"
