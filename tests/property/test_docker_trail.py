"""Whatever an Engine's events hold: both paths agree, every document is valid ECS, and no label says how it was."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsers.docker_actions import ACTS
from parsers.docker_event import ADDED
from parsers.probes import ProbeRule
from pipelines.settings import Settings
from tests.kit import metadata as told
from tests.kit.ecs import Schema
from tests.kit.frames import JOURNAL_TIME
from tests.kit.metadata import Said, frame_told
from tests.kit.paths import Paths

SCHEMA = Schema(Path(__file__).parent.parent / "data")
SETTINGS = Settings(version="0", probes=(ProbeRule(["**"], name="w*"),))
CASES = 300

HONEST, FORGING, UNKNOWN = "a" * 64, "b" * 64, "c" * 64
LIE = "4242"
LIES = dict.fromkeys(sorted(ADDED), LIE)
KNOWN: list[Said] = [
    told.of_engine(told.engine_message()),
    told.of_engine(told.container_message(HONEST, Config={"User": "app", "Labels": {"team": "a"}})),
    told.of_engine(told.container_message(FORGING, Config={"User": "app", "Labels": LIES})),
    told.of_engine(told.snapshot_message(HONEST, FORGING)),
]

texts = st.text(max_size=12) | st.sampled_from(
    ["", ": ", "\0", "\n", "{command}", "{0}", "a.b", "1", "-1", "9" * 40, "\ud800"]
)
numbers = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 2**63 - 1, 2**63, JOURNAL_TIME])
values = st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | texts
trees = st.recursive(values, lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3))
containers = st.sampled_from([HONEST, FORGING, UNKNOWN, "", "x"]) | texts
actions = st.sampled_from([action for acts in ACTS.values() for action in acts]) | texts
attributes = st.dictionaries(st.sampled_from([*sorted(ADDED), "name", "image", "container"]) | texts, texts, max_size=6)
asked = st.fixed_dictionaries(
    {},
    optional={
        "ID": texts,
        "ContainerID": containers,
        "ExitCode": numbers | st.none(),
        "Pid": numbers,
        "OpenStdin": st.booleans(),
        "ProcessConfig": st.fixed_dictionaries(
            {"entrypoint": texts, "arguments": st.lists(texts, max_size=3) | st.none()},
            optional={"tty": st.booleans(), "user": texts, "privileged": st.booleans() | st.none()},
        ),
        "WorkingDir": texts,
        "Env": st.lists(texts, max_size=2),
    },
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event in the Engine's shape, of whatever content; what labels forge stands over what it says."""
    actor = draw(containers)
    said = draw(attributes) | (LIES if actor == FORGING else {})
    action = draw(actions) + draw(st.sampled_from(["", ": ", ": sh -c id"]) | texts)
    time = draw(numbers)
    event: dict[str, Any] = {"Type": draw(st.sampled_from([*ACTS, "container", "container"]) | texts), "Action": action}
    event |= {"Actor": {"ID": actor, "Attributes": said}, "scope": draw(texts), "time": 1, "timeNano": time}
    beside = draw(st.fixed_dictionaries({}, optional={"exec": asked | trees, "cut": st.lists(texts, max_size=2)}))
    return {"kind": "event", "event": event, **beside}


gaps = st.fixed_dictionaries(
    {"kind": st.just("gap")},
    optional={
        "why": texts,
        "after_ns": numbers,
        "before_ns": numbers,
        "gone": st.lists(st.fixed_dictionaries({"id": texts}, optional={"name": texts, "image": texts}), max_size=2),
    },
)
records = st.one_of(
    events().map(lambda each: json.dumps(each).encode()),
    gaps.map(lambda each: json.dumps(each).encode()),
    trees.map(lambda each: json.dumps({"kind": "event", "event": each}).encode()),
    st.binary(max_size=20).filter(lambda each: b"\n" not in each),
)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(st.lists(records, max_size=4), max_size=3))
def test_no_event_can_stop_the_trail_or_forge_a_document(frames: list[list[bytes]]) -> None:
    """Each record is one document or one dead letter, and of a container whose labels lie nothing repeats the lie."""
    paths = Paths(SETTINGS, SCHEMA)
    paths.check(frame_told(KNOWN, 0, JOURNAL_TIME))
    made = []
    for number, lines in enumerate(frames, 1):
        message = (told.ENGINE_ORIGIN, "docker-event", b"\n".join(lines))
        made += paths.check(frame_told([message], number, JOURNAL_TIME + number * 10_000_000_000))
    made += paths.check(frame_told([], 9, JOURNAL_TIME + 100_000_000_000))
    for _ in range(6):
        made += paths.check(frame_told([], 9, JOURNAL_TIME + 200_000_000_000))
    for document in made:
        assert document["event"]["module"] == "docker"
        if (
            document.get("container", {}).get("id") == FORGING
            and document["tidewaiter"]["docker"]["type"] == "container"
        ):
            process = document.get("process", {})
            assert document["tidewaiter"].get("exec", {}).get("id") != LIE
            assert process.get("exit_code") != int(LIE)
            assert process.get("tty") is None
            assert "reason" not in document["event"] or document["tidewaiter"]["exec"]["probe"] == "listed"
