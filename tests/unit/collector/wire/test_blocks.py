"""Memory of unfinished messages: a pool for all, and what one peer may have of it."""

import pytest

from collector.wire.blocks import BLOCK_BYTES, Blocks, PeerBlocks

LIMIT_BYTES = 8 * BLOCK_BYTES


def test_a_released_block_is_used_again() -> None:
    """No fresh MiB for each read."""
    blocks = Blocks(receive_limit_bytes=LIMIT_BYTES)
    first = blocks.take()
    blocks.received(first)
    first.release()

    assert blocks.take() is first


@pytest.mark.parametrize("size_bytes", [BLOCK_BYTES, 2 * BLOCK_BYTES])
def test_a_peer_takes_no_more_than_it_leaves_for_everybody_else(size_bytes: int) -> None:
    """It is told so with half of the pool; another has half of the rest."""
    blocks = Blocks(receive_limit_bytes=LIMIT_BYTES)
    greedy, modest = PeerBlocks(blocks), PeerBlocks(blocks)

    taken = 0
    while greedy.take_sized(size_bytes) is not None and not greedy.exhausted:
        taken += size_bytes

    assert taken == LIMIT_BYTES // 2
    assert (modest.exhausted, blocks.exhausted) == (False, False)
    greedy.take()  # a first block is never refused, so it is told behind that
    assert (greedy.exhausted, modest.exhausted) == (True, False)
    assert modest.take_sized(BLOCK_BYTES + 1) is not None


def test_what_a_peer_gives_back_it_may_take_again() -> None:
    """Only what is unfinished counts."""
    peer = PeerBlocks(Blocks(receive_limit_bytes=LIMIT_BYTES))
    large = peer.take_sized(LIMIT_BYTES // 2)
    assert large is not None
    assert peer.take_sized(LIMIT_BYTES // 2) is None

    peer.received(large)
    large.release()

    assert peer.receiving_bytes == 0
    assert peer.take_sized(LIMIT_BYTES // 2) is not None


def test_peers_together_are_bounded_by_the_pool() -> None:
    """However many there are, each of the later gets less; none is given what the pool has not."""
    blocks = Blocks(receive_limit_bytes=LIMIT_BYTES)
    for _ in range(1_000):
        while (peer := PeerBlocks(blocks)).take_sized(2 * BLOCK_BYTES) is not None:
            assert not peer.exhausted

    assert blocks.receiving_bytes <= LIMIT_BYTES
