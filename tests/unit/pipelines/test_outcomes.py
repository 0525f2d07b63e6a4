"""What became of lines is counted once per frame, and both paths count the same."""

import msgpack
import pytest

from pipelines import reference
from pipelines.batch import Outcomes
from pipelines.books import RECORDS_LIMIT
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

ACCESS = '192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET /cart HTTP/1.1" 200 512 "-" "curl/8.5.0"'
JSON = '{"level":"info","msg":"cart is full","ts":1795917600.12}'
RULES = (ParserRule("nginx", name="asked"), ParserRule("none", name="plain"))
SETTINGS = Settings(version="0.1.0", parsers=RULES)


def entry(container: str, line: str) -> bytes:
    """One record of Docker's driver; `mistyped` has a label that names no parser."""
    fields = {"container_id": container[0] * 64, "container_name": container, "source": "stdout", "log": line}
    if container == "mistyped":
        fields["tidewaiter.parser"] = "ngnix"
    return bytes(msgpack.packb([1_795_917_600, fields]))


def frame(*lines: tuple[str, str]) -> Frame:
    """One message of (container's name, line)."""
    return frame_of(("forward", [(b"".join(entry(*each) for each in lines), b"docker", len(lines))]))


def counted(path: str, given: Frame) -> tuple[list[Outcomes], State]:
    """Return what each batch of a frame says, and the state behind it."""
    state = State()
    batches = (
        ChunkPath(SETTINGS).process(given, state) if path == "chunk" else reference.process(given, SETTINGS, state)
    )
    return [batch.tally.lines for batch in batches], state


@pytest.mark.parametrize("path", ["chunk", "reference"])
def test_lines_are_counted_by_parser_and_outcome(path: str) -> None:
    """Taken by a parser, plain, kept plain by a rule, not what was asked for, and asked for by a name of no parser."""
    lines = [("web", ACCESS), ("web", JSON), ("web", "hello"), ("web", JSON), ("asked", JSON), ("plain", JSON)]

    found, _ = counted(path, frame(*lines, ("asked", ACCESS), ("mistyped", JSON)))

    parsed: Outcomes = {("nginx", "parsed"): 2, ("json", "parsed"): 2}
    assert found == [parsed | {("", "plain"): 2, ("nginx", "failed"): 1, ("", "failed"): 1}]


@pytest.mark.parametrize("path", ["chunk", "reference"])
def test_a_frame_of_many_slices_counts_in_the_last(path: str) -> None:
    """Like what its senders claim: each line once, whichever slice its document is in."""
    found, state = counted(path, frame(*[("web", ACCESS)] * (RECORDS_LIMIT + 1)))

    assert found == [{}, {("nginx", "parsed"): RECORDS_LIMIT + 1}]
    assert state.outcomes == {}


def test_what_a_failed_path_counted_is_not_counted_twice() -> None:
    """`undo` and the next frame's `mark` begin anew."""
    state = State()
    for again in (state.undo, state.mark):
        state.outcomes[("nginx", "parsed")] = 1
        again()
        assert state.outcomes == {}


@pytest.mark.parametrize("path", ["chunk", "reference"])
def test_who_asks_is_told_of_each_stream_whose_lines_come(path: str) -> None:
    """Also of those that ask for their parser, which no state keeps."""
    state = State()
    state.seen = {}
    given = frame(("web", ACCESS), ("asked", JSON))
    list(ChunkPath(SETTINGS).process(given, state) if path == "chunk" else reference.process(given, SETTINGS, state))

    assert [stream.name for stream in state.seen.values()] == ["web", "asked"]
