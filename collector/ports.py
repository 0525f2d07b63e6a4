"""The inputs of one intake: made of its options, begun, and changed by a reload while they serve.

A reload comes in two steps. `prepare` does all that can fail and changes nothing: it reads keys and certificates and
binds addresses that are new. `switch` then changes everything at once. An input whose door stays (where it listens, and
what its senders must prove) takes other options with its connections as they are; one whose door changes is another
that takes over the listening socket where the address is the same, so that nobody is turned away; who is connected to
the one before gets what is owed and is closed, and comes again by the new door.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from collector.config import ListeningInputConfig
from collector.config_values import address_of
from collector.inputs.input import Input
from collector.inputs.sockets import ListenError, bind, parse_listen
from collector.logs import Recurring, get_logger
from collector.role import Context

RETRY_S: Final = 1.0
"""How long until an input that cannot listen is tried again."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long inputs may wait for receipts when they stop; half of the supervisor's limit."""

logger = get_logger("intake")

Make = Callable[[str, ListeningInputConfig], Input]
Options = Mapping[str, ListeningInputConfig]
Problems = list[tuple[str, str]]


class _Opened(msgspec.Struct):
    """An input with the options it was made of, and what begins it."""

    input: Input
    options: ListeningInputConfig
    beginning: asyncio.Task[None] | None = None


class _Plan(msgspec.Struct):
    """What a switch does: inputs that change to what was loaded for them, and new ones with what they listen on.

    `late` are those that cannot be bound before others let go of their address.
    """

    options: dict[str, ListeningInputConfig]
    changed: dict[str, Any] = {}
    new: dict[str, Input] = {}
    bound: dict[str, list[socket.socket]] = {}
    late: list[str] = []

    def close(self) -> None:
        for sockets in self.bound.values():
            for each in sockets:
                each.close()
        self.bound = {}


