"""`tidewaiter journal`: what stands in the journal, who holds it, and letting go of a consumer that is no more."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from collector.audit import leave_record
from collector.balance.files import forget_book
from collector.commands.terminal import instant_text
from collector.config import DEAD_LETTERS_OUTPUT, Config
from collector.config_values import size_text
from collector.data_dir import holder_of
from collector.errors import DataDirError, UnreachableError
from collector.journal.cursors import cursors, forget_cursor
from collector.journal.survey import NOTHING_SETTLED, ConsumerFacts, Survey, survey
from collector.logs import escaped


@click.group()
def journal() -> None:
    """Look at the journal, and let go of outputs that are no more."""


@journal.command(short_help="Show segments, and how far behind each output is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def info(ctx: click.Context, *, as_json: bool) -> None:
    """Show what the journal holds, and how far behind each of its consumers is in records, bytes and time.

    Reads the files, whether the collector runs or not. Records are counted as their senders claim them. Checkpoints
    are what consumers remember; the journal is kept from the one before the oldest cursor on.
    """
    config: Config = ctx.obj.load().config
    found = survey(Path(config.data_dir) / "journal", consumers=consumers_of(config))
    now_ns = time.time_ns()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_report(found, config, now_ns))))
    else:
        for line in _lines(found, config, now_ns):
            click.echo(line)


@journal.command(short_help="Let go of an output that is no more.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def forget(ctx: click.Context, *, name: str, yes: bool) -> None:
    """Remove the cursor of the output NAME, which the configuration no longer has: it holds the journal no more.

    Says how much it had not delivered, which is not delivered to it any more, and asks. The journal records that.
    """
    config: Config = ctx.obj.load().config
    directory = Path(config.data_dir) / "journal"
    if name == DEAD_LETTERS_OUTPUT:
        raise click.UsageError(f"{name} is the collector's own, and stays")
    if name in config.outputs:
        raise click.UsageError(f"{name} is an output of the configuration: take it out there first")
    position = cursors(directory).get(name)
    if position is None:
        others = ", ".join(strangers(config)) or "none"
        raise click.UsageError(f"nothing is held for an output {name!r}; outputs that can be forgotten: {others}")
    left = _left_by(directory, name)
    click.echo(_loss(name, left))
    holder = holder_of(Path(config.data_dir))
    if holder is not None:
        click.echo(
            f"warning: a collector runs here (pid {holder}): if it still has output {name}, it goes on with it; "
            "tidewaiter reload first",
            err=True,
        )
    if not yes:
        if not is_asked():
            raise click.UsageError("nobody can be asked here: say --yes")
        click.confirm(f"Let go of {name}?", abort=True)
    details: dict[str, Any] = {"output": name, "position": position._asdict()}
    if left is not None:
        details |= {"records": left.records, "frames": left.frames, "bytes": left.bytes}
    leave_record(Path(config.data_dir), "forget", details)
    forget_book(Path(config.data_dir), name)
    forget_cursor(directory, name)
    click.echo(f"forgotten: {name}")


def is_asked() -> bool:
    """Tell whether somebody sits there who can be asked."""
    return sys.stdin.isatty()


def _left_by(directory: Path, name: str) -> ConsumerFacts | None:
    """Return what a consumer has not settled; None where no segment can be read."""
    try:
        return next(each for each in survey(directory).consumers if each.name == name)
    except UnreachableError:
        return None


def _loss(name: str, left: ConsumerFacts | None) -> str:
    if left is None:
        return f"output {name}: no segment can be read, so what it had not settled is not known"
    if not left.frames:
        return f"output {name} had settled all that stands in the journal"
    return (
        f"output {name} had not settled {left.records:,} record{'' if left.records == 1 else 's'} "
        f"({left.frames:,} frame{'' if left.frames == 1 else 's'}, {size_text(left.bytes)}): they will not reach it"
    )


def consumers_of(config: Config) -> set[str]:
    """Return the names of those who read the journal under this configuration."""
    return {*config.outputs, DEAD_LETTERS_OUTPUT}


def strangers(config: Config) -> list[str]:
    """Return the consumers that hold the journal and that the configuration does not know; raise DataDirError."""
    return sorted(set(cursors(Path(config.data_dir) / "journal")) - consumers_of(config))


def held_by_strangers(config: Config) -> list[str]:
    """Say of each consumer that the configuration does not know that it holds the journal.

    Says nothing where the data folder cannot be read: the configuration may be meant for another machine or user.
    """
    try:
        names = strangers(config)
    except (OSError, DataDirError):
        return []
    return [
        f"the journal is held for output {name}, which is no more: tidewaiter journal forget {name}" for name in names
    ]


def _report(found: Survey, config: Config, now_ns: int) -> dict[str, Any]:
    known = consumers_of(config)
    return {
        "journal": f"{found.journal.id:06x}",
        "collector": found.journal.name,
        "bytes": sum(segment.stored_bytes for segment in found.segments),
        "limit_bytes": config.journal.limit,
        "end": None if found.end is None else found.end._asdict(),
        "segments": found.segments,
        "checkpoints": [
            {"position": each.position._asdict(), "bytes": each.bytes, "problem": each.problem}
            for each in found.checkpoints
        ],
        "consumers": [
            {
                "name": each.name,
                "configured": each.name in known,
                "position": each.position._asdict(),
                "behind": {
                    "frames": each.frames,
                    "records": each.records,
                    "bytes": each.bytes,
                    "seconds": _age_s(each, now_ns),
                },
            }
            for each in found.consumers
        ],
    }


def _lines(found: Survey, config: Config, now_ns: int) -> Iterator[str]:
    """Yield the report for people."""
    segments = found.segments
    used, limit = size_text(sum(each.stored_bytes for each in segments)), size_text(config.journal.limit)
    yield f"journal {found.journal.id:06x} of collector {escaped(found.journal.name)}: {used} of {limit}"
    frames, records = sum(each.frames for each in segments), sum(each.records for each in segments)
    compressed = sum(each.stored_bytes < each.bytes for each in segments)
    yield f"segments: {len(segments):,} ({compressed:,} compressed), frames: {frames:,}, records: {records:,}"
    times = [time_ns for each in segments for time_ns in (each.first_ns, each.last_ns) if time_ns]
    if times:
        yield f"from {instant_text(min(times))} to {instant_text(max(times))}"
    for segment in segments:
        if segment.gaps:
            yield f"damaged: {segment.name}, in {segment.gaps} place{'s' if segment.gaps > 1 else ''}"
    size = size_text(sum(each.bytes for each in found.checkpoints))
    yield f"checkpoints: {len(found.checkpoints):,}, {size}"
    for checkpoint in found.checkpoints:
        if checkpoint.problem:
            yield f"not used: {escaped(checkpoint.problem)}"
    yield ""
    width = max((len(each.name) for each in found.consumers), default=0)
    yield f"{'output':{max(width, 6)}} {'records behind':>16} {'bytes':>10} {'oldest':>10}"
    known = consumers_of(config)
    for each in found.consumers:
        age = _duration(_age_s(each, now_ns)) if each.frames else "-"
        note = "  has delivered nothing yet" if each.position == NOTHING_SETTLED and each.frames else ""
        if each.name not in known:
            note = f"  not in the configuration: tidewaiter journal forget {each.name}"
        yield f"{each.name:{max(width, 6)}} {each.records:>16,} {size_text(each.bytes):>10} {age:>10}{note}"


def _age_s(consumer: ConsumerFacts, now_ns: int) -> float:
    return max(now_ns - consumer.oldest_ns, 0) / 1e9 if consumer.oldest_ns else 0.0


def _duration(seconds: float) -> str:
    """Return a duration by its two largest units."""
    minutes, seconds_left = divmod(int(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    for larger, smaller, text in (
        (days, hours_left, "d h"),
        (hours, minutes_left, "h m"),
        (minutes, seconds_left, "m s"),
    ):
        if larger:
            first, second = text.split()
            return f"{larger}{first} {smaller}{second}"
    return f"{seconds_left}s"
