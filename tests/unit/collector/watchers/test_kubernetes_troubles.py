"""The Kubernetes watcher against an API server that does what real ones do on bad days."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from collector.watchers import kubernetes_client, kubernetes_cluster, kubernetes_source
from collector.watchers.kubernetes_cluster import AWAY
from tests.kit.kubernetes_api import error_line, kubernetes_api, refusal
from tests.kit.kubernetes_watching import (
    pod,
    shop,
    uid_of,
    watching,
    write_kubeconfig,
)


async def test_pages_that_grew_old_are_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the server has forgotten (410) begins the list anew; what was told is not told twice."""
    monkeypatch.setattr(kubernetes_source, "PAGE_OBJECTS", 2)
    async with kubernetes_api() as api:

        async def forget(request: web.Request) -> web.StreamResponse:
            api.forget()
            return await api.usual(request)

        async def gone(_request: web.Request) -> web.StreamResponse:
            return refusal(410, "too old resource version", reason="Expired")

        shop(api, pods=3)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.script |= {"list pods": [api.usual, forget], "watch pods": [gone]}
            api.cut("pods")
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)

    assert len(api.requests("list", "pods")) == 2 + 2 + 2
    assert sorted(heard.pods()) == ["web-0", "web-1", "web-2"]


async def test_a_cut_watch_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """A connection that breaks in the middle of a line loses and doubles nothing, and no list is taken."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.put("pods", pod("web-1"))
            api.cut("pods")
            api.put("pods", pod("web-2"))
            await heard.until(lambda: "web-2" in heard.pods())

    assert heard.pods() == ["web-0", "web-1", "web-2"]
    assert len(api.requests("list", "pods")) == 1
    assert heard.of("away") == []


@pytest.mark.parametrize("how", ["status", "event"])
async def test_a_forgotten_version_lists_again(tmp_path: Path, how: str) -> None:
    """410 as an answer, or in the stream: what changed unseen is told, what is gone is in no snapshot any more."""
    async with kubernetes_api() as api:
        shop(api, pods=3)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            if how == "event":
                api.send("pods", error_line(410, "too old resource version: 7 (9)", reason="Expired"))
            else:
                api.cut("pods")
            api.lose_in_silence("pods", "web-0", "shop")
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)

    assert heard.snapshots("pod")[1] == sorted([uid_of("web-1"), uid_of("web-2")])
    assert sorted(heard.pods()) == ["web-0", "web-1", "web-2"]
    assert heard.of("away") == []


@pytest.mark.parametrize("code", [400, 504])
async def test_a_version_the_server_cannot_know_lists_again(tmp_path: Path, code: int) -> None:
    """A server whose data were restored is younger than our version (`Too large resource version`)."""
    async with kubernetes_api() as api:
        shop(api)

        async def too_large(_request: web.Request) -> web.StreamResponse:
            return refusal(code, "Timeout: Too large resource version: 900, current: 7")

        api.script["watch pods"] = [too_large]
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)
            await api.watched("pods")

    assert heard.pods() == ["web-0"]


async def test_a_watch_that_ends_without_a_word_lists_again(tmp_path: Path) -> None:
    """So a server answers whose data were restored: it waits for a version that will not come for long."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.end("pods")
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)

    assert heard.pods() == ["web-0"]


@pytest.mark.parametrize("line", [b"{not json}\n", b'{"type":"ADDED"}\n', b"[]\n", b"\xff\xfe\n"])
async def test_a_watch_that_is_not_understood_lists_again(tmp_path: Path, line: bytes) -> None:
    """A line that is no change ends the watch behind the changes before it; the list says how things are."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.put("pods", pod("web-1"))
            api.send("pods", line)
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)

    assert heard.pods() == ["web-0", "web-1"]


async def test_an_object_that_is_none_goes_without(tmp_path: Path) -> None:
    """One bad object stops nothing: neither in a list nor in a watch (P7)."""
    async with kubernetes_api() as api:
        shop(api)
        broken = pod("broken")
        broken["metadata"]["labels"] = "none"
        api.put("pods", broken)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            another = pod("another")
            another["status"]["containerStatuses"] = 7
            api.put("pods", another)
            api.put("pods", pod("web-1"))
            await heard.until(lambda: "web-1" in heard.pods())

    assert heard.pods() == ["web-0", "web-1"]
    assert heard.snapshots("pod") == [[uid_of("web-0")]]


async def test_a_change_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over the limit is left out, and its watch goes on (P6)."""
    monkeypatch.setattr(kubernetes_client, "LINE_LIMIT_BYTES", 10_000)
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.send("pods", b'{"type":"ADDED","object":{"metadata":{"name":"' + b"x" * 20_000 + b'"}}}\n')
            api.put("pods", pod("web-1"))
            await heard.until(lambda: "web-1" in heard.pods())

    assert len(api.requests("watch", "pods")) == 1


async def test_a_page_over_its_limit_is_asked_for_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages shrink until they fit, and none of their objects is lost."""
    monkeypatch.setattr(kubernetes_client, "PAGE_LIMIT_BYTES", 12_000)
    async with kubernetes_api() as api:
        shop(api, pods=12)
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert len(heard.pods()) == len(set(heard.pods())) == 12
    assert int(api.requests("list", "pods")[-1].query["limit"]) < kubernetes_source.PAGE_OBJECTS


async def test_objects_beyond_the_limit_go_without_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known is bounded; snapshots name the others all the same, and the input says what to do."""
    monkeypatch.setattr(kubernetes_cluster, "OBJECTS_LIMIT", 2)
    async with kubernetes_api() as api:
        shop(api, pods=3)
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert heard.pods() == ["web-0", "web-1"]
    assert heard.snapshots("pod")[0] == sorted(uid_of(f"web-{number}") for number in range(3))
    assert "watch one node" in heard.said