class Ports:
    """The inputs by name. `inputs` are all that hold connections: those that serve, then those that are leaving.

    `on_left` is told of each that has left.
    """

    def __init__(self, context: Context, make: Make, options: Options) -> None:
        """Make the inputs; nothing listens yet."""
        self.inputs: list[Input] = []
        self.on_left: Callable[[Input], None] = lambda _each: None
        self._context = context
        self._make = make
        self._pressed = False
        self._opened: dict[str, _Opened] = {}
        self._leaving: dict[asyncio.Task[None], Input] = {}
        self._plan: _Plan | None = None
        for name, each in options.items():
            self._opened[name] = _Opened(make(name, each), each)
            context.unhealthy(f"input {name}", "not listening yet")
        self._list()

    def press(self, pressed: bool) -> None:
        """Let all senders wait, or go on."""
        self._pressed = pressed
        for each in self.inputs:
            each.press(pressed)

    def begin(self) -> None:
        """Begin to listen; what cannot is tried again, and told."""
        for opened in self._opened.values():
            opened.beginning = asyncio.create_task(self._begin(opened.input))

    async def close(self) -> None:
        """Drain them all."""
        self.abandon()
        for opened in self._opened.values():
            await _stopped(opened.beginning)
        await asyncio.gather(*(each.drain(timeout_s=DRAIN_TIMEOUT_S) for each in self.inputs))
        await asyncio.gather(*self._leaving)

    async def prepare(self, options: Options) -> Problems:
        """Get ready for other options; return what is in the way, then nothing is kept of it."""
        self.abandon()
        plan = _Plan(dict(options))
        problems: Problems = []
        for name, each in options.items():
            opened = self._opened.get(name)
            try:
                if opened is not None and opened.input.keeps(each):
                    plan.changed[name] = opened.input.load(each)
                else:
                    await self._prepare_new(plan, name, each)
            except ListenError as error:
                problems.append((f"inputs.{name}", str(error)))
        if problems:
            plan.close()
        else:
            self._plan = plan
        return problems

    async def _prepare_new(self, plan: _Plan, name: str, options: ListeningInputConfig) -> None:
        plan.new[name] = made = self._make(name, options)
        made.load(options)
        giving = self._giving(plan, options)
        if [each.options.listen for each in giving] == [options.listen]:
            plan.bound[name] = giving[0].input.listening_sockets()
        if plan.bound.get(name):
            return
        if giving:
            plan.late.append(name)
        else:
            plan.bound[name] = await bind(parse_listen(options.listen))

    def _giving(self, plan: _Plan, options: ListeningInputConfig) -> list[_Opened]:
        """Return the inputs that have to let go of their address before this one can have it."""
        wanted = address_of(options.listen)
        return [
            opened
            for name, opened in self._opened.items()
            if not (name in plan.options and opened.input.keeps(plan.options[name]))
            and address_of(opened.options.listen).collides(wanted)
        ]

    def abandon(self) -> None:
        """Forget what was prepared."""
        if self._plan is not None:
            self._plan.close()
            self._plan = None

    async def switch(self, keep: Callable[[], Awaitable[str]]) -> Problems:
        """Change to what was prepared, between what can still fail and what cannot awaiting `keep`.

        `keep` makes durable that another configuration holds, and returns a sentence where that failed. With a problem
        all is as it was.
        """
        plan, self._plan = self._plan, None
        if plan is None:
            return [("inputs", "nothing was prepared: the intake was started again meanwhile")]
        problems = await self._bind_late(plan)
        if not problems and (failure := await keep()):
            problems = [("(file)", failure)]
        if problems:
            plan.close()
            await self._listen_again(plan)
            return problems
        before, self._opened = self._opened, {}
        for name, options in plan.options.items():
            if name in plan.changed:
                self._opened[name] = opened = before.pop(name)
                opened.options = options
                opened.input.change(options, plan.changed[name])
            else:
                self._opened[name] = _Opened(plan.new[name], options)
        for name, opened in before.items():
            await self._leave(name, opened)
        self._list()
        for name, bound in plan.bound.items():
            await self._start(self._opened[name], bound)
        return []

    async def _bind_late(self, plan: _Plan) -> Problems:
        for name in plan.late:
            options = plan.options[name]
            for giving in self._giving(plan, options):
                await giving.input.stop_accepting()
            try:
                plan.bound[name] = await bind(parse_listen(options.listen))
            except ListenError as error:
                return [(f"inputs.{name}", str(error))]
        return []

    async def _listen_again(self, plan: _Plan) -> None:
        """Let those listen again that let go of their address for nothing."""
        for name in plan.late:
            for giving in self._giving(plan, plan.options[name]):
                if giving.beginning is None or giving.beginning.done():
                    giving.beginning = asyncio.create_task(self._begin(giving.input))

    async def _leave(self, name: str, opened: _Opened) -> None:
        """Let an input finish what it has in hand, beside the others."""
        await _stopped(opened.beginning)
        await opened.input.stop_accepting()
        leaving = asyncio.create_task(self._drained(opened.input))
        self._leaving[leaving] = opened.input
        leaving.add_done_callback(self._left)
        if name not in self._opened:
            self._context.forget(f"input {name}")
        logger.info("input_closing", input=name, connections=opened.input.counts.connections)

    async def _drained(self, each: Input) -> None:
        await each.drain(timeout_s=DRAIN_TIMEOUT_S)

    def _left(self, leaving: asyncio.Task[None]) -> None:
        """Forget an input that is empty; what it counted last goes on under its name."""
        each = self._leaving.pop(leaving)
        self.on_left(each)
        successor = self._opened.get(each.name)
        if successor is not None:
            successor.input.counts.add(each.counts)
        self._list()

    async def _start(self, opened: _Opened, bound: list[socket.socket]) -> None:
        each = opened.input
        try:
            await each.start(bound)
        except ListenError:
            # Its keys were there a moment ago. The address is ours: it is tried again like at a start.
            for listening in bound:
                listening.close()
            opened.beginning = asyncio.create_task(self._begin(each))
        else:
            self._listens(each)

    async def _begin(self, each: Input) -> None:
        """Start an input; while that fails, the others work, and the operator is told."""
        failures = Recurring()
        while True:
            try:
                await each.start()
            except ListenError as error:
                self._context.unhealthy(f"input {each.name}", str(error))
                if failures.is_due(str(error)):
                    logger.error("input_not_listening", input=each.name, reason=str(error))  # noqa: TRY400 - a sentence
                await asyncio.sleep(RETRY_S)
            else:
                self._listens(each)
                return

    def _listens(self, each: Input) -> None:
        self._context.healthy(f"input {each.name}")
        logger.info("input_listening", input=each.name, address=each.address)

    def _list(self) -> None:
        """Bring `inputs` up to date, in place: others hold on to it."""
        self.inputs[:] = [*(opened.input for opened in self._opened.values()), *self._leaving.values()]
        for each in self.inputs:
            each.press(self._pressed)


async def _stopped(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
