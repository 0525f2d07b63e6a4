"""Closing a batch: slices of a frame, dead letters, and the tally by which the books balance (P2)."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, TypeVar

import msgspec

from pipelines.batch import NO_ACCOUNTS, Accounts, Batch, DeadLetter, Documents, Outcomes, Tally
from pipelines.frame import INDEX_LIMIT, Frame

RECORDS_LIMIT: Final = 16384
"""Records of one batch. A message of 64 MiB can hold 22 million records, whose documents no memory could hold."""

T = TypeVar("T")


class Refused(msgspec.Struct):
    """A record that gives no document: why, its bytes, and `input/peer` of its sender.

    Behind its own index so many are `skipped`, which are no record's: it ends a batch then, which they belong to.
    """

    code: str
    reason: str
    payload: bytes
    origin: str
    skipped: int = 0


class Control(msgspec.Struct):
    """A record that is settled by being read."""


class Pieces(msgspec.Struct, frozen=True):
    """What a batch did with pieces of lines: how many settled with their line, wait now, and waited before."""

    joined: int = 0
    parked: int = 0
    taken_up: int = 0


NO_PIECES: Final = Pieces()


def with_lookahead(items: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Yield each item and whether it is the last; without items, nothing."""
    iterator = iter(items)
    for held in iterator:
        for item in iterator:
            yield held, False
            held = item
        yield held, True


def close_batch(
    frame: Frame,
    documents: tuple[Documents, ...],
    refused: list[tuple[int, Refused]],
    *,
    derived: tuple[Documents, ...] = (),
    records: range,
    last: bool,
    pieces: Pieces = NO_PIECES,
    lines: Outcomes | None = None,
    accounts: Accounts = NO_ACCOUNTS,
) -> Batch:
    """Make the batch of the records with these indexes. `refused` holds (index, Refused) in order.

    Documents that are `derived` from others settle no record, and are counted apart.
    """
    if records.stop > INDEX_LIMIT:
        raise OverflowError(f"more than {INDEX_LIMIT} records in one frame")
    made = sum(len(part.ids) for part in documents)
    tally = Tally(
        claimed=sum(max(message.claimed, 0) for message in frame.messages) if last else 0,
        records=len(records),
        documents=made,
        dead=len(refused),
        control=len(records) + pieces.taken_up - made - len(refused) - pieces.joined - pieces.parked,
        joined=pieces.joined,
        parked=pieces.parked,
        taken_up=pieces.taken_up,
        derived=sum(len(part.ids) for part in derived),
        lines=lines or {},
    )
    here = frame.position
    skipped = refused[-1][1].skipped if refused and refused[-1][0] == records.stop - 1 else 0
    after = here._replace(sequence=frame.sequence + 1) if last else here._replace(record=records.stop + skipped)
    return Batch(
        here._replace(record=records.start),
        after,
        frame.journal_time,
        tuple(sorted((*documents, *derived), key=lambda part: part.stream)),
        tuple(_dead_letters(frame, refused)),
        tally,
        len(frame.payload) if last else 0,
        accounts,
    )


def _dead_letters(frame: Frame, refused: list[tuple[int, Refused]]) -> Iterator[DeadLetter]:
    """Join neighbours refused for one reason: a message of a million nils is not a million letters."""
    neighbours = groupby(
        enumerate(refused), lambda item: (item[1][0] - item[0], item[1][1].code, item[1][1].reason, item[1][1].origin)
    )
    for (_, code, reason, origin), group in neighbours:
        members = [item for _, item in group]
        yield DeadLetter(
            position=frame.position._replace(record=members[0][0]),
            stage="decode",
            code=code,
            reason=reason,
            origin=origin,
            payload=b"".join(item.payload for _, item in members),
            records=len(members),
        )
