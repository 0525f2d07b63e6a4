"""Queries find exactly what a real Elasticsearch found for them, or are refused; recorded by tests/golden/search."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import QueryError
from collector.store.lucene import translate
from collector.store.reader import Store, open_store
from tests.kit.stores import seal_all, store_lines

GOLDEN = Path(__file__).parents[3] / "golden" / "search"
FOUND: dict[str, list[int] | None] = json.loads((GOLDEN / "found.json").read_text(encoding="utf-8"))
NOW_NS = 1_795_500_000_000_000_000

REFUSED = {
    "_": "holds no word",
    "\\-\\-": "holds no word",
    '"--"': "holds no word",
    'connection AND "--"': "holds no word",
    '"..." OR connection': "holds no word",
    "container.name:(web-1 db)": "write OR between values",
    "pool foo-bar AND refused": "parentheses",
    "connection - pool": "right before what it is for",
    "pool!refused": "write \\! within a word",
    'foo"bar"': 'write \\" within a word',
    "a/b/c": "write \\/ within a word",
    "message:foo-b*": "no word holds '-'",
    "connection~1": "fuzzy",
    '"connection refused"~2': "proximity",
    "message:/conn.*/": "regular expressions",
    "message:[a TO d]": "a range over the words",
    "no.such.field:x": "no document has a field",
    "@timestamp:2026-11": "no time",
}
"""What Elasticsearch answers and we do not, because the answer would surprise or cannot be given."""

DIFFERENT = {"*"}
"""A bare asterisk is everything, as in Kibana's search bar; `query_string` asks whether the default field exists."""


@pytest.fixture(scope="module", params=["lines", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds the recorded documents, as lines and sealed."""
    data_dir = tmp_path_factory.mktemp("data")
    store_lines(data_dir, (GOLDEN / "documents.ndjson").read_bytes().splitlines(keepends=True))
    if request.param == "sealed":
        seal_all(data_dir)
    with open_store(data_dir) as opened:
        yield opened


@pytest.mark.timeout(120)
def test_queries_find_what_elasticsearch_found(store: Store) -> None:
    """Every recorded query but the refused ones has the same hits."""
    differences = {}
    for query, expected in FOUND.items():
        if expected is None or query in REFUSED or query in DIFFERENT:
            continue
        found = [
            json.loads(document)["event"]["sequence"] for document in store.search(translate(query, now_ns=NOW_NS))
        ]
        if sorted(found) != expected:
            differences[query] = (sorted(found), expected)

    assert differences == {}
    assert len(FOUND) > 400


def test_a_bare_asterisk_finds_everything(store: Store) -> None:
    """The one intended difference."""
    found = list(store.search(translate("*", now_ns=NOW_NS)))

    assert len(found) == len((GOLDEN / "documents.ndjson").read_bytes().splitlines())


@pytest.mark.parametrize("query", [query for query, found in FOUND.items() if found is None])
def test_what_elasticsearch_refuses_is_refused(store: Store, query: str) -> None:
    """A query that is an error in Kibana never finds something here."""
    with pytest.raises(QueryError):
        list(store.search(translate(query, now_ns=NOW_NS)))


@pytest.mark.parametrize("query", REFUSED)
def test_what_cannot_be_found_alike_is_refused(store: Store, query: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(QueryError) as caught:
        list(store.search(translate(query, now_ns=NOW_NS)))

    assert REFUSED[query] in str(caught.value)
