"""Records of a trail: an event is as the Engine said it, whole where anybody reads it, and bounded."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.watchers.docker_stream import Lost
from collector.watchers.docker_trail_records import (
    ACTION_LIMIT_BYTES,
    ARGUMENTS_LIMIT_BYTES,
    VALUE_LIMIT_BYTES,
    TrailEvent,
    event_record,
    gap_record,
    read_event,
    read_execution,
    reduced_execution,
    standing,
)
from tests.kit.docker_stub import EngineStub, identity_of

RECORD_LIMIT_BYTES = 2 << 20
EXEC = identity_of("exec")


def made(action: str = "start", attributes: Any = None, **more: Any) -> dict[str, Any]:
    """An event as an Engine writes it."""
    actor = {"ID": identity_of("web"), "Attributes": {"image": "nginx:1.25", "name": "web"} | (attributes or {})}
    time = {"scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_123_456_789}
    return {"Type": "container", "Action": action, "Actor": actor} | time | more


def read(event: Any) -> TrailEvent:
    """Read it."""
    found = read_event(json.dumps(event).encode())
    assert isinstance(found, TrailEvent)
    return found


def record(event: Any, execution: Any = None) -> dict[str, Any]:
    """The record of it."""
    line = event_record("engine", read(event), read_execution(execution) if execution is not None else None)
    assert b"\n" not in line
    assert len(line) < RECORD_LIMIT_BYTES
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_event_is_as_the_engine_said_it() -> None:
    """With keys that nobody knows, and without those by which old APIs say the same again."""
    event = made("exec_start: sh -c 'a: b'\nc", {"execID": EXEC}, Unknown={"a": [1, None]})

    assert {"kind": "event", "engine": "engine", "event": event} == record(
        event | {"status": event["Action"], "id": identity_of("web"), "from": "nginx:1.25"}
    )


@pytest.mark.parametrize("letter", ["x", '"', "\n", "\x01", "é", "🦊"])
def test_a_command_line_of_100_kilobytes_comes_whole(letter: str) -> None:
    """In the action, and in the arguments of the exec; whatever its letters take when they are written."""
    command = letter * (100_000 // len(letter.encode()))
    execution = {"ID": EXEC, "ProcessConfig": {"entrypoint": "sh", "arguments": ["-c", command]}}

    found = record(made(f"exec_start: sh -c {command}", {"execID": EXEC}), execution)

    assert f"exec_start: sh -c {command}" == found["event"]["Action"]
    assert ["-c", command] == found["exec"]["ProcessConfig"]["arguments"]
    assert "cut" not in found


def test_what_is_longer_is_cut_and_its_length_told() -> None:
    """Names, ids and times never."""
    labels = {f"label-{number:04}": "v" * (VALUE_LIMIT_BYTES + 1) for number in range(50)} | {"k" * 300: "x"}
    action = "exec_start: " + "\x01" * (2 << 20)
    execution = {"ID": EXEC, "ProcessConfig": {"entrypoint": "e" * 5_000, "arguments": ["a", "\x01" * (2 << 20), "b"]}}

    found = record(made(action, {"execID": EXEC, **labels}), execution)

    event = found["event"]
    assert (EXEC, "nginx:1.25") == (event["Actor"]["Attributes"]["execID"], event["Actor"]["Attributes"]["image"])
    assert event["Action"] == action[: len(event["Action"])]
    assert ACTION_LIMIT_BYTES // 6 - 20 < len(event["Action"])
    assert {"Action", "Actor.Attributes", "Actor.Attributes.label-0000"} <= set(found["cut"])
    assert {"exec.ProcessConfig.arguments", "exec.ProcessConfig.entrypoint"} <= set(found["cut"])
    assert (len(action), 54) == (found["lengths"]["Action"], found["lengths"]["Actor.Attributes"])
    assert (3, 5_000) == tuple(found["lengths"][f"exec.ProcessConfig.{name}"] for name in ("arguments", "entrypoint"))
    assert "k" * 300 not in event["Actor"]["Attributes"]


def test_labels_do_not_push_out_what_the_engine_says() -> None:
    """However many there are, and whatever their names."""
    labels = {f"A{number}": "x" * 200 for number in range(5_000)}

    attributes = record(made("exec_die", {**labels, "execID": EXEC, "exitCode": "3"}))["event"]["Actor"]["Attributes"]

    assert (EXEC, "3", "web") == (attributes["execID"], attributes["exitCode"], attributes["name"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["Type", "Action", "Actor", "scope", "time", "timeNano", "ID", "Attributes"]) | st.text()


@given(st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=4), max_size=8))
@settings(max_examples=300)
def test_any_object_becomes_a_record_of_one_line(event: dict[str, Any]) -> None:
    """A future Engine's, or one that is broken: nothing of it is dropped in silence."""
    found = record(event)

    assert "event" == found["kind"]
    missing = event.keys() - found["event"].keys() - {"status", "id", "from"}
    assert missing <= set(found.get("cut", ()))


@given(st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=300)
def test_any_bytes_are_an_event_or_lost(line: bytes) -> None:
    """Nothing raises."""
    assert isinstance(read_event(line), TrailEvent | Lost)


@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b"null", b'"x"', b'{"Action":"\xff"}', b"[" * 100_000])
def test_what_is_no_object_is_lost(line: bytes) -> None:
    """Cut, of another kind, no UTF-8, or too deep."""
    lost = read_event(line)

    assert isinstance(lost, Lost)
    assert "malformed" == lost.reason


