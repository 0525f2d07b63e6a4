"""What is asked of Kibana, and what an operator is told of its answers. Kibana itself is not to be had: its API is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from collector.errors import UnreachableError
from collector.setup.kibana_api import Kibana, KibanaError
from collector.setup.kibana_objects import ndjson, rules, saved_objects

(RULE,) = rules()


class Scripted:
    """Keeps what is imported; answers as it is told, else as Kibana does."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.objects: dict[str, Any] = {}
        self.rules: dict[str, Any] = {}
        self.answer: web.Response | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        self.asked.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        if self.answer is not None:
            return self.answer
        if request.path.endswith("/_import"):
            return await self._import(request)
        return await self._rule(request)

    async def _import(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        results = []
        for line in file.file.read().splitlines():
            made = json.loads(line)
            results.append(
                {"type": made["type"], "id": made["id"]} | ({"overwrite": True} if made["id"] in self.objects else {})
            )
            self.objects[made["id"]] = made
        return web.json_response({"success": True, "successCount": len(results), "successResults": results})

    async def _rule(self, request: web.Request) -> web.Response:
        rule = await request.json()
        if request.method == "PUT" and rule["rule_id"] not in self.rules:
            return web.json_response({"message": "not found", "status_code": 404}, status=404)
        self.rules[rule["rule_id"]] = rule
        return web.json_response(rule)


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """A scripted Kibana on a free port."""
    made = Scripted()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def reached(scripted: Scripted, *, space: str = "") -> Kibana:
    """The client for it."""
    return Kibana(scripted.url, space=space, headers={"authorization": "ApiKey key"}, tls=None)


async def test_all_objects_arrive_and_the_second_time_change_what_is_there(scripted: Scripted) -> None:
    """One import of all, under the ids they have, with the header that Kibana wants of programs."""
    async with reached(scripted) as kibana:
        first = await kibana.import_objects(saved_objects())
        second = await kibana.import_objects(saved_objects())

    assert set(first.values()) == {"created"}
    assert set(second.values()) == {"updated"}
    assert first.keys() == second.keys() == {f"{each['type']}/{each['id']}" for each in saved_objects()}
    assert scripted.asked == [("POST", "/api/saved_objects/_import?overwrite=true")] * 2
    assert ndjson(scripted.objects.values()) == ndjson(saved_objects())
    assert scripted.headers[0]["kbn-xsrf"]
    assert scripted.headers[0]["Authorization"] == "ApiKey key"


async def test_the_rule_is_made_once_and_then_changed(scripted: Scripted) -> None:
    """By its own rule_id, so that there are never two."""
    async with reached(scripted) as kibana:
        first = await kibana.install_rule(RULE)
        second = await kibana.install_rule(RULE)

    assert (first, second) == ({"rule/tidewaiter-alerts": "created"}, {"rule/tidewaiter-alerts": "updated"})
    assert scripted.rules == {"tidewaiter-alerts": RULE}


async def test_a_space_has_its_own_objects(scripted: Scripted) -> None:
    """Its name stands in the path."""
    async with reached(scripted, space="soc") as kibana:
        await kibana.import_objects(saved_objects())

    assert scripted.asked == [("POST", "/s/soc/api/saved_objects/_import?overwrite=true")]


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (302, "base path"),
        (401, "--api-key-file"),
        (403, "Saved Objects Management"),
        (404, "is that a Kibana"),
        (500, "out of order"),
    ],
)
async def test_a_refusal_says_what_to_do(scripted: Scripted, status: int, part: str) -> None:
    """Kibana's own words, and what an operator can change."""
    scripted.answer = web.json_response({"message": "out of order"}, status=status, headers={"location": "/login"})
    async with reached(scripted) as kibana:
        with pytest.raises(KibanaError, match="out of order") as caught:
            await kibana.import_objects(saved_objects())

    assert part in str(caught.value)
    assert str(status) in str(caught.value)


async def test_an_import_that_failed_is_no_success_though_it_is_answered_200(scripted: Scripted) -> None:
    """Which object, and what it lacks."""
    error = {"type": "missing_references", "references": [{"type": "index-pattern", "id": "logs"}]}
    content = {"success": False, "successCount": 0, "errors": [{"type": "search", "id": "one", "error": error}]}
    scripted.answer = web.json_response(content)
    async with reached(scripted) as kibana:
        with pytest.raises(KibanaError, match="search/one: missing_references index-pattern/logs"):
            await kibana.import_objects(saved_objects())


async def test_an_answer_that_is_no_kibanas_is_shown(scripted: Scripted) -> None:
    """A proxy's page, cut."""
    scripted.answer = web.Response(text="<html>" + "x" * 10_000, status=200)
    async with reached(scripted) as kibana:
        with pytest.raises(KibanaError, match="<html>") as caught:
            await kibana.import_objects(saved_objects())

    assert len(str(caught.value)) < 500


async def test_nobody_there_is_said_so(unused_tcp_port: int) -> None:
    """With the address that was asked."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Kibana(url, space="", headers={}, tls=None) as kibana:
        with pytest.raises(UnreachableError, match=str(unused_tcp_port)):
            await kibana.import_objects(saved_objects())
