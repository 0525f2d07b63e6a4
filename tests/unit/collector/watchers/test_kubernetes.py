"""The Kubernetes watcher against an API server that does what real ones do."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from collector.watchers import kubernetes_source
from tests.kit.kubernetes_api import Reply, kubernetes_api
from tests.kit.kubernetes_watching import (
    HIDDEN,
    QUICK,
    namespace,
    node,
    pod,
    shop,
    uid_of,
    watching,
    write_kubeconfig,
)

REQUESTS_MEANWHILE = 2
"""Of others, while one is not answered: time enough for a pod's, were it sent."""


async def test_what_is_there_is_told_owners_first(tmp_path: Path) -> None:
    """Each object comes once, reduced, what pods belong to before them, and behind a kind's list its snapshot."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    kinds = [message["kind"] for message in heard.messages]
    assert kinds[-2:] == ["pod", "snapshot"]
    assert sorted(kinds[:-2]) == ["namespace", "node", "replicaset", *["snapshot"] * 4]
    assert {message["cluster"] for message in heard.messages} == {"cluster"}
    assert [uid_of("web-0")] == heard.snapshots("pod")[0]
    assert [uid_of("web-6d4cf56db6")] == heard.snapshots("replicaset")[0]
    (told,) = heard.of("replicaset")
    assert told["object"]["metadata"]["ownerReferences"][0]["name"] == "web"
    assert heard.of("node")[0]["object"]["status"]["nodeInfo"]["kernelVersion"] == "6.1.0"


async def test_what_pods_belong_to_is_listed_before_them(tmp_path: Path) -> None:
    """However long that takes: a pod's first document names its deployment."""
    async with kubernetes_api() as api:
        shop(api)
        asked: list[int] = []

        async def late(request: web.Request) -> web.StreamResponse:
            for plural in ("nodes", "namespaces", "jobs"):
                await api.watched(plural)
            for _ in range(REQUESTS_MEANWHILE):
                api.cut("nodes")
                await api.watched("nodes")
            asked.append(len(api.requests("list", "pods")))
            return await api.usual(request)

        api.script["list replicasets"] = [late]
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert asked == [0]


async def test_only_get_is_sent_and_no_secret_is_told(tmp_path: Path) -> None:
    """Whatever happens, the watcher reads; values of the environment, commands and the like leave it in no way."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path, annotations=["*"]) as heard:
            await api.watched("pods")
            api.put("pods", pod("web-1"))
            await heard.until(lambda: "web-1" in heard.pods())
            api.cut("pods")
            await api.watched("pods")
            api.delete("pods", "web-1", "shop")
            await heard.until(lambda: heard.of("deleted") != [])

    assert {each.method for each in api.asked} == {"GET"}
    assert HIDDEN not in b"".join(heard.payloads).decode()
    assert heard.of("pod")[0]["object"]["metadata"]["annotations"] == {"example.com/owner": "payments"}


async def test_a_list_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are asked for one behind the other, and their objects are all there, in one snapshot."""
    monkeypatch.setattr(kubernetes_source, "PAGE_OBJECTS", 2)
    async with kubernetes_api() as api:
        shop(api, pods=5)
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    pages = api.requests("list", "pods")
    assert ["limit" in page.query for page in pages] == [True, True, True]
    assert ["continue" in page.query for page in pages] == [False, True, True]
    assert sorted(heard.pods()) == [f"web-{number}" for number in range(5)]
    assert len(heard.snapshots("pod")) == 1


