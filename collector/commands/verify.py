"""`tidewaiter verify`: is what stands in a journal what was written, whole and in its order?"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collector.audit import leave_record
from collector.commands.terminal import instant_text
from collector.config_values import size_text
from collector.errors import DataDirError, UnreachableError, sentence_of
from collector.evidence.verdict import Finding, Verdict
from collector.evidence.verify import Verifier
from collector.journal.format import LINK_BYTES
from collector.journal.seals import ANCHOR_FILE, TOMBSTONE_FILE, Anchor, anchors_in
from collector.journal.segments import segment_bytes, segment_files
from collector.journal.state import VERIFICATION_FILE, VerificationKey
from collector.logs import escaped
from pipelines.frame import Position

EPOCHS_SHOWN: Final = 20
"""Of people's report, the newest: every start of a collector is one."""

EXIT_FOUND: Final = 1
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Prove that the journal is what was written.")
@click.argument("path", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--key", "key_file", type=FILE, help="The key exported at the first start; else that beside it.")
@click.option("--anchor", "anchor_files", type=FILE, multiple=True, help="Anchors kept elsewhere: the collector's log.")
@click.option("--partial", is_flag=True, help="A copy of some segments: it may begin and end anywhere.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    path: Path | None,
    key_file: Path | None,
    anchor_files: tuple[Path, ...],
    partial: bool,
    as_json: bool,
) -> None:
    """Verify the journal in PATH, a data folder or a copy of one; else the configured data folder's.

    Computes every link of the chain anew with the key that was exported at the first start, and names the first
    position that is missing, altered, reordered, forged without the key, or cut. Needs no running collector, and none
    of its other files; one may run. Exit code 1 when anything was found, 3 when it cannot be told. Without PATH the
    journal itself records that it was verified, and what was found.

    \b
    Proven:     nobody without the chain's key of that time wrote or changed it.
    Not proven: who takes the machine can forge in the segment that is open
                then, and cut the end, or put the whole folder back to an
                earlier state, as far as no anchor was kept elsewhere. The
                collector logs one a minute.
    """  # noqa: D301 - click's mark for lines that keep their breaks is the character itself
    root = path if path is not None else ctx.obj.data_dir
    journal, evidence = _places(root, given=path is not None)
    key = _read_key(key_file or evidence / VERIFICATION_FILE)
    started = time.perf_counter()
    try:
        anchors = _read_anchors(anchor_files)
        with _progress(journal, shown=sys.stderr.isatty() and not as_json) as advance:
            verdict = Verifier(journal, evidence, key, partial=partial, anchors=anchors, on_progress=advance).run()
    except OSError as error:
        raise UnreachableError(f"cannot be verified: {sentence_of(error) or error}") from error
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_report(verdict))))
    else:
        for line in _lines(verdict, seconds, key_is_beside=key_file is None):
            click.echo(line)
    if path is None:
        _record(root, verdict)
    if verdict.findings:
        ctx.exit(EXIT_FOUND)


def _places(root: Path, *, given: bool) -> tuple[Path, Path]:
    """Return where segments and evidence are: in folders of a data folder, or together; raise UnreachableError.

    Segments may be gone where evidence says that there were some.
    """
    journal = root / "journal" if (root / "journal").is_dir() else root
    evidence = root / "evidence" if (root / "evidence").is_dir() else root
    try:
        if journal.is_dir() and segment_files(journal):
            return journal, evidence
    except OSError as error:
        raise UnreachableError(f"{journal}: cannot be read: {error.strerror}") from error
    if any((evidence / name).exists() for name in (ANCHOR_FILE, TOMBSTONE_FILE)):
        return journal, evidence
    if not given:
        raise UnreachableError(f"there is no journal in {root / 'journal'}: has a collector run with this data folder?")
    raise UnreachableError(
        f"there is no segment of a journal in {root / 'journal'}, nor in {root}: "
        "PATH is a data folder, or a folder with its *.segment* files"
    )


def _record(data_dir: Path, verdict: Verdict) -> None:
    """Let the collector's own journal say that its key was used, and what it showed."""
    details = {
        "segments": verdict.segments,
        "frames": verdict.frames,
        "end": _plain(verdict.end),
        "findings": len(verdict.findings),
        "first_finding": _line(verdict.findings[0]) if verdict.findings else None,
    }
    try:
        leave_record(data_dir, "verify", details, outcome="failure" if verdict.findings else "success")
    except OSError as error:
        click.echo(f"note: not recorded in the journal: {error.strerror}", err=True)


