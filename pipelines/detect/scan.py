"""Which atoms are in which documents of a batch: one pass over their bytes, ASCII without regard to case.

Two scanners with the same answer: Hyperscan, and plain search where its wheel is missing on a platform. Both report an
atom of a document once or more often; only that it is there counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol

from pipelines.detect.atoms import Atom

Hits = dict[int, set[int]]
"""Numbers of atoms by the document's number; documents without any are left out."""


class Scanner(Protocol):
    """Finds atoms. Made once for a set of them; used by one thread at a time."""

    def hits(self, body: bytes, starts: Sequence[int]) -> Hits:
        """Return which atoms are in which documents; `starts` are the places of the documents' first bytes.

        `body` holds the documents one behind the other, each ending with a newline, which no atom holds.
        """


class PlainScanner:
    """Looks for each atom in each document: slow, and the same answer."""

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self._atoms = tuple(enumerate(atoms))

    def hits(self, body: bytes, starts: Sequence[int]) -> Hits:
        """Return which atoms are in which documents."""
        lowered = body.lower()
        found: Hits = {}
        for document, start in enumerate(starts):
            part = lowered[start : starts[document + 1] if document + 1 < len(starts) else len(body)]
            mine = {number for number, atom in self._atoms if atom in part}
            if mine:
                found[document] = mine
        return found


class HyperscanScanner:
    """Looks for all atoms at once."""

    def __init__(self, hyperscan: Any, atoms: Sequence[Atom]) -> None:
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=list(atoms),
            ids=list(range(len(atoms))),
            elements=len(atoms),
            flags=hyperscan.HS_FLAG_CASELESS,
            literal=True,
        )

    def hits(self, body: bytes, starts: Sequence[int]) -> Hits:
        """Return which atoms are in which documents."""
        ends: list[int] = []
        atoms: list[int] = []

        def note(atom: int, _start: int, end: int, _flags: int, _context: Any) -> None:
            atoms.append(atom)
            ends.append(end)

        self._database.scan(body, match_event_handler=note)
        found: Hits = {}
        for atom, end in zip(atoms, ends, strict=True):
            document = bisect_right(starts, end - 1) - 1
            mine = found.get(document)
            if mine is None:
                found[document] = {atom}
            else:
                mine.add(atom)
        return found


def scanner_of(atoms: Iterable[Atom], *, plain: bool = False) -> Scanner:
    """Make a scanner: Hyperscan's, or with `plain`, without its wheel, or without atoms the plain one."""
    wanted = list(atoms)
    if plain or not wanted:
        return PlainScanner(wanted)
    try:
        hyperscan = import_module("hyperscan")
    except ImportError:  # No wheel for this platform.
        return PlainScanner(wanted)
    return HyperscanScanner(hyperscan, wanted)
