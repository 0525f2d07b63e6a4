"""One seeded run of the fault harness: senders, faults, and an auditor who compares what was acked with what is stored.

Four senders, each behind a proxy and from an address of its own, send numbered records and, now and then, messages that
are genuinely equal. Meanwhile processes are killed, stopped, frozen and connections cut. At the end, when everything
is acknowledged and the worker has caught up, each numbered record must be in the store exactly once, and each equal one
as often as it was sent.
"""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.kit.cutting_proxy import Cut, CuttingProxy
from tests.kit.forward_sender import ForwardSender, Options, number_in, tcp
from tests.kit.running import RunningCollector

LOAD_S: Final = 2.5
"""How long faults happen. Senders send on until everything is acknowledged."""

FAULTS: Final = range(3, 8)
SETTLE_LIMIT_S: Final = 60.0
MESSAGES: Final = 120

SENDERS: Final = (
    {"name": "fluentd", "mode": "packed", "chunk_ids": "fluentd", "in_flight": 8, "equal_every": 7},
    {"name": "docker", "mode": "message", "chunk_ids": "docker", "in_flight": 1, "equal_every": 5},
    {"name": "fluentbit", "mode": "forward", "chunk_ids": "content", "in_flight": 1, "equal_every": 6},
    {"name": "pipelining", "mode": "gzip", "chunk_ids": "named", "in_flight": 16},
)
"""As the clients that there are: random ids and several in flight; random ids and waiting; ids that are hashes of the
content and waiting; and a client we know nothing of, with several in flight."""


class Verdict(msgspec.Struct):
    """What the auditor found; the three lists are empty when all is well."""

    seed: int
    records: int = 0
    equal_records: int = 0
    resent_messages: int = 0
    faults: list[str] = []
    missing: list[str] = []
    twice: list[str] = []
    swallowed: list[str] = []

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.missing or self.twice or self.swallowed)


