"""The watcher role: asks Engines what their containers are and what happens to them, and appends what it learns.

It has no port, no output's key and no part in what senders are promised. Every input is a task of its own; one that
fails is told, and started again, and stops no other.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from collector.config import watched
from collector.config_kubernetes import KubernetesInputConfig
from collector.config_watchers import DockerEventsInputConfig, WatchedInputConfig
from collector.errors import sentence_of
from collector.logs import get_logger
from collector.role import Context
from collector.watchers import docker_events, docker_trail, kubernetes

RESTART_FIRST_S: Final = 0.5
RESTART_LIMIT_S: Final = 30.0
"""Pauses before a failed input is started again: doubling, up to this."""

NICENESS: Final = 5
"""Acknowledgements come first, then what is known of containers, then documents."""


class Watch(NamedTuple):
    """`run` watches an input of a name and options until it is cancelled; `component` is ill when it fails."""

    component: str
    run: Callable[[str, Any, Context], Awaitable[None]]
    is_wanted: Callable[[Any], bool] = lambda _options: True


WATCHES: Final[Mapping[type, Sequence[Watch]]] = {
    DockerEventsInputConfig: (
        Watch("input {}", docker_events.watch),
        Watch(docker_trail.COMPONENT, docker_trail.follow, lambda options: options.trail),
    ),
    KubernetesInputConfig: (Watch("input {}", kubernetes.watch),),
}
"""What watches an input of these options, each by a task of its own."""

logger = get_logger("watcher")


async def main(context: Context) -> None:
    """Watch until `context.stopping`. What is under way then is asked for again at the next start."""
    os.nice(NICENESS)
    watches = [
        (watch, name, options)
        for name, options in watched(context.config).items()
        for watch in WATCHES[type(options)]
        if watch.is_wanted(options)
    ]
    for watch, name, _ in watches:
        context.unhealthy(watch.component.format(name), "not asked yet")
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(_keep(watch, name, options, context)) for watch, name, options in watches]
        await context.stopping.wait()
        for task in watching:
            task.cancel()


async def _keep(watch: Watch, name: str, options: WatchedInputConfig, context: Context) -> None:
    component = watch.component.format(name)
    pause_s = RESTART_FIRST_S
    while True:
        try:
            await watch.run(name, options, context)
        except Exception as error:  # the boundary of an input: a fault of one is not another's
            sentence = sentence_of(error)
            context.unhealthy(component, sentence or f"{type(error).__name__}: {error}")
            logger.error("watching_failed", of=component, again_in_s=pause_s, reason=sentence, exc_info=not sentence)  # noqa: TRY400
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        pause_s = min(2 * pause_s, RESTART_LIMIT_S)
