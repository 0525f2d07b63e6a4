"""The chunk path gives the same bytes as the reference path, on everything, and every document is valid ECS."""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector.testing.ecs import Schema
from collector.testing.forward_streams import decode_pieces
from collector.testing.frames import ORIGIN, frame_of
from collector.testing.hostile_lines import HOSTILE_LINES
from pipelines import reference
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame, Origin
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from pipelines.state import State

SCHEMA = Schema(Path(__file__).parent.parent / "data")
SETTINGS = Settings(version="0.1.0", hosts={"192.0.2.9": "edge-1"})
ORIGINS = (ORIGIN, Origin("socket", "unix", "unix:uid=0"), Origin("docker", "tcp", "192.0.2.9"))
CASES = 10_000
PARSED_CASES = 1_000
GOLDEN = Path(__file__).parents[1] / "golden" / "formats"

HOSTILE_TEXTS = ['{"delete":{"_id":"1"}}\n', "\n", "\x00", '"', "\\", "\u2028", "%s%b", ",\n  ", "web/" + "a" * 12]
NO_ENTRIES = [b"\xc0", b"\x93\x01\x02\x03", b"\xc1", b"\xda\xff", b"\x91" * 2000 + b"\x01", b"\x92\x01\xdf\xff"]
NO_RECORDS = [b"\xc0", b"\x01", b"\x90", b"\x81\x91\x01\x02", b"\x91" * 600 + b"\x01"]
ODD_TIMES = [b"\xc0", b"\xa1x", b"\x80", b"\xd6\xff\x00\x00\x00\x01", b"\xd4\x00\x00", b"\xc2"]
KNOWN_KEYS = [
    "log",
    "time",
    "message",
    "container_id",
    "container_name",
    "source",
    "stream",
    "partial_id",
    "kubernetes",
    "a.b",
]


def _stamp(second: int, nanosecond: int) -> bytes:
    return b"\xd7\x00" + struct.pack(">II", second, nanosecond)


text = st.one_of(st.text(max_size=8), st.sampled_from(HOSTILE_TEXTS))
good_time = st.builds(_stamp, st.integers(1, 2**32 - 3), st.integers(0, 999_999_999))
edge_time = st.builds(_stamp, st.sampled_from([0, 1, 2**32 - 1, 2**32 - 2]), st.sampled_from([0, 999_999_999, 10**9]))
event_time = st.one_of(good_time, edge_time)
nested_time = event_time.map(lambda time: b"\x92" + time + b"\x80")
second_signed = st.integers(1, 2**31 - 1).map(lambda second: b"\xd2" + struct.pack(">i", second))
second_unsigned = st.integers(1, 2**32 - 3).map(lambda second: b"\xce" + struct.pack(">I", second))
any_time = st.one_of(
    event_time,
    nested_time,
    event_time.map(lambda time: b"\x92" + time + b"\x81\xa1a\x01"),
    event_time.map(lambda time: b"\xc7\x08" + time[1:]),
    st.integers(-(2**31), 2**63).map(msgpack.packb),
    st.floats().map(msgpack.packb),
    st.sampled_from(ODD_TIMES),
)
value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), text, st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=4,
)
docker_record = st.builds(
    lambda *values: msgpack.packb(dict(zip(("container_id", "container_name", "source", "log"), values, strict=True))),
    st.sampled_from(["a" * 64, "b" * 64, ""]),
    st.sampled_from(["/web", "web", "/db-1"]),
    st.sampled_from(["stdout", "stderr", "other"]),
    text,
)
raw_text = st.binary(max_size=8).map(lambda data: bytes([0xA0 | len(data)]) + data)
other_record = st.one_of(
    st.dictionaries(st.one_of(text, st.sampled_from(KNOWN_KEYS)), value, max_size=6).map(msgpack.packb),
    st.lists(st.tuples(raw_text, st.one_of(raw_text, st.just(b"\xc0"))), max_size=4).map(
        lambda pairs: bytes([0x80 | len(pairs)]) + b"".join(key + item for key, item in pairs)
    ),
    st.sampled_from(NO_RECORDS),
)


def _entries(time: st.SearchStrategy[bytes], record: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda stamp, fields: b"\x92" + stamp + fields, time, record)


