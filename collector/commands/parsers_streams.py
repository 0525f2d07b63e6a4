"""`tidewaiter parsers streams`: which streams have which parser, as the worker's state at the journal's end has it."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.commands import terminal
from collector.errors import UnreachableError
from collector.isolation.verdicts import verdicts_in_files
from collector.journal.survey import end_of_files
from collector.pipeline_settings import pipeline_settings
from collector.reader import Listeners, Reader
from parsers.format import formats
from pipelines.parse import NO_PARSER, Choice, Stream, StreamKey, asked_choice, kept_choice
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import CHOICES_LIMIT, State

COLUMNS: Final = ("input", "peer", "container", "name", "image", "stream", "parsers", "reason", "misses")

SHORT_ID: Final = 12
"""Characters of a container's id that people are shown."""

NO_NAME: Final = Stream(())


class StreamFacts(msgspec.Struct):
    """A stream and its choice. `container` is its id, else the tag; name and image are known of recent streams only.

    `misses` counts lines that none of its parsers with marks of their own took, since the last of those was found.
    """

    input: str
    peer: str
    container: str
    name: str
    image: str
    stream: str
    parsers: tuple[str, ...]
    reason: str
    misses: int


@click.command(short_help="Show which streams have which parser, and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for programs.")
@click.pass_context
def streams(ctx: click.Context, *, as_json: bool) -> None:
    """Show the streams of containers, the parsers that their lines are tried on, and why those.

    Reads the journal from its newest checkpoint to its end, whether the collector runs or not, and changes nothing.

    Listed are all streams whose lines chose, however long ago, and of the others (asked for by a label or a rule, or
    known by the image's name) those that wrote since the newest checkpoint. `misses` counts lines that no parser with
    marks of its own took, since the last of those was found. A choice is forgotten when 65,536 other streams have
    chosen after it.

    Exit code 3 when there is no journal.
    """
    config = ctx.obj.load().config
    shown = sys.stderr.isatty() and not as_json
    found = found_streams(Path(config.data_dir) / "journal", pipeline_settings(config), shown=shown)
    with terminal.quiet_when_nobody_reads():
        rows = (tuple(_cell(each, column, as_json=as_json) for column in COLUMNS) for each in found)
        terminal.write_rows(list(COLUMNS), rows, as_json=as_json)


def found_streams(journal: Path, settings: Settings, *, shown: bool = False) -> list[StreamFacts]:
    """Return the streams of a journal, sorted; raise UnreachableError where there is none, OSError.

    `shown`: tell people what is going on while it lasts.
    """
    try:
        end = end_of_files(journal)
    except FileNotFoundError as error:
        raise UnreachableError(
            f"there is no journal in {journal}: has a collector run with this data folder?"
        ) from error
    if end is None:
        return []
    pipeline = Pipeline(settings, lambda path, frame, error: None, verdicts_in_files(journal))
    listeners = Listeners(lambda gap: None, lambda checkpoint: None, _tell)
    reader = Reader(journal, end.position, pipeline, listeners)
    seen: dict[StreamKey, Stream] = {}
    pipeline.state.seen = seen
    with contextlib.closing(reader), _status(shown=shown) as still:
        # It ends at the journal's end, or at damage there.
        while reader.read(end) is None and reader.replaying:
            _make_room(seen)
            still()
    return list(_facts(pipeline.state, seen, settings))


def _facts(state: State, seen: dict[StreamKey, Stream], settings: Settings) -> Iterator[StreamFacts]:
    kept: dict[StreamKey, Choice] = dict(state.choices.items())
    for key in sorted({*kept, *seen}):
        stream = seen.get(key, NO_NAME)
        if key in seen:
            choice = asked_choice(stream, settings.parsers) or kept_choice(stream, state.choices)
        else:
            choice = kept[key]
        source, peer, container, output = key
        is_unknown = choice.reason == "label" and stream.label not in (NO_PARSER, *formats())
        reason = f"label, no parser {stream.label!r}" if is_unknown else choice.reason
        yield StreamFacts(
            source, peer, container, stream.name, stream.image, output, choice.formats, reason, choice.misses
        )


def _make_room(seen: dict[StreamKey, Stream]) -> None:
    """Let go of those that were seen first, so that no sender's names fill the memory."""
    for key in list(seen)[: max(len(seen) - CHOICES_LIMIT, 0)]:
        del seen[key]


def _tell(reason: str) -> None:
    click.echo(f"note: a checkpoint is not used: {reason}", err=True)


@contextmanager
def _status(*, shown: bool) -> Iterator[Callable[[], None]]:
    """Tell people from the second step on that the journal is being read."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console  # for people only

    status = Console(stderr=True).status("reading the journal")
    try:
        yield status.start
    finally:
        status.stop()


def _cell(each: StreamFacts, column: str, *, as_json: bool) -> Any:
    value = getattr(each, column)
    if as_json:
        return value
    if column == "parsers":
        return ", ".join(value) or "plain"
    is_id = column == "container" and len(value) == 64
    return value[:SHORT_ID] if is_id else value
