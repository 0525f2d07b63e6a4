"""Lines of streams give the same bytes on the chunk path as on the reference path: formats, traces, audit records."""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import gather, state
from pipelines.enrich.lookups import TableMessage, encode_message
from pipelines.frame import Frame
from pipelines.normalize.original import Original
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import FIELDS, JOURNAL_TIME, LOOKUPS, ORIGIN, frame_of, whole_message
from tests.kit.hostile_lines import HOSTILE_LINES
from tests.kit.paths import Paths
from tests.kit.pieces import at_time, docker_pieces

SCHEMA = Schema(Path(__file__).parent.parent / "data")
PARSED_CASES = 1_000
GATHERED_CASES = 500
GOLDEN = Path(__file__).parents[1] / "golden" / "formats"

NAME_COLUMNS = ("team", "service", "type")
TABLES = [
    encode_message(TableMessage("names", NAME_COLUMNS, {"web": ("a", "shop", ""), "proxy": ("b", "", "x")})),
    encode_message(TableMessage("names", NAME_COLUMNS, {"web": ("c", "", "a"), "db-1": ("", "db", "a")})),
    encode_message(TableMessage("services", ("team", "id"), {"shop": ("a", "1"), "db": ("", "2")})),
    encode_message(TableMessage("peers", ("site", "tag"), {"192.0.2.0/24": ("north", "x")}, (32, 24, 0))),
    b"{}",
]
"""What the operator's tables say, from the frame's run on in which it stands."""

some_tables = st.lists(st.sampled_from(TABLES), max_size=2)

MEETING_LINES = [
    json.dumps({"@timestamp": time, "log.level": "info", "message": name, "x": {"service": 1}, **more})
    for time in ("2026-11-29T12:00:00Z", "2020-01-01T00:00:00Z")
    for name in ("shop", "other", "", "\u2028" * 200)
    for more in (
        {},
        {"service.name": name},
        {"service": {"name": name, "version": "7", "node": {"name": name, "roles": ["x"]}}},
        {"organization": {"name": name, "id": "a"}, "service.environment": name},
        {"service.type": "a", "url.original": ',"service":{"name":"shop"}'},
    )
]
"""Lines whose own fields meet what the operator sets."""

PATHS = sorted(GOLDEN.glob("*/*.log"))
FILES = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in PATHS]
FILES += [path.read_text(encoding="utf-8").split("\n")[:-1] for path in sorted(GOLDEN.parent.glob("logins/*.log"))]
FILES += [list(HOSTILE_LINES), *[MEETING_LINES] * 4]
TRACES = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in sorted(GOLDEN.parent.glob("traces/*.log"))] + [
    next(lines for lines in FILES if lines[0].startswith("type=SYSCALL"))
]
"""Files whose lines belong together, in their order."""

SOME = [line for lines in FILES for line in lines][::7]
FILES.append([f"\x1b[3{number % 8}m{line[:20]}\x1b[0m{line[20:]}" for number, line in enumerate(SOME)])
LINES = [line for lines in FILES + TRACES for line in lines]
PIECE_BYTES = 24
STRAY = 6
"""One of so many lines is of another file than its stream's."""

WRITERS = [
    ({"container_id": letter * 64, "container_name": f"/{name}", "source": source, **label}, tag)
    for letter, name, source, label, tag in (
        ("a", "web", "stdout", {}, b"acme/web:1.2/web/" + b"a" * 12),
        ("a", "web", "stderr", {}, b"acme/web:1.2/web/" + b"a" * 12),
        ("b", "proxy", "stdout", {}, b"library/nginx:1/proxy/" + b"b" * 12),
        ("c", "db-1", "stderr", {}, b""),
        ("d", "asked", "stdout", {"tidewaiter.parser": "json"}, b""),
        ("e", "plain", "stdout", {"tidewaiter.parser": "none"}, b""),
        ("f", "named", "stdout", {"tidewaiter.parser": "caddy"}, b""),
        ("0", "mistyped", "stdout", {"tidewaiter.parser": "ngnix"}, b""),
        ("1", "single", "stdout", {"tidewaiter.multiline": "off"}, b""),
        ("2", "router", "stdout", {"tidewaiter.parser": "traefik"}, b""),
    )
]
"""Records without their lines, and tags: of streams as they are, of a known image, with a rule, and asked ones."""

NAMES = {record["container_id"]: record["container_name"].removeprefix("/") for record, _ in WRITERS}
PARSING = Settings(version="0.1.0", parsers=(ParserRule("postgresql", name="db-*"),), fields=FIELDS, lookups=LOOKUPS)
KEPT: tuple[Original, ...] = ("needed", "needed", "changed", "always", "never")
"""Of which lines the original is kept."""


def _tables_run(payloads: list[bytes]) -> tuple[str, list[tuple[bytes, bytes, int]]]:
    return "lookup", [(payload, b"", -1) for payload in payloads]


def _file_of(writer: int, picked: int) -> list[str]:
    """Return what a writer writes: one that asks for a parser mostly writes what that reads."""
    asked = WRITERS[writer][0].get("tidewaiter.parser")
    own = [lines for path, lines in zip(PATHS, FILES, strict=False) if path.parent.name == asked]
    return own[picked % len(own)] if own and picked % 3 else FILES[picked]


