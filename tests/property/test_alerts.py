"""Alerts are a function of the journal: the same wherever a pipeline begins, and where a path fails."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import layout, reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.detect.carried import AlertLimits
from pipelines.frame import Frame, position_of
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.detection import ANY, LOGIN, SHELL, rules_message
from tests.kit.frames import JOURNAL_TIME, frame_of
from tests.kit.paths import check_accounts

SETTINGS = Settings(version="0.1.0")
CONTAINERS = tuple(letter * 64 for letter in "abc")
TEXTS = ("uid=0(root)", "sh -c id", "hello", "sshd[7]: Failed password for root from 203.0.113.9 port 22 ssh2")
TIGHT = AlertLimits(burst=2, every_s=5.0, rule_burst=12)
MESSAGES = (rules_message(SHELL, ANY, LOGIN, limits=TIGHT), rules_message(SHELL, limits=TIGHT), rules_message())
SECOND_NS = 1_000_000_000

often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def _entry(container: str, text: str) -> bytes:
    stamp = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 5))
    record = {"container_id": container, "container_name": "/web", "source": "stdout", "log": text}
    return bytes(msgpack.packb([stamp, record]))


entries = st.lists(st.builds(_entry, st.sampled_from(CONTAINERS), st.sampled_from(TEXTS)), max_size=8)
runs = st.one_of(
    entries.map(lambda each: ("forward", [(b"".join(each), b"", len(each))])),
    entries.map(lambda each: ("forward", [(b"".join(each), b"", len(each))])),
    st.sampled_from(MESSAGES).map(lambda each: ("rules", [(each, b"", 1)])),
)


@st.composite
def journals(draw: st.DrawFn) -> list[Frame]:
    """Frames with rules and lines, the first with rules, and some time between them."""
    made = [frame_of(("rules", [(MESSAGES[0], b"", 1)]), sequence=1)]
    time_ns = JOURNAL_TIME
    for sequence in range(2, draw(st.integers(3, 8))):
        time_ns += draw(st.sampled_from((1, SECOND_NS, 7 * SECOND_NS)))
        frame = frame_of(*draw(st.lists(runs, min_size=1, max_size=3)), sequence=sequence)
        made.append(msgspec.structs.replace(frame, journal_time=time_ns))
    return made


@pytest.fixture(autouse=True, scope="module")
def _small_slices() -> Iterator[None]:
    """Frames are cut into slices of few records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "RECORDS_LIMIT", 3)
        patch.setattr(reference, "RECORDS_LIMIT", 3)
        yield


def made_by(pipeline: Pipeline, frames: list[Frame]) -> list[list[Batch]]:
    """Return the batches of each frame."""
    return [list(pipeline(frame)) for frame in frames]


def new() -> Pipeline:
    """Make a pipeline of which no path and no rule may fail."""
    return Pipeline(SETTINGS, failed, on_rule_failure=failed)


@often
@given(journals())
def test_a_pipeline_goes_on_from_any_frame_with_the_same_alerts(frames: list[Frame]) -> None:
    """A checkpoint has the rules that hold, and what was raised and suppressed under them."""
    whole = new()
    expected, states = [], [whole.state.encode()]
    for frame in frames:
        expected.append(list(whole(frame)))
        states.append(whole.state.encode())

    for begin, state in enumerate(states):
        restored = new()
        restored.state.load(state, settings_changed=False)
        assert made_by(restored, frames[begin:]) == expected[begin:]
        assert restored.state.encode() == states[-1]


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
    pipeline = Pipeline(SETTINGS, told, on_rule_failure=failed)
    pipeline._chunk = Failing(after)  # type: ignore[assignment]
    return pipeline


@often
@given(journals(), st.integers(0, 3))
def test_a_path_that_fails_raises_no_alert_twice_and_suppresses_none(frames: list[Frame], after: int) -> None:
    """What was counted of the alerts of its batches is taken back with them."""
    failing, whole = pipeline_that_fails(after, lambda *_: None), new()

    for frame in frames:
        assert list(failing(frame)) == list(whole(frame))
        assert failing.state.encode() == whole.state.encode()


@often
@given(journals())
def test_each_alert_stands_in_the_batch_of_its_document_and_is_there_once(frames: list[Frame]) -> None:
    """So both crash boundaries, before a batch is settled and after it, are those of the document."""
    batches = [batch for made in made_by(new(), frames) for batch in made]
    seen: set[bytes] = set()
    for batch in batches:
        check_accounts(batch)
        documents = {each.decode() for part in batch.documents for each in part.ids}
        for alert in alerts_in(batch):
            assert set(alert["tidewaiter"]["alert"]["source"]["id"]) <= documents
        assert batch.position <= min((position_of(each.encode()) for each in documents), default=batch.position)
        identifiers = {each.encode() for each in documents}
        assert not identifiers & seen
        seen |= identifiers


@often
@given(journals())
def test_what_is_raised_and_suppressed_is_all_that_matched(frames: list[Frame]) -> None:
    """Alerts tell what was suppressed before them; what none has told yet the state holds."""
    pipeline = new()
    batches = [batch for made in made_by(pipeline, frames) for batch in made]
    suppressed = sum(count for batch in batches for _, count in batch.tally.rules.values())
    told = sum(alert["tidewaiter"]["alert"].get("suppressed", 0) for batch in batches for alert in alerts_in(batch))
    held = [*pipeline.state.alert_groups.items(), *pipeline.state.alert_rules.items()]

    assert suppressed == told + sum(raised.suppressed for _, raised in held)
    assert sum(raised for batch in batches for raised, _ in batch.tally.rules.values()) == sum(
        batch.tally.derived for batch in batches
    )


def alerts_in(batch: Batch) -> list[dict[str, Any]]:
    """Return the alerts of a batch."""
    made = [part for part in batch.documents if part.stream.dataset == "tidewaiter.alerts"]
    return [json.loads(line) for part in made for line in part.ndjson.splitlines()]
