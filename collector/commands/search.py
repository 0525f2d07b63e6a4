"""`tidewaiter search`."""

import time
from typing import Final

import click
import msgspec

from collector.commands import terminal
from collector.store.lucene import translate
from collector.store.reader import Choice, Store, open_store
from collector.store.syntax import named_fields, parse
from collector.store.values import instant_range, moved_back

TERMINAL_LIMIT: Final = 100
"""Documents shown to people unless --limit says otherwise."""

STREAM_FIELDS: Final = frozenset({"data_stream.dataset", "event.dataset"})
"""A query that names one of these chooses data streams by itself, the audit records' included."""


EXAMPLES: Final = """
tidewaiter search 'container.name:web AND message:"connection refused"'
tidewaiter search 'tidewaiter.container.stream:stderr' --since 15m
tidewaiter search '-container.name:web' --since 1h
tidewaiter search --sql 'SELECT container_name, count(*) FROM logs GROUP BY 1'
tidewaiter search --sql 'SELECT "@timestamp", message FROM audit ORDER BY 1'"""
"""Shown below the help, line by line."""


class QueryCommand(click.Command):
    """Takes what begins with one minus for the query, but for -h and the command's own short options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `--` before the query where it begins with a minus."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        with_value = {name for option in options if not option.is_flag for name in option.opts}
        short = {name for option in options for name in option.opts if not name.startswith("--")} | {"-h"}
        before = ""
        for place, argument in enumerate(args):
            if argument == "--":
                break
            is_short = argument in short or (argument[:2] in short and argument[2:].isdecimal())
            minus = argument.startswith("-") and not argument.startswith("--") and not is_short
            if minus and before not in with_value:
                return super().parse_args(ctx, [*args[:place], *args[place + 1 :], "--", argument])
            before = argument
        return super().parse_args(ctx, args)


@click.command(cls=QueryCommand, epilog=f"\b\nExamples:{EXAMPLES}")
@click.argument("query", default="")
@click.option("--sql", is_flag=True, help="QUERY is a SELECT over the views `logs` and `audit`.")
@click.option("--since", metavar="TIME", help="Not older than this: 15m, 2026-11-23 or 2026-11-23T10:00:00Z.")
@click.option("--until", metavar="TIME", help="Older than this.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help=f"Only so many documents, the newest. Without it {TERMINAL_LIMIT}, and with --json all.",
)
@click.option("--json", "as_json", is_flag=True, help="One document a line, exactly as stored, oldest first.")
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
    """Search the local store, in the Lucene query syntax that Kibana takes.

    Oldest first, so the newest stands last. QUERY is one argument: quote it.

    Words without a field are searched in `message`. The collector's own audit records are left out unless the query
    names `data_stream.dataset` or --stream does.

    For --sql these records are the view `audit`, and all others the view `logs`. Both have the columns "@timestamp",
    id, sequence, stream (the data stream), container_id, container_name, image, host, level, message and document (the
    whole document, as JSON text); beside them dataset, action, outcome, user_name, source_ip, service, namespace, pod,
    and as lists category, type and facts.

    Exit code 0 also when nothing is found, 1 when files are damaged (they are named, all others are searched), 2 for a
    query that cannot be done, 3 when there is no store.
    """
    now_ns = time.time_ns()
    earliest, end = instant(since, now_ns, "--since"), instant(until, now_ns, "--until")
    if earliest is not None and end is not None and earliest >= end:
        raise click.UsageError(f"--since ({earliest}) is not before --until ({end})")
    choice = Choice(streams=stream, since=earliest, until=end)
    with terminal.quiet_when_nobody_reads():
        if sql:
            if limit is not None:
                raise click.UsageError("--sql has a LIMIT of its own: leave out --limit")
            with open_store(ctx.obj.data_dir, msgspec.structs.replace(choice, apart=True)) as store:
                columns, rows = store.select(query)
                terminal.write_rows(columns, rows, as_json=as_json)
                tell_damaged(ctx, store)
            return
        condition = translate(query, now_ns=now_ns)
        choice = msgspec.structs.replace(choice, audit=names_streams(query))
        with open_store(ctx.obj.data_dir, choice) as store:
            if as_json:
                terminal.write_documents(store.search(condition, limit=limit))
            elif terminal.show_documents(store.search(condition, limit=limit or TERMINAL_LIMIT)) == TERMINAL_LIMIT:
                _tell_limit(limit)
            tell_damaged(ctx, store)


def tell_damaged(ctx: click.Context, store: Store, *, ends: bool = True) -> None:
    """Name the files that could not be read, for what was found is not all; and end with 1 where this ends."""
    if not store.damaged:
        return
    for sentence in store.damaged:
        click.echo(sentence, err=True)
    click.echo("What these files hold was not searched; all others were.", err=True)
    if ends:
        ctx.exit(1)


def names_streams(query: str) -> bool:
    """Tell whether a query chooses data streams by itself, and so the audit records' too if it likes."""
    return bool(STREAM_FIELDS & named_fields(parse(query)))


def _tell_limit(limit: int | None) -> None:
    """Tell people that there may be more than the built-in limit shows; who gave a limit knows."""
    if limit is None:
        click.echo(f"The newest {TERMINAL_LIMIT}; more by --limit, all by --json.", err=True)


def instant(text: str | None, now_ns: int, option: str) -> str | None:
    """Return an option's time as documents write it; raise BadParameter."""
    if text is None:
        return None
    try:
        return instant_range(moved_back(text), now_ns)[0]
    except ValueError as error:
        raise click.BadParameter(f"{error}; or how long ago: 30s 5m 7d", param_hint=option) from error