async def test_changes_are_told_as_they_come(tmp_path: Path) -> None:
    """A new, a changed and a deleted pod each make a message; a deleted one is gone from the next snapshot."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            api.put("pods", pod("web-1"))
            api.put("pods", pod("web-1", restarts=1))
            api.delete("pods", "web-0", "shop")
            await heard.until(lambda: heard.of("deleted") != [])

    restarts = [each["object"]["status"]["containerStatuses"][0].get("restartCount", 0) for each in heard.of("pod")]
    assert heard.pods() == ["web-0", "web-1", "web-1"]
    assert restarts == [0, 0, 1]
    assert heard.of("deleted") == [{"kind": "deleted", "cluster": "cluster", "of": "pod", "uid": uid_of("web-0")}]


async def test_what_is_not_kept_makes_no_message(tmp_path: Path) -> None:
    """A heartbeat, and a change of what is left out, say nothing new."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            beat = node("node-1")
            beat["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-11-20T09:00:00Z"
            api.put("nodes", beat)
            changed = pod("web-0")
            changed["status"]["conditions"] = []
            changed["metadata"]["annotations"]["example.com/owner"] = "others"
            api.put("pods", changed)
            api.put("pods", pod("web-1"))
            await heard.until(lambda: "web-1" in heard.pods())

    assert heard.pods() == ["web-0", "web-1"]
    assert len(heard.of("node")) == 1


async def test_a_watch_that_ends_in_order_goes_on_from_its_bookmark(tmp_path: Path) -> None:
    """Versions come from bookmarks too, and are handed back as they came."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path):
            await api.watched("pods")
            api.put("namespaces", namespace("another"))  # the pods' watch does not hear of it
            api.bookmark("pods")
            api.end("pods")
            await api.until(lambda: len(api.requests("watch", "pods")) == 2)

    first, second = api.requests("watch", "pods")
    assert first.query["allowWatchBookmarks"] == "true"
    assert int(first.query["timeoutSeconds"]) >= QUICK.watch_s
    assert second.query["resourceVersion"] == api.version != first.query["resourceVersion"]


async def test_a_token_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    """The kubelet replaces a token's file: the next request has the new one."""
    async with kubernetes_api() as api:
        shop(api)
        token = tmp_path / "token"
        token.write_text("token-1\n")
        api.token = "token-1"
        kubeconfig = write_kubeconfig(tmp_path / "config", api.url, {"tokenFile": "token"})
        async with watching(api, tmp_path, kubeconfig=kubeconfig) as heard:
            await api.watched("pods")
            api.token = "token-2"
            token.write_text("token-2\n")
            api.cut("pods")
            await api.until(lambda: len(api.requests("watch", "pods")) == 2)

    assert api.requests("watch", "pods")[1].headers["Authorization"] == "Bearer token-2"
    assert heard.of("away") == []


async def test_over_tls_the_server_is_proven(tmp_path: Path) -> None:
    """With the cluster's authority it works; a server of another's is refused, and the reason is one."""
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.crt")
    async with kubernetes_api(context) as api:
        shop(api)
        cluster = {"certificate-authority": "stranger.crt"}
        kubeconfig = write_kubeconfig(tmp_path / "config", api.url, cluster=cluster)
        async with watching(api, tmp_path, kubeconfig=kubeconfig) as heard:
            await heard.until(lambda: heard.of("away") != [])
            write_kubeconfig(tmp_path / "config", api.url, cluster={"certificate-authority": "ca.crt"})
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert heard.of("away")[0]["why"].startswith("TLS: ")


async def test_who_follows_some_namespaces_is_not_asked_for_nodes(tmp_path: Path) -> None:
    """Roles in these namespaces suffice: only of the namespaces themselves is asked beyond, each by its name."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path, namespaces=["shop"]) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    beyond = {
        (each.path, each.query.get("fieldSelector")) for each in api.asked if "/namespaces/shop/" not in each.path
    }
    assert beyond == {("/api/v1/namespaces", "metadata.name=shop")}
    assert heard.of("node") == []


async def test_one_node_and_some_namespaces_can_be_followed(tmp_path: Path) -> None:
    """`node` selects pods by their node; each namespace is asked by itself, and they make one snapshot."""
    async with kubernetes_api() as api:
        shop(api)
        api.put("pods", pod("web-9", node="node-2"))
        api.put("pods", pod("db-0", "data"))
        api.put("pods", pod("other-0", "other"))
        async with watching(api, tmp_path, node="node-1", namespaces=["shop", "data"]) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert sorted(heard.pods()) == ["db-0", "web-0"]
    assert heard.snapshots("pod") == [sorted([uid_of("web-0"), uid_of("db-0")])]
    assert {each.path for each in api.asked if each.path.endswith("pods")} == {
        "/api/v1/namespaces/shop/pods",
        "/api/v1/namespaces/data/pods",
    }


async def test_a_version_moves_only_when_the_change_is_durable(tmp_path: Path) -> None:
    """While the journal takes nothing, nothing more is read; then all is there, once."""
    async with kubernetes_api() as api:
        shop(api)
        async with watching(api, tmp_path) as heard:
            await api.watched("pods")
            heard.held.clear()
            api.put("pods", pod("web-1"))
            api.cut("pods")
            heard.held.set()
            api.put("pods", pod("web-2"))
            await heard.until(lambda: "web-2" in heard.pods())

    assert heard.pods() == ["web-0", "web-1", "web-2"]


RECORDED = Path(__file__).parents[3] / "golden" / "kubernetes"


async def test_what_a_real_server_sent_is_understood(tmp_path: Path) -> None:
    """Lists of Kubernetes 1.36, in pages and of metadata only, and a watch of its: recorded, byte by byte."""

    def recorded(name: str) -> Reply:
        async def reply(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=(RECORDED / name).read_bytes(), content_type="application/json")

        return reply

    async with kubernetes_api() as api:
        api.script = {f"list {name}": [recorded(f"{name}.json")] for name in ("nodes", "namespaces", "replicasets")}
        api.script |= {
            "list pods": [recorded("pods-1.json"), recorded("pods-2.json")],
            "watch pods": [recorded("watch.ndjson")],
        }
        async with watching(api, tmp_path) as heard:
            await api.until(lambda: len(api.requests("watch", "pods")) == 2)

    _, second, changed = heard.of("pod")
    continued, again = api.requests("list", "pods")[1], api.requests("watch", "pods")[1]
    status = changed["object"]["status"]
    assert continued.query["continue"] == json.loads((RECORDED / "pods-1.json").read_bytes())["metadata"]["continue"]
    assert again.query["resourceVersion"] == "480"
    assert status["containerStatuses"][0]["containerID"] == "containerd://" + "ab12" * 16
    assert heard.of("deleted")[0]["uid"] == second["object"]["metadata"]["uid"]
    assert {message["object"]["metadata"]["name"] for message in heard.of("namespace")} >= {"shop", "kube-system"}
    assert HIDDEN not in b"".join(heard.payloads).decode()


async def test_objects_of_a_page_are_appended_together(tmp_path: Path) -> None:
    """A list is made durable by few syncs."""
    async with kubernetes_api() as api:
        shop(api, pods=200)
        async with watching(api, tmp_path) as heard:
            await heard.until(lambda: heard.snapshots("pod") != [])

    assert len(heard.pods()) == 200
    assert heard.appends < 15
