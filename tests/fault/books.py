"""What the tests of a real collector ask of it: whether everything acknowledged is stored, once, and nothing else."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.kit.running import RunningCollector, wait_until

SERVED_S: Final = 90.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what the collector's own page, store or log shows."""
    await asyncio.to_thread(wait_until, condition, timeout_s=SERVED_S, what=what, poll_s=0.05)


async def check_all_once(collector: RunningCollector, counts: dict[str, int]) -> None:
    """By sender, records 0 to its count are stored, each once; and nothing else."""
    total = sum(counts.values())
    await until(lambda: int(collector.query("SELECT count(*) AS n FROM logs")[0]["n"]) >= total, "all records")
    found = Counter(
        tuple(row["message"].rstrip(".").rsplit(" ", 1)) for row in collector.query("SELECT message FROM logs")
    )
    assert {name: count for name, count in found.items() if count > 1} == {}
    assert set(found) == {(name, str(number)) for name, count in counts.items() for number in range(count)}