def _of_streams(
    files: list[int], frames: list[tuple[str, list[list[tuple[int, int]]], list[bytes], list[bytes]]]
) -> list[Frame]:
    """Make frames of messages of records: of each record the writer, and which of the lines of its file it writes.

    Before and behind them stand tables of the operator.
    """

    def entry(writer: int, pick: int) -> bytes:
        lines = LINES if pick % STRAY == 0 else _file_of(writer, files[writer])
        record = {**WRITERS[writer][0], "log": lines[pick // STRAY % len(lines)]}
        second = 1_795_953_600 if pick % 16 else 1_700_000_000  # the samples' day, or years before
        packed: bytes = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", second, pick)), record])
        return packed

    made = []
    for sequence, (encoding, messages, before, behind) in enumerate(frames):
        tags = [WRITERS[picks[0][0]][1] if len({writer for writer, _ in picks}) == 1 else b"" for picks in messages]
        entries = [[entry(writer, pick) for writer, pick in picks] for picks in messages]
        if encoding == "forward":
            run = [(b"".join(each), tag, len(each)) for each, tag in zip(entries, tags, strict=True)]
        else:
            run = [
                (whole_message(one, tag, b""), b"", 1) for each, tag in zip(entries, tags, strict=True) for one in each
            ]
        made.append(frame_of(_tables_run(before), (encoding, run), _tables_run(behind), sequence=sequence))
    return made


picked = st.tuples(st.integers(0, len(WRITERS) - 1), st.integers(0, 2**16))
of_one = st.tuples(st.integers(0, len(WRITERS) - 1), st.lists(st.integers(0, 2**16), min_size=1, max_size=12)).map(
    lambda found: [(found[0], pick) for pick in found[1]]
)
parsed_frame = st.tuples(
    st.sampled_from(["forward", "forward-message"]),
    st.lists(st.one_of(of_one, st.lists(picked, min_size=1, max_size=12)), min_size=1, max_size=4),
    some_tables,
    some_tables,
)
parsed_frames = st.builds(
    _of_streams,
    st.lists(st.integers(0, len(FILES) - 1), min_size=len(WRITERS), max_size=len(WRITERS)),
    st.lists(parsed_frame, min_size=2, max_size=4),
)


def _cut(line: str, about: dict[str, str], name: str) -> list[dict[str, Any]]:
    """Return the records of a line; of some as if the runtime cut lines after a few bytes."""
    size = PIECE_BYTES if len(line) % 4 == 3 else len(line.encode()) + 1
    return [{**record, **about} for record in docker_pieces(line.encode(), size, name=name)]


def _gathered(
    files: list[int], starts: list[int], frames: list[tuple[str, int, list[tuple[int, int, bool]]]]
) -> list[Frame]:
    """Make frames of lines that belong together: of each the writer goes on with its file, or writes a stray line."""
    at = list(starts)
    made = []
    for sequence, (encoding, step, turns) in enumerate(frames):
        entries: list[bytes] = []
        for writer, count, stray in turns:
            lines = TRACES[files[writer]]
            taken = [lines[(at[writer] + number) % len(lines)] for number in range(count)]
            at[writer] += count
            for line in [*taken, LINES[at[writer] * 31 % len(LINES)]] if stray else taken:
                for record in _cut(line, WRITERS[writer][0], f"{sequence}-{len(entries)}"):
                    time = msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, len(entries)))
                    entries.append(msgpack.packb([time, record]))
        if encoding == "forward":
            run = [(b"".join(entries), b"", len(entries))]
        else:
            run = [(whole_message(one, b"", b""), b"", 1) for one in entries]
        made.append(at_time(frame_of((encoding, run), sequence=sequence), JOURNAL_TIME + sequence * step))
    return made


gathered_frame = st.tuples(
    st.sampled_from(["forward", "forward-message"]),
    st.sampled_from([1, 10**9]),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=6),
)
restarts = st.lists(st.booleans(), min_size=5, max_size=5)
gathered_frames = st.builds(
    _gathered,
    st.lists(st.integers(0, len(TRACES) - 1), min_size=3, max_size=3),
    st.lists(st.integers(0, 200), min_size=3, max_size=3),
    st.lists(gathered_frame, min_size=2, max_size=5),
)


@pytest.mark.timeout(600)
@settings(max_examples=GATHERED_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(gathered_frames, restarts, st.sampled_from([3, 2048]))
def test_lines_that_belong_together_give_the_same_batches_and_states_on_both_paths(
    frames: list[Frame], restarted: list[bool], limit: int
) -> None:
    """Traces and audit records of several streams, interleaved, cut anywhere, other lines between; and lives end."""
    paths = Paths(PARSING, SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "LINES_LIMIT", limit)
        for frame, restarts in zip(frames, restarted, strict=False):
            if restarts:
                paths.restart()
            for document in paths.check(frame):
                assert document["container"]["name"] == NAMES[document["container"]["id"]]


@pytest.mark.timeout(600)
@settings(max_examples=PARSED_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(parsed_frames, st.sampled_from(KEPT), st.sampled_from([1, 2, 3, 16_384]))
def test_streams_of_formats_give_the_same_batches_and_states_on_both_paths(
    frames: list[Frame], kept: Original, new_choices: int
) -> None:
    """Samples and hostile lines of several streams at once, over several frames; all stay whose they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "NEW_CHOICES_LIMIT", new_choices)
        paths = Paths(msgspec.structs.replace(PARSING, original=kept), SCHEMA)
        for frame in frames:
            for document in paths.check(frame):
                assert document["event"]["kind"] == "event"
                assert document["host"] == {"name": ORIGIN.peer}
                assert document["tidewaiter"]["origin"]["peer"] == ORIGIN.peer
                assert document["container"]["name"] == NAMES[document["container"]["id"]]
