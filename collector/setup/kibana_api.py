"""Kibana's HTTP API, as far as installing our objects needs it (`reference/elasticsearch.md` sections 5.1 and 5.3)."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from collector.errors import TidewaiterError, UnreachableError
from collector.setup.kibana_objects import ndjson

TIMEOUT_S: Final = 60.0
"""How long Kibana may take for a request; an import migrates every object."""

ANSWER_SHOWN: Final = 300
"""Characters of an answer that a message repeats, where it is none of Kibana's."""

RULES_PATH: Final = "/api/detection_engine/rules"


class KibanaError(TidewaiterError):
    """Kibana refused something."""


class Kibana:
    """A space of a Kibana. An async context manager; methods raise KibanaError or UnreachableError."""

    def __init__(self, url: str, *, space: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        """`headers` prove who we are; without `space` it is the one that everybody has."""
        self._url = url.rstrip("/") + (f"/s/{space}" if space else "")
        self._session = aiohttp.ClientSession(
            headers={**headers, "kbn-xsrf": "tidewaiter"},
            connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        )

    async def __aenter__(self) -> "Kibana":
        """Connect with the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._session.close()

    async def import_objects(self, objects: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Make objects, or make them again where they are; return `created` or `updated` by type and id."""
        form = aiohttp.FormData()
        form.add_field("file", ndjson(objects), filename="tidewaiter.ndjson", content_type="application/ndjson")
        path = "/api/saved_objects/_import"
        status, answer = await self._asked("POST", path, params={"overwrite": "true"}, data=form)
        if status != 200 or not isinstance(answer, dict):
            raise KibanaError(f"{path}: {_said(status, answer)}")
        if not answer.get("success"):
            raise KibanaError(f"{path}: not imported: {'; '.join(map(_failed, answer.get('errors', ()))) or answer}")
        return {
            f"{each['type']}/{each['id']}": "updated" if each.get("overwrite") else "created"
            for each in answer.get("successResults", ())
        }

    async def install_rule(self, rule: dict[str, Any]) -> dict[str, str]:
        """Make a detection rule, or change the one of its `rule_id`; return what was done by that id."""
        result = "updated"
        status, answer = await self._asked("PUT", RULES_PATH, json=rule)
        if status == 404:
            result = "created"
            status, answer = await self._asked("POST", RULES_PATH, json=rule)
        if status != 200:
            raise KibanaError(f"{RULES_PATH}: {_said(status, answer)}")
        return {f"rule/{rule['rule_id']}": result}

    async def _asked(self, method: str, path: str, **content: Any) -> tuple[int, Any]:
        """Send a request; return the status and the answer, decoded where it is JSON."""
        try:
            async with self._session.request(method, f"{self._url}{path}", allow_redirects=False, **content) as answer:
                text = await answer.text(errors="replace")
                status = answer.status
        except TimeoutError:
            raise UnreachableError(f"{self._url}: no answer within {TIMEOUT_S:.0f} s") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise UnreachableError(f"{self._url}: {error}") from error
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text[:ANSWER_SHOWN]


def install(
    kibana: Mapping[str, Any], objects: Sequence[dict[str, Any]], rules: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Install all, from where no event loop runs; return what was done, by type and id. `kibana`: how to reach it."""

    async def installed() -> dict[str, str]:
        async with Kibana(**kibana) as connected:
            results = await connected.import_objects(objects)
            for rule in rules:
                results |= await connected.install_rule(rule)
            return results

    return asyncio.run(installed())


def _failed(error: Mapping[str, Any]) -> str:
    """Say why an object was not imported."""
    about = error.get("error") or {}
    missing = [f"{each.get('type')}/{each.get('id')}" for each in about.get("references", ())]
    reason = about.get("message") or about.get("reason") or " ".join([str(about.get("type", "unknown")), *missing])
    return f"{error.get('type')}/{error.get('id')}: {reason}"


def _said(status: int, answer: Any) -> str:
    """Repeat Kibana's own words, and say what an operator can do."""
    words = answer.get("message", answer) if isinstance(answer, dict) else answer
    hint = {
        301: "; give --url as it stands in the browser, with its base path",
        302: "; give --url as it stands in the browser, with its base path",
        401: "; give --api-key-file, or --user and --password-file",
        403: "; the key or user needs Kibana's privileges Saved Objects Management: All and Security: All",
        404: "; is that a Kibana, is there such a space, and is its Security app on? --no-rule does without",
    }.get(status, "")
    return f"HTTP {status}: {words}{hint}"
