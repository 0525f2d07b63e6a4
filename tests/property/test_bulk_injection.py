"""No input bytes can add, remove or alter an action line of a bulk body (P5)."""

import json
import struct

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.outputs.bulk import slices
from collector.testing.frames import frame_of
from pipelines.chunk import ChunkPath
from pipelines.settings import Settings
from pipelines.state import State

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
record = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(("container_id", "container_name", "source", "log"), text)),
    st.dictionaries(
        st.one_of(text, st.just("log")), st.one_of(text, raw, st.dictionaries(text, text, max_size=2)), max_size=5
    ),
)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(record, min_size=1, max_size=5), st.one_of(text.map(str.encode), raw))
def test_every_second_line_is_our_action_with_our_id(records: list[dict[str, object]], tag: bytes) -> None:
    """Whatever records and tag hold, a body is one `create` with our id before each document, and nothing else."""
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
        event = json.loads(line)["event"]
        assert event["id"] == identifier.decode()
        assert event["ingested"] == "2023-11-14T22:13:20.000000000Z"