uniform_entries = [
    _entries(time, docker_record) for time in (good_time, event_time, nested_time, second_signed, second_unsigned)
]
keyed_record = st.builds(
    lambda line, stated, more: msgpack.packb({"stream": "stdout", "time": stated, "log": line, **more}),
    text,
    st.sampled_from(["2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.500000000+00:00", "yesterday"]),
    st.sampled_from(
        [{}, {"team": "a"}, {"kubernetes": {"pod_name": "p", "labels": {"a.b": "c"}}}, {"n": [1, {"x": 2.5}]}]
    ),
)
uniform_entries.append(
    _entries(st.sampled_from([_stamp(1_700_000_000, 500_000_000), _stamp(1_700_000_000, 5)]), keyed_record)
)
any_entry = st.one_of(
    _entries(any_time, st.one_of(docker_record, other_record)), uniform_entries[0], st.sampled_from(NO_ENTRIES)
)
tag = st.one_of(
    st.sampled_from([b"app", b"", b"acme/web:1.2/web/" + b"a" * 12, b"a" * 12, b"\xff"]), st.binary(max_size=6)
)


def _whole(entry: bytes, name: bytes, option: bytes) -> bytes:
    """Make a Message-mode object of an entry."""
    return (b"\x94" if option else b"\x93") + bytes([0xA0 | len(name[:31])]) + name[:31] + entry[1:] + option


docker_message = st.builds(_whole, uniform_entries[0], st.sampled_from([b"web", b""]), st.just(b"\x80"))
any_message = st.builds(
    _whole,
    any_entry,
    tag,
    st.sampled_from([b"\x80", b"", b"\xc0", b"\x81\xa5chunk\xa1x", b"\x81\xa8metadata\x81\xa1k\x01"]),
)


def _payload(entries: list[bytes]) -> st.SearchStrategy[tuple[bytes, bytes, int]]:
    claims = st.sampled_from([*[len(entries)] * 8, -1, 0, len(entries) + 1, 2**31])
    return st.tuples(st.just(b"".join(entries)), tag, claims)


def _messages(entry: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[bytes, bytes, int]]]:
    return st.lists(st.lists(entry, max_size=6).flatmap(_payload), min_size=1, max_size=3)


def _cut(pieces: list[bytes], places: list[int]) -> list[tuple[bytes, bytes, int]]:
    """Cut the same bytes elsewhere: messages that claim one record each and hold something else."""
    joined = b"".join(pieces)
    ends = sorted({place % (len(joined) + 1) for place in places} | {len(joined)})
    return [(joined[start:end], b"", 1) for start, end in zip([0, *ends], ends, strict=False)]


line_messages = st.lists(st.one_of(docker_message, docker_message, any_message), min_size=2, max_size=9)
one_by_one = st.one_of(
    st.lists(docker_message, min_size=2, max_size=9).map(lambda each: [(one, b"", 1) for one in each]),
    line_messages.map(lambda each: [(one, b"", 1) for one in each]),
    st.builds(_cut, line_messages, st.lists(st.integers(0, 2**16), min_size=1, max_size=8)),
)
run = st.one_of(
    st.tuples(st.just("forward-message"), one_by_one),
    *(st.tuples(st.just("forward"), _messages(entry)) for entry in uniform_entries),
    st.tuples(st.just("forward-message"), _messages(docker_message)),
    st.tuples(st.just("forward"), _messages(any_entry)),
    st.tuples(st.just("forward-message"), _messages(any_message)),
    st.tuples(
        st.sampled_from(["forward-broken", "forward-metrics", "unheard-of", "audit"]),
        st.lists(st.tuples(st.binary(max_size=20), tag, st.just(-1)), min_size=1, max_size=2),
    ),
)
frames = st.lists(run, max_size=3).map(lambda runs: frame_of(*runs, origins=ORIGINS))


