"""Entries on their way into the journal, and their answers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from collector.journal.entry import Entry, Receipt

SHARE_BYTES: Final = 1 << 20
"""What one client may have in a group, be it more than that in one entry: with more, everybody else waits for a write
and a sync of all that a single one had to say (measured: `make bench`, case `fairness`)."""

ENTRY_OVERHEAD_BYTES: Final = 1 << 10
"""What an entry costs a group beside its payload: a flood of tiny ones is no smaller."""


class Pending(msgspec.Struct):
    """An entry on its way. Entries of a producer that repeat it get the same answer."""

    entry: Entry
    on_receipt: Callable[[], None]
    repeats: "Sequence[Pending]" = ()


def answer(group: Sequence[Pending], receipt: Receipt) -> None:
    """Give the same receipt to all, then tell each; who fails at that hurts no other."""
    for pending in group:
        pending.entry.receipt = receipt
    for pending in group:
        try:
            pending.on_receipt()
        except Exception as error:
            report = {"message": "a receipt could not be handed on", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)
        if pending.repeats:
            answer(pending.repeats, receipt)


def shared_out(pending: list[Pending]) -> tuple[list[Pending], list[Pending]]:
    """Return the next group, and what has to wait for another: each client's entries beyond its share, in order."""
    if sum(each.entry.payload_bytes for each in pending) + len(pending) * ENTRY_OVERHEAD_BYTES <= SHARE_BYTES:
        return pending, []
    group: list[Pending] = []
    left: list[Pending] = []
    taken: dict[tuple[str, str], int] = {}
    for each in pending:
        origin = each.entry.origin
        client = origin.peer, origin.auth
        before = taken.get(client, 0)
        taken[client] = before + each.entry.payload_bytes + ENTRY_OVERHEAD_BYTES
        (group if before < SHARE_BYTES else left).append(each)
    return group, left
