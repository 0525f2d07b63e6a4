"""When nearly everything of a data stream is refused, something is wrong with the stream and not with the documents.

Then its refused documents wait instead of becoming dead letters, until some are taken: a template that somebody broke
must not empty the journal into the dead letters.
"""

from typing import Final

import msgspec

IN_A_ROW: Final = 500
"""So many documents of a stream refused, and none stored between them, are too many."""

LOOKED_AT: Final = 1000
"""As many of a stream's latest documents are counted at least before their share says something."""

SHARE: Final = 0.9
"""Share of a stream's latest documents that may be refused."""

PROOF: Final = 100
"""So many new documents, fewer than SHARE of them refused, show that the stream is well again."""


class _Stream(msgspec.Struct):
    """The latest documents of a data stream, or those since its refused ones wait."""

    stored: int = 0
    refused: int = 0
    in_a_row: int = 0
    waits: bool = False

    def add(self, stored: int, refused: int) -> None:
        self.stored += stored
        self.refused += refused
        self.in_a_row = refused if stored else self.in_a_row + refused
        if self.stored + self.refused > 2 * LOOKED_AT:
            # Halved, so that what was long ago counts ever less.
            self.stored //= 2
            self.refused //= 2

    @property
    def is_bad(self) -> bool:
        count = self.stored + self.refused
        return self.in_a_row >= IN_A_ROW or (count >= LOOKED_AT and self.refused >= SHARE * count)


class Refusals:
    """Counts what each data stream's documents came to."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def are_kept(self, stream: str, stored: int, refused: int, *, repeated: bool = False) -> bool:
        """Take note of an answer; tell whether the documents that it refuses have to wait.

        `repeated`: they waited before.
        """
        known = self._streams.get(stream)
        if known is None:
            if not refused:
                return False
            known = self._streams[stream] = _Stream()
        if not known.waits:
            known.add(stored, refused)
            if known.is_bad:
                self._streams[stream] = _Stream(waits=True)
            return refused > 0 and known.is_bad
        if not repeated:
            known.stored += stored
            known.refused += refused
        few = refused < SHARE * (stored + refused)
        if repeated and few:
            self._streams[stream] = _Stream()
            return False
        count = known.stored + known.refused
        if count >= PROOF and known.refused < SHARE * count:
            self._streams[stream] = _Stream()
            return False
        return refused > 0
