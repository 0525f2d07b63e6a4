"""What a journal remembers beside its segments: who it is, the last epoch taken, and the chain's present key.

The key ratchets with every segment, k' = derive(k), and the file is replaced, so whoever takes the machine today cannot
forge the segments of yesterday. The first key is exported once, for whoever verifies; keep it elsewhere.
"""

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from collector.errors import DataDirError
from collector.journal.files import replace_file

STATE_FILE: Final = "state.json"
RATCHET_CONTEXT: Final = "tidewaiter 2026-11 journal chain ratchet"
DIGEST_BYTES: Final = 16


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`key` and `digest_key` are 32 bytes as hex; `digest_key` never changes, so resends are known across restarts."""

    journal_id: int
    epoch: int
    key_number: int
    key: str
    digest_key: str

    def ratcheted(self, *, epoch: int) -> "State":
        """Return the state for the next segment."""
        key = blake3(bytes.fromhex(self.key), derive_key_context=RATCHET_CONTEXT).hexdigest()
        return msgspec.structs.replace(self, epoch=epoch, key_number=self.key_number + 1, key=key)


class VerificationKey(msgspec.Struct, frozen=True):
    """What is exported at the first start."""

    journal_id: int
    key_number: int
    key: str
    link_algorithm: str


def load_state(directory: Path, *, export_to: Path) -> State:
    """Read the state, or make it at the first start and export the verification key; raise DataDirError."""
    path = directory / STATE_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _first_state(directory, export_to)
    try:
        return msgspec.json.decode(content, type=State)
    except msgspec.DecodeError as error:
        raise DataDirError(f"{path}: damaged: {error}") from error


def save_state(directory: Path, state: State) -> None:
    """Replace the state durably; the key before is gone."""
    replace_file(directory / STATE_FILE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def message_digest(state_key: bytes, pieces: list[memoryview]) -> bytes:
    """Return the keyed hash of a message's bytes as they came, by which a resend is known."""
    digest = blake3(key=state_key)
    for piece in pieces:
        digest.update(piece)
    return digest.digest(length=DIGEST_BYTES)


def _first_state(directory: Path, export_to: Path) -> State:
    if any(directory.glob("*.segment")):
        raise DataDirError(f"{directory / STATE_FILE}: missing, although the journal has segments")
    state = State(secrets.randbits(24), 0, 0, secrets.token_hex(32), secrets.token_hex(32))
    export_to.mkdir(mode=0o700, parents=True, exist_ok=True)
    exported = VerificationKey(state.journal_id, 0, state.key, "blake3-keyed")
    replace_file(export_to / "verification.key", msgspec.json.format(msgspec.json.encode(exported)) + b"\n")
    save_state(directory, state)
    os.chmod(directory / STATE_FILE, 0o600)
    return state
