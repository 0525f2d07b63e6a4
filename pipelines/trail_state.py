"""What trails remember from one record to the next, in a pipeline's state: bounded, undoable, in checkpoints."""

from typing import Final

import msgspec

from parsers.docker_actions import ACTS
from parsers.docker_event import ADDED, CONTAINER, OWN_ATTRIBUTES
from pipelines.sections import Section

EXECS_LIMIT: Final = 16_384
"""Processes started in running containers whose end is waited for; of more the one told of longest ago is forgotten:
its end is told without what was known of its beginning."""

EXECS_BYTES_LIMIT: Final = 16 << 20
"""What their commands may take in all."""

LABEL_NAMES_LIMIT: Final = 16_384
"""Containers of which it is remembered which attributes of their events are labels."""

LABEL_NAMES_BYTES_LIMIT: Final = LABEL_NAMES_LIMIT * 1024
"""More than all of them can take: there are few such names."""


class KnownExec(msgspec.Struct, frozen=True, array_like=True):
    """A process that was started in a running container, by (source, the Engine's id of it).

    `command` is as the Engine tells it, `words` are its arguments; None: not known, as with `tty` and what follows it.
    `user` is as it was asked for, empty: the container's. `started_ns` is 0 as long as it is not started. `names` are
    those of its environment.
    """

    container: str
    command: str = ""
    words: tuple[str, ...] | None = None
    tty: bool | None = None
    stdin: bool | None = None
    privileged: bool | None = None
    user: str | None = None
    pid: int = 0
    folder: str = ""
    names: tuple[str, ...] = ()
    started_ns: int = 0

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        texts = (self.container, self.command, self.folder, self.user or "", *(self.words or ()), *self.names)
        return sum(len(each) + 64 for each in texts)


class LabelNames(msgspec.Struct, frozen=True, array_like=True):
    """Which of the Engine's own attributes a container's labels forge, as far as its events have shown.

    What an action does not add (`OWN_ATTRIBUTES`) and its event has all the same is a label, and what it has not is
    none: labels never change.
    """

    forged: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        return 64 * (len(self.forged) + len(self.free))

    def after(self, action: str, attributes: dict[str, str], *, are_all: bool) -> "LabelNames":
        """Return what an event of an action shows; one of an action that is not known shows nothing.

        Where the attributes are not all (`are_all`) that it had, what is not there shows nothing.
        """
        if action not in ACTS[CONTAINER]:
            return self
        shown = ADDED.difference(OWN_ATTRIBUTES.get(action, ()))
        forged = {name for name in shown if name in attributes}.union(self.forged)
        free = (shown if are_all else frozenset()).union(self.free).difference(forged)
        return LabelNames(tuple(sorted(forged)), tuple(sorted(free)))


def new_execs() -> Section[KnownExec]:
    """Return a state's section of execs."""
    return Section(KnownExec, limit=EXECS_LIMIT, limit_bytes=EXECS_BYTES_LIMIT, cost=lambda known: known.size_bytes)


def new_label_names() -> Section[LabelNames]:
    """Return a state's section of label names."""
    return Section(
        LabelNames,
        limit=LABEL_NAMES_LIMIT,
        limit_bytes=LABEL_NAMES_BYTES_LIMIT,
        cost=lambda names: names.size_bytes,
    )
