"""A configuration is a frame of the journal: where it stands, not who reads it, decides what a document is (P10)."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from parsers.probes import ProbeRule
from pipelines.batch import Batch
from pipelines.configuration import (
    ENCODING,
    SETTINGS_BYTES_LIMIT,
    Recorded,
    configuration_message,
    encode_settings,
    new_configurations,
    recorded_in,
    settings_of,
    take_message,
)
from pipelines.enrich.engines import Engine
from pipelines.enrich.lookups import Lookup
from pipelines.enrich.static import FieldRule
from pipelines.frame import INTERNAL, Frame, Origin
from pipelines.parse import ParserRule
from pipelines.pipeline import Pipeline
from pipelines.reference import INTERNAL_ENCODINGS
from pipelines.settings import Audit, Settings
from pipelines.state import State
from tests.kit.frames import ORIGIN, frame_of
from tests.kit.pieces import docker_pieces, packed

FIRST = Settings(version="1.0.0", namespace="first")
SECOND = Settings(version="1.0.0", namespace="second")
FULL = Settings(
    version="1.0.0",
    namespace="prod",
    hosts={"192.0.2.7": "node-1"},
    parsers=(ParserRule("nginx", image="*/web"), ParserRule(multiline=False)),
    original="always",
    engines=(Engine("engine", ("unix",)), Engine("cluster", (), "kubernetes", part=True)),
    fields=(FieldRule({"service.name": "shop", "tags": ["a", "b"]}, peer="192.0.2.0/24"),),
    lookups={"z": Lookup("container.name", {"team": "labels.team"}), "a": Lookup("host.name", {"x": "tags"})},
    silent_facts=("shell",),
    audits={"audit": Audit("main", ("192.0.2.9",))},
    probes=(ProbeRule(["curl", "**"]),),
)


def line(sequence: int) -> Frame:
    """Return a frame with a line of a container."""
    (piece,) = docker_pieces(b"a line", 10)
    return frame_of(("forward", [(packed(piece), b"", 1)]), sequence=sequence)


def marker(settings: Settings, sequence: int) -> Frame:
    """Return a frame from behind which these settings hold."""
    message = configuration_message(f"hash of {settings.namespace}", encode_settings(settings))
    origin = Origin("tidewaiter", INTERNAL, "configuration")
    return frame_of((ENCODING, [(message, b"", 1)]), sequence=sequence, origins=(origin,))


def read(pipeline: Pipeline, *frames: Frame) -> Iterator[Batch]:
    """Run frames through a pipeline."""
    for frame in frames:
        yield from pipeline(frame)


def namespaces(batches: Iterator[Batch]) -> list[str]:
    """Return the namespace of each document."""
    texts = [text for batch in batches for part in batch.documents for text in part.ndjson.splitlines()]
    return [json.loads(text)["data_stream"]["namespace"] for text in texts]


def fail(path: str, frame: Frame, error: Exception) -> None:
    """Let a test fail whose paths do."""
    raise AssertionError(path) from error


JOURNAL = (line(1), marker(FIRST, 2), line(3), marker(SECOND, 4), line(5), marker(FIRST, 6), line(7))


def test_a_configuration_holds_from_the_next_frame_on() -> None:
    """Before the journal's first the given one holds; no record is lost by a change."""
    pipeline = Pipeline(Settings(version="1.0.0", namespace="given"), fail)

    assert ["given", "first", "second", "first"] == namespaces(read(pipeline, *JOURNAL))


def test_who_reads_it_later_under_another_configuration_makes_the_same_documents() -> None:
    """An output that lags, and a worker that a reload started, agree to the byte with who kept up."""
    before = list(read(Pipeline(FIRST, fail), *JOURNAL[1:]))

    assert before == list(read(Pipeline(SECOND, fail), *JOURNAL[1:]))


def test_a_checkpoint_says_which_configuration_holds() -> None:
    """Who goes on from the middle of the journal has not read the frame that said it."""
    first = Pipeline(FIRST, fail)
    list(read(first, *JOURNAL[:4]))
    restored = Pipeline(FIRST, fail)
    restored.state.load(first.state.encode(), settings_changed=False)

    assert ["second", "first"] == namespaces(read(restored, *JOURNAL[4:]))
    list(read(first, *JOURNAL[4:]))
    assert first.state.encode() == restored.state.encode()


