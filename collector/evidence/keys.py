"""The chain's keys, for who has the first one."""

from typing import Final

from collector.journal.seals import Anchor, Tombstone, is_genuine
from collector.journal.state import VerificationKey, ratcheted

RATCHET_LIMIT: Final = 10_000_000
"""Keys from one to the next that is asked for; more segments than any journal has, 10 s of work."""


class Keys:
    """The keys of one journal, each made of the one before."""

    def __init__(self, exported: VerificationKey) -> None:
        self.journal_id = exported.journal_id
        self._number, self._key = exported.key_number, bytes.fromhex(exported.key)
        self._first = (self._number, self._key)

    def of(self, number: int) -> bytes | None:
        """Return the key with this number; None for one before the exported, or that no journal comes to."""
        if number < self._number:
            self._number, self._key = self._first
        if not 0 <= number - self._number <= RATCHET_LIMIT:
            return None
        while self._number < number:
            self._key = ratcheted(self._key)
            self._number += 1
        return self._key

    def made(self, seal: Anchor | Tombstone) -> bool:
        """Tell whether an anchor or tombstone was made by who had the journal's key of that time."""
        if seal.journal_id != self.journal_id:
            return False
        key = self.of(seal.key_number)
        return key is not None and is_genuine(seal, key)
