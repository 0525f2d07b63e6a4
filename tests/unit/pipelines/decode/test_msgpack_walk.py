"""Tests for finding the ends of the objects of a payload."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decode.msgpack_walk import FIRST_FEED_BYTES, BrokenPayloadError, objects

DEEP = b"\x91" * 3_000 + b"\x01"
pieces = st.one_of(
    st.integers(-100, 100).map(msgpack.packb),
    st.sampled_from([0, 1, 30, FIRST_FEED_BYTES - 4, FIRST_FEED_BYTES, 3 * FIRST_FEED_BYTES]).map(
        lambda size: bytes(msgpack.packb("x" * size))
    ),
    st.dictionaries(st.text(max_size=5), st.integers(0, 2**40), max_size=5).map(msgpack.packb),
    st.just(DEEP),
)


@given(st.lists(pieces, max_size=8))
def test_each_object_is_found_whatever_stands_beside_it(encoded: list[bytes]) -> None:
    """Objects deeper than the decoder's stack shift nothing, before or behind them."""
    found = list(objects(memoryview(b"".join(encoded))))

    ends = [sum(map(len, encoded[: place + 1])) for place in range(len(encoded))]
    assert found == list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("broken", [b"\xc1", b"\xda\x00", b"\xa5four", DEEP[:-1], b"\x92" + DEEP])
@pytest.mark.parametrize("before", [b"", b"\x01", DEEP])
def test_broken_bytes_are_told_with_their_place(before: bytes, broken: bytes) -> None:
    """What stands before them is found; where the object that breaks begins is said."""
    found: list[tuple[int, int]] = []
    with pytest.raises(BrokenPayloadError) as raised:
        found.extend(objects(memoryview(before + broken)))

    assert (found, raised.value.start) == ([(0, len(before))] if before else [], len(before))
