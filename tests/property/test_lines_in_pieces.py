"""However a line was cut, and wherever frames, batches and lives of the worker end in it, it is one document."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import join, layout, reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.decode import groups
from pipelines.frame import Frame
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.pieces import CONTAINERS, cri_pieces, docker_pieces, frames_of, packed, unmarked_pieces

SETTINGS = Settings(version="0.1.0")
PIECE_BYTES = 4
SECOND_NS = 1_000_000_000
WAIT_NS = 2 * SECOND_NS
Line = tuple[str, str, bytes]

pytestmark = pytest.mark.timeout(600)
often = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)

line = st.tuples(
    st.sampled_from(CONTAINERS),
    st.sampled_from(["stdout", "stderr"]),
    st.one_of(st.binary(max_size=18), st.text(max_size=8).map(str.encode)).map(lambda text: text.replace(b"\n", b".")),
)


def streams(lines: list[Line], runtimes: dict[str, str]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the records of each container and stream, in their order, as the runtime of the container cuts them."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, (container, stream, text) in enumerate(lines):
        if runtimes[container] == "docker":
            pieces = docker_pieces(text, PIECE_BYTES, container=container, stream=stream, name=f"p{number}")
        elif runtimes[container] == "unmarked":
            pieces = unmarked_pieces(text, PIECE_BYTES, container=container, stream=stream)
        else:
            pieces = cri_pieces(text, PIECE_BYTES, container=container, stream=stream)
        found.setdefault((container, stream), []).extend(pieces)
    return found


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Let a piece be of a few bytes, also where nothing marks it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (join, groups):
            patch.setattr(module, "PIECE_BYTES", PIECE_BYTES)
        yield


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[Line], list[bytes], str]:
    """Lines, what the Engine sends of them with streams interleaved, and the encoding."""
    lines = draw(st.lists(line, max_size=8))
    runtime = st.sampled_from(["docker", "unmarked", "cri"])
    left = streams(lines, {container: draw(runtime) for container in CONTAINERS})
    encoding = draw(st.sampled_from(["forward", "forward-message"]))
    entries = []
    while any(left.values()):
        chosen = draw(st.sampled_from(sorted(key for key, records in left.items() if records)))
        entries.append(packed(left[chosen].pop(0), tag=b"web" if encoding == "forward-message" else None))
    return lines, entries, encoding


def cut(entries: list[bytes], places: list[int]) -> list[list[bytes]]:
    """Cut entries into frames."""
    ends = sorted({place % (len(entries) + 1) for place in places} | {len(entries)})
    return [entries[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


steps = st.sampled_from([1, SECOND_NS // 2, SECOND_NS, 7 * SECOND_NS])
places = st.lists(st.integers(0, 1000), max_size=6)


def failed(*what: object) -> None:
    """Take note of a path that failed: none may."""
    raise AssertionError(what)


def documents(batches: list[Batch]) -> list[dict[str, Any]]:
    """Return all documents."""
    return [json.loads(each) for batch in batches for part in batch.documents for each in part.ndjson.splitlines()]


def ids(batches: list[Batch]) -> list[bytes]:
    """Return the ids of all documents."""
    return [each for batch in batches for part in batch.documents for each in part.ids]


def balance(batches: list[Batch]) -> None:
    """Each record settles once, and in the end nothing waits."""
    for batch in batches:
        tally = batch.tally
        settled = tally.documents + tally.dead + tally.control + tally.joined
        assert tally.records + tally.taken_up == settled + tally.parked
    assert sum(b.tally.parked for b in batches) == sum(b.tally.taken_up for b in batches)


@often
@given(journals(), places)
def test_every_line_is_one_document_wherever_frames_are_cut(
    journal: tuple[list[Line], list[bytes], str], where: list[int]
) -> None:
    """The documents are the lines that were written, with bytes cut inside a character put together again."""
    lines, entries, encoding = journal
    pipeline = Pipeline(SETTINGS, failed)
    batches = [batch for frame in frames_of(cut(entries, where), encoding=encoding) for batch in pipeline(frame)]
    made = documents(batches)

    balance(batches)
    assert Counter((c, s, text.decode("utf-8", "replace")) for c, s, text in lines) == Counter(
        (each["container"]["id"], each["tidewaiter"]["container"]["stream"], each["message"]) for each in made
    )
    assert all(each["tidewaiter"]["container"].get("pieces", 2) > 1 for each in made)
    assert all(each.get("tags", []) in ([], ["_invalid_utf8"]) for each in made)
    assert len(set(ids(batches))) == len(made)
    assert not pipeline.state.is_open


@often
@given(journals(), places, steps, st.booleans())
def test_both_paths_make_equal_batches_and_states(
    journal: tuple[list[Line], list[bytes], str], where: list[int], step_ns: int, small: bool
) -> None:
    """Also where lines wait too long, and where frames are made in small slices."""
    _, entries, encoding = journal
    fast, slow = State(), State()
    path = ChunkPath(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "WAIT_NS", WAIT_NS)
        if small:
            patch.setattr(layout, "RECORDS_LIMIT", 2)
            patch.setattr(reference, "RECORDS_LIMIT", 2)
        for frame in frames_of(cut(entries, where), encoding=encoding, step_ns=step_ns):
            assert list(path.process(frame, fast)) == list(reference.process(frame, SETTINGS, slow))
            assert fast.encode() == slow.encode()


@often
@given(journals(), places, steps)
def test_a_pipeline_goes_on_from_any_point_with_the_same_bytes(
    journal: tuple[list[Line], list[bytes], str], where: list[int], step_ns: int
) -> None:
    """What a restored state makes of the frames behind it is what the uninterrupted one made: bytes and ids."""
    _, entries, encoding = journal
    frames = frames_of(cut(entries, where), encoding=encoding, step_ns=step_ns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "WAIT_NS", WAIT_NS)
        whole = Pipeline(SETTINGS, failed)
        expected, states = [], [whole.state.encode()]
        for frame in frames:
            expected.append(list(whole(frame)))
            states.append(whole.state.encode())

        for begin, state in enumerate(states):
            restored = Pipeline(SETTINGS, failed)
            restored.state.load(state, settings_changed=False)
            assert restored.state.encode() == state
            assert [list(restored(frame)) for frame in frames[begin:]] == expected[begin:]


class Failing:
    """A chunk path that fails after some batches, having changed the state."""

    def __init__(self, after: int) -> None:
        self._path = ChunkPath(SETTINGS)
        self._after = after

    def process(self, frame: Frame, state: State) -> Iterator[Batch]:
        """Yield some batches and raise."""
        for number, batch in enumerate(self._path.process(frame, state)):
            if number == self._after:
                break
            yield batch
        raise ValueError("a fault of ours")


def pipeline_that_fails(after: int, told: Callable[..., None]) -> Pipeline:
    """Return a pipeline whose chunk path fails in every frame."""
    pipeline = Pipeline(SETTINGS, told)
    pipeline._chunk = Failing(after)  # type: ignore[assignment]
    return pipeline


@often
@given(journals(), places, st.integers(0, 3))
def test_a_path_that_fails_leaves_no_trace(
    journal: tuple[list[Line], list[bytes], str], where: list[int], after: int
) -> None:
    """The reference path takes the frame up from its start, with the state of there; nothing is joined twice."""
    _, entries, encoding = journal
    whole, failing = Pipeline(SETTINGS, failed), pipeline_that_fails(after, lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "RECORDS_LIMIT", 2)
        patch.setattr(reference, "RECORDS_LIMIT", 2)
        for frame in frames_of(cut(entries, where), encoding=encoding):
            assert list(failing(frame)) == list(whole(frame))
            assert failing.state.encode() == whole.state.encode()