class Run:
    """One collector with its senders, and the chance that chooses what happens to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.verdict = Verdict(seed)
        self._chance = random.Random(seed)
        self._collector = RunningCollector(folder)
        self._proxies: list[CuttingProxy] = []
        self._senders: list[ForwardSender] = []
        self._faults: dict[str, Callable[[], Any]] = {
            "kill intake": lambda: self._collector.kill("intake"),
            "kill worker": lambda: self._collector.kill("worker"),
            "kill supervisor": lambda: self._restart(self._collector.kill, "supervisor"),
            "kill everything": lambda: self._restart(self._collector.kill_all),
            "kill during start": self._kill_during_start,
            "stop": lambda: self._restart(self._collector.stop),
            "freeze": self._freeze,
            "cut all": self._cut_all,
            "cut one": lambda: self._cut(self._chance.randrange(len(SENDERS))),
            "hold, then cut": self._hold,
        }

    async def play(self) -> Verdict:
        """Send, break, mend, wait, audit."""
        try:
            self._collector.start()
            await asyncio.to_thread(self._collector.wait_ready)
            async with AsyncExitStack() as stack, asyncio.timeout(SETTLE_LIMIT_S):
                await self._join(stack)
                async with asyncio.TaskGroup() as tasks:
                    for sender in self._senders:
                        tasks.create_task(sender.send(MESSAGES * sender.options.records_per_message))
                    await self._break()
                await self._wait_for_worker()
            await self._audit()
        except TimeoutError:
            unacked = [f"{each.options.name} {len(each.sent - each.acked)}" for each in self._senders]
            self.verdict.missing += [f"not everything was acked and stored in time; not acked: {unacked}"]
        finally:
            await asyncio.to_thread(self._collector.kill_all)
        return self.verdict

    async def _join(self, stack: AsyncExitStack) -> None:
        for number, options in enumerate(SENDERS):
            proxy = CuttingProxy("127.0.0.1", self._collector.forward_port, source=f"127.0.0.{number + 11}")
            self._proxies.append(await stack.enter_async_context(proxy))
            per_message = 1 if options["mode"] == "message" else 3
            pause_s = LOAD_S / MESSAGES / 2
            every = {"records_per_message": per_message, "pause_s": pause_s, "ack_timeout_s": 5.0}
            whole = Options(**(every | options))  # type: ignore[arg-type]
            self._senders.append(ForwardSender(tcp("127.0.0.1", proxy.port), whole))

    async def _break(self) -> None:
        moments = sorted(self._chance.uniform(0, LOAD_S) for _ in range(self._chance.choice(FAULTS)))
        before = 0.0
        for moment in moments:
            await asyncio.sleep(moment - before)  # the moment is the run's subject
            before = moment
            name = self._chance.choice(list(self._faults))
            self.verdict.faults.append(f"{moment:.2f} {name}")
            outcome = self._faults[name]()
            if asyncio.iscoroutine(outcome):
                await outcome

    async def _restart(self, end: Callable[..., Any], *arguments: object) -> None:
        await asyncio.to_thread(end, *arguments)
        await asyncio.to_thread(self._collector.wait_gone, timeout_s=30.0)
        self._collector.start()

    async def _kill_during_start(self) -> None:
        await self._restart(self._collector.kill_all)
        await asyncio.sleep(self._chance.uniform(0, 0.7))
        await self._restart(self._collector.kill_all)

    async def _freeze(self) -> None:
        """Stop a process for a moment, as a machine without a free core does."""
        pid = self._collector.pid_of(self._chance.choice(["intake", "worker"]))
        if pid is not None:
            try:
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(self._chance.uniform(0.05, 0.4))
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return

    def _cut_all(self) -> None:
        for number in range(len(SENDERS)):
            self._cut(number)

    def _cut(self, number: int) -> None:
        """Cut one sender's connections; half-open only where a resend can be told all the same."""
        unique = SENDERS[number]["chunk_ids"] in ("fluentd", "docker")
        ways: list[Cut] = ["reset", "close", "half-open"] if unique else ["reset", "close"]
        self._proxies[number].cut(self._chance.choice(ways))

    async def _hold(self) -> None:
        number = self._chance.randrange(len(SENDERS))
        self._proxies[number].hold()
        await asyncio.sleep(self._chance.uniform(0.05, 0.4))
        self._cut(number)
        self._proxies[number].release()

    async def _wait_for_worker(self) -> None:
        """Wait until the store's cursor is at the journal's end."""
        lag = re.compile(r'^tidewaiter_worker_lag_frames\{output="store"\} 0(\.0)?$', re.MULTILINE)
        while True:
            _, metrics = await asyncio.to_thread(self._collector.get, "/metrics")
            if lag.search(metrics):
                rows = await asyncio.to_thread(self._collector.query, "SELECT count(*) AS n FROM logs")
                if rows[0]["n"] >= self._expected():
                    return
            await asyncio.sleep(0.1)

    def _expected(self) -> int:
        return sum(len(sender.acked) + _equal_records(sender) for sender in self._senders)

    async def _audit(self) -> None:
        rows = await asyncio.to_thread(self._collector.query, "SELECT id, message FROM logs")
        verdict = self.verdict
        verdict.twice += [f"id {name}" for name, times in Counter(row["id"] for row in rows).items() if times > 1]
        lines = Counter(row["message"] for row in rows)
        for sender in self._senders:
            name = sender.options.name
            numbers = Counter({number_in(line, name): times for line, times in lines.items()})
            verdict.records += len(sender.acked)
            verdict.resent_messages += sender.resent_messages
            verdict.missing += [f"{name} {number}" for number in sorted(sender.acked) if not numbers[number]]
            verdict.twice += [f"{name} {number}" for number in sorted(sender.sent) if numbers[number] > 1]
            for generation, sent in sender.equal_sent.items():
                expected = sent * sender.options.records_per_message
                stored = lines[f"{name} equal {generation}"]
                verdict.equal_records += expected
                note = f"{name} equal {generation}: {expected} sent, {stored} stored"
                if stored < expected:
                    verdict.swallowed.append(note)
                elif stored > expected:
                    verdict.twice.append(note)


def _equal_records(sender: ForwardSender) -> int:
    return sum(sender.equal_sent.values()) * sender.options.records_per_message
