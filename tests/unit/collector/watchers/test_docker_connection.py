"""A connection to an Engine that ends, is refused, hangs or comes back: what is told, and that nothing is lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from collector.config_watchers import EngineTlsConfig
from collector.watchers import docker_client, docker_pending, docker_session
from collector.watchers.docker_connection import FIRST_PAUSE_S, LONGEST_PAUSE_S
from collector.watchers.docker_pending import Cursor, decoded_cursor
from tests.kit.docker_stub import ENGINE_ID, EngineStub, identity_of

NOBODY_THERE = ("cannot be reached: Connection refused", "cannot be reached: No such file or directory")
"""What a Unix socket says that nobody listens on: from Python 3.13 on, a server takes its socket with it."""


async def test_a_stream_that_is_cut_is_opened_again_where_it_ended(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """From the last event on, and the Engine is not called away."""
    engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")
    event = engine.event("destroy", "web")
    await engine.send(event)
    await kept.wait("gone")

    await engine.cut()
    await kept.wait("snapshot", 2)

    asked = [path for _, path in engine.requests if "/events" in path]
    seconds, nanoseconds = divmod(event["timeNano"], 1_000_000_000)
    assert ["since" in path for path in asked] == [False, True]
    assert f"since={seconds}.{nanoseconds:09}" in asked[1]
    assert [] == kept.of("away")
    assert all(reason in ("", "not asked yet") for reason in kept.told)


async def test_what_was_told_before_a_cut_is_not_told_twice_of_its_event(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """The Engine repeats the event of the instant; a container that is gone since is not brought up again."""
    kept = watch().kept
    await kept.wait("snapshot")
    await engine.send(*(engine.event(action, "short") for action in ("create", "destroy")))
    await kept.wait("gone")

    await engine.cut()
    await kept.wait("snapshot", 2)
    await engine.emit("create", "next")
    await kept.wait("container", 2)

    assert [identity_of("short")] == [each["id"] for each in kept.of("gone")]
    assert [identity_of("short"), identity_of("next")] == [each["container"]["Id"] for each in kept.of("container")]


async def test_what_happened_during_a_cut_is_told(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Also of a container that came and went meanwhile: the Engine kept its events."""
    engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")
    await engine.emit("destroy", "web")
    await kept.wait("gone")
    engine.answers["/version"] = web.Response(status=503)
    await engine.cut()
    await kept.wait("away")

    await engine.send(*(engine.event(action, "short") for action in ("create", "destroy")))
    del engine.answers["/version"]
    await kept.wait("gone", 2)

    assert identity_of("short") == kept.of("gone")[1]["id"]
    assert "/short" == kept.of("container")[-1]["container"]["Name"]


