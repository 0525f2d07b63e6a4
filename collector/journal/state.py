"""What a journal remembers beside its segments: who it is, the last epoch taken, and the chain's present key.

The key ratchets with every segment, k' = derive(k), and the file is replaced, so whoever takes the machine today cannot
forge the segments of yesterday. The first key is exported once, for whoever verifies; keep it elsewhere.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import xxhash
from blake3 import blake3

from collector.durable_files import replace_file
from collector.errors import DataDirError
from collector.journal.entry import Buffer
from collector.journal.format import LINK_ALGORITHM, position_of

STATE_FILE: Final = "state.json"
VERIFICATION_FILE: Final = "verification.key"
RATCHET_CONTEXT: Final = "tidewaiter 2026-11 journal chain ratchet"
DIGEST_BYTES: Final = 16
STATE_VERSION: Final = 1


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`key` and `digest_key` are 32 bytes as hex; `digest_key` never changes, so resends are known across restarts.

    `seed` is that of all segments. `checksum` is over the other values, so that a flipped bit is no other key.
    """

    version: int
    journal_id: int
    seed: int
    epoch: int
    key_number: int
    key: str
    digest_key: str
    checksum: str = ""

    def ratcheted(self, *, epoch: int) -> "State":
        """Return the state for the next segment."""
        key = ratcheted(bytes.fromhex(self.key)).hex()
        return msgspec.structs.replace(self, epoch=epoch, key_number=self.key_number + 1, key=key)


class VerificationKey(msgspec.Struct, frozen=True):
    """What is exported at the first start."""

    journal_id: int
    key_number: int
    key: str
    link_algorithm: str


def ratcheted(key: bytes) -> bytes:
    """Return the key that follows one in the chain."""
    return blake3(key, derive_key_context=RATCHET_CONTEXT).digest()


def load_state(directory: Path, *, export_to: Path) -> State:
    """Read the state, or make it at the first start and export the verification key; raise DataDirError."""
    path = directory / STATE_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _first_state(directory, export_to)
    try:
        state = msgspec.json.decode(content, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    if state.version > STATE_VERSION:
        raise DataDirError(f"{path}: version {state.version} is newer than this program's ({STATE_VERSION})")
    if state.checksum != _checksum(state):
        raise DataDirError(f"{path}: damaged: its checksum is wrong")
    return state


def save_state(directory: Path, state: State) -> None:
    """Replace the state durably; the key before is gone."""
    whole = msgspec.structs.replace(state, checksum=_checksum(state))
    replace_file(directory / STATE_FILE, _readable(whole))


def message_digest(digest_key: bytes, buffers: Sequence[Buffer]) -> bytes:
    """Return the keyed hash of a message's bytes as they came, by which a resend is known."""
    digest = blake3(*buffers[:1], key=digest_key)
    for buffer in buffers[1:]:
        digest.update(buffer)
    return digest.digest(length=DIGEST_BYTES)


def _checksum(state: State) -> str:
    bare = msgspec.structs.replace(state, checksum="")
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(bare))


def _readable(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content)) + b"\n"


def _first_state(directory: Path, export_to: Path) -> State:
    if any(position_of(path.name) for path in directory.iterdir()):
        raise DataDirError(f"{directory / STATE_FILE}: missing, although the journal has segments")
    state = State(
        version=STATE_VERSION,
        journal_id=secrets.randbits(24),
        seed=secrets.randbits(64),
        epoch=0,
        key_number=0,
        key=secrets.token_hex(32),
        digest_key=secrets.token_hex(32),
    )
    export_to.mkdir(mode=0o700, parents=True, exist_ok=True)
    exported = export_to / VERIFICATION_FILE
    if exported.exists():
        # The key of a journal that was here before still verifies what was archived of it.
        exported.rename(exported.with_suffix(f".{secrets.token_hex(4)}.key"))
    replace_file(exported, _readable(VerificationKey(state.journal_id, 0, state.key, LINK_ALGORITHM)))
    save_state(directory, state)
    return state
