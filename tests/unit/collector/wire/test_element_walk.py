"""Tests for finding the ends of MessagePack objects while they arrive."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.wire.element_walk import HEADS_PER_CALL, ElementWalk
from collector.wire.errors import WireError

OBJECTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20),
    max_leaves=30,
)
DEEP = b"\x91" * 3000


def ends_of(stream: bytes, count: int, piece: int, start: int = 0) -> list[int]:
    """Walk in growing pieces of a message."""
    walk = ElementWalk(start, count)
    at = 0
    while not walk.advance(memoryview(stream)[:at]):
        assert at < len(stream) or walk.behind
        at = min(at + piece, len(stream))
    return walk.ends


@given(st.lists(OBJECTS, min_size=1, max_size=5), st.integers(1, 64))
def test_ends_of_objects_of_all_kinds(objects: list[object], piece: int) -> None:
    """The ends are those of the encoder, whatever the pieces."""
    encoded = [msgpack.packb(item) for item in objects]
    ends = [sum(map(len, encoded[: place + 1])) for place in range(len(encoded))]

    assert ends == ends_of(b"".join(encoded), len(encoded), piece)


@given(OBJECTS, st.integers(1, 64))
def test_deep_objects_of_all_kinds(item: object, piece: int) -> None:
    """Deeper than the skipper's stack, the plain count finds the same ends."""
    encoded = msgpack.packb(item)
    stream = b"\x92" + encoded + DEEP + encoded + encoded

    assert [len(stream) - len(encoded), len(stream)] == ends_of(stream, 2, 64 * piece)


@pytest.mark.parametrize("message", [DEEP * 20 + b"\x01", b"\xdd\x00\x00\xea\x61" + b"\x01" * 60_000 + DEEP + b"\x01"])
def test_a_call_does_a_bounded_part(message: bytes) -> None:
    """A bomb that has arrived whole is walked in as many calls as it takes; none of them is long."""
    walk = ElementWalk(0, 1)
    calls = 1
    while not walk.advance(memoryview(message)):
        assert walk.behind
        calls += 1

    assert (walk.ends, walk.behind) == ([len(message)], False)
    assert calls == -(-(len(message)) // HEADS_PER_CALL)


@pytest.mark.parametrize("head", ["c7", "c8", "c9", "d4", "d5", "d6", "d7", "d8"])
def test_extensions(head: str) -> None:
    """Extensions of every size class end where they should, shallow and deep."""
    first = bytes.fromhex(head)
    width = {0xC7: 1, 0xC8: 2, 0xC9: 4}.get(first[0], 0)
    body = (5).to_bytes(width, "big") + b"\x05hello" if width else b"\x05" + bytes(1 << (first[0] - 0xD4))
    encoded = first + body

    assert [len(encoded)] == ends_of(encoded, 1, 1)
    assert [len(DEEP + encoded)] == ends_of(DEEP + encoded, 1, 7)


@pytest.mark.parametrize("outside", [b"", DEEP])
def test_a_byte_that_is_no_type(outside: bytes) -> None:
    """0xc1 does not exist."""
    with pytest.raises(WireError):
        ElementWalk(0, 1).advance(memoryview(outside + b"\xc1"))


def test_the_start_of_a_message_is_passed_over() -> None:
    """Offsets count from the message's first byte, which need not be where the walk begins."""
    assert ends_of(b"\xc1\xc1\xc1\xa1x\x01", 2, 1, start=3) == [5, 6]