async def test_a_restarted_watcher_goes_on_from_the_cursor(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """It lists, and hears of what came and went while it was dead."""
    first = watch()
    await first.kept.wait("snapshot")
    await engine.emit("create", "before")
    await first.kept.wait("container")
    await first.end()
    await engine.send(*(engine.event(action, "short") for action in ("create", "destroy")))

    second = watch(cursor=first.kept.cursors[-1])
    await second.kept.wait("gone")

    assert [identity_of("short")] == [each["container"]["Id"] for each in second.kept.of("container")]


async def test_another_engine_at_the_same_address_is_not_asked_since(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """The cursor is of another one's clock and events."""
    kept = watch(cursor=Cursor("OTHER", 1_700_000_000_000_000_000).encoded()).kept
    await kept.wait("snapshot")

    assert [False] == ["since" in path for _, path in engine.requests if "/events" in path]
    assert ENGINE_ID == decoded_cursor(kept.cursors[-1]).engine


async def test_an_engine_that_cannot_be_reached_is_told_once(
    engine: EngineStub, watch: Callable[..., Any], tmp_path: Path
) -> None:
    """With the reason, also in the health; pauses grow up to a limit; when it comes it is asked at once."""
    await engine.stop()
    watched = watch(url=f"unix://{tmp_path / 'd.sock'}")
    await watched.kept.wait("away")
    await watched.pauses.wait_asked(20)
    await engine.start()
    await watched.kept.wait("snapshot")

    assert ["away", "engine", "snapshot"] == watched.kept.kinds()
    (why,) = [reason for reason in NOBODY_THERE if reason == watched.kept.messages[0]["why"]]
    assert {"kind": "away", "engine": "engine", "why": why} == watched.kept.messages[0]
    assert f"{engine.url}: {why}" in watched.kept.told
    assert "" == watched.kept.health["input engine"]
    pauses = watched.pauses.asked
    assert FIRST_PAUSE_S / 2 <= pauses[0] <= FIRST_PAUSE_S
    assert LONGEST_PAUSE_S / 2 <= max(pauses[:20]) <= LONGEST_PAUSE_S
    assert len(set(pauses[10:20])) > 5


async def test_an_engine_that_restarts_is_told_anew(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Away, then all there is; a second outage is told again."""
    engine.add("web")
    kept = watch().kept
    for outage in (1, 2):
        await kept.wait("snapshot", outage)
        await engine.stop()
        await kept.wait("away", outage)
        await engine.start()
    await kept.wait("snapshot", 3)

    assert ["engine", "container", "snapshot", "away"] * 2 + ["engine", "container", "snapshot"] == kept.kinds()


async def test_a_watcher_that_restarts_during_an_outage_does_not_tell_of_it_again(
    engine: EngineStub, watch: Callable[..., Any], tmp_path: Path
) -> None:
    """The cursor says that it is told."""
    await engine.stop()
    first = watch(url=f"unix://{tmp_path / 'd.sock'}")
    await first.kept.wait("away")
    await first.end()

    second = watch(url=f"unix://{tmp_path / 'd.sock'}", cursor=first.kept.cursors[-1])
    await second.pauses.wait_asked(5)

    assert [] == second.kept.messages
    assert any(reason in second.kept.health["input engine"] for reason in NOBODY_THERE)


async def test_an_engine_that_hangs_is_noticed_by_the_sign_of_life(
    engine: EngineStub, watch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream of events says nothing: it may be silent for days."""
    watched = watch()
    await watched.kept.wait("snapshot")
    over = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    engine.answers["/version"] = hang
    monkeypatch.setattr(docker_client, "REQUEST_LIMIT_S", 0.05)
    watched.pauses.release()
    await watched.kept.wait("away")
    over.set()

    assert "no answer in time to /version" == watched.kept.of("away")[0]["why"]


@pytest.mark.parametrize(
    ("path", "answer", "why"),
    [
        ("/version", web.Response(status=503, text="Bad\n gateway"), "answers /version with 503: Bad gateway"),
        ("/version", web.Response(text="<html>"), "its answer to /version is no JSON"),
        ("/version", web.json_response({}), "names no API version"),
        ("/version", web.json_response({"ApiVersion": "1.23"}), "speaks API 1.23 only; needed is 1.24"),
        ("/version", web.Response(status=302, headers={"Location": "/x"}), "answers /version with 302"),
        ("/events", web.json_response({"message": "no"}, status=403), "answers /v1.41/events with 403: no"),
        ("/events", web.Response(status=410), "answers /v1.41/events with 410"),
        ("/containers/json", web.json_response({"message": "no"}, status=403), "containers/json with 403: no"),
        ("/containers/json", web.json_response({}), "its list of containers is none"),
    ],
)
async def test_an_answer_without_which_nothing_is_known_is_an_absence(
    engine: EngineStub, watch: Callable[..., Any], path: str, answer: web.Response, why: str
) -> None:
    """Its reason is told; what it is asked for next is answered when it can be."""
    engine.answers[path] = answer
    kept = watch().kept
    await kept.wait("away")
    del engine.answers[path]
    await kept.wait("snapshot")

    assert why in kept.of("away")[0]["why"]
    assert "" == kept.health["input engine"]


async def test_a_list_without_end_is_an_absence(
    engine: EngineStub, watch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more of it is read than the limit."""
    monkeypatch.setattr(docker_client, "LIST_LIMIT_BYTES", 1 << 20)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    engine.answers["/containers/json"] = endless
    kept = watch().kept
    await kept.wait("away")

    assert "is longer than 1048576 bytes" in kept.of("away")[0]["why"]


async def test_more_containers_than_a_snapshot_can_name_are_an_absence(
    engine: EngineStub, watch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of them would make the others gone."""
    monkeypatch.setattr(docker_session, "CONTAINERS_LIMIT", 2)
    for number in range(3):
        engine.add(f"c{number}")
    kept = watch().kept

    await kept.wait("away")

    assert "has more than 2 containers" == kept.of("away")[0]["why"]


async def test_a_proxy_that_refuses_what_is_not_needed_is_good_enough(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """Neither /info nor images: then the host and the image's tags are not known, and containers are."""
    engine.add("web")
    engine.answers["/info"] = web.Response(status=403)
    engine.answers[f"/images/sha256:{identity_of('acme/bb')}/json"] = web.Response(status=403)
    kept = watch().kept

    await kept.wait("snapshot")

    assert ("", {"engine_version": "20.10.24"}) == (kept.messages[0]["id"], kept.messages[0]["host"])
    assert "image" not in kept.messages[1]
    assert "HostConfig" in kept.messages[1]["container"]


async def test_more_events_than_are_taken_up_have_all_listed_again(
    engine: EngineStub, watch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded: the list takes its place."""
    monkeypatch.setattr(docker_pending, "ENTRIES_LIMIT", 3)
    kept = watch().kept
    await kept.wait("snapshot")
    for number in range(5):
        engine.add(f"c{number}")

    await engine.send(*(engine.event("create", f"c{number}") for number in range(5)))
    snapshot = await kept.wait("snapshot", 2)

    assert 5 == len(snapshot["ids"])
    assert {identity_of(f"c{number}") for number in range(5)} <= {
        each["container"]["Id"] for each in kept.of("container")
    }


async def test_certificates_that_are_not_there_are_an_absence_with_their_name(
    engine: EngineStub, watch: Callable[..., Any], tmp_path: Path
) -> None:
    """They may be renewed at this moment; they are read again at the next try."""
    kept = watch(url="tcp://127.0.0.1:1", tls=EngineTlsConfig(ca=str(tmp_path / "ca.pem"))).kept

    await kept.wait("away")

    assert f"{tmp_path}/ca.pem: there is no such file" == kept.of("away")[0]["why"]


async def test_an_outage_keeps_the_place_in_the_stream(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Its message carries the cursor of the last event."""
    kept = watch().kept
    await kept.wait("snapshot")
    event = engine.event("destroy", "web")
    await engine.send(event)
    await kept.wait("gone")
    await engine.stop()
    await kept.wait("away")

    before, away = (decoded_cursor(cursor) for cursor in kept.cursors[-2:])

    assert event["timeNano"] == away.time_ns
    assert msgspec.structs.replace(before, is_away=True) == away
