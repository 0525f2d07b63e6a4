"""How much of a document may be what is known of its container: every line of it carries that.

A container can have labels of hundreds of kilobytes. Were they in each of its lines' documents, a frame of short lines
would be gigabytes (P6). So what is bulky loses its longest items, and the documents are tagged METADATA_CUT.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from parsers.canonical import encode

METADATA_CUT: Final = "_metadata_cut"

OBJECT_BYTES: Final = 16 << 10
"""Of one object of a document (`container`, `orchestrator`, …), encoded; most have less than one KiB."""


def within_bounds(found: dict[str, Any], bulky: Iterable[Sequence[str]]) -> bool:
    """Take the longest items of mappings and lists at the paths `bulky`, the first path first, until `found` fits.

    Tells whether anything was taken. Only `found` itself and what is at the paths is changed.
    """
    excess = len(encode(found)) - OBJECT_BYTES
    if excess <= 0:
        return False
    for *parents, name in bulky:
        holder = found
        for parent in parents:
            holder = holder.get(parent, {})
        items = holder.get(name)
        if not items or excess <= 0:
            continue
        numbered = list(items.items() if isinstance(items, dict) else enumerate(items))
        sizes = {key: len(encode([key, value])) for key, value in numbered}
        gone = set()
        for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if excess <= 0:
                break
            # What it takes with its comma: brackets are not of a mapping's item, brackets and number not of a list's.
            excess -= sizes[key] - (1 if isinstance(items, dict) else 2 + len(str(key)))
            gone.add(key)
        kept = [(key, value) for key, value in numbered if key not in gone]
        holder[name] = dict(kept) if isinstance(items, dict) else [value for _, value in kept]
        if not kept:
            del holder[name]
    return True
