"""Why the journal takes nothing, and who fills it: for people in readiness, with figures in the log."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from collector.config_values import size_text
from collector.errors import DataDirError
from collector.inputs.input import Input
from collector.journal.holders import Holders
from collector.journal.writer import Journal


class Busiest(NamedTuple):
    """The peer that sent most of late, and its part of all that came."""

    input: str
    peer: str
    share: float


class Fullness(NamedTuple):
    """How full a journal is. `disk_free_bytes` is given where the disk takes no more, and None where the limit does."""

    used_bytes: int
    limit_bytes: int
    disk_free_bytes: int | None
    holders: Holders
    busiest: Busiest | None

    def sentence(self) -> str:
        """Return all of it for people."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        used = f"{size_text(self.used_bytes)} of {size_text(self.limit_bytes)}"
        if self.disk_free_bytes is None:
            yield f"full: {used}"
        else:
            yield f"full: the disk is, with {size_text(self.disk_free_bytes)} free; the journal has {used}"
        if self.holders.names:
            outputs = f"output{'s' if len(self.holders.names) > 1 else ''} {', '.join(self.holders.names)}"
            yield f"{size_text(self.holders.bytes)} of it wait for {outputs}"
        if self.busiest is not None:
            share, peer, name = f"{self.busiest.share:.0%}", self.busiest.peer, self.busiest.input
            yield f"{share} of what came of late is from {peer} by input {name}"
        yield "senders wait"

    def fields(self) -> dict[str, Any]:
        """Return all of it for the log."""
        found: dict[str, Any] = {"used_bytes": self.used_bytes, "limit_bytes": self.limit_bytes}
        if self.disk_free_bytes is not None:
            found["disk_free_bytes"] = self.disk_free_bytes
        if self.holders.names:
            found |= {"wait_for": list(self.holders.names), "waiting_bytes": self.holders.bytes}
        if self.busiest is not None:
            found |= {"busiest_input": self.busiest.input, "busiest_peer": self.busiest.peer}
            found["busiest_share"] = round(self.busiest.share, 2)
        return found


def fullness(journal: Journal, inputs: Sequence[Input]) -> Fullness:
    """Look at a journal that is full; what a damaged cursor holds is not known, and left out."""
    room, held = journal.room, Holders((), 0)
    with contextlib.suppress(DataDirError, OSError):
        held = journal.holders()
    free_bytes = room.disk_free_bytes if room.is_stuck else None
    return Fullness(room.disk_bytes, room.limit_bytes, free_bytes, held, _busiest(inputs))


def _busiest(inputs: Sequence[Input]) -> Busiest | None:
    traffic = [(each.traffic(), each.name) for each in inputs]
    total_bytes = sum(found.bytes for found, _ in traffic)
    if not total_bytes:
        return None
    most, name = max(traffic, key=lambda each: each[0].busiest_bytes)
    return Busiest(name, most.busiest, most.busiest_bytes / total_bytes)
