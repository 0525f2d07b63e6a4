"""Compression changes nothing of what is proven, and hides nothing that was done to a segment."""

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collector.journal.segment_file import SUFFIX, compress, open_segment_file
from collector.journal.segments import first_position, segment_files
from tests.unit.collector.evidence.test_verify import fill, verified

EDITS = 1_000
SEED = 20261128


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal stopped cleanly, with all segments compressed."""
    root = tmp_path_factory.mktemp("archived")
    fill(root)
    for name in segment_files(root / "journal"):
        compress(root / "journal", name)
    return root


def test_a_compressed_journal_verifies_to_its_last_frame(archived: Path, tmp_path: Path) -> None:
    """As many frames, as far, as when it was plain."""
    fill(tmp_path)
    plain, compressed = verified(tmp_path), verified(archived)

    assert (compressed.findings, compressed.notices) == ([], [])
    assert (compressed.frames, compressed.segments) == (plain.frames, plain.segments)
    assert compressed.anchored == compressed.end


def test_edits_of_compressed_segments_are_noticed_at_their_place(
    archived: Path, record_property: Callable[[str, object], None]
) -> None:
    """Flipped, cut, extended, swapped, deleted: the first finding is in the segment that was edited.

    A change that decompresses to the very same bytes has altered nothing of what is proven; those are counted.
    """
    journal = archived / "journal"
    chance = random.Random(SEED)
    names = segment_files(journal)
    unchanged = 0
    for _ in range(EDITS):
        name = chance.choice(names)
        path = journal / (name + SUFFIX)
        before, content = path.read_bytes(), _segment(journal, name)
        edited = _edited(chance, before)
        path.unlink()
        if edited is not None:
            path.write_bytes(edited)
        if edited is not None and edited == before:
            continue
        findings = verified(archived).findings
        if not findings:
            assert _segment(journal, name) == content
            unchanged += 1
        else:
            first = findings[0].first
            assert first is not None
            assert first >= first_position(name)._replace(sequence=0)
            assert name in findings[0].file or findings[0].kind in ("missing", "cut")
        path.write_bytes(before)
    record_property("edits that changed no byte of a segment", f"{unchanged} of {EDITS}")
    assert unchanged < EDITS / 10
    assert verified(archived).findings == []


@pytest.mark.parametrize("at", [12, -4], ids=["in front", "at the end"])
def test_a_damaged_table_costs_nothing_and_is_told(archived: Path, at: int) -> None:
    """The other one serves: every frame is verified, and still somebody, or the disk, has changed the file."""
    journal = archived / "journal"
    name = segment_files(journal)[1]
    path = journal / (name + SUFFIX)
    before, frames = path.read_bytes(), verified(archived).frames
    changed = bytearray(before)
    changed[at] ^= 1
    path.write_bytes(changed)

    verdict = verified(archived)
    path.write_bytes(before)

    assert [(each.kind, each.first, each.file) for each in verdict.findings] == [
        ("altered", first_position(name), path.name)
    ]
    assert verdict.frames == frames


def _segment(journal: Path, name: str) -> bytes:
    with closing(open_segment_file(journal, name)) as file:
        return file.read(file.size, 0)


def _edited(chance: random.Random, content: bytes) -> bytes | None:
    """Return what becomes of a file; None when it is deleted."""
    kind = chance.randrange(10)
    at = chance.randrange(len(content))
    if kind == 0:
        return None
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + chance.randbytes(8) + content[at:]
    if kind == 3:
        return content[at:] + content[:at]
    flipped = bytearray(content)
    flipped[at] ^= 1 << chance.randrange(8)
    return bytes(flipped)
