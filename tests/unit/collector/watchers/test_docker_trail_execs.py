"""Execs in the trail: each event with what the Engine knows of its exec, and in order, whatever an answer takes."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from collector.watchers import docker_client
from collector.watchers.docker_trail_execs import ANSWERS_LIMIT_BYTES, Answered
from collector.watchers.docker_trail_records import read_execution
from collector.watchers.docker_trail_session import AT_ONCE
from tests.kit.docker_stub import EngineStub, hanging, identity_of

Follow = Callable[..., Any]


async def test_an_event_of_an_exec_has_what_the_engine_knows_of_it(engine: EngineStub, follow: Follow) -> None:
    """Also where the answer is to an event that came later: then without what was not yet so."""
    engine.execution("id", "web", "sh", "-c", "id")
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit_exec("id", "exec_create", "exec_start")
    await kept.wait("event", 2)
    engine.execution("id", "web", "sh", "-c", "id", Running=False, ExitCode=3)
    await engine.emit_exec("id", "exec_die")
    await kept.wait("event", 3)

    create, start, end = (each["exec"] for each in kept.messages)
    assert [["-c", "id"]] * 3 == [each["ProcessConfig"]["arguments"] for each in (create, start, end)]
    assert (True, 4711) == (start["Running"], start["Pid"])
    assert (False, 3) == (end["Running"], end["ExitCode"])
    assert "CanRemove" not in create


async def test_an_exec_that_is_over_too_soon_is_told_without_its_answer(engine: EngineStub, follow: Follow) -> None:
    """And what was answered before stays with its later events."""
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit_exec("gone", "exec_create", "exec_die")
    engine.execution("known", "web", "id", Running=False, ExitCode=None, Pid=0)
    await engine.emit_exec("known", "exec_create", command="id ")
    await kept.wait("event", 3)
    engine.executions.clear()
    await engine.emit_exec("known", "exec_die")
    await kept.wait("event", 4)

    assert [False, False, True, True] == ["exec" in each for each in kept.messages]
    assert "id" == kept.messages[3]["exec"]["ProcessConfig"]["entrypoint"]
    assert {"Running", "Pid", "ExitCode"}.isdisjoint(kept.messages[3]["exec"])


async def test_the_answer_about_another_containers_exec_is_not_taken(engine: EngineStub, follow: Follow) -> None:
    """A label `execID` names it in every event of its container."""
    engine.execution("others", "db", "psql")
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit_exec("others", "exec_start")
    await kept.wait("event")

    assert "exec" not in kept.messages[0]


@pytest.mark.parametrize("label", ["no id at all", identity_of("others"), identity_of("nobodys")])
async def test_a_label_that_forges_the_id_of_execs_hides_none(engine: EngineStub, follow: Follow, label: str) -> None:
    """Each has the answer about itself, found among the execs of its container; also two at a time, and their ends."""
    engine.execution("others", "db", "psql")
    engine.execution("first", "web", "sh", "-c", "id")
    engine.execution("second", "web", "bash", ProcessConfig={"entrypoint": "bash", "arguments": [], "tty": True})
    ids = [identity_of("first"), identity_of("second")]
    engine.add("web", labels={"execID": label}, ExecIDs=ids)
    kept = follow().kept
    await engine.wait_streams()
    begun = ("exec_create: sh -c id", "exec_start: sh -c id", "exec_create: bash ", "exec_start: bash ")
    await engine.send(*(engine.event(action, "web", execID=label) for action in begun))
    await kept.wait("event", 4)
    engine.execution("second", "web", "bash", Running=False, ExitCode=3)
    await engine.emit("exec_die", "web", execID=label, exitCode="0")
    await kept.wait("event", 5)

    assert [ids[0], ids[0], ids[1], ids[1], ids[1]] == [each["exec"]["ID"] for each in kept.messages]
    assert (True, 3) == (kept.messages[3]["exec"]["ProcessConfig"]["tty"], kept.messages[4]["exec"]["ExitCode"])


async def test_a_container_without_such_a_label_is_asked_about_once(engine: EngineStub, follow: Follow) -> None:
    """Execs that are over too soon are many, and none is taken for another that runs the same."""
    engine.execution("other", "web", "id")
    engine.add("web", ExecIDs=[identity_of("other")])
    kept = follow().kept
    await engine.wait_streams()
    for number in range(5):
        await engine.emit_exec(f"gone-{number}", "exec_start", command="id ")
        await kept.wait("event", number + 1)

    assert not [each for each in kept.messages if "exec" in each]
    assert 1 == engine.asked(f"/containers/{identity_of('web')}/json")


async def test_containers_whose_label_hides_execs_keep_no_other_from_its_answer(
    engine: EngineStub, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more of them than are asked for at once, and all their execs hang."""
    monkeypatch.setattr(docker_client, "EXEC_LIMIT_S", 3_600.0)
    engine.answers[f"/exec/{identity_of('hangs')}/json"] = hanging
    engine.execution("id", "db", "id")
    follow()
    await engine.wait_streams()
    for number in range(AT_ONCE + 1):
        engine.add(f"web-{number}", labels={"execID": "x"}, ExecIDs=[identity_of("hangs")])
        await engine.emit("exec_start: id", f"web-{number}", execID="x")
    await engine.wait_asked(f"/exec/{identity_of('hangs')}/json")
    await engine.emit_exec("id", "exec_start", command="id ", container="db")
    await engine.wait_asked(f"/exec/{identity_of('id')}/json")

    assert 1 == engine.asked(f"/exec/{identity_of('hangs')}/json")


