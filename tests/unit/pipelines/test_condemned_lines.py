"""Lines that wait and fail, or end a worker, when they are to become documents: they go, and nothing goes with them."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pipelines import reference
from pipelines.batch import Batch
from pipelines.condemned import Verdict
from pipelines.frame import Frame
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.pieces import CONTAINERS, at_time, docker_pieces, frames_of, packed

SETTINGS = Settings(version="0.1.0")
WHOLE = b"0123456789"


@pytest.fixture
def frames() -> list[Frame]:
    """Three frames, each with one piece of a line, and one with a line of another container."""
    pieces = [[packed(each)] for each in docker_pieces(WHOLE, 4)]
    other = [[packed(each)] for each in docker_pieces(b"of another", 64, container=CONTAINERS[1])]
    return frames_of([*pieces, *other])


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have lines that begin like that one fail on both paths, however much of them came."""
    parse_line = vars(reference)["parse_line"]

    def line(stream: Any, text: str, *arguments: Any, **named: Any) -> Any:
        if text.startswith("012"):
            raise ValueError("a fault of ours")
        return parse_line(stream, text, *arguments, **named)

    monkeypatch.setattr(reference, "parse_line", line)


def tallied(batches: Iterator[Batch]) -> Batch:
    """Return the one batch, whose books balance."""
    (batch,) = batches
    tally = batch.tally
    settled = tally.documents + tally.dead + tally.control + tally.joined + tally.parked
    assert tally.records + tally.taken_up == settled
    return batch


def ignored(path: str, frame: Frame, error: Exception) -> None:
    """A path may fail."""


def test_a_line_in_pieces_that_fails_when_it_is_whole_goes_and_nothing_with_it(
    frames: list[Frame], harmful: None
) -> None:
    """Its letter has the pieces that waited; the piece that came is a line by itself, and frames behind it are well."""
    pipeline = Pipeline(SETTINGS, ignored)
    for frame in frames[:2]:
        assert 1 == tallied(pipeline(frame)).tally.parked

    ended, behind = tallied(pipeline(frames[2])), tallied(pipeline(frames[3]))
    (letter,) = ended.dead_letters
    assert (2, "crash", "join") == (letter.records, letter.code, letter.stage)
    assert (frames[2].position, 1) == (letter.position, letter.number)
    assert letter.payload.startswith(bytes(frames[0].payload))
    assert letter.payload.endswith(b"4567")
    assert (1, 1) == (ended.tally.documents, behind.tally.documents)
    assert [] == pipeline.state.open_lines()


def test_a_condemned_line_is_dropped_before_the_frame_that_would_end_it(frames: list[Frame]) -> None:
    """By the verdict alone; a state from before that frame, of a checkpoint, is as good as one that read all."""
    verdict = Verdict(frames[2].position, "hang", (), (frames[0].position,))
    pipeline = Pipeline(SETTINGS, ignored, {verdict.position: verdict})
    for frame in frames[:2]:
        list(pipeline(frame))
    restored = Pipeline(SETTINGS, ignored, {verdict.position: verdict})
    restored.state.load(pipeline.state.encode(), settings_changed=False)

    batch = tallied(pipeline(frames[2]))
    (letter,) = batch.dead_letters
    assert (2, "hang") == (letter.records, letter.code)
    assert f"sequence {frames[0].sequence}" in letter.reason
    assert [batch] == list(restored(frames[2]))
    assert pipeline.state.encode() == restored.state.encode()


def test_a_line_that_fails_when_it_waited_long_enough_costs_no_frame(frames: list[Frame], harmful: None) -> None:
    """Else it would fail with every frame from then on, and each would be a dead letter."""
    pipeline = Pipeline(SETTINGS, ignored)
    list(pipeline(frames[0]))
    made = []
    for number in range(4, 20):
        later = at_time(frames[3], frames[3].journal_time + number * 1_000_000_000)
        made.append(tallied(pipeline(msgspec.structs.replace(later, sequence=number))))

    letters = [letter for batch in made for letter in batch.dead_letters]
    assert [bytes(frames[0].payload)] == [letter.payload for letter in letters]
    assert [1] * len(made) == [batch.tally.documents for batch in made]
