"""Lines wait for what is known of their container: its first ones are often sooner here than what its Engine says.

A whole line waits at most METADATA_WAIT_NS of journal time; then the lines of its container go without, and those
behind them do not wait any more, until the container is known. So do the lines of the one that waits longest when there
is no room (`pipelines.state.WAITING_LIMIT`), and all lines of an Engine that is said to be away.
"""

import itertools
from collections.abc import Iterator
from typing import Final

from pipelines.enrich.messages import EVERYTHING, Learned
from pipelines.enrich.metadata import ID_CHARACTERS
from pipelines.join import Whole
from pipelines.sections import Key
from pipelines.state import OpenLine, State

METADATA_WAIT_NS: Final = 5_000_000_000
"""How long a line waits at most, in `State.waited_ns`."""

OUTDONE_SHARE: Final = 4
"""Where there is no room, containers of so much of what waits are waited for no longer: a quarter."""


def wait(state: State, awaited: tuple[str, str], line: OpenLine) -> list[Whole]:
    """Let a line wait for its container, of a source; return those that have no room any more, to go without."""
    source, container = awaited
    key = (source, container[:ID_CHARACTERS], ".".join(map(str, line.position)))
    outdone = state.waiting.put(key, line)
    if not outdone:
        return []
    # Many at once: each time all that wait are gone through.
    oldest = itertools.islice(state.waiting.items(), len(state.waiting) // OUTDONE_SHARE)
    return [_whole(each) for _, each in outdone] + _given_up(state, [key for key, _ in (*outdone, *oldest)])


def due(state: State) -> list[Whole]:
    """Let go of the lines of containers that were waited for long enough, to go without."""
    items = state.waiting.items()
    waited = itertools.takewhile(lambda item: state.waited_ns - item[1].touched_ns >= METADATA_WAIT_NS, items)
    return _given_up(state, [key for key, _ in waited])


def awaited(state: State, learned: Learned) -> list[Whole]:
    """Let go of the lines that waited for this."""
    if not len(state.waiting):
        return []
    if EVERYTHING in learned.containers:
        keys = [key for key, _ in state.waiting.items() if key[0] == learned.source]
    else:
        keys = state.waiting.in_groups((learned.source, container) for container in learned.containers)
    return list(_taken(state, keys))


def _given_up(state: State, keys: list[Key]) -> list[Whole]:
    """Wait no longer for the containers of these, and let all their lines go."""
    containers = dict.fromkeys((source, container) for source, container, _ in keys)
    for source, container in containers:
        state.metadata.give_up(source, container)
    return list(_taken(state, state.waiting.in_groups(containers)))


def _taken(state: State, keys: list[Key]) -> Iterator[Whole]:
    for key in keys:
        line = state.waiting.take(key)
        if line is not None:
            yield _whole(line)


def _whole(line: OpenLine) -> Whole:
    """Every record of it was put aside before."""
    return Whole(line, line.pieces)