def test_answers_are_remembered_up_to_so_many_bytes_of_them() -> None:
    """The oldest go; one about another exec is none, and a later one takes the place of the former."""
    process = {"entrypoint": "x", "arguments": ["y" * 600_000]}
    answered, count = Answered(), ANSWERS_LIMIT_BYTES // 600_000 + 1
    for number in range(count):
        for _ in range(3):
            answered.keep(str(number), read_execution({"ID": str(number), "Running": True, "ProcessConfig": process}))
    answered.keep("other", read_execution({"ID": "another"}))
    kept = [answered.about(str(number)) for number in range(count)]

    assert [False] + [True] * (count - 1) == [each is not None for each in kept]
    assert answered.about("other") is None
    assert {"ID"} == {name for each in kept if each is not None for name in each.content}


async def test_a_start_without_a_process_id_is_asked_for_again(engine: EngineStub, follow: Follow) -> None:
    """The Engine tells of it before it has started the process."""
    answers = [{"Pid": 0}, {"Pid": 0}, {"Pid": 99}]

    async def later(_request: web.Request) -> web.StreamResponse:
        changes: dict[str, Any] = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response(engine.execution("id", "web", "id", **changes))

    engine.answers[f"/exec/{identity_of('id')}/json"] = later
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit_exec("id", "exec_start")
    await kept.wait("event")

    assert 99 == kept.messages[0]["exec"]["Pid"]


async def test_the_order_stands_whatever_the_answers_take(
    engine: EngineStub, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never comes holds the others up for no longer than an answer may take."""
    monkeypatch.setattr(docker_client, "EXEC_LIMIT_S", 3.0)
    for name in ("hangs", "first", "second"):
        engine.execution(name, "web", name)
    engine.answers[f"/exec/{identity_of('hangs')}/json"] = hanging
    kept = follow().kept
    await engine.wait_streams()
    for name in ("first", "hangs", "second"):
        await engine.emit_exec(name, "exec_start", command=name)
    await engine.emit("die", "web")
    await kept.wait("event", 4)

    expected = ["exec_start: first", "exec_start: hangs", "exec_start: second", "die"]
    assert expected == [each["event"]["Action"] for each in kept.messages]
    assert [True, False, True, False] == ["exec" in each for each in kept.messages]


async def test_a_proxy_that_refuses_execs_leaves_their_events(engine: EngineStub, follow: Follow) -> None:
    """Each is asked for no more than that takes to be known, and nothing waits."""
    for number in range(40):
        engine.answers[f"/exec/{identity_of(str(number))}/json"] = web.Response(status=403)
    watched = follow()
    await engine.wait_streams()
    await engine.emit_exec("0", "exec_start")
    await watched.kept.wait("event")
    for number in range(1, 40):
        await engine.emit_exec(str(number), "exec_start")
    await watched.kept.wait("event", 40)

    assert 1 == len([path for _, path in engine.requests if "/exec/" in path])
    assert "" == watched.kept.health["trail of input engine"]


@pytest.mark.parametrize("answer", [web.Response(status=500), web.Response(body=b'{"ID":'), web.Response(body=b"[]")])
async def test_an_answer_that_cannot_be_used_costs_its_event_nothing_else(
    engine: EngineStub, follow: Follow, answer: web.Response
) -> None:
    """A fault of the Engine, cut, or of another kind; the next is asked for."""
    engine.answers[f"/exec/{identity_of('bad')}/json"] = answer
    engine.execution("good", "web", "id")
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit_exec("bad", "exec_start")
    await engine.emit_exec("good", "exec_start")
    await kept.wait("event", 2)

    assert [False, True] == ["exec" in each for each in kept.messages]
