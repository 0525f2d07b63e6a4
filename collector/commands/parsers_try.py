"""`tidewaiter parsers try`: lines go through the pipeline as a container's would, and their documents are shown."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click
import msgpack
import msgspec
import orjson

from collector.commands import terminal
from collector.config_nodes import unknown
from collector.logs import escaped
from collector.lookup_files import LookupFileError, read_table
from collector.pipeline_settings import pipeline_settings
from parsers.format import formats
from parsers.times import iso
from pipelines import reference
from pipelines.batch import Batch, Tally
from pipelines.decode.forward import decode_entry
from pipelines.enrich.lookups import take_message
from pipelines.frame import Frame, JournalIdentity, Message, Origin, Run
from pipelines.normalize.container import normalise
from pipelines.parse import NO_PARSER, Choice, Stream, asked_choice, kept_choice
from pipelines.settings import Settings
from pipelines.state import STEP_NS, State

ORIGIN: Final = Origin("try", "tcp", "127.0.0.1")
CONTAINER_ID: Final = "0123456789abcdef" * 4
LABEL: Final = "tidewaiter.parser"
EXIT_FOUND: Final = 1

WAITING_LIMIT: Final = 3600
"""Seconds of journal time that are let pass at the end for lines that wait for more."""

SAME_FOR_ALL: Final = frozenset({"agent", "container", "data_stream", "ecs", "host", "observer", "orchestrator"})
"""Objects that say of a stream what they say of it in each document."""

EVENT_TIME_END_S: Final = 1 << 32
"""Fluentd's EventTime ends there, in 2106."""

EXAMPLES: Final = """
docker logs web 2>/dev/null | tidewaiter parsers try --image nginx
tidewaiter parsers try postgresql --json < postgresql.log"""
"""Shown below the help, line by line."""

SHOWN_LIMIT: Final = 2_000
"""Characters of a value that people are shown."""

OUTCOME_STYLES: Final = {"parsed": "green", "plain": "yellow"}

REASONS: Final = {
    "label": "asked for by the label",
    "rule": "asked for by a rule of the configuration",
    "image": "known by the image's name",
    "lines": "found by the lines",
}


class Sender(msgspec.Struct, frozen=True):
    """The container whose lines are tried, as Docker's driver would tell of it."""

    image: str = ""
    name: str = "try"
    namespace: str = ""
    stream: str = "stdout"
    labels: dict[str, str] = {}

    @property
    def tag(self) -> bytes:
        """The Engine's tag, with the image if there is one."""
        short = CONTAINER_ID[:12]
        return (f"{self.image}/{self.name}/{short}" if self.image else short).encode()

    def entry(self, line: bytes, time_ns: int) -> bytes:
        """Return a line's record in a Forward message."""
        fields: dict[str, Any] = {
            "container_id": CONTAINER_ID,
            "container_name": f"/{self.name}",
            "source": self.stream,
            "log": line.decode("utf-8", "surrogateescape"),
            **self.labels,
        }
        if self.namespace:
            fields["kubernetes"] = {"pod_name": self.name, "namespace_name": self.namespace}
        second, nanosecond = divmod(time_ns, 1_000_000_000)
        stamp = msgpack.ExtType(0, second.to_bytes(4, "big") + nanosecond.to_bytes(4, "big"))
        return bytes(msgpack.packb([stamp, fields], unicode_errors="surrogateescape"))


class Shown(msgspec.Struct):
    """What came of a line, or of several that are one event: `line` is the last that was read.

    `outcome` is parsed, plain, failed (it does not fit the parser that was asked for) or refused (a dead letter).
    """

    line: int
    outcome: str
    parser: str
    reason: str
    document: bytes


