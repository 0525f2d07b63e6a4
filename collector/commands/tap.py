"""`tidewaiter tap`."""

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import click

from collector.commands import terminal
from collector.commands.search import QueryCommand, instant, names_streams, tell_damaged
from collector.store.following import Following
from collector.store.lucene import translate
from collector.store.opening import Choice
from collector.store.reader import open_store

BEFORE: Final = 10
"""Documents that are shown of what was there before."""

LOOK_MS: Final = 100
"""How often it is looked whether something was committed: a look costs a few microseconds."""

EXAMPLES: Final = """
tidewaiter tap
tidewaiter tap 'container.name:web AND message:error'
tidewaiter tap 'event.action:exec_start' -n 0
tidewaiter tap 'data_stream.dataset:tidewaiter.audit' --since 1h --json"""
"""Shown below the help, line by line."""


@click.command(cls=QueryCommand, epilog=f"\b\nExamples:{EXAMPLES}")
@click.argument("query", default="")
@click.option("--since", metavar="TIME", help="Begin with all that is not older: 15m, 2026-11-23T10:00:00Z.")
@click.option(
    "-n",
    "before",
    type=click.IntRange(min=0),
    metavar="COUNT",
    help=f"Begin with so many documents, the newest. Without it {BEFORE}, and with --since all.",
)
@click.option("--json", "as_json", is_flag=True, help="One document a line, exactly as stored.")
@click.option("--stream", metavar="GLOB", help="Only data streams of this name, e.g. 'logs-tidewaiter.audit-*'.")
@click.pass_context
def tap(
    ctx: click.Context, *, query: str, since: str | None, before: int | None, as_json: bool, stream: str | None
) -> None:
    """Show what comes into the local store, as it comes, until Ctrl-C.

    QUERY is one of `tidewaiter search`; without it everything is shown but the collector's own audit records. A
    document is shown within a second of its acknowledgement, in the order in which they are stored.

    Exit code 0 when it is ended, 1 when files were damaged, or deleted before they were read (they are named), 2 for a
    query that cannot be done, 3 when there is no store.
    """
    now_ns = time.time_ns()
    choice = Choice(streams=stream, audit=names_streams(query), since=instant(since, now_ns, "--since"))
    wanted = translate(query, now_ns=now_ns)
    limit = before if before is not None or since is not None else BEFORE
    missed: list[str] = []
    with terminal.quiet_when_nobody_reads():
        try:
            with open_store(ctx.obj.data_dir, choice) as store:
                _show(store.search(wanted, limit=limit) if limit != 0 else [], as_json=as_json)
                tell_damaged(ctx, store, ends=False)
                missed += store.damaged
                following = Following(ctx.obj.data_dir, choice, wanted, store.manifest)
            if sys.stderr.isatty() and sys.stdout.isatty():
                click.secho("Following; Ctrl-C ends it.", err=True, dim=True)
            with contextlib.closing(following):
                _follow(following, missed, lambda documents: _show(documents, as_json=as_json))
        except KeyboardInterrupt:
            pass  # the way it ends
    ctx.exit(1 if missed else 0)


def _follow(following: Following, missed: list[str], show: Callable[[Iterable[str]], None]) -> None:
    """Show what comes until nobody reads, and say what was missed."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    while not any(event & (select.POLLERR | select.POLLHUP) for _, event in reader.poll(LOOK_MS)):
        for documents in following.new():
            _tell_missed(following, missed)
            show(documents)
        _tell_missed(following, missed)


def _tell_missed(following: Following, missed: list[str]) -> None:
    for sentence in following.missed:
        click.echo(sentence, err=True)
    missed += following.missed
    following.missed.clear()


def _show(documents: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        terminal.write_documents(documents)
    else:
        terminal.show_documents(documents, live=True)
    sys.stdout.flush()
