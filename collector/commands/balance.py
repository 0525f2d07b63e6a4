"""`tidewaiter balance`: of all that was received, what became of it, by hour, source and output."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from collector.balance.report import FIGURES, BalanceRow, missing_rows
from collector.balance.report import balance as balance_rows
from collector.commands import terminal
from collector.config import DEAD_LETTERS_OUTPUT, Config
from collector.config_values import size_text
from collector.logs import escaped
from pipelines.state import HOUR_NS

SINCE_HOURS: Final = 24
"""A day."""

SUMS: Final = (
    ("received", "received"),
    ("delivered", "delivered"),
    ("joined", "joined"),
    ("control", "control"),
    ("dead", "dead"),
    ("dropped", "dropped"),
    ("damaged", "damaged"),
    ("skipped", "skipped"),
    ("in flight", "in_flight"),
)
"""Columns: what is received is the sum of the others."""

ALWAYS: Final = ("received", "delivered", "in_flight")
"""Columns that stand also where all their figures are zero."""

TEXTS: Final = 3
"""So many columns are no figures."""


@click.command(short_help="The books: what was received, and what became of it.")
@click.option(
    "--hours",
    type=click.IntRange(min=1),
    default=SINCE_HOURS,
    show_default=True,
    metavar="COUNT",
    help="So many hours back, this one among them.",
)
@click.option("--json", "as_json", is_flag=True, help="One object a line: a row for each hour, source and output.")
@click.pass_context
def balance(ctx: click.Context, *, hours: int, as_json: bool) -> None:
    """Show the books by hour, source (input and peer) and output, and check them.

    received = delivered + joined (pieces of a line, which is one document) + control (what steers the collector) + dead
    letters + dropped by a rule + damaged (bytes of the journal that cannot be read) + skipped (of an optional output) +
    in flight. Records are counted in the hour in which the journal took them. Documents that derive from records are
    counted apart, and so are claims that differ from what messages hold.

    Reads the files, whether the collector runs or not. Exit code 1 where something does not balance.
    """
    config: Config = ctx.obj.load().config
    now = time.time_ns() // HOUR_NS
    data_dir = Path(config.data_dir)
    rows = list(balance_rows(data_dir, [*config.outputs], [DEAD_LETTERS_OUTPUT], range(now - hours + 1, sys.maxsize)))
    missing = missing_rows(data_dir, [*config.outputs])
    with terminal.quiet_when_nobody_reads():
        if as_json:
            for row in rows:
                click.echo(msgspec.json.encode(row))
        else:
            _show(rows, hours)
        for name, count in missing.items():
            click.echo(f"output {name}: {count:,} rows of its book are damaged or gone: {data_dir}/balance", err=True)
    if missing or not all(row.balanced for row in rows):
        ctx.exit(1)


def _show(rows: Sequence[BalanceRow], hours: int) -> None:
    if not rows:
        click.echo(f"Nothing was received in the last {hours} hours that the journal or a book knows of.")
        return
    columns = [(title, name) for title, name in SUMS if name in ALWAYS or any(getattr(row, name) for row in rows)]
    heads = ["hour", "source", "output", *(title for title, _ in columns)]
    table = [[_hour(row), _source(row), row.output, *_cells(row, columns)] for row in rows]
    totals = [_total(rows, output) for output in dict.fromkeys(row.output for row in rows)]
    table += [["all", "", each.output, *_cells(each, columns)] for each in totals]
    widths = [max(len(line[place]) for line in (heads, *table)) for place in range(len(heads))]
    for line in (heads, *table):
        texts = [f"{cell:{width}}" for cell, width in zip(line[:TEXTS], widths[:TEXTS], strict=True)]
        figures = [f"{cell:>{width}}" for cell, width in zip(line[TEXTS:], widths[TEXTS:], strict=True)]
        click.echo("  ".join([*texts, *figures]))
    for each in totals:
        click.echo(_beside(each))
    for row in rows:
        if row.problem:
            click.echo(f"does not balance: {_hour(row)} {_source(row)}, output {row.output}: {row.problem}")
    if all(row.balanced for row in rows):
        click.echo("Every record is accounted for.")


def _total(rows: Iterable[BalanceRow], output: str) -> BalanceRow:
    """Add up the rows of an output."""
    own = [row for row in rows if row.output == output]
    figures = {name: sum(getattr(row, name) for row in own) for name in FIGURES}
    return BalanceRow(hour="", input="", peer="", output=output, balanced=True, **figures)


def _beside(total: BalanceRow) -> str:
    """Say what is counted beside records."""
    said = [f"{total.messages:,} messages, {size_text(total.bytes)}", f"{total.made:,} documents"]
    if total.derived:
        said.append(f"{total.derived:,} derived from them")
    if total.resends:
        said.append(f"{total.resends:,} messages that came again, kept once")
    if total.claimed_more or total.claimed_fewer:
        more, fewer = total.claimed_more, total.claimed_fewer
        said.append(f"messages claimed {more:,} records more, and {fewer:,} fewer, than they held")
    return f"output {total.output}: {'; '.join(said)}"


def _cells(row: BalanceRow, columns: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{getattr(row, name):,}" for _, name in columns]


def _hour(row: BalanceRow) -> str:
    return row.hour.replace("T", " ").replace(":00Z", "Z")


def _source(row: BalanceRow) -> str:
    return escaped(f"{row.input}/{row.peer}")
