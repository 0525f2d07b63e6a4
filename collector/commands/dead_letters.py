"""`tidewaiter dead-letters`: what could not be decoded or delivered, why, and offering it again."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.commands import terminal
from collector.commands.dead_letters_shown import (
    Groups,
    LetterOf,
    answer_lines,
    letter_object,
    show_groups,
    show_letters,
)
from collector.config import Config
from collector.data_dir import holder_of
from collector.dead_letters import DEAD_LETTERS, read_letters, sources
from collector.errors import DataDirError, UnreachableError, sentence_of
from collector.replays import IDS_LIMIT, Answer, Request, Selection, answer_to, ask, forget_answer
from collector.store.values import instant_range, moved_back

SHOWN_LIMIT: Final = 10
"""Letters shown to people unless --limit says otherwise."""

EXIT_FOUND: Final = 1
POLL_S: Final = 0.2


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose letters."""
    for option in (
        click.option("--until", metavar="TIME", help="Only records that arrived before this."),
        click.option("--since", metavar="TIME", help="Only records not older: 15m, 2026-11-23, 2026-11-23T10:00:00Z."),
        click.option("--reason", "codes", multiple=True, metavar="TYPE", help="Only those of this reason, as listed."),
        click.option("--output", "outputs", multiple=True, metavar="NAME", help="Only those of this output."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at what could not be decoded or delivered, and offer it again."""


@dead_letters.command("list", short_help="How many there are, by output and reason, and what to do.")
@_chosen
@click.option("--json", "as_json", is_flag=True, help="One object a line: each output and reason.")
@click.pass_context
def list_letters(ctx: click.Context, /, *, as_json: bool, **chosen: Any) -> None:
    """List dead letters by output and reason, each with its newest and with what to do.

    Reads the files, whether the collector runs or not. Damaged lines are named, with exit code 1; they harm no other.
    """
    selection = _selection(chosen)
    groups = Groups()
    damaged: list[str] = []
    for source, letter in _letters(ctx.obj.data_dir, selection, damaged):
        groups.add(source, letter)
    with terminal.quiet_when_nobody_reads():
        if as_json:
            for group in groups:
                click.echo(msgspec.json.encode(group.object()))
            for place in damaged:
                click.echo(msgspec.json.encode({"damaged": place}))
        else:
            show_groups(groups)
    _end(ctx, damaged, tell=not as_json)


@dead_letters.command(short_help="Show letters with their document or bytes.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_chosen
@click.option("--limit", type=click.IntRange(min=1), metavar="COUNT", help="Only so many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="One letter a line.")
@click.option("--raw", is_flag=True, help="The bytes themselves and nothing else; of a document, a line each.")
@click.pass_context
def show(
    ctx: click.Context, /, *, ids: tuple[str, ...], limit: int | None, as_json: bool, raw: bool, **chosen: Any
) -> None:
    """Show dead letters, the newest last: which record, why, and its document or its bytes.

    ID is a letter's, as `list` shows it, or its document's. What records hold is shown as it came: mind who looks on.
    """
    selection = _selection(chosen, ids)
    damaged: list[str] = []
    seen: set[str | None] = set()
    found = _watched(_letters(ctx.obj.data_dir, selection, damaged), seen if ids else None)
    if limit is not None or not (as_json or raw):
        found = _newest(found, limit or SHOWN_LIMIT)
    with terminal.quiet_when_nobody_reads():
        if raw:
            for _, letter in found:
                sys.stdout.buffer.write(letter.payload_bytes + (b"\n" if letter.document_id is not None else b""))
        elif as_json:
            for source, letter in found:
                click.echo(msgspec.json.encode(letter_object(source, letter)))
        else:
            count = show_letters(found)
            if not count:
                click.echo("No dead letter fits.")
            elif limit is None and count == SHOWN_LIMIT:
                click.echo(f"The newest {SHOWN_LIMIT}; more by --limit, all by --json.", err=True)
    missing = [each for each in ids if each not in seen]
    for each in missing:
        click.echo(f"no dead letter {each!r}", err=True)
    _end(ctx, [*damaged, *missing], tell=False)


@dead_letters.command(short_help="Offer letters to their output again; what is stored is one no more.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_chosen
@click.option("--all", "everything", is_flag=True, help="All that there are.")
@click.option("--to", metavar="NAME", help="Offer them to this output, not to that which refused them.")
@click.option("--dry-run", is_flag=True, help="Only say what would be offered.")
@click.option("--json", "as_json", is_flag=True, help="One object a line: each output and reason.")
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    *,
    ids: tuple[str, ...],
    everything: bool,
    to: str | None,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Let the running collector offer dead letters again, under the ids that they had.

    So what the store has already is there once. Stored documents are letters no more; what is refused once more stays,
    with the new reason, and its tries are counted. Where the output waits (the store is away, say) the replay ends
    after 30 s, and the rest stays too. The collector goes on with it when this command is interrupted, or it is itself
    killed and started again. An audit record `replay` tells of it.

    Exit code 0 when all that was chosen is stored, 1 when some of it stays, 3 when no collector runs.
    """
    config: Config = ctx.obj.load().config
    selection = _selection(chosen, ids)
    if selection == Selection() and not everything:
        raise click.UsageError("say which: IDs, --output, --reason, --since, --until, or --all")
    if to is not None and to not in config.outputs:
        raise click.BadParameter(f"no output {to!r}; there is: {', '.join(config.outputs)}", param_hint="--to")
    data_dir = Path(config.data_dir)
    damaged: list[str] = []
    groups = Groups()
    for source, letter in _letters(data_dir, selection, damaged):
        groups.add(source, letter)
    for place in damaged:
        click.echo(f"warning: {place}, left as it is", err=True)
    if dry_run or not groups.count:
        _tell_chosen(groups, to, as_json=as_json)
        return
    if holder_of(data_dir) is None:
        raise UnreachableError(f"no collector runs with {data_dir}: start it, for it has the outputs' keys")
    answer = _wait(data_dir, ask(data_dir, selection, to=to or ""), groups.count)
    _tell(answer, as_json=as_json)
    if answer.problems or answer.left:
        ctx.exit(EXIT_FOUND)


def _tell(answer: Answer, *, as_json: bool) -> None:
    """Print what became of a replay."""
    with terminal.quiet_when_nobody_reads():
        if not as_json:
            for line in answer_lines(answer):
                click.echo(line)
            return
        for group in answer.groups:
            click.echo(msgspec.json.encode(_renamed(group)))
        for problem in answer.problems:
            click.echo(msgspec.json.encode({"problem": problem}))


def _wait(data_dir: Path, request: Request, count: int) -> Answer:
    """Wait for the last answer, showing people how far it is; raise UnreachableError when the collector ends."""
    from rich.console import Console  # for people only

    console = Console(stderr=True)
    try:
        with console.status(f"offering {count:,} letters") as status:
            while not (answer := answer_to(data_dir, request)).done:
                if holder_of(data_dir) is None:
                    raise UnreachableError("the collector ended; it goes on with the replay when it runs again")
                offered = answer.total("stored") + answer.total("refused")
                status.update(f"offered {offered:,} of {count:,}, {answer.total('refused'):,} refused again")
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo("the collector goes on with it; its log and audit records tell the end", err=True)
        raise
    forget_answer(data_dir, request)
    return answer


def _tell_chosen(groups: Groups, to: str | None, *, as_json: bool) -> None:
    """Say what a replay would offer, and to whom."""
    if as_json:
        for group in groups:
            click.echo(msgspec.json.encode({**group.object(), "to": to or group.source}))
        return
    if not groups.count:
        click.echo("No dead letter fits.")
    for group in groups:
        what = f"{group.letters:,} of {group.source}: {group.shown_code}"
        if group.without_document == group.letters:
            click.echo(f"{what}: stay, for they hold no document")
        else:
            click.echo(f"{what}: would be offered to {to or group.source}")


def _renamed(group: Any) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(group)
    return {"output": told.pop("source"), "reason": told.pop("code"), "words": told.pop("reason"), **told}


def _selection(chosen: dict[str, Any], ids: tuple[str, ...] = ()) -> Selection:
    now_ns = time.time_ns()
    if len(ids) > IDS_LIMIT:
        raise click.UsageError(f"{len(ids):,} IDs are more than {IDS_LIMIT:,}: choose by --output, --reason, --since")
    return Selection(
        sources=chosen["outputs"],
        codes=chosen["codes"],
        ids=ids,
        since=_instant(chosen["since"], now_ns, "--since"),
        until=_instant(chosen["until"], now_ns, "--until"),
    )


def _instant(text: str | None, now_ns: int, option: str) -> str:
    if text is None:
        return ""
    try:
        return instant_range(moved_back(text), now_ns)[0]
    except ValueError as error:
        raise click.BadParameter(f"{error}; or how long ago: 30s 5m 7d", param_hint=option) from error


def _letters(data_dir: Path, selection: Selection, damaged: list[str]) -> Iterator[LetterOf]:
    """Yield the chosen letters with their sources, those of each oldest first; raise DataDirError."""
    try:
        if not data_dir.is_dir():
            raise DataDirError(f"{data_dir}: there is no such data folder")
        known = sources(data_dir)
        strange = [name for name in selection.sources if name not in known]
        if strange and known:
            click.echo(f"no dead letters of {', '.join(strange)}; there are some of: {', '.join(known)}", err=True)
        for source in known:
            if not selection.sources or source in selection.sources:
                for letter in read_letters(data_dir, source, damaged=damaged.append):
                    if selection.takes(source, letter):
                        yield source, letter
    except OSError as error:
        raise DataDirError(f"{data_dir / DEAD_LETTERS} cannot be read: {sentence_of(error) or error}") from error


def _watched(letters: Iterator[LetterOf], seen: set[str | None] | None) -> Iterator[LetterOf]:
    """Pass letters on and note their ids and their documents'."""
    for source, letter in letters:
        if seen is not None:
            seen.update((letter.id, letter.document_id))
        yield source, letter


def _newest(letters: Iterator[LetterOf], count: int) -> Iterator[LetterOf]:
    """Return the newest of these in the order of their arrival; in memory are few more than that."""
    found: list[LetterOf] = []
    for each in letters:
        found.append(each)
        if len(found) > 2 * count:
            found = sorted(found, key=_arrival)[-count:]
    return iter(sorted(found, key=_arrival)[-count:])


def _arrival(item: LetterOf) -> tuple[str, str]:
    source, letter = item
    return letter.time, source


def _end(ctx: click.Context, problems: list[str], *, tell: bool) -> None:
    if tell:
        for place in problems:
            click.echo(f"{place}, and passed over", err=True)
    if problems:
        ctx.exit(EXIT_FOUND)