def test_two_events_that_differ_in_anything_have_keys_that_do() -> None:
    """In time, action, actor or an attribute; the order of attributes and the API's version change nothing."""
    events = [
        made(),
        made("stop"),
        made(attributes={"a": "b"}),
        made(timeNano=1_700_000_000_123_456_790),
        made(Type="volume"),
        made(Actor={"ID": identity_of("other"), "Attributes": {"image": "nginx:1.25", "name": "web"}}),
    ]
    turned = made(Actor={"Attributes": {"name": "web", "image": "nginx:1.25"}, "ID": identity_of("web")})

    assert len(events) == len({read(event).key for event in events})
    assert read(made()).key == read(turned | {"status": "start", "id": identity_of("web")}).key


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1_700_000_000_123_456_789),
        ({"timeNano": None}, 1_700_000_000_000_000_000),
        ({"timeNano": "soon", "time": 1.5}, 0),
        ({"timeNano": 1 << 64, "time": 1 << 62}, 0),
        ({"timeNano": -1, "time": True}, 0),
    ],
)
def test_the_time_is_the_engines_to_the_nanosecond(changes: dict[str, Any], expected: int) -> None:
    """One that cannot be is none."""
    assert expected == read(made(**changes)).time_ns


@pytest.mark.parametrize("identity", ["", "../../containers/json", "E" * 64, "e" * 63, "e" * 65, "é" * 64])
def test_what_is_no_id_of_an_exec_is_not_asked_for(identity: str) -> None:
    """A label can set it; it becomes part of a path only where it is an id."""
    assert "" == read(made("exec_start: id", {"execID": identity})).execution


def test_only_events_of_execs_are_asked_for() -> None:
    """A label alone makes no event one of an exec."""
    assert EXEC == read(made("exec_start: id", {"execID": EXEC})).execution
    assert read(made("exec_die", {"execID": "x"})).is_of_exec
    assert not read(made("start", {"execID": EXEC})).is_of_exec
    assert not read(made("exec_start: id", {"execID": EXEC}, Type="network")).is_of_exec


def test_of_an_exec_passes_what_is_named_and_of_its_environment_only_names() -> None:
    """Should an Engine say more."""
    answer = EngineStub().execution("exec", "web", "sh", "-c", "id")
    answer["ProcessConfig"] |= {"Env": ["PASSWORD=of-nobodys-business"], "WorkingDir": "/srv", "New": 1}
    cuts: dict[str, int] = {}

    found = reduced_execution(answer | {"Env": ["A=1", "B"], "Root": "/secret"}, cuts)

    process = {"entrypoint": "sh", "arguments": ["-c", "id"], "tty": False, "user": "1000", "privileged": False}
    assert {
        "ID": EXEC,
        "Running": True,
        "Pid": 4711,
        "ContainerID": identity_of("web"),
        "OpenStdin": False,
        "OpenStdout": True,
        "OpenStderr": True,
        "DetachKeys": "",
        "Env": ["A", "B"],
        "ProcessConfig": process | {"WorkingDir": "/srv", "Env": ["PASSWORD"]},
    } == found
    assert {} == cuts


def test_an_answer_of_wrong_types_is_taken_over_as_far_as_it_is_right() -> None:
    """And names without end are left out."""
    cuts: dict[str, int] = {}
    answer = {"ID": 1, "Pid": "2", "ProcessConfig": {"arguments": "id", "tty": 1}, "Env": ["\x01" * 256] * 256}

    assert {"ProcessConfig": {}} == reduced_execution(answer, cuts)
    assert {"exec.Env": 256} == cuts


def test_what_waits_of_an_answer_is_no_longer_than_what_is_told_of_it() -> None:
    """An answer may have 16 MiB, most of which no record has; what it takes is known, and its command still is."""
    arguments = ["x"] * 500_000
    answer = {"ID": EXEC, "Unknown": "y" * 1_000_000, "ProcessConfig": {"entrypoint": "echo", "arguments": arguments}}
    event = read(made(f"exec_start: echo {' '.join(arguments)}", {"execID": EXEC}))

    found = read_execution(answer)

    assert ARGUMENTS_LIMIT_BYTES < found.size_bytes < ARGUMENTS_LIMIT_BYTES + 1_000
    assert found.size_bytes == len(found.process) + len(msgspec.json.encode(found.content))
    assert {"exec.ProcessConfig.arguments": 500_000} == found.cuts
    assert event.command == found.command


def test_what_holds_at_all_events_of_an_exec_is_neither_its_state_nor_its_end() -> None:
    """Its process id does, once there is one."""
    answer = {"ID": EXEC, "Running": False, "ExitCode": 3, "Pid": 7}

    assert {"ID": EXEC, "Pid": 7} == standing(answer)
    assert {"ID": EXEC} == standing(answer | {"Pid": 0})


def test_a_gap_names_its_span_and_what_came_and_went() -> None:
    """And how long a list was that was cut."""
    container = {"id": identity_of("web"), "name": "web", "image": "nginx:1.25"}
    differences = {"appeared": [container], "gone": [], "changed": []}

    assert {
        "kind": "gap",
        "engine": "engine",
        "why": "memory_exceeded",
        "after_ns": 1,
        "before_ns": 2,
        "appeared": [container],
        "gone": [],
        "changed": [],
        "cut": ["appeared"],
        "lengths": {"appeared": 300},
    } == json.loads(gap_record("engine", "memory_exceeded", (1, 2), differences, {"appeared": 300}))
