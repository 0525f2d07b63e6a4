"""Inflating beside the event loop: one at a time, each peer in turn."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from collector.inputs.inflater import Inflater

TIMEOUT_S = 10


class Order:
    """What was done, in order; the first waits until it is let through."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    def work(self, name: str) -> Callable[[], None]:
        """Work that is noted under a name."""

        def run() -> None:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            assert self.go_on.wait(TIMEOUT_S)
            self.done.append(name)
            self.at_once -= 1

        return run


async def test_each_peer_has_its_turn() -> None:
    """Who has one message waits for one of the other, whatever that has waiting; one is done at a time."""
    inflater, order = Inflater(), Order()
    waiting = [inflater.submit("192.0.2.66", order.work(f"flood {number}")) for number in range(3)]
    waiting.append(inflater.submit("192.0.2.7", order.work("quiet")))
    order.go_on.set()
    await asyncio.gather(*waiting)

    assert order.done == ["flood 0", "flood 1", "quiet", "flood 2"]
    assert order.most_at_once == 1
    inflater.close()


async def test_neighbours_are_one_peer() -> None:
    """Who has an IPv6 network has as many addresses as he likes, and one turn."""
    inflater, order = Inflater(), Order()
    waiting = [inflater.submit(f"2001:db8::{number}", order.work(f"flood {number}")) for number in range(3)]
    waiting.append(inflater.submit("192.0.2.7", order.work("quiet")))
    order.go_on.set()
    await asyncio.gather(*waiting)

    assert order.done == ["flood 0", "flood 1", "quiet", "flood 2"]
    inflater.close()


async def test_the_event_loop_goes_on_meanwhile() -> None:
    """Whoever waits for the loop does not wait for what is inflated."""
    inflater, order = Inflater(), Order()
    waiting = inflater.submit("192.0.2.7", order.work("long"))
    await asyncio.sleep(0)

    assert not waiting.done()
    order.go_on.set()
    await waiting
    inflater.close()


async def test_a_fault_goes_to_who_asked_and_the_next_is_done() -> None:
    """One bad thing stops one thing."""

    def fail() -> None:
        raise MemoryError

    inflater, order = Inflater(), Order()
    order.go_on.set()
    failing, working = inflater.submit("192.0.2.66", fail), inflater.submit("192.0.2.7", order.work("behind"))

    with pytest.raises(MemoryError):
        await failing
    await working
    assert order.done == ["behind"]
    inflater.close()


async def test_once_closed_nothing_more_is_begun() -> None:
    """What is being done ends; whoever still waits, or comes, is never told that it is done."""
    inflater, order = Inflater(), Order()
    begun, waiting = (inflater.submit("192.0.2.7", order.work(name)) for name in ("begun", "waiting"))
    inflater.close()
    late = inflater.submit("192.0.2.7", order.work("late"))
    order.go_on.set()
    await begun
    await asyncio.sleep(0)

    assert order.done == ["begun"]
    assert not waiting.done()
    assert not late.done()