def test_a_configuration_is_a_control_record() -> None:
    """It is settled by being read, and becomes neither a document nor a dead letter."""
    (batch,) = Pipeline(FIRST, fail)(marker(SECOND, 1))

    assert (1, 1, 0, 0) == (batch.tally.records, batch.tally.control, batch.tally.documents, batch.tally.dead)


def test_a_configuration_that_is_none_changes_nothing() -> None:
    """It is a dead letter, for it is evidence of a fault; what held before goes on to hold."""
    pipeline = Pipeline(FIRST, fail)
    origin = Origin("tidewaiter", INTERNAL, "configuration")
    broken = frame_of((ENCODING, [(b'{"hash": "x", "settings": []}', b"", 1)]), sequence=2, origins=(origin,))
    list(read(pipeline, marker(SECOND, 1)))

    (batch,) = pipeline(broken)

    assert [("bad_configuration", 1)] == [(letter.code, letter.records) for letter in batch.dead_letters]
    assert ["second"] == namespaces(read(pipeline, line(3)))


def lines_of(sequence: int, *lines: str) -> Frame:
    """Return a frame of lines of one container."""
    fields = {"container_id": "c" * 64, "container_name": "/web", "source": "stderr"}
    entries = b"".join(msgspec.msgpack.encode([1, {**fields, "log": line}]) for line in lines)
    return frame_of(("forward", [(entries, b"t", len(lines))]), sequence=sequence)


TRACE = ("Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "    x()", "ValueError: boom")


@pytest.mark.parametrize("multiline", [True, False])
def test_whether_lines_belong_together_is_asked_anew_under_another_configuration(multiline: bool) -> None:
    """Who goes on across the frame of a configuration agrees with who begins behind it, from its checkpoint."""
    settings = (ParserRule(multiline=multiline),), (ParserRule(multiline=not multiline),)
    first, second = (Settings(version="1.0.0", parsers=rules) for rules in settings)
    going_on, restored = Pipeline(first, fail), Pipeline(first, fail)
    list(read(going_on, marker(first, 1), lines_of(2, *TRACE), lines_of(3, "x"), marker(second, 4)))
    restored.state.load(going_on.state.encode(), settings_changed=False)

    made = list(read(going_on, lines_of(5, *TRACE), lines_of(6, "x")))

    assert list(read(restored, lines_of(5, *TRACE), lines_of(6, "x"))) == made


@pytest.mark.parametrize("encoding", INTERNAL_ENCODINGS)
def test_what_the_collector_says_of_itself_is_taken_from_nobody_else(encoding: str) -> None:
    """A sender's message of such an encoding is a dead letter, and changes nothing, whichever input let it through."""
    message = configuration_message("of a sender", encode_settings(SECOND))
    sent = msgspec.structs.replace(frame_of((encoding, [(message, b"", 1)]), sequence=2), origins=(ORIGIN, ORIGIN))
    pipeline = Pipeline(FIRST, fail)

    (batch,) = pipeline(sent)

    assert [("not_internal", message)] == [(letter.code, letter.payload) for letter in batch.dead_letters]
    assert ["first"] == namespaces(read(pipeline, line(3)))


def test_settings_come_out_of_the_journal_as_they_went_in() -> None:
    """All of them, in their order, but for the version: that is the program's that makes the documents."""
    configurations = new_configurations()
    take_message(memoryview(configuration_message("h", encode_settings(FULL))), configurations)
    recorded = recorded_in(configurations)

    assert recorded is not None
    assert "h" == recorded.hash
    found = settings_of(recorded, version="2.0.0")
    assert msgspec.structs.replace(FULL, version="2.0.0") == found
    assert ["z", "a"] == list(found.lookups)


def test_settings_that_this_program_cannot_read_are_those_given() -> None:
    """After a step back to an older version the journal may hold what only the newer one knows."""
    state = State()
    state.configurations.put(("",), Recorded("h", b'{"version": "", "original": "sometimes"}'))
    pipeline = Pipeline(FIRST, fail)
    pipeline.state.load(state.encode(), settings_changed=False)

    assert ["first"] == namespaces(read(pipeline, line(1)))


def test_settings_beyond_the_limit_are_refused_before_they_reach_the_journal() -> None:
    """Each stands in every checkpoint."""
    huge = Settings(version="", hosts={f"192.0.2.{number}": "x" * 100_000 for number in range(64)})

    with pytest.raises(ValueError, match=f"{SETTINGS_BYTES_LIMIT} go"):
        configuration_message("h", encode_settings(huge))
