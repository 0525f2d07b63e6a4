"""What the connections of one peer share."""

import asyncio

import pytest

from collector.inputs.peers import MESSAGE_BYTES, TRAFFIC_HALF_LIFE_S, TURN_S, Peers, Places, Traffic
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
    assert [peers.admit(name) for name in names] == [None] * len(names)
    return peers


def test_connections_are_counted_in_all_and_per_peer() -> None:
    """Beyond either limit a connection is not admitted, and the reason says which; who leaves makes room."""
    peers = peers_of("a", "a", "b", "c", connection_limit=5)

    assert (peers.admit("a"), peers.admit("a")) == (None, "limit")
    peers.leave("b")
    assert peers.admit("a") == "peer"
    assert (peers.connections, len(peers)) == (4, 2)


def test_addresses_of_one_network_are_one_peer() -> None:
    """A limit per address would be none over IPv6."""
    peers = peers_of("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", connection_limit_per_peer=3)

    assert peers.admit("2001:db8::ffff") == "peer"
    peers.leave("2001:db8::2")
    assert peers.admit("2001:db8::ffff") is None


async def test_who_sent_most_of_late_is_known() -> None:
    """When the journal is full the operator asks who fills it; what was sent long ago counts for little."""
    peers = peers_of("192.0.2.1", "192.0.2.2")
    assert peers.traffic().bytes == 0
    peers["192.0.2.1"].spend(600, 1)
    peers["192.0.2.2"].spend(200, 1)
    assert peers.traffic() == Traffic(800.0, "192.0.2.1", 600.0)

    peers.age(2 * TRAFFIC_HALF_LIFE_S)
    peers["192.0.2.2"].spend(50, 1)
    assert peers.traffic() == Traffic(250.0, "192.0.2.1", 150.0)
    peers.leave("192.0.2.1")

    assert peers.traffic() == Traffic(100.0, "192.0.2.2", 100.0)


def test_inputs_share_the_files_that_the_process_may_open() -> None:
    """However many each may have, together they leave room; what one gives back the other may take."""
    places = Places(3)
    limits = {"connection_limit": 10, "connection_limit_per_peer": 10, "rate_bytes_per_s": RATE_BYTES_PER_S}
    one, other = (Peers(Blocks(), **limits, places=places) for _ in range(2))
    admitted = [one.admit("a"), one.admit("a"), other.admit("b")]

    assert admitted == [None, None, None]
    assert other.admit("b") == "files"
    assert (one.limit, other.limit) == (2, 1)
    one.leave("a")
    assert other.admit("b") is None


def test_a_peer_without_connections_is_forgotten() -> None:
    """A million addresses that came and went take no memory."""
    peers = peers_of("a", "b")
    peers.leave("a")

    assert len(peers) == 1
    with pytest.raises(KeyError):
        peers["a"]


async def test_who_is_ahead_of_its_rate_waits_while_others_are_served() -> None:
    """Everything of a peer waits, in order, until what was done for it is paid; another peer does not."""
    peers = peers_of("flood", "quiet")
    went: list[str] = []
    last = asyncio.Event()

    def go_on() -> None:
        went.append("second")
        last.set()

    assert not peers["quiet"].spend(1, 0)
    assert peers["flood"].spend(AHEAD_BYTES, 0)
    peers["flood"].wait(lambda: went.append("first"))
    assert peers["flood"].spend(1, 0)
    peers["flood"].wait(go_on)
    assert not peers["quiet"].spend(1, 0)
    asyncio.get_running_loop().call_soon(went.append, "others")
    await asyncio.wait_for(last.wait(), 10)

    assert went == ["others", "first", "second"]


async def test_what_has_been_paid_is_forgotten() -> None:
    """A peer that sends within its rate never waits, however long it sends."""
    peers = peers_of("steady", "quiet")
    peers["quiet"].spend(1, 0)
    paid = asyncio.Event()

    assert peers["steady"].spend(AHEAD_BYTES, 0)
    peers["steady"].wait(paid.set)
    await asyncio.wait_for(paid.wait(), 10)

    assert not peers["steady"].spend(1, 0)


async def test_many_tiny_messages_are_no_less_work() -> None:
    """Each counts for more than its bytes."""
    peers = peers_of("flood", "quiet")
    peers["quiet"].spend(1, 0)

    assert peers["flood"].spend(100, AHEAD_BYTES // MESSAGE_BYTES + 1)


async def test_a_peer_that_is_alone_never_waits() -> None:
    """There is nobody to wait for, also where others are connected."""
    peers = peers_of("alone", "silent")

    assert not peers["alone"].spend(100 * AHEAD_BYTES, 0)


async def test_the_others_go_on_though_one_of_them_fails() -> None:
    """A fault in one connection's turn takes nobody's away."""
    peers = peers_of("flood", "quiet")
    peers["quiet"].spend(1, 0)
    reported: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    went = asyncio.Event()

    def fail() -> None:
        raise AssertionError("a fault of ours")

    assert peers["flood"].spend(AHEAD_BYTES, 0)
    for go_on in (fail, went.set):
        peers["flood"].wait(go_on)
    await asyncio.wait_for(went.wait(), 10)

    assert [type(error) for error in reported] == [AssertionError]