class Trial:
    """One stream of lines through the pipeline's reference path, with the state that a worker would hold of it."""

    def __init__(self, settings: Settings, sender: Sender, received_ns: int) -> None:
        # Nobody is asked here what a container is, so no line may wait for that.
        self._settings = msgspec.structs.replace(settings, engines=())
        self._sender = sender
        self._state = State()
        self._time_ns = received_ns
        self._frames = 0
        self.lines = 0
        self.stream = self._stream()
        self._asked = asked_choice(self.stream, settings.parsers)
        self._at_first = self.choice

    def know(self, table: bytes) -> None:
        """Take a table of a lookup, as the journal has it."""
        take_message(memoryview(table), self._state.lookups)

    @property
    def choice(self) -> Choice:
        """What its next line would be tried on."""
        return self._asked or kept_choice(self.stream, self._state.choices)

    def line(self, text: bytes) -> Iterator[Shown]:
        """Give it a line; yield what that settles."""
        self.lines += 1
        self._time_ns += 1
        yield from self._settled(self._frame(self._sender.entry(text, self._time_ns)))

    def end(self) -> Iterator[Shown]:
        """Let journal time pass until nothing waits for more lines."""
        for _ in range(WAITING_LIMIT):
            if not self._state.is_open:
                return
            self._time_ns += STEP_NS
            yield from self._settled(self._frame(b""))

    def _settled(self, frame: Frame) -> Iterator[Shown]:
        self._state.mark()
        for batch in reference.process(frame, self._settings, self._state):
            yield from self._shown(batch)

    def _shown(self, batch: Batch) -> Iterator[Shown]:
        choice = self.choice
        outcomes = _one_by_one(batch.tally)
        for documents in batch.documents:
            for document in documents.ndjson.splitlines():
                parser, outcome = next(outcomes, ("", "plain"))
                by_lines = choice.reason == "image" and parser not in self._at_first.formats
                yield Shown(self.lines, outcome, parser, "lines" if by_lines else choice.reason, document)
        for letter in batch.dead_letters:
            yield Shown(self.lines, "refused", "", letter.reason, b"null")

    def _stream(self) -> Stream:
        """Return what decides about the stream before its lines do."""
        record = decode_entry(self._sender.entry(b"", self._time_ns))
        line = normalise(record, frame=self._frame(b""), origin=ORIGIN, tag=self._sender.tag, settings=self._settings)
        return line.stream or Stream(())

    def _frame(self, payload: bytes) -> Frame:
        self._frames += 1
        message = Message(0, len(payload), self._sender.tag, claimed=1)
        return Frame(
            journal=JournalIdentity(0, "try"),
            partition=0,
            epoch=1,
            sequence=self._frames,
            journal_time=self._time_ns,
            origins=(ORIGIN,),
            messages=(message,) if payload else (),
            runs=(Run("forward", 1),) if payload else (),
            payload=memoryview(payload),
        )


