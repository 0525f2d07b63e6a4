"""Waiting for a condition beside senders that go on."""

import asyncio
from collections.abc import Callable

from tests.kit.load import RECOVERY_S
from tests.kit.running import wait_until


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, off the loop; raise CollectorError naming `what` when it does not come."""
    await asyncio.to_thread(wait_until, condition, timeout_s=RECOVERY_S, what=what, poll_s=0.05)
