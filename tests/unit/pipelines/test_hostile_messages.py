"""What one sender puts into a message holds up nothing behind it."""

from collections.abc import Callable, Iterator

import msgpack
import pytest

from pipelines import reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.frame import INDEX_LIMIT, Frame
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

SETTINGS = Settings(version="0.1.0")
FRAME_BYTES = 1 << 20


def _reference(frame: Frame) -> Iterator[Batch]:
    return reference.process(frame, SETTINGS, State())


def _chunk(frame: Frame) -> Iterator[Batch]:
    return ChunkPath(SETTINGS).process(frame, State())


PATHS = (_reference, _chunk)


@pytest.mark.parametrize("path", PATHS)
def test_more_records_than_an_index_can_count_are_one_dead_letter(
    path: Callable[[Frame], Iterator[Batch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of millions of one-byte entries stopped every output for good: no index was left for its records.

    What stands behind the limit is kept as one letter, and the next message of the frame gives its document.
    """
    monkeypatch.setattr(reference, "MESSAGE_RECORDS_LIMIT", 5)
    entry = msgpack.packb([1_700_000_000, {"log": "hello"}])

    (batch,) = path(frame_of(("forward", [(b"\xc0" * 5 + b"\x01\x02\x03", b"", -1), (entry, b"", 1)])))

    assert [(letter.code, letter.payload) for letter in batch.dead_letters] == [
        ("bad_entry", b"\xc0" * 5),
        ("too_many_records", b"\x01\x02\x03"),
    ]
    assert batch.tally.documents == 1


def test_the_records_of_a_message_leave_room_for_its_frame() -> None:
    """A message of the most records, in one frame with as many bytes as a frame takes, does not use up the indexes."""
    assert reference.MESSAGE_RECORDS_LIMIT + 1 + FRAME_BYTES < INDEX_LIMIT
