"""Inflating beside the event loop: one at a time, each peer in turn."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from collector.inputs.inflater import Inflater

TIMEOUT_S = 45.0
MADE_BYTES = 7


class Payer:
    """A peer that pays for each message with a time of its own."""

    def __init__(self) -> None:
        self.paid_until_s = 0.0
        self.cost_s = 0.0
        self.spent = 0

    def spend(self, count: int, messages: int) -> bool:
        """Take note."""
        self.spent += count
        self.paid_until_s = asyncio.get_running_loop().time() + self.cost_s
        return False


class Order:
    """What was done, in order; the first waits until it is let through."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    def work(self, name: str) -> Callable[[], int]:
        """Work that is noted under a name."""

        def run() -> int:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            assert self.go_on.wait(TIMEOUT_S)
            self.done.append(name)
            self.at_once -= 1
            return MADE_BYTES

        return run


async def test_each_peer_has_its_turn() -> None:
    """Who has one message waits for one of the other, whatever that has waiting; one is done at a time."""
    inflater, order, flooder = Inflater(lambda: 1 << 20), Order(), Payer()
    waiting = [inflater.submit(flooder, order.work(f"flood {number}")) for number in range(3)]
    waiting.append(inflater.submit(Payer(), order.work("quiet")))
    order.go_on.set()
    await asyncio.gather(*waiting)

    assert order.done == ["flood 0", "flood 1", "quiet", "flood 2"]
    assert order.most_at_once == 1
    inflater.close()


async def test_what_is_inflated_counts_as_read_of_its_peer() -> None:
    """Who is ahead of his rate waits until that is paid; others do not."""
    inflater, order, flooder = Inflater(lambda: 1 << 20), Order(), Payer()
    flooder.cost_s = 3600.0
    waiting = [inflater.submit(flooder, order.work(f"flood {number}")) for number in range(2)]
    order.go_on.set()
    await waiting[0]
    await asyncio.gather(*(inflater.submit(Payer(), order.work(f"quiet {number}")) for number in range(2)))
    flooder.paid_until_s = 0.0
    await waiting[1]

    assert order.done == ["flood 0", "quiet 0", "quiet 1", "flood 1"]
    assert flooder.spent == 2 * MADE_BYTES
    inflater.close()


async def test_nothing_is_begun_without_room() -> None:
    """What is inflated already has to be written first."""
    order = Order()
    order.go_on.set()
    done_when_asked: list[int] = []

    def room_bytes() -> int:
        done_when_asked.append(len(order.done))
        return {1: 100, 4: 50}.get(len(done_when_asked), 49)

    inflater = Inflater(room_bytes)
    for name in ("first", "second"):
        await inflater.submit(Payer(), order.work(name))

    assert done_when_asked == [0, 1, 1, 1]
    inflater.close()


async def test_the_event_loop_goes_on_meanwhile() -> None:
    """Whoever waits for the loop does not wait for what is inflated."""
    inflater, order = Inflater(lambda: 1 << 20), Order()
    waiting = inflater.submit(Payer(), order.work("long"))
    await asyncio.sleep(0)

    assert not waiting.done()
    order.go_on.set()
    await waiting
    inflater.close()


async def test_a_fault_goes_to_who_asked_and_the_next_is_done() -> None:
    """One bad thing stops one thing."""

    def fail() -> int:
        raise MemoryError

    inflater, order = Inflater(lambda: 1 << 20), Order()
    order.go_on.set()
    failing, working = inflater.submit(Payer(), fail), inflater.submit(Payer(), order.work("behind"))

    with pytest.raises(MemoryError):
        await failing
    await working
    assert order.done == ["behind"]
    inflater.close()


async def test_once_closed_nothing_more_is_begun() -> None:
    """What is being done ends; whoever still waits, or comes, is never told that it is done."""
    inflater, order, peer = Inflater(lambda: 1 << 20), Order(), Payer()
    begun, waiting = (inflater.submit(peer, order.work(name)) for name in ("begun", "waiting"))
    inflater.close()
    late = inflater.submit(Payer(), order.work("late"))
    order.go_on.set()
    await begun
    await asyncio.sleep(0)

    assert order.done == ["begun"]
    assert not waiting.done()
    assert not late.done()
