"""Going on within a frame that is cut into other batches than it was: of what is settled nothing comes again.

A part of a frame that is condemned is one record, however many it held. Where the first batches of the frame were
settled before the verdict, those that it is cut into since do not end where they ended.
"""

import msgspec

from pipelines.accounts import is_of_books
from pipelines.batch import Accounts, Batch, DeadLetter, Documents
from pipelines.condemned import is_condemned
from pipelines.frame import ID_CHARACTERS, Position, position_of


def going_on(batch: Batch, position: Position) -> Batch:
    """Return the same batch as one that begins at `position`, within it, where all of the frame before that is settled.

    Documents and letters of records that are settled are left out, and not counted. A condemned part, and what stands
    behind it, is not settled, whatever its index is now. Its letter stands at `position`, with which it is met again.
    """
    if batch.position >= position:
        return batch
    first = _first_unsettled(batch, position)
    gone = [each for each in batch.dead_letters if _is_settled(each, first)]
    letters = tuple(
        msgspec.structs.replace(each, position=position, number=number) if each.position < position else each
        for number, each in enumerate((each for each in batch.dead_letters if not _is_settled(each, first)), 1)
    )
    ids = [each for documents in batch.documents for each in documents.ids if _is_of_settled(each, first)]
    single = sum(len(each) == ID_CHARACTERS for each in ids)
    dead = sum(each.records for each in gone)
    tally = msgspec.structs.replace(
        batch.tally,
        records=batch.tally.records - dead - single,
        documents=batch.tally.documents - single,
        dead=batch.tally.dead - dead,
        derived=batch.tally.derived - len(ids) + single,
    )
    return msgspec.structs.replace(
        batch,
        position=position,
        documents=unsettled_documents(batch, position),
        dead_letters=letters,
        tally=tally,
        accounts=_uncounted(batch.accounts, ids, gone),
    )


def unsettled_documents(batch: Batch, position: Position) -> tuple[Documents, ...]:
    """Return the documents of a batch that are not settled where all of its frame before `position`, within it, is."""
    first = _first_unsettled(batch, position)
    kept = []
    for documents in batch.documents:
        places = [at for at, each in enumerate(documents.ids) if not _is_of_settled(each, first)]
        if len(places) == len(documents.ids):
            kept.append(documents)
        elif places:
            kept.append(documents.picked(places))
    return tuple(kept)


def _first_unsettled(batch: Batch, position: Position) -> Position:
    return min([position, *(each.position for each in batch.dead_letters if is_condemned(each))])


def _is_settled(letter: DeadLetter, first: Position) -> bool:
    behind = letter.position._replace(record=letter.position.record + letter.records)
    return not letter.number and behind <= first


def _is_of_settled(identifier: bytes, first: Position) -> bool:
    """Lines of earlier frames may go out with any record: rather twice than never."""
    return first._replace(record=0) <= position_of(identifier) < first


def _uncounted(accounts: Accounts, ids: list[bytes], gone: list[DeadLetter]) -> Accounts:
    rows = {account: msgspec.structs.replace(counts) for account, counts in accounts.rows.items()}
    uncounted = accounts.uncounted
    for identifier in ids:
        account = accounts.of(position_of(identifier))
        counts = rows.get(account) if account is not None else None
        if counts is None:
            uncounted -= account is not None and is_of_books(account)
        elif len(identifier) > ID_CHARACTERS:
            counts.derived -= 1
        else:
            counts.records -= 1
            counts.documents -= 1
    for letter in gone:
        account = accounts.of(letter.position)
        if account is not None and account in rows:
            rows[account].records -= letter.records
            rows[account].dead -= letter.records
    return msgspec.structs.replace(accounts, rows=rows, uncounted=uncounted)
