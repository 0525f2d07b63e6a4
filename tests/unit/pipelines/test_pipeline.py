"""A path that fails costs nothing; where both fail the frame is kept as a dead letter, and no line is lost by it."""

from collections.abc import Callable, Iterator

import pytest

from pipelines import reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.pieces import docker_pieces, frames_of, packed

SETTINGS = Settings(version="0.1.0")


class Told:
    """Which paths failed."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str, frame: Frame, error: Exception) -> None:
        """Take note."""
        self.paths.append(path)


def failing(process: Callable[..., Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
    """Return a path that does all its work, and then fails."""

    def fail(*arguments: object) -> Iterator[Batch]:
        list(process(*arguments))
        raise ValueError("a fault of ours")
        yield

    return fail


@pytest.fixture
def frames() -> list[Frame]:
    """Three frames, each with one piece of a line."""
    return frames_of([[packed(each)] for each in docker_pieces(b"0123456789", 4)])


def test_the_reference_path_begins_with_the_state_of_the_frames_start(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the piece would stand twice in its line."""
    monkeypatch.setattr(ChunkPath, "process", failing(ChunkPath.process))
    told = Told()
    pipeline, expected = Pipeline(SETTINGS, told), State()

    for frame in frames:
        assert list(pipeline(frame)) == list(reference.process(frame, SETTINGS, expected))
    assert told.paths == ["chunk"] * 3
    assert pipeline.state.encode() == expected.encode()


def test_where_both_paths_fail_the_frame_is_a_letter_and_what_waited_goes_on_waiting(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter holds the frame's bytes; of its records none is in the state."""
    told = Told()
    pipeline = Pipeline(SETTINGS, told)
    list(pipeline(frames[0]))
    before = pipeline.state.encode()
    monkeypatch.setattr(ChunkPath, "process", failing(ChunkPath.process))
    monkeypatch.setattr(reference, "process", failing(reference.process))
    (batch,) = pipeline(frames[1])

    assert [letter.payload for letter in batch.dead_letters] == [bytes(frames[1].payload)]
    assert (batch.tally.records, batch.tally.dead, batch.tally.parked) == (1, 1, 0)
    assert told.paths == ["chunk", "reference"]
    assert pipeline.state.encode() == before
