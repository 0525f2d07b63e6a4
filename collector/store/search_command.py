"""`tidewaiter search`."""

import sys
import time
from collections.abc import Iterable
from typing import Final

import click
import orjson

from collector.logs import escaped
from collector.store.lucene import Condition, translate
from collector.store.reader import open_store
from collector.store.values import instant_range

TERMINAL_LIMIT: Final = 100
"""Documents shown to people unless --limit says otherwise."""

MESSAGE_LIMIT: Final = 16_384
"""Characters of a line shown on a terminal."""


@click.command()
@click.argument("query", default="")
@click.option("--sql", is_flag=True, help="QUERY is a SELECT over the view `logs`.")
@click.option("--since", metavar="TIME", help="Not older than this: 15m, 2026-11-23 or 2026-11-23T10:00:00Z.")
@click.option("--until", metavar="TIME", help="Older than this.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many: the newest (with --json the oldest).")
@click.option("--json", "as_json", is_flag=True, help="One document a line, oldest first, all of them.")
@click.option("--stream", metavar="GLOB", help="Only data streams of this name, e.g. 'logs-tidewaiter.audit-*'.")
@click.pass_context
def search(
    ctx: click.Context,
    *,
    query: str,
    sql: bool,
    since: str | None,
    until: str | None,
    limit: int | None,
    as_json: bool,
    stream: str | None,
) -> None:
    r"""Search the local store, in the Lucene query syntax that Kibana takes.

    \b
    tidewaiter search 'container.name:web AND message:"connection refused"'
    tidewaiter search 'tidewaiter.container.stream:stderr' --since 15m
    tidewaiter search --sql 'SELECT container_name, count(*) FROM logs GROUP BY 1'

    Words without a field are searched in `message`. The collector's own audit records are left out unless the query
    names their dataset or --stream does. Exit code 0 also when nothing is found, 2 for a query that cannot be done, 3
    when there is no store.
    """
    if sql:
        _select(ctx, query, stream, as_json=as_json)
        return
    now_ns = time.time_ns()
    condition = _within(translate(query, now_ns=now_ns), since, until, now_ns)
    audit = "data_stream.dataset:" in query
    with open_store(ctx.obj.data_dir, streams=stream, audit=audit) as store:
        if as_json:
            for document in store.search(condition, limit=limit, newest=False):
                sys.stdout.write(f"{document}\n")
        else:
            _show(store.search(condition, limit=limit or TERMINAL_LIMIT, newest=True))


def _within(condition: Condition, since: str | None, until: str | None, now_ns: int) -> Condition:
    sql, parameters = f"({condition.sql})", condition.parameters
    for text, sign, option in ((since, ">=", "--since"), (until, "<", "--until")):
        if text is not None:
            try:
                first, _ = instant_range(f"now-{text}" if text[:1].isdigit() and text[-1:] in "smhdw" else text, now_ns)
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint=option) from error
            sql += f' AND "@timestamp" {sign} ?'
            parameters = (*parameters, first)
    return Condition(sql, parameters)


def _select(ctx: click.Context, sql: str, stream: str | None, *, as_json: bool) -> None:
    with open_store(ctx.obj.data_dir, streams=stream) as store:
        columns, rows = store.select(sql)
    if as_json:
        for row in rows:
            click.echo(orjson.dumps(dict(zip(columns, row, strict=True)), default=str))
        return
    from rich.console import Console  # for people only
    from rich.table import Table

    table = Table(*(escaped(column) for column in columns))
    for row in rows:
        table.add_row(*("" if value is None else escaped(str(value)) for value in row))
    Console().print(table)


def _show(documents: Iterable[str]) -> None:
    """Print a line a document; what a container wrote is escaped, so that it cannot control the terminal."""
    from rich.console import Console  # for people only
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    count = 0
    for text in documents:
        document = orjson.loads(text)
        count += 1
        container = document.get("container", {})
        name = container.get("name") or container.get("id", "")[:12] or document["host"]["name"]
        stream = document.get("tidewaiter", {}).get("container", {}).get("stream", "")
        line = Text()
        line.append(document["@timestamp"][:23].replace("T", " ") + "Z ", style="dim")
        line.append(f"{escaped(name)} ", style="cyan")
        line.append(f"{stream:6} ", style="red" if stream == "stderr" else "dim")
        line.append(escaped(document.get("message", ""), limit=MESSAGE_LIMIT))
        console.print(line)
    if not count:
        console.print("Nothing found.", style="dim")
