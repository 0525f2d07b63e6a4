"""The chunk path gives the same bytes as the reference path, on everything, and every document is valid ECS."""

import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.enrich.lookups import NamesMessage, TableMessage, encode_message
from pipelines.frame import Frame, Origin
from pipelines.settings import Settings
from tests.kit.detection import ANY, LOGIN, SHELL, rules_message
from tests.kit.ecs import Schema
from tests.kit.forward_streams import decode_pieces
from tests.kit.frames import FIELDS, LOOKUPS, ORIGIN, frame_of, whole_message
from tests.kit.paths import Paths

SCHEMA = Schema(Path(__file__).parent.parent / "data")
SETTINGS = Settings(version="0.1.0", hosts={"192.0.2.9": "edge-1"}, fields=FIELDS, lookups=LOOKUPS)
ORIGINS = (ORIGIN, Origin("socket", "unix", "unix:uid=0"), Origin("docker", "tcp", "192.0.2.9"))
CASES = 10_000
PARSED_CASES = 1_000
RULES_CASES = 500
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
    "msg",
    "level",
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "_PID",
    "PRIORITY",
    "CONTAINER_ID_FULL",
    "CONTAINER_TAG",
    "_COMM",
    "_UID",
    "ident",
    "host",
    "pri",
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


docker_message = st.builds(whole_message, uniform_entries[0], st.sampled_from([b"web", b""]), st.just(b"\x80"))
any_message = st.builds(
    whole_message,
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
cell = st.sampled_from(["", "a", "b", "shop"])
names = st.sampled_from(["web", "db-1", "proxy", "shop", "a"])
table = st.one_of(
    st.builds(
        lambda rows: encode_message(TableMessage("names", ("team", "service", "type"), rows)),
        st.dictionaries(names, st.tuples(cell, cell, cell), max_size=4),
    ),
    st.builds(
        lambda rows: encode_message(TableMessage("services", ("team", "id"), rows)),
        st.dictionaries(names, st.tuples(cell, cell), max_size=4),
    ),
    st.builds(
        lambda rows: encode_message(TableMessage("peers", ("site", "tag"), rows, (32, 24, 0))),
        st.dictionaries(
            st.sampled_from(["192.0.2.0/24", "192.0.2.9/32", "0.0.0.0/0"]), st.tuples(cell, cell), max_size=3
        ),
    ),
    st.lists(st.sampled_from(sorted(LOOKUPS))).map(lambda each: encode_message(NamesMessage(tuple(each)))),
    st.sampled_from([b"{}", b'{"kind":"table","name":"names","columns":["team"],"rows":{"web":[]}}']),
)


@st.composite
def some_tables(draw: st.DrawFn, least: int = 0) -> list[bytes]:
    """Messages of encoding `lookup`; the strategy's name stands for all that it is made of."""
    return draw(st.lists(table, min_size=least, max_size=2))


def _tables_run(payloads: list[bytes]) -> tuple[str, list[tuple[bytes, bytes, int]]]:
    return "lookup", [(payload, b"", -1) for payload in payloads]


RULES = [rules_message(ANY), rules_message(SHELL, LOGIN), rules_message(), b"\x93\x01"]
rules = st.sampled_from(RULES).map(lambda payload: ("rules", [(payload, b"", -1)]))
run = st.one_of(
    some_tables(1).map(_tables_run),
    st.tuples(st.just("forward-message"), one_by_one),
    *(st.tuples(st.just("forward"), _messages(entry)) for entry in uniform_entries),
    st.tuples(st.just("forward-message"), _messages(docker_message)),
    st.tuples(st.just("forward"), _messages(any_entry)),
    st.tuples(st.just("forward-message"), _messages(any_message)),
    st.tuples(
        st.sampled_from(["forward-broken", "forward-metrics", "unheard-of", "audit", "lookup"]),
        st.lists(st.tuples(st.binary(max_size=20), tag, st.just(-1)), min_size=1, max_size=2),
    ),
)
frames = st.lists(run, max_size=3).map(lambda runs: frame_of(*runs, origins=ORIGINS))


def check(frame: Frame) -> list[dict[str, Any]]:
    """Check one frame by itself."""
    return Paths(SETTINGS, SCHEMA).check(frame)


@pytest.mark.timeout(300)
@settings(max_examples=RULES_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(frames | rules.map(lambda run: frame_of(run, origins=ORIGINS)), min_size=1, max_size=5))
def test_frames_under_rules_give_the_same_alerts_on_both_paths(several: list[Frame]) -> None:
    """Whatever set holds, and whatever is raised or suppressed; nothing settles in another way by it."""
    paths = Paths(SETTINGS, SCHEMA)
    for each in (frame_of(("rules", [(RULES[0], b"", -1)])), *several):
        paths.check(each)


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
