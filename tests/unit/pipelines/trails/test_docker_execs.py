"""A process that is started in a running container: what is told of it, by whom it was started, and of whom it is."""

import json
from typing import Any

import pytest

from parsers.probes import ProbeRule
from pipelines import trail_state
from pipelines.enrich.engines import Engine
from pipelines.enrich.waiting import METADATA_WAIT_NS
from pipelines.settings import Settings
from pipelines.trail_state import KnownExec
from pipelines.trails.docker_exec import START_NOT_SEEN
from pipelines.trails.docker_said import EVENT_CUT
from tests.kit.metadata import (
    CLUSTER,
    Told,
    container_message,
    of_cluster,
    of_engine,
    pod_message,
    snapshot_message,
)
from tests.kit.trails import CONTAINER, EXEC, asked_exec, docker_record, exec_records, of_trail

OTHER = "b" * 64
CHECKED = {"Image": "acme/web:1.2", "User": "app", "Healthcheck": {"Test": ["CMD-SHELL", "true"]}}


def told_of(*containers: bytes, settings: Settings | None = None) -> Told:
    """A pipeline that knows these containers."""
    told = Told(settings) if settings is not None else Told()
    told.frame(*(of_engine(each) for each in containers or (container_message(CONTAINER),)))
    return told


def test_start_and_end_are_of_one_process_and_the_end_repeats_all() -> None:
    """Entity, command, arguments, user, terminal, facts: also where the pipeline began anew in between."""
    told = told_of()
    records = exec_records(["bash", "-l"], tty=True, user="root", code=3)
    created, started = told.frame(of_trail(*records[:2]))
    (ended,) = told.restarted().frame(of_trail(records[2]))

    repeated = ("entity_id", "command_line", "args", "args_count", "name", "pid", "interactive", "user", "start")
    assert [ended["process"][name] for name in repeated] == [started["process"][name] for name in repeated]
    assert ended["tidewaiter"]["facts"] == started["tidewaiter"]["facts"] == created["tidewaiter"]["facts"]
    assert ended["tidewaiter"]["facts"] == ["exec_terminal", "exec_root", "shell_started"]
    assert ended["process"]["exit_code"] == 3
    assert [each["event"]["type"] for each in (created, started, ended)] == [["info"], ["start"], ["end"]]
    assert "tags" not in ended


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", "echo a: b: c"],
        ["sh", "-c", "exec_die: \"x\"\n'y'\t\\"],
        ["x", "a" * 100_000],
        ["bash"],
        ["a", "", ""],
        [": ", ": "],
    ],
)
def test_a_command_is_told_as_it_was_given(words: list[str]) -> None:
    """Whole, and its arguments one by one."""
    made = told_of().frame(of_trail(*exec_records(words)))

    assert [each["process"]["args"] for each in made] == [words] * 3
    assert {each["process"]["command_line"] for each in made} == {" ".join(words)}


def test_a_command_without_arguments_has_no_space_behind_it() -> None:
    """The Engine puts one there."""
    made = told_of().frame(of_trail(*exec_records(["id"], inspected=False)))

    assert {each["process"]["command_line"] for each in made} == {"id"}


def test_arguments_that_the_engine_did_not_tell_are_not_guessed() -> None:
    """An exec that was over before it could be asked for has its command, its container, its end; facts by the text."""
    made = told_of().frame(of_trail(*exec_records(["sh", "-c", "cd / && apt-get update"], inspected=False, code=1)))

    assert not [each for each in made if {"args", "name", "pid", "user"} & each["process"].keys()]
    assert made[2]["process"]["exit_code"] == 1
    assert made[2]["tidewaiter"]["facts"] == ["shell_started", "package_manager"]
    assert "tags" not in made[2]


@pytest.mark.parametrize(
    ("asked", "is_taken"),
    [
        (asked_exec(["id"]), True),
        (asked_exec(["id"], container=OTHER), False),
        ({**asked_exec(["id"]), "ID": "f" * 64}, False),
        (asked_exec(["whoami"]), False),
        ({**asked_exec(["id"]), "Pid": "many"}, False),
        ([1], False),
        (None, False),
    ],
)
def test_what_is_said_of_another_exec_is_not_taken(asked: Any, is_taken: bool) -> None:
    """Of another container, id or command, or unreadable: the event's own document is as good as without it."""
    record = docker_record("exec_start: id ", beside={"exec": asked}, execID=EXEC)
    (made,) = told_of().frame(of_trail(record))

    assert ("args" in made["process"]) is is_taken
    assert made["tidewaiter"]["exec"]["id"] == EXEC
    assert made["process"]["command_line"] == "id"


