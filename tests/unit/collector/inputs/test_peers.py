"""What the connections of one peer share."""

import asyncio

import pytest

from collector.inputs.peers import MESSAGE_BYTES, TURN_BYTES, Peers, Places
from collector.wire.blocks import Blocks


def peers_of(*names: str, connection_limit: int = 10, connection_limit_per_peer: int = 3) -> Peers:
    """Peers with a connection each."""
    peers = Peers(Blocks(), connection_limit=connection_limit, connection_limit_per_peer=connection_limit_per_peer)
    assert [peers.admit(name) for name in names] == [""] * len(names)
    return peers


def test_connections_are_counted_in_all_and_per_peer() -> None:
    """Beyond either limit a connection is not admitted, and the reason says which; who leaves makes room."""
    peers = peers_of("a", "a", "b", "c", connection_limit=5)

    assert (peers.admit("a"), peers.admit("a")) == ("", "too many")
    peers.leave("b")
    assert peers.admit("a") == "too many of one peer"
    assert (peers.connections, peers.count) == (4, 2)


def test_inputs_share_the_files_that_the_process_may_open() -> None:
    """However many each may have, together they leave room; what one gives back the other may take."""
    places = Places(3)
    one, other = (Peers(Blocks(), connection_limit=10, connection_limit_per_peer=10, places=places) for _ in range(2))
    admitted = [one.admit("a"), one.admit("a"), other.admit("b")]

    assert admitted == ["", "", ""]
    assert "ulimit -n" in other.admit("b")
    assert (one.limit, other.limit) == (2, 1)
    one.leave("a")
    assert other.admit("b") == ""


def test_a_peer_without_connections_is_forgotten() -> None:
    """A million addresses that came and went take no memory."""
    peers = peers_of("a", "b")
    peers.leave("a")

    assert peers.count == 1
    with pytest.raises(KeyError):
        peers["a"]


async def test_who_has_had_its_turn_waits_until_others_were_asked() -> None:
    """Everything of a peer waits in order, one connection at each turn of the loop; who is not in its share goes on."""
    peers = peers_of("flood", "quiet")
    went: list[str] = []
    loop = asyncio.get_running_loop()

    assert not peers["flood"].takes_turns(TURN_BYTES // 2, 0, lambda: went.append("never"))
    assert peers["flood"].takes_turns(TURN_BYTES // 2, 0, lambda: went.append("first"))
    assert peers["flood"].takes_turns(1, 0, lambda: went.append("second"))
    assert not peers["quiet"].takes_turns(1, 1, lambda: went.append("never"))
    loop.call_soon(went.append, "others")
    while len(went) < 3:  # noqa: ASYNC110 - the loop's turns are what is counted
        await asyncio.sleep(0)

    assert went == ["first", "others", "second"]
    assert not peers["flood"].takes_turns(1, 1, lambda: went.append("never"))


def test_many_tiny_messages_are_no_less_work() -> None:
    """Each counts for more than its bytes."""
    peers = peers_of("flood", "quiet")

    async def ask() -> bool:
        return peers["flood"].takes_turns(100, TURN_BYTES // MESSAGE_BYTES, lambda: None)

    assert asyncio.run(ask())


def test_a_peer_that_is_alone_never_waits() -> None:
    """There is nobody to wait for."""
    peers = peers_of("alone", "alone")

    assert not peers["alone"].takes_turns(10 * TURN_BYTES, 0, lambda: None)
