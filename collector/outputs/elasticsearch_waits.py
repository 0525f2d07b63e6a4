"""What the Elasticsearch output waits for: told once when it begins, changes and ends, to the log and to health."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from collector.logs import get_logger
from collector.outputs.output import Surroundings

TOLD_EVERY_S: Final = 60.0
"""What happens again and again is told so often."""

logger = get_logger("worker")


class Telling:
    """Tells the log what happens again and again: at once, then once a minute with the number since."""

    def __init__(self, output: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._now_s = now_s
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def tell(self, event: str, stream: str, count: int, **more: str) -> None:
        """Note that something happened to `count` documents of a data stream; `more` is told of the last."""
        now_s = self._now_s()
        told_s, before = self._told.get((event, stream), (-TOLD_EVERY_S, 0))
        if now_s - told_s < TOLD_EVERY_S:
            self._told[event, stream] = (told_s, before + count)
            return
        self._told[event, stream] = (now_s, 0)
        logger.warning(event, output=self._output, stream=stream, documents=before + count, **more)


class Waits:
    """What deliveries wait for at the moment; tells log and health when it begins, changes and ends, and only then."""

    def __init__(self, output: str, surroundings: Surroundings) -> None:
        self._output = output
        self._surroundings = surroundings
        self._causes: dict[int, str | int] = {}
        self._since_s = 0.0

    def clear(self) -> None:
        """Forget deliveries of an earlier run."""
        self._causes.clear()

    def begin(self, delivery: int, cause: str | int, problem: str, count: int) -> None:
        """Note that `count` documents of a delivery wait, and why."""
        if not self._causes:
            self._since_s = time.monotonic()
        if cause not in self._causes.values():
            logger.warning("documents_wait", output=self._output, reason=problem, documents=count)
        self._causes[delivery] = cause
        self._surroundings.unhealthy(f"output {self._output}", problem)

    def end(self, delivery: int) -> None:
        """Note that a delivery got on."""
        waited = self._causes.pop(delivery, None) is not None
        if self._causes:
            return
        if waited:
            waited_s = round(time.monotonic() - self._since_s, 1)
            logger.info("documents_flow_again", output=self._output, waited_s=waited_s)
        self._surroundings.healthy(f"output {self._output}")

    async def pause(self, seconds: float) -> bool:
        """Wait; False at once when the worker drains."""
        try:
            async with asyncio.timeout(seconds):
                await self._surroundings.stopping.wait()
        except TimeoutError:
            return True
        return False