@click.command(
    name="try",
    short_help="Show the documents of lines from the standard input.",
    epilog=f"\b\nExamples:{EXAMPLES}",
)
@click.argument("name", default="")
@click.option("--image", metavar="IMAGE", default="", help="The container's image, e.g. nginx:1.27.")
@click.option("--container", metavar="NAME", default="try", help="The container's name.")
@click.option("--namespace", metavar="NAME", default="", help="Its namespace.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), default="stdout", help="Where it writes the lines.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the container.")
@click.option("--at", metavar="TIME", help="When the lines are received, 2026-11-29T02:00:00Z; else now.")
@click.option(
    "--json", "as_json", is_flag=True, help="An object a line: its number, outcome, parser, reason, document."
)
@click.pass_context
def try_lines(
    ctx: click.Context,
    *,
    name: str,
    image: str,
    container: str,
    namespace: str,
    stream: str,
    labels: tuple[str, ...],
    at: str | None,
    as_json: bool,
) -> None:
    """Read lines from the standard input and show each with the document an analyst gets.

    The lines are one stream of one container, so the choice of a parser is made as in production: by the label
    `tidewaiter.parser`, else the configuration's rules, else the image's name, else the lines themselves. NAME asks for
    a parser as the label does.

    Exit code 0; 1 where a line does not fit the parser that was asked for, or is refused; 2 for an unknown parser.
    """
    given = dict(_pair(label) for label in labels)
    if name:
        if name not in (NO_PARSER, *formats()):
            raise click.UsageError(unknown(name, [NO_PARSER, *formats()], what="parser"))
        given[LABEL] = name
    sender = Sender(image, container, namespace, stream, given)
    config = ctx.obj.load().config
    trial = Trial(pipeline_settings(config), sender, _instant_ns(at))
    for lookup, options in config.lookups.items():
        try:
            trial.know(read_table(lookup, options))
        except LookupFileError as error:
            click.echo(f"note: lookup {lookup} sets nothing: {error}", err=True)
    if sys.stdin.isatty():
        click.echo("Reading lines from the terminal; end them by Ctrl-D.", err=True)
    good = True
    show = _object_shown if as_json else _printed(trial)
    with terminal.quiet_when_nobody_reads():
        for shown in _all(trial, sys.stdin.buffer):
            good = good and shown.outcome in ("parsed", "plain")
            show(shown)
    if not good:
        ctx.exit(EXIT_FOUND)


def _all(trial: Trial, lines: Iterable[bytes]) -> Iterator[Shown]:
    for line in lines:
        yield from trial.line(line.rstrip(b"\n"))
    yield from trial.end()


def _one_by_one(tally: Tally) -> Iterator[tuple[str, str]]:
    for outcome, lines in tally.lines.items():
        yield from [outcome] * lines


def _pair(label: str) -> tuple[str, str]:
    key, equals, value = label.partition("=")
    if not (key and equals):
        raise click.BadParameter("write KEY=VALUE", param_hint="--label")
    return key, value


def _instant_ns(text: str | None) -> int:
    if text is None:
        return time.time_ns()
    found = iso().read(text, 0)
    if found is None or found[0] >= EVENT_TIME_END_S:
        raise click.BadParameter("write a time such as 2026-11-29T02:00:00Z", param_hint="--at")
    return found[0] * 1_000_000_000 + found[1]


def _object_shown(shown: Shown) -> None:
    encoded = msgspec.json.encode(
        {
            "line": shown.line,
            "outcome": shown.outcome,
            "parser": shown.parser or None,
            "reason": shown.reason,
            "document": msgspec.Raw(shown.document),
        }
    )
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.buffer.flush()


def _printed(trial: Trial) -> Callable[[Shown], None]:
    """Return what shows people what became of a line, and what varies of its document."""
    from rich.console import Console  # for people only
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)

    def show(shown: Shown) -> None:
        document = orjson.loads(shown.document) or {}
        stream = document.get("data_stream", {})
        target = f" -> {stream['type']}-{stream['dataset']}-{stream['namespace']}" if stream else ""
        text = Text(f"line {shown.line}: ", style="bold")
        text.append(escaped(_said(shown, trial)), style=OUTCOME_STYLES.get(shown.outcome, "red"))
        text.append(f"{target}\n", style="dim")
        rows = list(_varying(document))
        width = max((len(field) for field, _ in rows), default=0)
        for field, value in rows:
            text.append(f"  {escaped(field, limit=SHOWN_LIMIT):{width}}  ", style="cyan")
            text.append(f"{escaped(value, limit=SHOWN_LIMIT)}\n", style="default")
        console.print(text)

    return show


def _said(shown: Shown, trial: Trial) -> str:
    asked = trial.stream.label
    if shown.outcome == "parsed":
        return f"{shown.parser}, {REASONS.get(shown.reason, shown.reason)}"
    if shown.outcome == "failed" and not shown.parser:
        return f"plain: the label asks for {asked!r}, and there is no such parser"
    if shown.outcome == "failed":
        return f"plain: it does not fit {shown.parser}, {REASONS.get(shown.reason, shown.reason)}"
    if shown.outcome == "refused":
        return f"refused: {shown.reason}"
    if shown.reason in ("label", "rule"):
        return f"plain, {REASONS[shown.reason]}"
    return "plain: no parser takes it"


def _varying(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields that are not the same in all documents of a stream, by their dotted names."""
    for field, value in _flat(document, ""):
        same = field.partition(".")[0] in SAME_FOR_ALL or field.startswith(("tidewaiter.origin.", "tidewaiter.tag"))
        if not same and field not in ("event.id", "event.sequence", "event.created", "tidewaiter.container.stream"):
            yield field, value


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        yield path, ", ".join(map(str, value))
    else:
        yield path, value if isinstance(value, str) else orjson.dumps(value).decode()
