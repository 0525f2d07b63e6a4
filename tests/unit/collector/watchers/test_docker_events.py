"""What is told of an Engine's containers: at a connection, at each event, and of those that were gone too soon."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from collector.watchers import docker_client, docker_session
from collector.watchers.docker_pending import decoded_cursor
from tests.kit.docker_stub import ENGINE_ID, EngineStub, identity_of

SECRET = "of-nobodys-business"
IMAGE = f"sha256:{identity_of('acme/bb')}"


async def test_at_a_connection_the_engine_its_containers_and_a_snapshot_are_told(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """In this order, each container whole with its image, and no secret of any of them."""
    web_id, cache_id = engine.add("web", labels={"team": "orders"}), engine.add("cache")
    kept = watch().kept

    snapshot = await kept.wait("snapshot")

    assert ["engine", "container", "container", "snapshot"] == kept.kinds()
    assert {
        "kind": "engine",
        "engine": "engine",
        "id": ENGINE_ID,
        "host": {"name": "host-1", "kernel": "6.1.0", "engine_version": "20.10.24"},
    } == kept.messages[0]
    first = kept.messages[1]
    assert ("engine", "list", web_id) == (first["engine"], first["cause"], first["container"]["Id"])
    assert {"team": "orders"} == first["container"]["Config"]["Labels"]
    assert ["acme/bb:1.2"] == first["image"]["RepoTags"]
    assert {"kind": "snapshot", "engine": "engine", "ids": [web_id, cache_id]} == snapshot
    assert SECRET not in b"".join(kept.payloads).decode()
    assert "" == kept.health["input engine"]


async def test_nothing_but_get_is_sent(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Through a whole life: list, events, images, a container that is gone, a cut, a ping."""
    engine.add("web")
    watched = watch()
    await engine.wait_streams()
    await watched.kept.wait("snapshot")
    await engine.emit("create", "gone")
    await engine.send({"Type": "image", "Action": "tag", "Actor": {"ID": IMAGE}})
    await watched.kept.wait("container", 2)
    watched.pauses.release()
    await engine.wait_asked("/version", 2)
    await engine.cut()
    await watched.kept.wait("snapshot", 2)

    assert {"GET"} == {method for method, _ in engine.requests}
    assert 10 < len(engine.requests)


