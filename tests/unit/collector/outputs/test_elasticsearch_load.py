"""How much is sent at once: up step by step, down by half, and never more than a 413 allowed."""

import asyncio
from itertools import pairwise

from collector.outputs.elasticsearch_load import SLOW_S, SMALLEST_BODY_BYTES, UNHURRIED_S, Load

LIMIT = 8 << 20


def load(requests_limit: int = 4) -> Load:
    """A load that begins with the largest bodies."""
    return Load(body_limit_bytes=LIMIT, requests_limit=requests_limit)


async def answered(made: Load, *, took_s: float = 0.01, more_waits: bool = False) -> None:
    """Let a request go out and come back without refusals."""
    async with made.turn() as sent_in:
        pass
    made.went_well(sent_in, took_s, more_waits=more_waits)


async def refused(made: Load, size_bytes: int = LIMIT) -> None:
    """Let a request be refused."""
    async with made.turn() as sent_in:
        pass
    made.eased(sent_in, size_bytes)


async def test_a_refusal_halves_bodies_and_requests() -> None:
    """Down to a bound: a storm makes no bodies of nothing."""
    made = load()
    await refused(made)
    first = (made.body_bytes, made.requests)
    for _ in range(30):
        await refused(made, made.body_bytes)

    assert (LIMIT // 2, 1) == first
    assert (SMALLEST_BODY_BYTES, 1) == (made.body_bytes, made.requests)


async def test_what_went_out_before_a_halving_halves_nothing() -> None:
    """Two requests of one storm are refused together; that is one sign, not two."""
    made = load()
    async with made.turn() as first, made.turn() as second:
        pass
    made.eased(first, LIMIT)

    assert not made.eased(second, LIMIT)
    assert LIMIT // 2 == made.body_bytes


async def test_bodies_grow_step_by_step_until_they_are_what_they_were() -> None:
    """Each answer adds the same, at first; none makes them larger than the limit."""
    made = load()
    await refused(made)
    sizes = []
    for _ in range(40):
        await answered(made)
        sizes.append(made.body_bytes)

    assert {LIMIT // 16} == {after - before for before, after in pairwise(sizes[:7])}
    assert LIMIT == sizes[-1]


async def test_a_long_storm_is_made_up_for_in_few_answers() -> None:
    """From the smallest bodies to the largest it takes no thousand answers."""
    made = load()
    for _ in range(30):
        await refused(made, made.body_bytes)
    count = 0
    while made.body_bytes < LIMIT:
        await answered(made)
        count += 1

    assert 50 < count < 300


async def test_a_slow_answer_is_as_good_as_a_refusal() -> None:
    """Half as much goes out next."""
    made = load()
    await answered(made, took_s=SLOW_S + 1)

    assert (LIMIT // 2, 1) == (made.body_bytes, made.requests)


async def test_requests_grow_where_elasticsearch_takes_its_time_and_more_waits() -> None:
    """One by one, up to the limit; a quick server gets no more, nor one that nothing waits for."""
    made, quick, idle = load(), load(), load()
    for _ in range(20):
        await answered(made, took_s=UNHURRIED_S, more_waits=True)
        await answered(quick, more_waits=True)
        await answered(idle, took_s=UNHURRIED_S)

    assert (4, 2, 2) == (made.requests, quick.requests, idle.requests)


async def test_a_size_that_was_too_large_is_never_tried_again() -> None:
    """However well it goes: a 413 says something of the server, not of its load."""
    made = load()
    assert made.too_large(LIMIT, floor_bytes=1 << 16)
    for _ in range(100):
        await answered(made)

    assert LIMIT // 2 == made.body_bytes
    assert not made.too_large(LIMIT, floor_bytes=1 << 16)


async def test_no_more_requests_are_out_than_the_load_allows() -> None:
    """A further one waits until one has come back, also when their number was halved meanwhile."""
    made = load()
    entered = asyncio.Event()

    async def third() -> None:
        async with made.turn():
            entered.set()

    async with made.turn() as sent_in:
        async with made.turn():
            task = asyncio.create_task(third())
            await asyncio.sleep(0)
            made.eased(sent_in, LIMIT)
        await asyncio.sleep(0)
        assert not entered.is_set()
    await task

    assert entered.is_set()
