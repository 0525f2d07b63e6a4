"""Identity, epochs and keys of a journal."""

import contextlib
import json
from pathlib import Path

import pytest
from blake3 import blake3

from collector.errors import DataDirError
from collector.journal.lock import take_lock
from collector.journal.state import RATCHET_CONTEXT, load_state, message_digest, save_state


def _paths(root: Path) -> tuple[Path, Path]:
    journal = root / "journal"
    journal.mkdir(exist_ok=True)
    return journal, root / "evidence"


def test_the_first_start_exports_the_key_once(tmp_path: Path) -> None:
    """The key that verifies is written at the first start, readable by its owner only, and not again."""
    journal, evidence = _paths(tmp_path)
    state = load_state(journal, export_to=evidence)
    exported = evidence / "verification.key"

    assert json.loads(exported.read_bytes())["key"] == state.key
    assert exported.stat().st_mode & 0o777 == 0o600
    exported.unlink()
    assert load_state(journal, export_to=evidence) == load_state(journal, export_to=evidence)
    assert not exported.exists()


def test_the_key_of_an_earlier_journal_is_kept(tmp_path: Path) -> None:
    """A journal made anew does not overwrite the key that verifies what was archived of the one before."""
    journal, evidence = _paths(tmp_path)
    first = load_state(journal, export_to=evidence)
    (journal / "state.json").unlink()
    second = load_state(journal, export_to=evidence)

    keys = {json.loads(path.read_bytes())["key"] for path in evidence.iterdir()}

    assert keys == {first.key, second.key}


def test_a_ratcheted_key_follows_from_the_one_before_and_replaces_it(tmp_path: Path) -> None:
    """The next key is derived as the docs say; the old one is nowhere in the file."""
    journal, evidence = _paths(tmp_path)
    state = load_state(journal, export_to=evidence)
    following = state.ratcheted(epoch=9)
    save_state(journal, following)
    content = (journal / "state.json").read_text()

    assert following.key == blake3(bytes.fromhex(state.key), derive_key_context=RATCHET_CONTEXT).hexdigest()
    assert (following.key_number, following.epoch) == (1, 9)
    assert state.key not in content
    assert (journal / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_messages_digest_is_the_same_after_restarts_and_ratchets(tmp_path: Path) -> None:
    """Resends are known across restarts: the digest's key never changes, and the cut into pieces does not matter."""
    journal, evidence = _paths(tmp_path)
    state = load_state(journal, export_to=evidence)
    before = message_digest(bytes.fromhex(state.digest_key), [memoryview(b"hello")])
    save_state(journal, state.ratcheted(epoch=9))
    again = load_state(journal, export_to=evidence)

    assert len(before) == 16
    assert message_digest(bytes.fromhex(again.digest_key), [memoryview(b"he"), memoryview(b"llo")]) == before


def test_every_flipped_bit_of_the_state_is_an_error(tmp_path: Path) -> None:
    """A damaged key is not taken for another key."""
    journal, evidence = _paths(tmp_path)
    load_state(journal, export_to=evidence)
    path = journal / "state.json"
    save_state(journal, load_state(journal, export_to=evidence))
    whole = path.read_bytes()
    reference = load_state(journal, export_to=evidence)
    harmless = 0

    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(DataDirError):
            assert load_state(journal, export_to=evidence) == reference  # a blank became another
            harmless += 1
    assert harmless < 30


def test_segments_without_a_state_are_refused(tmp_path: Path) -> None:
    """Keys that are gone are not made anew over segments they would no longer fit."""
    journal, evidence = _paths(tmp_path)
    (journal / "00-1700000000-00000000000.segment").touch()

    with pytest.raises(DataDirError, match=r"state\.json: missing"):
        load_state(journal, export_to=evidence)


def test_a_second_writer_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    """One journal has one writer."""
    take_lock(tmp_path / "writer.lock")

    with pytest.raises(DataDirError, match=r"another process writes this journal \(pid \d+\)"):
        take_lock(tmp_path / "writer.lock")
