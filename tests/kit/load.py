"""Senders that never stop, and the books: what was acknowledged against what is stored.

async with Load(collector).running() as load:
…                                  # what is to be survived
await load.progress()              # it goes on
check_the_books(stored_lines(collector, load), load)
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.kit.forward_sender import ForwardSender, Options, number_in, tcp, unix
from tests.kit.running import RunningCollector, wait_until

PROGRESS_RECORDS: Final = 200
"""Records that must be acknowledged before something counts as going on."""

RECOVERY_S: Final = 60.0
"""How long it may take until it goes on; far above what it takes, so that a loaded machine does not fail."""


class Load:
    """Three senders that never stop: several messages in flight, over TCP and the Unix socket, in three modes.

    `names` go before the names of the senders, so that two loads can be told apart.

    A sender that loses patience sends again what the collector, which stopped reading, may still have in a socket: then
    only chunk ids with a random part tell the two apart. Where the collector makes senders wait, be patient.
    """

    def __init__(
        self, collector: RunningCollector, *, line_bytes: int = 0, patience_s: float = 5.0, names: str = ""
    ) -> None:
        over_tcp, over_unix = tcp("127.0.0.1", collector.forward_port), unix(str(collector.forward_socket))
        pace = {"records_per_message": 5, "in_flight": 8, "pause_s": 0.004, "ack_timeout_s": patience_s}
        pace["line_bytes"] = line_bytes
        self.senders = [
            ForwardSender(over_tcp, Options(name=f"{names}packed", mode="packed", **pace)),  # type: ignore[arg-type]
            ForwardSender(over_tcp, Options(name=f"{names}single", mode="message", **pace)),  # type: ignore[arg-type]
            ForwardSender(over_unix, Options(name=f"{names}listed", mode="forward", **pace)),  # type: ignore[arg-type]
        ]
        self._stopping = False

    async def _send(self, sender: ForwardSender) -> None:
        while not self._stopping:
            await sender.send(200)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Send while the block runs, then until everything sent is acknowledged."""
        async with asyncio.TaskGroup() as tasks:
            for sender in self.senders:
                tasks.create_task(self._send(sender))
            try:
                yield self
            finally:
                self._stopping = True

    @property
    def acked(self) -> int:
        """Records acknowledged so far."""
        return sum(len(sender.acked) for sender in self.senders)

    @property
    def resent_messages(self) -> int:
        """Messages sent again, because their connection ended before their ack came."""
        return sum(sender.resent_messages for sender in self.senders)

    async def progress(self) -> None:
        """Wait until more records are acknowledged than now."""
        goal = self.acked + PROGRESS_RECORDS
        await asyncio.to_thread(
            wait_until, lambda: self.acked >= goal, timeout_s=RECOVERY_S, what=f"{PROGRESS_RECORDS} more acks"
        )


def stored_lines(collector: RunningCollector, load: Load) -> list[tuple[str, str]]:
    """Wait until the store holds at least as many documents as were acknowledged; return (id, line) of all."""

    def count() -> int:
        return int(collector.query("SELECT count(*) AS n FROM logs")[0]["n"])

    wait_until(lambda: count() >= load.acked, timeout_s=RECOVERY_S, what="as many documents as acks", poll_s=0.3)
    return [(row["id"], row["message"]) for row in collector.query("SELECT id, message FROM logs")]


def check_the_books(stored: list[tuple[str, str]], load: Load) -> None:
    """Every acknowledged number is stored, once; what is stored was sent; ids are unique."""
    assert [] == [name for name, times in Counter(name for name, _ in stored).items() if times > 1]
    for sender in load.senders:
        found = [number_in(line, sender.options.name) for _, line in stored]
        numbers = Counter(number for number in found if number is not None)
        assert [] == sorted(sender.acked - set(numbers))[:20], "acknowledged and missing"
        assert [] == sorted(set(numbers) - sender.sent)[:20], "stored and never sent"
        assert [] == sorted(number for number, times in numbers.items() if times > 1)[:20], "stored twice"