class Paths:
    """Both paths, each with a state of its own that lives on from frame to frame."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chunk = ChunkPath(settings)
        self._states = (State(), State())

    def check(self, frame: Frame) -> list[dict[str, Any]]:
        """Hold the paths against each other and every document against the promises; return the documents."""
        plain, fast = self._states
        plain.mark()
        fast.mark()
        expected = list(reference.process(frame, self._settings, plain))

        assert expected == list(self._chunk.process(frame, fast))
        assert plain.encode() == fast.encode()
        documents = []
        for batch in expected:
            tally = batch.tally
            settled = tally.documents + tally.dead + tally.control + tally.joined
            assert tally.records + tally.taken_up == settled + tally.parked
            for part in batch.documents:
                lines = part.ndjson.split(b"\n")
                assert lines.pop() == b""
                assert len(lines) == len(part.ids)
                for line, identifier in zip(lines, part.ids, strict=True):
                    assert line.startswith(b'{"event":{')
                    document = json.loads(line)
                    assert document["event"]["id"] == identifier.decode()
                    assert document["data_stream"] == part.stream._asdict()
                    assert SCHEMA.problems(document) == []
                    documents.append(document)
        return documents


def check(frame: Frame) -> list[dict[str, Any]]:
    """Check one frame by itself."""
    return Paths(SETTINGS).check(frame)


@pytest.mark.timeout(900)
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(frames)
@example(frame_of(("forward", [(b"\xc0" * 50_000, b"t", -1)])))
@example(frame_of(("forward", [(b"\x92\x01\x80" * 40_000, b"t", 40_000)])))
@example(frame_of(("forward-message", [(b"\x93\xa1t\x01", b"", 1), (b"\x80", b"", 1), (b"\x93\xa1t\x01\x80", b"", 1)])))
@example(frame_of())
def test_generated_and_hostile_frames_give_the_same_batches_on_both_paths(frame: Frame) -> None:
    """Whatever a sender puts into a frame, both paths make equal batches whose books balance."""
    check(frame)


FILES = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in sorted(GOLDEN.glob("*/*.log"))] + [HOSTILE_LINES]
LINES = [line for lines in FILES for line in lines]
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
    )
]
"""Records without their lines, and tags: of streams as they are, of a known image, with a rule, and asked ones."""

NAMES = {record["container_id"]: record["container_name"].removeprefix("/") for record, _ in WRITERS}
PARSING = Settings(version="0.1.0", parsers=(ParserRule("postgresql", name="db-*"),))


def _of_streams(files: list[int], frames: list[tuple[str, list[list[tuple[int, int]]]]]) -> list[Frame]:
    """Make frames of messages of records: of each record the writer, and which of the lines of its file it writes."""

    def entry(writer: int, pick: int) -> bytes:
        lines = LINES if pick % STRAY == 0 else FILES[files[writer]]
        record = {**WRITERS[writer][0], "log": lines[pick // STRAY % len(lines)]}
        second = 1_795_953_600 if pick % 16 else 1_700_000_000  # the samples' day, or years before
        packed: bytes = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", second, pick)), record])
        return packed

    made = []
    for sequence, (encoding, messages) in enumerate(frames):
        tags = [WRITERS[picks[0][0]][1] if len({writer for writer, _ in picks}) == 1 else b"" for picks in messages]
        entries = [[entry(writer, pick) for writer, pick in picks] for picks in messages]
        if encoding == "forward":
            run = [(b"".join(each), tag, len(each)) for each, tag in zip(entries, tags, strict=True)]
        else:
            run = [(_whole(one, tag, b""), b"", 1) for each, tag in zip(entries, tags, strict=True) for one in each]
        made.append(frame_of((encoding, run), sequence=sequence))
    return made


picked = st.tuples(st.integers(0, len(WRITERS) - 1), st.integers(0, 2**16))
of_one = st.tuples(st.integers(0, len(WRITERS) - 1), st.lists(st.integers(0, 2**16), min_size=1, max_size=12)).map(
    lambda found: [(found[0], pick) for pick in found[1]]
)
parsed_frame = st.tuples(
    st.sampled_from(["forward", "forward-message"]),
    st.lists(st.one_of(of_one, st.lists(picked, min_size=1, max_size=12)), min_size=1, max_size=4),
)
parsed_frames = st.builds(
    _of_streams,
    st.lists(st.integers(0, len(FILES) - 1), min_size=len(WRITERS), max_size=len(WRITERS)),
    st.lists(parsed_frame, min_size=2, max_size=4),
)


@pytest.mark.timeout(600)
@settings(max_examples=PARSED_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(parsed_frames)
def test_streams_of_formats_give_the_same_batches_and_states_on_both_paths(frames: list[Frame]) -> None:
    """Samples and hostile lines of several streams at once, over several frames; all stay whose they are."""
    paths = Paths(PARSING)
    for frame in frames:
        for document in paths.check(frame):
            assert document["event"]["kind"] == "event"
            assert document["host"] == {"name": ORIGIN.peer}
            assert document["tidewaiter"]["origin"]["peer"] == ORIGIN.peer
            assert document["container"]["name"] == NAMES[document["container"]["id"]]


def test_recorded_fluent_bit_streams_give_the_same_batches_on_both_paths(forward_streams: list[Frame]) -> None:
    """What a real Fluent Bit sent gives equal batches on both paths, one document per record."""
    documents = sum(len(check(frame)) for frame in forward_streams)

    assert documents == 7 * 40


@pytest.fixture
def forward_streams() -> list[Frame]:
    """Frames of the recorded Fluent Bit streams, by the wire decoder."""
    folder = Path(__file__).parent.parent / "golden" / "forward"
    return [
        frame_of((message.encoding, [(message.payload, message.tag, message.claimed)]))
        for path in sorted(folder.glob("*.bin"))
        for message in decode_pieces([path.read_bytes()])[0]
    ]
