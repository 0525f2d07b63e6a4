"""Whoever writes with right checksums, or even with the key, what was not written then: it shows where it stands."""

import shutil
from pathlib import Path

import msgspec
import pytest
import xxhash

from collector.evidence.keys import Keys
from collector.journal.format import encode_frame_head, encode_segment_header
from collector.journal.seals import ANCHOR_FILE, Anchor, encoded, read_seal, sealed
from collector.journal.segments import Segment, segment_files
from collector.journal.state import VerificationKey
from tests.unit.collector.evidence.test_verify import Frames, fill, reclaim, verified
from tests.unit.collector.evidence.test_verify import _frames as frames_of


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a dozen segments of three epochs, the oldest two deleted lawfully, stopped cleanly."""
    root = tmp_path_factory.mktemp("lawful")
    fill(root)
    reclaim(root, 2)
    return root


def _written_anew(segment: Frames, *, key: bytes, **changes: object) -> bytes:
    """Return a segment's header with other values and every checksum right, linked with `key`; its frames behind it."""
    opened = Segment(segment.path.parent, segment.path.name)
    assert opened.header is not None
    opened.close()
    header, _ = encode_segment_header(msgspec.structs.replace(opened.header, **changes), key=key)
    return header + segment.content[segment.heads[0].at :]


def _key_of(root: Path, number: int) -> bytes:
    """Return a key of the chain, as who has the exported one can make it."""
    exported = msgspec.json.decode((root / "evidence" / "verification.key").read_bytes(), type=VerificationKey)
    key = Keys(exported).of(number)
    assert key is not None
    return key


def test_a_header_written_without_the_key_is_forged(lawful: Path, tmp_path: Path) -> None:
    """Its checksums are right, its frames follow from the right link, and still it is not ours."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    frames = frames_of(root / "journal" / segment_files(root / "journal")[2])
    changed = bytearray(_written_anew(frames, key=bytes(32), created_ns=1 << 60))
    changed[frames.heads[0].at - 32 : frames.heads[0].at] = frames.content[frames.heads[0].at - 32 : frames.heads[0].at]
    frames.path.write_bytes(_with_checksum(bytes(changed), frames.heads[0].at))

    found = verified(root).findings

    assert (found[0].kind, found[0].first) == ("forged", frames.first)


def _with_checksum(content: bytes, frames_at: int) -> bytes:
    """Put the right checksum into a segment's header."""
    checksum = xxhash.xxh3_64_intdigest(content[:16] + content[24:frames_at])
    return content[:16] + checksum.to_bytes(8, "little") + content[24:]


def test_a_segment_of_another_history_is_forged(lawful: Path, tmp_path: Path) -> None:
    """Who has its key can write a segment anew; that it goes on from another link shows it was not what followed."""
    root = tmp_path / "edited"
    shutil.copytree(lawful, root)
    frames = frames_of(root / "journal" / segment_files(root / "journal")[2])
    opened = Segment(frames.path.parent, frames.path.name)
    assert opened.header is not None
    number = opened.header.key_number
    opened.close()
    frames.path.write_bytes(_written_anew(frames, key=_key_of(root, number), link_before=bytes(32)))

    found = verified(root).findings

    assert (found[0].kind, found[0].first, found[0].offset) == ("forged", frames.first, 0)


def test_what_stands_behind_a_clean_stop_is_forged(tmp_path: Path) -> None:
    """Frames and segments made with the key, after the anchor of the stop was put back: nobody may add what was not."""
    root = tmp_path / "data"
    fill(root, starts=1, entries=2, segment_bytes=1 << 20)
    anchor = root / "evidence" / ANCHOR_FILE
    stopped = anchor.read_bytes()
    longer = tmp_path / "longer"
    shutil.copytree(root, longer)
    newest = longer / "journal" / segment_files(longer / "journal")[-1]
    frames = frames_of(newest)
    opened = Segment(newest.parent, newest.name)
    assert opened.header is not None
    key = _key_of(root, opened.header.key_number)
    opened.close()
    last = frames.heads[-1]
    header = msgspec.structs.replace(last.header, sequence=last.header.sequence + 1)
    link = frames.content[last.payload_at - 32 : last.payload_at]
    payload = frames.content[last.payload_at : last.end]
    head, _ = encode_frame_head(header, [memoryview(payload)], key=key, link_before=link, seed=frames.seed)
    newest.write_bytes(frames.content + head + payload)
    fill(root, starts=1, entries=2, segment_bytes=1 << 20)
    anchor.write_bytes(stopped)

    assert [each.kind for each in verified(longer).findings] == ["forged"]
    assert [each.kind for each in verified(root).findings] == ["forged"]


def test_what_was_written_anew_with_the_key_differs_from_an_anchor_kept_elsewhere(tmp_path: Path) -> None:
    """Who takes the machine can write its newest segment anew, with its key, and anchor that; the log tells."""
    root = tmp_path / "data"
    fill(root, starts=1, entries=2, segment_bytes=1 << 20)
    anchor = read_seal(root / "evidence" / ANCHOR_FILE, Anchor)
    assert anchor is not None
    frames = frames_of(root / "journal" / anchor.end.segment)
    key = _key_of(root, anchor.key_number)
    link = frames.content[frames.heads[0].at - 32 : frames.heads[0].at]
    content = frames.content[: frames.heads[0].at]
    for number, frame in enumerate(frames.heads):
        payload = frames.content[frame.payload_at : frame.end].replace(b"0-%d" % number, b"9-%d" % number)
        header = msgspec.structs.replace(frame.header, payload_checksum=xxhash.xxh3_64_intdigest(payload))
        head, link = encode_frame_head(header, [memoryview(payload)], key=key, link_before=link, seed=frames.seed)
        content += head + payload
    frames.path.write_bytes(content)
    forged = sealed(msgspec.structs.replace(anchor, link=link.hex(), mac=""), key)
    (root / "evidence" / ANCHOR_FILE).write_bytes(encoded(forged))

    assert verified(root).findings == []
    assert [each.kind for each in verified(root, anchors=(anchor,)).findings] == ["forged"]
