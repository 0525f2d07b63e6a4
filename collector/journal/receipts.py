"""Entries on their way into the journal, and their answers."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from collector.journal.entry import Entry, Receipt


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
