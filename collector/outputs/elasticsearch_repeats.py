"""Repeats whose first outcome is unknown: the connection was lost behind the body, or the answer was.

Our ids protect against doubles within one index only. When a data stream was rolled over since the first try, its
documents are looked up first: when the old request can no longer be at work, after a refresh, by their ids over all of
the stream's indices. That takes the privileges `read`, `maintenance` and `view_index_metadata`; without them what may
stand in two indices is counted and listed in `uncertain/OUTPUT.ndjson`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from collector.durable_files import append_to_file, make_folder
from collector.outputs.bulk import Body
from collector.outputs.elasticsearch_answers import Answer

IDS_AT_ONCE: Final = 5_000
"""Ids of one look-up: Elasticsearch answers with 10,000 at most."""

KNOWN_FOR_S: Final = 10.0
"""An answer is asked for the index that it wrote to where what is known of a stream is older."""

LIST_LIMIT_BYTES: Final = 64 << 20
"""Bound of one output's list; when it is reached ids are only counted."""

FIRST_INDEX: Final = "-000001"
"""The name of a data stream's first index ends so: it was never rolled over."""

UNCERTAIN: Final = "uncertain"
"""Name of the folder of the lists."""

NOT_UNDERSTOOD: Final = (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What an answer of any shape raises where it is looked into."""


class Unknown(msgspec.Struct):
    """A try whose outcome is unknown: when it began, and the index that its stream was known to write to by then.

    `index` is empty where nothing was known. `looked_up`: the documents were not there when `index` was written to.
    """

    since_s: float
    index: str
    looked_up: bool = False
    early: bool = False
    """Of the first bodies after a start: what an earlier life of ours sent is not known."""


class Asking(Protocol):
    """Sends requests that carry no documents."""

    async def ask(self, method: str, path: str, parameters: dict[str, str], content: Any = None) -> Answer:
        """Send a request, JSON if any, and return the answer."""


class Found(msgspec.Struct):
    """What a look-up says of a body: the places of documents that are stored, or that nothing can be said yet.

    `index` is the one that is written to by now, empty where the key may not ask; `rolled_over` where there are others,
    and the body was looked up.
    """

    places: Sequence[int] = ()
    index: str = ""
    rolled_over: bool = False
    wait_s: float = 0.0
    problem: Answer | None = None


class Repeats:
    """What is known of the indices behind data streams, and what of repeats."""

    def __init__(self, *, answer_s: float, early_bodies: int) -> None:
        self._answer_s = answer_s
        self._early_bodies = early_bodies
        self._known: dict[str, tuple[str, float]] = {}
        self._early: dict[str, int] = {}

    def first(self, stream: str) -> Unknown | None:
        """Return what is to be thought of a body that we send the first time: an earlier life may have sent it."""
        if not self._early.setdefault(stream, self._early_bodies):
            return None
        return Unknown(float("-inf"), "", early=True)

    def met(self, stream: str, found: Found) -> None:
        """Take note of a look-up after a start: behind some bodies that nobody sent before nothing was sent."""
        if not found.rolled_over:
            self._early[stream] = 0
        elif found.places:
            self._early[stream] = self._early_bodies
        else:
            self._early[stream] = max(self._early[stream] - 1, 0)

    def asks(self, stream: str) -> bool:
        """Tell whether the next answer should say which index it wrote to."""
        known = self._known.get(stream)
        return known is None or time.monotonic() - known[1] > KNOWN_FOR_S

    def learn(self, stream: str, index: str, sent_s: float) -> None:
        """Take note of the index that a request, sent at `sent_s`, wrote to."""
        self._known[stream] = (index, sent_s)

    def index(self, stream: str) -> str:
        """Return the index that a stream was last known to write to; empty where that is not known."""
        known = self._known.get(stream)
        return known[0] if known is not None else ""

    async def look_up(self, client: Asking, stream: str, body: Body, unknown: Unknown) -> Found:
        """Find out what of a body, tried before, is stored in an index that is written to no more."""
        answer = await client.ask("GET", f"/{stream}/_settings/index.creation_date", {})
        if answer.status != 200:
            return _cannot(answer)
        indices = _by_age(answer.body)
        if not indices:
            return Found()
        current = indices[-1]
        if current == unknown.index or len(indices) == 1:
            return Found(index=current)
        left_s = unknown.since_s + self._answer_s - time.monotonic()
        if left_s > 0:
            return Found(wait_s=left_s)
        answer = await client.ask("POST", f"/{stream}/_refresh", {})
        if answer.status != 200:
            return _cannot(answer)
        return await self._by_ids(client, stream, body, current)

    async def _by_ids(self, client: Asking, stream: str, body: Body, current: str) -> Found:
        places: list[int] = []
        for start in range(0, len(body), IDS_AT_ONCE):
            ids = {body.identifier(index): index for index in range(start, min(start + IDS_AT_ONCE, len(body)))}
            query = {"size": len(ids), "_source": False, "query": {"ids": {"values": [*ids]}}}
            answer = await client.ask(
                "POST", f"/{stream}/_search", {"filter_path": "_shards.failed,hits.hits._id"}, query
            )
            if answer.status != 200:
                return _cannot(answer)
            try:
                said = msgspec.json.decode(answer.body)
                if said["_shards"]["failed"]:
                    return Found(problem=Answer(503, problem="not all shards could be searched"))
                places += sorted({ids[hit["_id"]] for hit in said.get("hits", {}).get("hits", ())})
            except NOT_UNDERSTOOD:
                return Found()
        return Found(places, current, rolled_over=True)


def _cannot(answer: Answer) -> Found:
    """Nothing can be asked with this key, or at the moment."""
    return Found() if answer.status in (400, 403, 404, 405) else Found(problem=answer)


def _by_age(content: bytes) -> list[str]:
    """Return the names of indices, the oldest first."""
    try:
        said = msgspec.json.decode(content)
        dated = [(int(about["settings"]["index"]["creation_date"]), name) for name, about in said.items()]
    except NOT_UNDERSTOOD:
        return []
    return [name for _, name in sorted(dated)]


def may_be_doubled(unknown: Unknown, index: str) -> bool:
    """Tell whether what a repeat stored in an index may stand in an earlier one as well."""
    if unknown.index:
        return index != unknown.index
    return not index.endswith(FIRST_INDEX)


def list_uncertain(path: Path, stream: str, index: str, ids: Sequence[str], now: str) -> bool:
    """Append ids that may stand in two indices, durably; False where there is no room for them. Blocking."""
    lines = [{"time": now, "id": each, "stream": stream, "index": index} for each in ids]
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    try:
        make_folder(path.parent)
        if path.exists() and path.stat().st_size + len(content) > LIST_LIMIT_BYTES:
            return False
        append_to_file(path, content)
    except OSError:
        return False
    return True