def _read_key(file: Path) -> VerificationKey:
    try:
        key = msgspec.json.decode(file.read_bytes(), type=VerificationKey)
        if len(bytes.fromhex(key.key)) != LINK_BYTES:
            raise DataDirError(f"{file}: is no verification key: its key has another length")
    except FileNotFoundError as error:
        beside = file.parent.parent / "evidence" / file.name
        meant = f", or verify the data folder {beside.parent.parent}" if beside.exists() else ""
        raise UnreachableError(f"{file}: is not there; name the exported key by --key FILE{meant}") from error
    except OSError as error:
        raise UnreachableError(f"{file}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise DataDirError(f"{file}: is no verification key: {error}") from error
    return key


def _read_anchors(files: tuple[Path, ...]) -> list[Anchor]:
    """Read the anchors in files, logs of any length; raise OSError."""
    anchors: list[Anchor] = []
    for file in files:
        with file.open(errors="replace") as lines:
            anchors += anchors_in(lines)
    if files and not anchors:
        raise click.UsageError("no anchor stands in " + ", ".join(map(str, files)))
    return anchors


@contextmanager
def _progress(journal: Path, *, shown: bool) -> Iterator[Any]:
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console  # for people only
    from rich.progress import Progress

    total = 0
    for name in segment_files(journal):
        with suppress(FileNotFoundError):  # deleted lawfully, or found missing by who verifies
            total += segment_bytes(journal, name)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("verifying", total=total)
        yield lambda count: progress.advance(task, count)


def _report(verdict: Verdict) -> dict[str, Any]:
    return {
        "good": not verdict.findings,
        "findings": [{**msgspec.structs.asdict(each), "first": _plain(each.first)} for each in verdict.findings],
        "notices": verdict.notices,
        "segments": verdict.segments,
        "frames": verdict.frames,
        "bytes": verdict.bytes,
        "epochs": verdict.epochs,
        "first": _plain(verdict.first),
        "end": _plain(verdict.end),
        "anchored": _plain(verdict.anchored),
    }


def _plain(position: Position | None) -> dict[str, int] | None:
    return None if position is None else position._asdict()


def _lines(verdict: Verdict, seconds: float, *, key_is_beside: bool) -> Iterator[str]:
    """Yield the report for people."""
    speed = f"{size_text(verdict.bytes / seconds)}/s" if seconds else "-"
    looked_at = f"{_count(verdict.segments, 'segment')}, {_count(verdict.frames, 'frame')}"
    yield f"{looked_at}, {size_text(verdict.bytes)} in {seconds:.1f} s ({speed})"
    shown = verdict.epochs[-EPOCHS_SHOWN:]
    if len(shown) < len(verdict.epochs):
        yield f"  {_count(len(verdict.epochs) - len(shown), 'earlier epoch')}: see --json"
    for epoch in shown:
        yield (
            f"  {escaped(epoch.writer)} epoch {epoch.epoch}: sequence {epoch.first} to {epoch.last}, "
            f"{_count(epoch.frames, 'frame')}, {instant_text(epoch.first_ns)} to {instant_text(epoch.last_ns)}"
        )
    if verdict.anchored is None:
        yield "the end is not proven: no anchor"
    else:
        yield f"the end is anchored: a cut is noticed before {_name(verdict.anchored)}"
    for notice in verdict.notices:
        yield f"note: {notice}"
    if key_is_beside:
        yield "note: the key stands beside the journal, where who can write there replaces both: keep it elsewhere"
    for finding in verdict.findings:
        yield _line(finding)
    yield "NOT as it was written" if verdict.findings else "all of it is as it was written"


def _line(finding: Finding) -> str:
    where = finding.file if finding.offset < 0 else f"{finding.file} at byte {finding.offset:,}"
    since = f" from {_name(finding.first)} on" if finding.first is not None else ""
    return f"{finding.kind.upper()}{since}: {finding.reason} ({where})"


def _name(position: Position | None) -> str:
    return "-" if position is None else f"epoch {position.epoch} sequence {position.sequence}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