async def test_away_is_told_once_and_a_snapshot_says_that_it_is_over(tmp_path: Path) -> None:
    """A server that does not answer is away once; when it answers, all is listed anew and nothing is told twice."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.refuses["pods"] = 503
            api.cut("pods")
            await heard.until(lambda: heard.of("away") != [])
            await api.until(lambda: len(api.requests("watch", "pods")) + len(api.requests("list", "pods")) > 6)
            away = heard.said
            del api.refuses["pods"]
            await heard.until(lambda: len(heard.snapshots("pod")) == 2)

    assert len(heard.of("away")) == 1
    assert heard.of("away")[0]["why"].startswith("503: ")
    assert away.startswith("pods: 503: ")
    assert heard.said == ""
    assert heard.pods() == ["web-0"]


async def test_who_starts_again_meanwhile_does_not_tell_it_twice(tmp_path: Path) -> None:
    """That the cluster is away stands in the producer's cursor, until there is a list."""
    async with kubernetes_api() as api:
        shop(api)
        api.refuses["pods"] = 503
        async with watching(api, tmp_path, away=True) as heard:
            await heard.until(lambda: heard.said.startswith("pods: 503: "))
            meanwhile = heard.cursor
            del api.refuses["pods"]
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert heard.of("away") == []
    assert (meanwhile, heard.cursor) == (AWAY, b"")


async def test_a_server_that_is_not_there_is_away(tmp_path: Path) -> None:
    """Nothing listens: that is said, and tried again until somebody does."""
    async with kubernetes_api() as api:
        shop(api)
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
        async with watching(api, tmp_path, kubeconfig=kubeconfig) as heard:
            await heard.until(lambda: heard.of("away") != [])
            write_kubeconfig(tmp_path / "kubeconfig", api.url)
            await heard.until(lambda: heard.snapshots("pod") != [] and heard.said == "")

    assert heard.of("away")[0]["why"] == "cannot connect: Connection refused"


async def test_what_may_not_be_read_is_done_without(tmp_path: Path) -> None:
    """Without nodes and replica sets there are pods all the same; the input says what it may not read."""
    async with kubernetes_api() as api:
        shop(api)
        api.refuses |= {"nodes": 403, "replicasets": 403}
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])
            await heard.until(lambda: all(f"{what}: 403" in heard.said for what in ("nodes", "replicasets")))

    assert heard.of("away") == []
    assert heard.pods() == ["web-0"]


async def test_a_busy_server_is_asked_when_it_wants_to_be(tmp_path: Path) -> None:
    """429 with Retry-After: the pause is the server's, not ours."""
    async with kubernetes_api() as api:
        shop(api)
        asked_s: list[float] = []

        async def busy(_request: web.Request) -> web.StreamResponse:
            asked_s.append(asyncio.get_running_loop().time())
            return refusal(429, "too many requests", headers={"Retry-After": "1"})

        async def noted(request: web.Request) -> web.StreamResponse:
            asked_s.append(asyncio.get_running_loop().time())
            return await api.usual(request)

        api.script["list pods"] = [busy, noted]
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert asked_s[1] - asked_s[0] >= 1.0
    assert heard.of("away") == []


async def test_an_answer_that_is_no_list_is_told(tmp_path: Path) -> None:
    """Something else that answers at that address is no API server."""
    async with kubernetes_api() as api:

        async def page(_request: web.Request) -> web.StreamResponse:
            return web.Response(text="<html>It works!</html>")

        api.script["list pods"] = [page, page]
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.of("away") != [])

    assert heard.of("away")[0]["why"] == "the answer is no list of an API server"


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """A token goes to the server that the operator named and to no other."""
    async with kubernetes_api() as api:
        api.token = "token-1"

        async def elsewhere(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{api.url}/elsewhere"})

        api.script["list pods"] = [elsewhere, elsewhere]
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.of("away") != [])

    assert not any(each.path.endswith("elsewhere") for each in api.asked)


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_a_server_that_never_answers_is_away(tmp_path: Path, verb: str) -> None:
    """Every wait on the server has a limit."""
    async with kubernetes_api() as api:
        never = asyncio.Event()

        async def silent(_request: web.Request) -> web.StreamResponse:
            await never.wait()
            return web.Response()

        api.script[f"{verb} pods"] = [silent, silent]
        pace = kubernetes_source.Pace(first_s=0.001, longest_s=0.01, answer_s=0.2)
        async with watching(api, tmp_path, pace=pace) as heard:
            await heard.until(lambda: heard.of("away") != [])
        never.set()

    assert heard.of("away")[0]["why"] == "no answer within 0.2 s"


async def test_a_namespace_that_may_not_be_read_holds_up_no_other(tmp_path: Path) -> None:
    """With one of two refused there is a snapshot, and the cluster is not away."""
    async with kubernetes_api() as api:
        shop(api)

        async def forbidden(request: web.Request) -> web.StreamResponse:
            api.script["list pods"].append(forbidden)
            return refusal(403, "pods is forbidden") if "/data/" in request.path else await api.usual(request)

        api.script["list pods"] = [forbidden]
        async with watching(api, tmp_path, namespaces=["data", "shop"]) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert heard.snapshots("pod") == [[uid_of("web-0")]]
    assert heard.of("away") == []
