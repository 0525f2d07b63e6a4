"""No input bytes can add, remove or alter an action line of a bulk body (P5)."""

import json
import struct

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.outputs.bulk import slices
from pipelines.chunk import ChunkPath
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import ORIGIN, frame_of
from tests.kit.hostile_lines import CLAIMS, HOSTILE_LINES

ATTACKS = [
    '{"delete":{"_id":"1"}}',
    '\n{"delete":{"_id":"1"}}\n',
    '"}}\n{"delete":{"_id":"1"}}\n{"event":{',
    '\r\n{"index":{"_index":"other"}}\r\n{}',
    '\\"}}\\n{"delete":{}}',
    "\u2028{}",
    "\x00\n",
    '{"event":{',
]
text = st.one_of(
    st.sampled_from(ATTACKS), st.text(max_size=30), st.tuples(st.text(), st.sampled_from(ATTACKS)).map("".join)
)
raw = st.binary(max_size=20)
quoted = text.map(lambda each: each.replace('"', "\\x22").replace("\n", "\\x0a"))
parsed = st.one_of(
    st.sampled_from(HOSTILE_LINES),
    st.builds(
        lambda pairs, more: json.dumps({**pairs, **more}),
        st.dictionaries(text, st.one_of(text, st.dictionaries(text, text, max_size=2)), max_size=3),
        st.sampled_from([{}, CLAIMS, {"@timestamp": "2023-11-14T22:13:20Z", "log.level": "info", "message": "m"}]),
    ),
    st.builds(
        lambda *each: '192.0.2.9 - {} [14/Nov/2023:22:13:20 +0000] "GET /{} HTTP/1.1" 200 5 "-" "{}"'.format(*each),
        *[quoted] * 3,
    ),
    st.builds(
        lambda *each: "Nov 14 22:13:20 web sshd[7]: Failed password for {} from 192.0.2.9 port {} ssh2".format(*each),
        text,
        text,
    ),
    st.builds(lambda key, value: json.dumps(key).join(("level=info msg=", " x=")) + json.dumps(value), text, text),
)
"""Lines that parsers take, or nearly take, with attacks as their values."""

record = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(("container_id", "container_name", "source", "log"), text)),
    st.fixed_dictionaries({"container_id": st.just("a" * 64), "source": st.just("stdout"), "log": parsed}),
    st.dictionaries(
        st.one_of(text, st.just("log")), st.one_of(text, raw, st.dictionaries(text, text, max_size=2)), max_size=5
    ),
)


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON, each of whose keys stands there once: of two, readers may believe either."""
    made = dict(pairs)
    assert len(made) == len(pairs)
    return made


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(record, min_size=1, max_size=5), st.one_of(text.map(str.encode), raw))
def test_every_second_line_is_our_action_with_our_id(records: list[dict[str, object]], tag: bytes) -> None:
    """Whatever records, lines and tag hold, a body is one `create` with our id before each document, of our kind."""
    stamp = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 5))
    payload = b"".join(msgpack.packb([stamp, each]) for each in records)
    frame = frame_of(("forward", [(payload, tag, len(records))]))
    (batch,) = ChunkPath(Settings(version="0.1.0")).process(frame, State())
    parts = [part for documents in batch.documents for part in slices(batch.position, documents, limit_bytes=4000)]
    lines = b"".join(part.rendered("2023-11-14T22:13:20.000000000Z") for part in parts).split(b"\n")

    assert lines.pop() == b""
    assert lines[::2] == [b'{"create":{"_id":"%b"}}' % identifier for part in parts for identifier in part.ids]
    assert len(lines) == 2 * len(records)
    for line, identifier in zip(lines[1::2], (each for part in parts for each in part.ids), strict=True):
        document = json.loads(line, object_pairs_hook=once)
        assert document["event"]["id"] == identifier.decode()
        assert document["event"]["ingested"] == "2023-11-14T22:13:20.000000000Z"
        assert document["event"]["kind"] == "event"
        assert document["tidewaiter"]["origin"]["peer"] == ORIGIN.peer
        assert "rule" not in document
    stored = [json.loads(line) for documents in batch.documents for line in documents.ndjson.splitlines()]
    streams = [documents.stream for documents in batch.documents for _ in documents.ids]
    assert [document["data_stream"] for document in stored] == [stream._asdict() for stream in streams]
