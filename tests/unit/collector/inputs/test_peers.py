"""What the connections of one peer share."""

import asyncio

import pytest

from collector.inputs.peers import ALONE_AFTER_S, MESSAGE_BYTES, TURN_S, Peers
from collector.wire.blocks import Blocks

RATE_BYTES_PER_S = 1 << 20
AHEAD_BYTES = int(2 * TURN_S * RATE_BYTES_PER_S)
"""With so much in hand a peer has to wait."""


def peers_of(*names: str, connection_limit: int = 10, connection_limit_per_peer: int = 3) -> Peers:
    """Peers with a connection each."""
    peers = Peers(
        Blocks(),
        connection_limit=connection_limit,
        connection_limit_per_peer=connection_limit_per_peer,
        rate_bytes_per_s=RATE_BYTES_PER_S,
    )
    assert [peers.admit(name) for name in names] == [""] * len(names)
    return peers


def test_connections_are_counted_in_all_and_per_peer() -> None:
    """Beyond either limit a connection is not admitted, and the reason says which; who leaves makes room."""
    peers = peers_of("a", "a", "b", "c", connection_limit=5)

    assert (peers.admit("a"), peers.admit("a")) == ("", "too many")
    peers.leave("b")
    assert peers.admit("a") == "too many of one peer"
    assert (peers.connections, len(peers)) == (4, 2)


def test_a_peer_without_connections_is_forgotten() -> None:
    """A million addresses that came and went take no memory."""
    peers = peers_of("a", "b")
    peers.leave("a")

    assert len(peers) == 1
    with pytest.raises(KeyError):
        peers["a"]


def never() -> None:
    """Fail: who was not told to wait is not called back."""
    raise AssertionError("called back without having waited")


async def test_who_is_ahead_of_its_rate_waits_while_others_are_served() -> None:
    """Everything of a peer waits, in order, until what was done for it is paid; another peer does not."""
    peers = peers_of("flood", "quiet")
    went: list[str] = []
    last = asyncio.Event()

    def go_on() -> None:
        went.append("second")
        last.set()

    assert not peers["quiet"].takes_turns(1, 0, never)
    assert peers["flood"].takes_turns(AHEAD_BYTES, 0, lambda: went.append("first"))
    assert peers["flood"].takes_turns(1, 0, go_on)
    assert not peers["quiet"].takes_turns(1, 0, never)
    asyncio.get_running_loop().call_soon(went.append, "others")
    await asyncio.wait_for(last.wait(), 10)

    assert went == ["others", "first", "second"]


async def test_what_has_been_paid_is_forgotten() -> None:
    """A peer that sends within its rate never waits, however long it sends."""
    peers = peers_of("steady", "quiet")
    peers["quiet"].takes_turns(1, 0, never)
    paid = asyncio.Event()

    assert peers["steady"].takes_turns(AHEAD_BYTES, 0, paid.set)
    await asyncio.wait_for(paid.wait(), 10)
    asyncio.get_running_loop().call_later(TURN_S, paid.set)
    await paid.wait()

    assert not peers["steady"].takes_turns(1, 0, never)


async def test_many_tiny_messages_are_no_less_work() -> None:
    """Each counts for more than its bytes."""
    peers = peers_of("flood", "quiet")
    peers["quiet"].takes_turns(1, 0, never)

    assert peers["flood"].takes_turns(100, AHEAD_BYTES // MESSAGE_BYTES + 1, lambda: None)


async def test_a_peer_that_is_alone_never_waits() -> None:
    """There is nobody to wait for, also where others are connected and have long been silent."""
    peers = peers_of("alone", "silent")
    now_s = asyncio.get_running_loop().time()

    assert not peers["alone"].takes_turns(100 * AHEAD_BYTES, 0, never)
    assert not peers.is_alone(peers["silent"], now_s)
    assert not peers.is_alone(peers["alone"], now_s + ALONE_AFTER_S / 2)
    assert peers.is_alone(peers["alone"], now_s + 2 * ALONE_AFTER_S)


async def test_the_others_go_on_though_one_of_them_fails() -> None:
    """A fault in one connection's turn takes nobody's away."""
    peers = peers_of("flood", "quiet")
    peers["quiet"].takes_turns(1, 0, never)
    reported: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    went = asyncio.Event()

    assert peers["flood"].takes_turns(AHEAD_BYTES, 0, never)
    assert peers["flood"].takes_turns(1, 0, went.set)
    await asyncio.wait_for(went.wait(), 10)

    assert [type(error) for error in reported] == [AssertionError]