def test_an_exec_is_not_of_another_container() -> None:
    """An event with the id of a known exec, about another container, gets nothing of it and takes nothing away."""
    told = told_of(container_message(CONTAINER), container_message(OTHER))
    records = exec_records(["passwd", "root"])
    told.frame(of_trail(*records[:2]))
    (forged,) = told.frame(of_trail(docker_record("exec_die", actor=OTHER, execID=EXEC, exitCode="0")))
    (ended,) = told.frame(of_trail(records[2]))

    assert "command_line" not in forged["process"]
    assert forged["tags"] == [START_NOT_SEEN]
    assert ended["process"]["command_line"] == "passwd root"
    assert forged["process"]["entity_id"] != ended["process"]["entity_id"]


def test_an_end_without_a_beginning_says_so() -> None:
    """It was started before anybody looked, or too many were."""
    (made,) = told_of().frame(of_trail(exec_records(["id"])[2]))

    assert made["tags"] == [START_NOT_SEEN]
    assert made["process"]["exit_code"] == 0


def test_execs_that_never_end_are_forgotten_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one told of longest ago; all others are known."""
    monkeypatch.setattr(trail_state, "EXECS_LIMIT", 2)
    told = told_of()
    for number in range(3):
        told.frame(of_trail(docker_record("exec_start: id ", execID=str(number))))
    made = told.frame(of_trail(*(docker_record("exec_die", execID=str(number), exitCode="0") for number in range(3))))

    assert [each.get("tags") for each in made] == [[START_NOT_SEEN], None, None]
    assert len(told.pipeline.state.execs) == 0


def test_what_the_watcher_cut_is_said() -> None:
    """Arguments are those that came, and are not counted; how long the whole was stands beside it."""
    beside = {"exec": asked_exec(["echo", "a"]), "cut": ["exec.arguments"], "lengths": {"exec.arguments": 2}}
    (made,) = told_of().frame(of_trail(docker_record("exec_start: echo a b", beside=beside, execID=EXEC)))

    assert made["tags"] == [EVENT_CUT]
    assert made["process"]["args"] == ["echo", "a"]
    assert "args_count" not in made["process"]
    assert made["tidewaiter"]["app"]["lengths"] == {"exec.arguments": 2}


@pytest.mark.parametrize(
    ("words", "how", "stdin", "probe"),
    [
        (["/bin/sh", "-c", "true"], {"user": "app"}, False, "healthcheck"),
        (["/bin/sh", "-c", "true"], {"user": "root"}, False, None),
        (["/bin/sh", "-c", "true"], {"user": "app", "tty": True}, False, None),
        (["/bin/sh", "-c", "true"], {"user": "app", "privileged": True}, False, None),
        (["/bin/sh", "-c", "true"], {"user": "app"}, True, None),
        (["/bin/sh", "-c", "true", ""], {"user": "app"}, False, None),
        (["sh", "-c", "true"], {"user": "app"}, False, None),
        (["curl", "http://127.0.0.1/"], {"user": "root"}, False, "listed"),
        (["curl", "http://127.0.0.1/"], {"tty": True}, False, None),
    ],
)
def test_a_probe_is_told_by_all_that_the_engine_says(
    words: list[str], how: dict[str, Any], stdin: bool, probe: str | None
) -> None:
    """The very command, its user, and that nobody could type to it; it is marked, not dropped."""
    settings = Settings(version="0", probes=(ProbeRule(["curl", "**"], image="acme/*"),))
    told = told_of(container_message(CONTAINER, Config=CHECKED), settings=settings)
    beside = {"exec": {**asked_exec(words, **how), "OpenStdin": stdin}}
    (made,) = told.frame(of_trail(docker_record(f"exec_start: {' '.join(words)}", beside=beside, execID=EXEC)))

    assert made["tidewaiter"]["exec"].get("probe") == probe
    assert ("probe" in made["tidewaiter"].get("facts", [])) is (probe is not None)


def test_the_text_of_a_health_check_alone_is_no_probe() -> None:
    """Where the Engine was not asked, nobody knows who could type to it."""
    told = told_of(container_message(CONTAINER, Config=CHECKED))
    made = told.frame(of_trail(*exec_records(["/bin/sh", "-c", "true"], inspected=False)))

    assert [each["tidewaiter"]["facts"] for each in made] == [["shell_started"]] * 3


@pytest.mark.parametrize(
    ("check", "shell", "words"),
    [
        (["CMD", "curl", "-f", "x"], None, ["curl", "-f", "x"]),
        (["CMD-SHELL", "a b"], ["/bin/bash", "-ec"], ["/bin/bash", "-ec", "a b"]),
        (["CMD-SHELL", "a b"], None, ["/bin/sh", "-c", "a b"]),
    ],
)
def test_a_health_check_is_what_its_image_says(check: list[str], shell: list[str] | None, words: list[str]) -> None:
    """With its own shell, where it names one."""
    told = told_of(container_message(CONTAINER, Config={"Healthcheck": {"Test": check}, "Shell": shell}))
    made = told.frame(of_trail(*exec_records(words)))

    assert {each["tidewaiter"]["exec"]["probe"] for each in made} == {"healthcheck"}


def test_a_container_without_a_health_check_has_no_probe() -> None:
    """Nor has one whose check was taken away, also by a command without words."""
    told = told_of(container_message(CONTAINER, Config={"Healthcheck": {"Test": ["NONE"]}}))
    record = docker_record("exec_start: ", beside={"exec": asked_exec([""])}, execID=EXEC)
    (made,) = told.frame(of_trail(record))

    assert "probe" not in made["tidewaiter"]["exec"]


def test_a_silenced_fact_is_on_no_document() -> None:
    """The others are."""
    told = told_of(settings=Settings(version="0", silent_facts=("shell_started",)))
    made = told.frame(of_trail(*exec_records(["sh"], tty=True)))

    assert [each["tidewaiter"]["facts"] for each in made] == [["exec_terminal"]] * 3


def test_an_undone_frame_takes_nothing_away() -> None:
    """Of a frame that a path could not process, the state keeps no exec and loses none."""
    told = told_of()
    records = exec_records(["id"])
    told.frame(of_trail(*records[:2]))
    state = told.pipeline.state
    before = state.encode()
    state.mark()
    state.execs.take(("engine", EXEC))
    state.undo()

    assert state.encode() == before
    (ended,) = told.frame(of_trail(records[2]))
    assert json.dumps(ended["process"]["args"]) == '["id"]'


def test_an_exec_that_waited_for_its_container_is_whole() -> None:
    """Its records go out in their order, each with all that those before it said, also behind a restart."""
    told = Told()
    records = exec_records(["bash"], user="root", code=1)
    assert told.frame(of_trail(*records[:2])) == []
    told = told.restarted()
    assert told.frame(of_trail(records[2])) == []
    made = told.frame(of_engine(container_message(CONTAINER)))

    assert [each["event"]["action"] for each in made] == ["exec_create", "exec_start", "exec_die"]
    assert {each["process"]["entity_id"] for each in made} == {made[0]["process"]["entity_id"]}
    assert [each["tidewaiter"]["facts"] for each in made] == [["exec_root", "shell_started"]] * 3
    assert made[2]["process"]["exit_code"] == 1
    assert len(told.pipeline.state.execs) == 0


def test_an_exec_of_a_container_that_nobody_knows_is_whole() -> None:
    """It goes out when it waited long enough, by what the Engine answered of it."""
    told = Told()
    told.frame(of_engine(snapshot_message()), of_trail(*exec_records(["bash"])))
    created, started, ended = told.pause(METADATA_WAIT_NS // 1_000_000_000)

    assert created["process"]["entity_id"] == started["process"]["entity_id"] == ended["process"]["entity_id"]
    assert ended["process"]["args"] == ["bash"]
    assert ended["container"]["id"] == CONTAINER


def test_an_exec_in_a_container_of_a_pod_is_told_as_the_clusters_trail_tells_it() -> None:
    """With namespace, pod and the container's name in it, by which both trails' documents are found to be one act."""
    told = Told(Settings(version="0", engines=(Engine(CLUSTER, (), "kubernetes"),)))
    of_kubelet = {"Image": "nginx", "Labels": {"io.kubernetes.pod.uid": "u-1"}}
    told.frame(
        of_engine(container_message(CONTAINER, "k8s_app_web", Config=of_kubelet)), of_cluster(pod_message(CONTAINER))
    )
    records = exec_records(["sh"])
    (made,) = told.frame(of_trail(docker_record("start", name="k8s_app_web")))
    execs = told.frame(of_trail(*records))

    for document in (made, *execs):
        assert document["container"]["name"] == "app"
        assert document["orchestrator"]["namespace"] == "shop"
        assert document["orchestrator"]["resource"]["name"] == "web-7d9c-x1"


def test_every_text_of_an_exec_is_in_its_size() -> None:
    """What is remembered is bounded by it: a long folder or user is not forgotten in the sum."""
    plain = KnownExec("c" * 64, command="id").size_bytes

    for more in ({"folder": "f" * 4096}, {"user": "u" * 4096}, {"words": ("w" * 4096,)}, {"names": ("n" * 4096,)}):
        assert KnownExec("c" * 64, command="id", **more).size_bytes >= plain + 4096
    assert KnownExec("c" * 4096, command="id").size_bytes >= plain + 4000
