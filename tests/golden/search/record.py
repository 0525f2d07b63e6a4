"""Record what a real Elasticsearch finds: `python record.py http://127.0.0.1:9200` writes `found.json` beside it.

Each query of `queries.txt`, and each of some hundred made at random, is asked as Kibana asks it (`query_string`,
default operator OR, default field `message`) of the documents of `documents.ndjson`. An answer is the list of the
lines' numbers, or null where Elasticsearch refuses the query. No query may depend on the day it is asked.
"""

import json
import random
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INDEX = "recorded"
KEYWORDS = ("container.name", "tags", "tidewaiter.tag", "tidewaiter.container.stream", "log.level", "event.id")
TYPES = {
    "@timestamp": "date",
    "message": "text",
    "source.ip": "ip",
    "source.port": "long",
    "event.risk_score": "float",
    "process.interactive": "boolean",
    "tidewaiter.fields": "flattened",
    **dict.fromkeys(KEYWORDS, "keyword"),
}
LEAVES = (
    "connection",
    "refused",
    "pool",
    "GET",
    "container.name:web-1",
    "container.name:db",
    "tags:b",
    "source.port:443",
)


def random_queries(count: int) -> list[str]:
    """Make queries of every operator, nested, with fixed seed."""
    choose = random.Random(7)

    def sequence(depth: int) -> str:
        made = clause(depth)
        for _ in range(choose.randint(0, 3)):
            made += choose.choice((" ", " AND ", " OR ", " && ", " || ")) + clause(depth)
        return made

    def clause(depth: int) -> str:
        sign = choose.choice(("", "", "", "", "NOT ", "-", "+", "!"))
        return sign + (f"({sequence(depth - 1)})" if depth and choose.random() < 0.3 else choose.choice(LEAVES))

    return [sequence(2) for _ in range(count)]


def ask(url: str, method: str, body: Any = None, *, kind: str = "application/json") -> Any:
    """Send a request; return the answer, None for a refusal (400)."""
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": kind}, method=method)  # noqa: S310 - given by hand
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 400:
            return None
        raise


def main(url: str) -> None:
    """Make the index, ask every query, delete the index."""
    documents = (HERE / "documents.ndjson").read_bytes().splitlines()
    properties: dict[str, Any] = {"properties": {}}
    for name, kind in TYPES.items():
        at = properties
        *parents, leaf = name.split(".")
        for parent in parents:
            at = at["properties"].setdefault(parent, {"properties": {}})
        at["properties"][leaf] = {"type": kind}
    user = {"properties": {"name": {"type": "keyword", "fields": {"text": {"type": "text"}}}}}
    properties["properties"]["user"] = user
    ask(f"{url}/{INDEX}", "PUT", {"mappings": {"dynamic": False, **properties}})
    lines = [b'{"index":{"_id":"%d"}}\n%b\n' % (number, document) for number, document in enumerate(documents)]
    made = ask(f"{url}/{INDEX}/_bulk?refresh=true", "POST", b"".join(lines), kind="application/x-ndjson")
    if made["errors"]:
        raise SystemExit(json.dumps(made))
    asked = [line for line in (HERE / "queries.txt").read_text(encoding="utf-8").splitlines() if line]
    found: dict[str, list[int] | None] = {}
    for query in asked + random_queries(150):
        body = {"size": 1000, "_source": False, "query": {"query_string": {"query": query, "default_field": "message"}}}
        answer = ask(f"{url}/{INDEX}/_search", "POST", body)
        found[query] = None if answer is None else sorted(int(hit["_id"]) for hit in answer["hits"]["hits"])
    ask(f"{url}/{INDEX}", "DELETE")
    rows = ",\n".join(f"{json.dumps(query, ensure_ascii=False)}: {json.dumps(ids)}" for query, ids in found.items())
    (HERE / "found.json").write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