async def test_one_image_is_asked_for_once(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """However many containers run it; one that could not be learnt is asked for again with the next list."""
    for number in range(100):
        engine.add(f"c{number}")
    other = f"sha256:{identity_of('other')}"
    engine.add("other", Image=other)

    await watch(resync=0.05).kept.wait("snapshot", 3)

    assert 1 == engine.asked(f"/images/{IMAGE}/json")
    assert 3 <= engine.asked(f"/images/{other}/json")


async def test_a_container_that_changes_is_told_again(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """With the event as cause: started, renamed, its health, killed; nothing where nothing changed."""
    web_id = engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")
    changes: list[tuple[str, dict[str, Any]]] = [
        ("rename", {"Name": "/shop"}),
        ("health_status: unhealthy", {"State": {"Status": "running", "Health": {"Status": "unhealthy"}}}),
        ("die", {"State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}}),
        ("start", {"State": {"Status": "running"}, "RestartCount": 1}),
    ]
    for count, (action, change) in enumerate(changes):
        engine.containers[web_id] |= change
        await engine.emit(action, "web")
        await kept.wait("container", count + 2)
    await engine.emit("update", "web")
    await engine.emit("create", "other")
    await kept.wait("container", 6)

    told = kept.of("container")
    assert ["list", "rename", "health_status", "die", "start", "create"] == [each["cause"] for each in told]
    assert ["/web", "/shop"] == [each["container"]["Name"] for each in told[:2]]
    assert {"Status": "unhealthy"} == told[2]["container"]["State"]["Health"]
    assert {"Status": "exited", "ExitCode": 137, "OOMKilled": True} == told[3]["container"]["State"]


async def test_a_container_that_is_gone_before_it_is_asked_for_is_told_from_its_event(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """One that lived for 50 ms with `--rm`: name, image and labels are known, then it is gone."""
    kept = watch().kept
    await kept.wait("snapshot")

    await engine.emit("create", "short", team="orders")
    await kept.wait("container")
    await engine.emit("destroy", "short", team="orders")
    await kept.wait("gone")

    assert ["container", "gone"] == kept.kinds()[2:]
    assert {
        "kind": "container",
        "engine": "engine",
        "cause": "create",
        "container": {
            "Id": identity_of("short"),
            "Name": "/short",
            "Config": {"Image": "acme/bb:1.2", "Labels": {"team": "orders"}},
        },
    } == kept.messages[2]
    assert {"kind": "gone", "engine": "engine", "id": identity_of("short")} == kept.messages[3]


async def test_a_whole_life_that_comes_at_once_is_told_in_order(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Created, started and destroyed in one read: the container, then that it is gone, and no question for it."""
    kept = watch().kept
    await kept.wait("snapshot")

    await engine.send(*(engine.event(action, "short") for action in ("create", "start", "die", "destroy")))
    await kept.wait("gone")

    assert ["container", "gone"] == kept.kinds()[2:]
    assert "create" == kept.messages[2]["cause"]
    assert 0 == engine.asked(f"/containers/{identity_of('short')}/json")


async def test_a_destroyed_container_is_told_as_gone_only(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """What is known of it stays as it was."""
    web_id = engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")

    del engine.containers[web_id]
    await engine.emit("destroy", "web")
    await kept.wait("gone")

    assert ["engine", "container", "snapshot", "gone"] == kept.kinds()


async def test_a_container_that_goes_while_all_are_asked_for_is_in_no_snapshot(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """Though the list named it; nobody would tell of its end."""
    web_id, gone_id = engine.add("web"), engine.add("gone")
    engine.answers[f"/containers/{gone_id}/json"] = web.json_response({"message": "no such container"}, status=404)

    snapshot = await watch().kept.wait("snapshot")

    assert [web_id] == snapshot["ids"]


async def test_a_network_that_is_connected_is_told(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """The container has another address then."""
    web_id = engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")
    engine.containers[web_id]["NetworkSettings"]["Networks"]["back"] = {"IPAddress": "198.51.100.3"}

    actor = {"ID": "b" * 64, "Attributes": {"container": web_id, "name": "back", "type": "bridge"}}
    await engine.send({"Type": "network", "Action": "connect", "Actor": actor, "time": 1_700_000_001})
    told = await kept.wait("container", 2)

    assert "connect" == told["cause"]
    assert "198.51.100.3" == told["container"]["NetworkSettings"]["Networks"]["back"]["IPAddress"]


async def test_a_new_tag_of_an_image_is_told_of_its_containers(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Of those only; an image that is removed under a container keeps its names."""
    engine.add("web")
    engine.add("other", Image=f"sha256:{identity_of('other')}")
    kept = watch().kept
    await kept.wait("snapshot")

    engine.images[IMAGE]["RepoTags"] = ["acme/bb:1.2", "acme/bb:stable"]
    await engine.send(
        {"Type": "image", "Action": "tag", "Actor": {"ID": IMAGE, "Attributes": {"name": "acme/bb:stable"}}}
    )
    told = await kept.wait("container", 3)
    del engine.images[IMAGE]
    await engine.send({"Type": "image", "Action": "delete", "Actor": {"ID": IMAGE}})
    await engine.emit("create", "new")
    last = await kept.wait("container", 4)

    assert ("image", identity_of("web"), ["acme/bb:1.2", "acme/bb:stable"]) == (
        told["cause"],
        told["container"]["Id"],
        told["image"]["RepoTags"],
    )
    assert "create" == last["cause"]


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500, text='{"message":"devmapper: no such device"}'),
        web.Response(text="{"),
        web.Response(text="[]"),
        web.Response(text="[" * 100_000),
        web.Response(body=b'"' + b"x" * (docker_client.INSPECT_LIMIT_BYTES + 1) + b'"'),
    ],
    ids=["500", "cut", "list", "deep", "long"],
)
async def test_a_container_whose_answer_cannot_be_used_is_told_from_the_list(
    engine: EngineStub, watch: Callable[..., Any], answer: web.Response
) -> None:
    """And stops no other."""
    bad, good = engine.add("bad", labels={"a": "b"}), engine.add("good")
    engine.answers[f"/containers/{bad}/json"] = answer
    kept = watch().kept

    snapshot = await kept.wait("snapshot")

    told = {each["container"]["Id"]: each["container"] for each in kept.of("container")}
    assert {
        "Id": bad,
        "Name": "/bad",
        "Image": IMAGE,
        "Config": {"Image": "acme/bb:1.2", "Labels": {"a": "b"}},
        "State": {"Status": "running"},
    } == told[bad]
    assert "HostConfig" in told[good]
    assert [bad, good] == snapshot["ids"]


async def test_a_container_that_is_known_is_not_told_worse(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """An answer that fails later leaves what was told."""
    web_id = engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")

    engine.answers[f"/containers/{web_id}/json"] = web.Response(status=500)
    await engine.emit("update", "web")
    await engine.emit("create", "other")
    told = await kept.wait("container", 2)

    assert identity_of("other") == told["container"]["Id"]


async def test_a_container_that_hangs_in_the_engine_holds_up_the_others_for_a_limited_time(
    engine: EngineStub, watch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told from the list then."""
    monkeypatch.setattr(docker_client, "INSPECT_LIMIT_S", 0.05)
    hung, _ = engine.add("hung"), engine.add("good")
    over = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    engine.answers[f"/containers/{hung}/json"] = hang
    kept = watch().kept
    await kept.wait("snapshot")
    over.set()

    assert [False, True] == ["HostConfig" in each["container"] for each in kept.of("container")]


async def test_of_containers_beyond_the_limit_only_the_ids_are_known(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """The running come first; the health says so, and nobody is taken for gone."""
    for number in range(4):
        engine.add(f"c{number}", State={"Status": "running" if number == 3 else "exited"})

    kept = watch(container_limit=2).kept
    snapshot = await kept.wait("snapshot")
    await kept.until(lambda: "input engine" in kept.health)

    assert [identity_of("c3"), identity_of("c0")] == [each["container"]["Id"] for each in kept.of("container")]
    assert {identity_of(f"c{number}") for number in range(4)} == set(snapshot["ids"])
    assert "4 containers, 2 more than its container_limit" in kept.health["input engine"]


async def test_what_is_too_long_is_cut_and_the_message_says_where(
    engine: EngineStub, watch: Callable[..., Any]
) -> None:
    """Labels are what users write."""
    engine.add("web", labels={"notes": "x" * 10_000})
    kept = watch().kept

    await kept.wait("snapshot")

    assert ["Config.Labels"] == kept.of("container")[0]["cut"]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [(b"no event\n", "malformed"), (b'{"Action":"' + b"x" * (1 << 20) + b'"}\n', "oversized")],
    ids=["malformed", "oversized"],
)
async def test_events_that_are_lost_have_all_listed_again(
    engine: EngineStub, watch: Callable[..., Any], lost: bytes, reason: str
) -> None:
    """What they told of is found by that, and what did not change is not told again."""
    engine.add("web")
    watched = watch()
    await watched.kept.wait("snapshot")

    engine.add("missed")
    await engine.send(lost)
    snapshot = await watched.kept.wait("snapshot", 2)

    assert ["container", "snapshot"] == watched.kept.kinds()[3:]
    assert {identity_of("web"), identity_of("missed")} == set(snapshot["ids"])
    assert docker_session.RELIST_S in watched.pauses.asked


async def test_all_is_listed_again_now_and_then(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """Whatever was missed without a word: a destroyed container is in no snapshot from then on."""
    web_id = engine.add("web")
    kept = watch(resync=0.05).kept
    await kept.wait("snapshot")

    del engine.containers[web_id]
    await kept.until(lambda: kept.of("snapshot")[-1]["ids"] == [])

    assert [] == kept.of("gone")


async def test_a_cursor_goes_with_every_message(engine: EngineStub, watch: Callable[..., Any]) -> None:
    """The last one stands at the last event that is settled."""
    engine.add("web")
    kept = watch().kept
    await kept.wait("snapshot")
    event = engine.event("destroy", "web")

    await engine.send(event)
    await kept.wait("gone")

    cursors = [decoded_cursor(cursor) for cursor in kept.cursors]
    assert [(ENGINE_ID, 0), (ENGINE_ID, event["timeNano"])] == [
        (cursor.engine, cursor.time_ns) for cursor in (cursors[0], cursors[-1])
    ]
    assert len(json.dumps(cursors[-1].at)) < 100
