"""Anchors and tombstones: what is said of a journal outside of it, each authenticated with a key of the chain.

The chain of links proves that what stands in the journal is whole, from its first frame to its last. It cannot prove
that nothing was cut off behind, or that what is missing before was deleted lawfully. So, in `evidence/`, there are:

- `anchor`: where the chain ended about a second ago, and at a clean stop where it ends. What is cut off behind the last
  anchor, nobody misses; what is cut off before it is missed. 512 bytes, written in place.
- `tombstone`: up to where segments were deleted because every consumer had passed them, and the link at that place;
  as long as none was deleted, with which segment the journal began.

Both are JSON, so that people can read them too. `mac` is keyed BLAKE3 over the other members as they stand, with a key
derived from that of the segment `key_number` names; that key is erased when the segment is sealed. So who takes the
machine can forge what is said under the present key, and nothing older. Both files lie beside the journal: who puts
all of it back to an earlier state is betrayed only by an anchor that was kept elsewhere, so anchors are logged too.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from blake3 import blake3

from collector.errors import DataDirError
from collector.journal.format import LINK_BYTES, DurableEnd

ANCHOR_FILE: Final = "anchor"
TOMBSTONE_FILE: Final = "tombstone"
ANCHOR_BYTES: Final = 512
"""One sector: what was written in place is old or new."""

SEAL_CONTEXT: Final = "tidewaiter 2026-11 journal seal"


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of the chain at a time: `link` (hex) is that of the last frame before `end`, or of the segment's header.

    `stopped` says that it was written at a clean stop, so that nothing stands behind it.
    """

    journal_id: int
    key_number: int
    at_ns: int
    end: DurableEnd
    link: str
    stopped: bool
    mac: str = ""


class Tombstone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was deleted lawfully: all before `first`, the oldest segment that is left, whose header goes on from `link`.

    An empty journal's segment may be deleted as well at a start, as it holds no frame; `first` is a later one then.
    `segments` and `bytes` count what was deleted since the journal began.
    """

    journal_id: int
    key_number: int
    at_ns: int
    first: str
    link: str
    segments: int
    bytes: int
    mac: str = ""


class _LogLine(msgspec.Struct):
    anchor: str


Seal = TypeVar("Seal", Anchor, Tombstone)


def sealed(seal: Seal, key: bytes) -> Seal:
    """Return it with its authentication under a segment's key (32 bytes)."""
    return msgspec.structs.replace(seal, mac=_mac(seal, key))


def is_genuine(seal: Anchor | Tombstone, key: bytes) -> bool:
    """Tell whether it was made by who had this key."""
    return seal.mac == _mac(seal, key)


def encoded(seal: Anchor | Tombstone) -> bytes:
    """Return the content of its file; there is one for each value, so a changed byte is another value or an error."""
    content = msgspec.json.encode(seal)
    if isinstance(seal, Anchor):
        return content.ljust(ANCHOR_BYTES - 1) + b"\n"
    return content + b"\n"


def decode_seal(content: bytes, kind: type[Seal]) -> Seal:
    """Read the content of a file; raise DataDirError for any byte that `encoded` would not have written."""
    try:
        seal = msgspec.json.decode(content, type=kind)
        if len(bytes.fromhex(seal.link)) != LINK_BYTES or encoded(seal) != content:
            raise DataDirError("was changed: it is not as we write it")
    except (msgspec.DecodeError, ValueError) as error:
        raise DataDirError(f"cannot be read: {error}") from error
    return seal


def read_seal(path: Path, kind: type[Seal]) -> Seal | None:
    """Read a file; None where there is none. Raises DataDirError naming the file, OSError."""
    try:
        return decode_seal(path.read_bytes(), kind)
    except FileNotFoundError:
        return None
    except DataDirError as error:
        raise DataDirError(f"{path}: {error}") from error


def anchors_in(lines: Iterable[str]) -> Iterator[Anchor]:
    """Yield the anchors in a file: lines that are one, or log lines with one as their member `anchor`."""
    for line in lines:
        for content in (line, _member(line)):
            with contextlib.suppress(msgspec.DecodeError, ValueError):
                yield msgspec.json.decode(content, type=Anchor)
                break


def _member(line: str) -> bytes:
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        return msgspec.json.decode(line, type=_LogLine).anchor.encode()
    return b""


def _mac(seal: Anchor | Tombstone, key: bytes) -> str:
    own_key = blake3(key, derive_key_context=SEAL_CONTEXT).digest()
    return blake3(msgspec.json.encode(msgspec.structs.replace(seal, mac="")), key=own_key).hexdigest()
