"""The anchor and the tombstone that lie beside a journal, read while a collector may be writing them."""

import time
from pathlib import Path
from typing import Final

from collector.errors import DataDirError
from collector.evidence.keys import Keys
from collector.evidence.verdict import Verdict
from collector.journal.seals import Seal, read_seal

READS: Final = 3
"""An anchor is rewritten in place: who reads at that moment may get half of each. What is bad so often is bad."""

READ_AGAIN_S: Final = 0.001
"""A write of 512 bytes takes a thousandth of it."""


class PresentSeals:
    """Reads them. `partial` says that they need not be there."""

    def __init__(self, evidence: Path, keys: Keys, verdict: Verdict, *, partial: bool) -> None:
        self._evidence = evidence
        self._keys = keys
        self._verdict = verdict
        self._partial = partial

    def read(self, name: str, kind: type[Seal]) -> Seal | None:
        """Read one; when it is missing, changed or forged that is a finding, and it does not count."""
        for _ in range(READS - 1):
            seal = self.again(name, kind)
            if seal is not None:
                return seal
            if self._partial and not self.has(name):
                return None
            time.sleep(READ_AGAIN_S)
        try:
            seal = read_seal(self._evidence / name, kind)
        except (DataDirError, OSError) as error:
            self._verdict.find("altered", None, name, 0, str(error))
            return None
        if seal is None:
            if not self._partial:
                self._verdict.find("missing", None, name, -1, f"there is no {name} in {self._evidence}")
        elif not self._keys.made(seal):
            self._verdict.find("forged", None, name, 0, "it was not made with the journal's key")
            seal = None
        return seal

    def has(self, name: str) -> bool:
        """Tell whether there is one."""
        return (self._evidence / name).exists()

    def again(self, name: str, kind: type[Seal]) -> Seal | None:
        """Return what stands there now; None where that is nothing, or not genuine."""
        try:
            seal = read_seal(self._evidence / name, kind)
        except (DataDirError, OSError):
            return None
        return seal if seal is not None and self._keys.made(seal) else None
