"""Queries find exactly what Lucene would, or say that they cannot."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import QueryError
from collector.store.lucene import translate
from collector.store.reader import Store, open_store
from tests.kit.batches import TIME, batch_of
from tests.kit.stores import opened_files, seal_all

DOCUMENTS: list[dict[str, Any]] = [
    {"message": "GET /index.html 200", "container": {"name": "web-1", "labels": {"app_kubernetes_io/name": "shop"}}},
    {"message": "Connection refused by 192.0.2.1", "container": {"name": "web-2"}, "log": {"level": "error"}},
    {"message": "connection pool: 12 active", "container": {"name": "db"}, "tags": ["_a", "b"]},
    {"message": "refused, then connection closed", "tidewaiter": {"fields": {"user": {"id": 5}, "a.b": "dotted"}}},
    {"message": "Überweisung gebucht user_id=7", "tidewaiter": {"container": {"stream": "stderr"}, "tag": 'q"uote'}},
    {"message": "", "source": {"ip": "192.0.2.77", "port": 443}, "event": {"kind": "event"}},
    {
        "message": "don't foo.bar 1,000",
        "source": {"ip": "2001:db8::7", "port": 8080},
        "tidewaiter": {"app": {"user": {"tier": "gold"}}},
    },
]


@pytest.fixture(scope="module", params=["lines", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds DOCUMENTS, as lines and sealed."""
    folder: Path = tmp_path_factory.mktemp("data")
    files = opened_files(folder)
    for number, more in enumerate(DOCUMENTS):
        files.append(batch_of(number, [more["message"]], more={k: v for k, v in more.items() if k != "message"}))
    files.commit(TIME)
    if request.param == "sealed":
        seal_all(folder)
    with open_store(folder) as opened:
        yield opened


def hits(store: Store, query: str) -> list[int]:
    """Numbers of the documents that a query finds."""
    condition = translate(query, now_ns=TIME + 10**9)
    messages = [document["message"] for document in DOCUMENTS]
    found = store.search(condition)
    return [messages.index(json.loads(document)["message"]) for document in found]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6]),
        ("*", [0, 1, 2, 3, 4, 5, 6]),
        ("*:*", [0, 1, 2, 3, 4, 5, 6]),
        ("connection", [1, 2, 3]),
        ("CONNECTION", [1, 2, 3]),
        ("connect", []),
        ("connect*", [1, 2, 3]),
        ("re?used", [1, 3]),
        ('"connection refused"', [1]),
        ('"refused connection"', []),
        ("message:(pool OR html)", [2]),
        ("index.html", [0]),
        ("192.0.2.1", [1]),
        ("user_id", [4]),
        ("überweisung", [4]),
        ("don't", [6]),
        ("foo.bar", [6]),
        ("1,000", [6]),
        ("connection AND refused", [1, 3]),
        ("connection AND NOT refused", [2]),
        ("connection -refused", [2]),
        ("NOT connection", [0, 4, 5, 6]),
        ("+connection pool", [1, 2, 3]),
        ("connection AND refused OR pool", [1, 3]),
        ("pool OR connection AND refused", [1, 3]),
        ("(connection AND refused) OR pool", [1, 2, 3]),
        ("container.name:web-1", [0]),
        ("container.name:WEB-1", []),
        ("container.name:web-*", [0, 1]),
        ("container.name:(web-1 OR db)", [0, 2]),
        ("container.name:[db TO web-1]", [0, 2]),
        ("container.name:{db TO web-1]", [0]),
        ("container.name:>db", [0, 1]),
        ("_exists_:container.name", [0, 1, 2]),
        ("_exists_:container", [0, 1, 2]),
        ("NOT _exists_:container", [3, 4, 5, 6]),
        ("container.name:*", [0, 1, 2]),
        ("container.labels.app_kubernetes_io\\/name:shop", [0]),
        ("tags:b", [2]),
        ("tags:_a AND tags:b", [2]),
        ("log.level:error", [1]),
        ("tidewaiter.fields.user.id:5", [3]),
        ("tidewaiter.fields.a.b:dotted", [3]),
        ("tidewaiter.app.user.tier:gold", [6]),
        ("tidewaiter.app.user.tier:go*", [6]),
        ("tidewaiter.app:gold", [6]),
        ("tidewaiter.fields.user.tier:gold", []),
        ("_exists_:tidewaiter.app", [6]),
        ('tidewaiter.tag:"q\\"uote"', [4]),
        ("source.port:443", [5]),
        ("source.port:[400 TO 9000]", [5, 6]),
        ("source.port:>=443 AND source.port:<8080", [5]),
        ("source.ip:192.0.2.77", [5]),
        ('source.ip:"192.0.2.0/24"', [5]),
        ('source.ip:"2001:db8::7"', [6]),
        ("@timestamp:2023-11-14", [0, 1, 2, 3, 4, 5, 6]),
        ("@timestamp:[2023-11-14T22\\:13\\:20.000003Z TO *]", [3, 4, 5, 6]),
        ("@timestamp:<2023-11-14", []),
        ("@timestamp:>=now-1m", [0, 1, 2, 3, 4, 5, 6]),
        ("@timestamp:now\\/d", [0, 1, 2, 3, 4, 5, 6]),
        ("connection^2", [1, 2, 3]),
    ],
)
def test_a_query_finds_these_documents(store: Store, query: str, expected: list[int]) -> None:
    """The table is what Elasticsearch's query_string finds with its defaults."""
    assert hits(store, query) == expected


@pytest.mark.parametrize(
    ("query", "column", "part"),
    [
        ("connection~2", 1, "fuzzy"),
        ("a AND message:/re.*/", 15, "regular expressions"),
        ('"a b"~3', 1, "proximity"),
        ("contaner.name:x", 1, "did you mean container.name?"),
        ("source.port:abc", 13, "no number"),
        ("@timestamp:yesterday", 12, "no time"),
        ("source.ip:300.1.1.1", 11, "does not appear"),
        ("message:[a TO b]", 9, "range"),
        ("(a AND b", 8, "ends too early"),
        ("a AND", 5, "ends too early"),
        ('message:"a b', 9, "this quote is never closed"),
        ('@timestamp:[a "b" c]', 15, "cannot be read"),
        ("a && && b", 6, "cannot be read"),
        ("a AND b!c", 8, "write \\!"),
        ("container.name:(a b)", 19, "write OR between values"),
        ("container:x", 11, "is of type object"),
        ("source.port:[* TO 1*]", 13, "no number"),
        ("a\\u00zz", 1, "four hexadecimal digits"),
        ("a\\ud800", 1, "surrogate"),
        ("_exists_:(a OR b)", 10, "the name of one field"),
        ("_exists_:cont*", 10, "the name of one field"),
        ("container.name:key:value", 16, "holds a colon"),
        ("container.name:NOT a", 16, "before the field's name"),
        ("process.interactive:yes", 21, "true or false"),
        ("process.interactive:>false", 21, "no order"),
        ("a^", 1, "takes a number"),
        ("a\u00a0b", 2, "ordinary space"),
        ("x" * 20_000, None, "longer than"),
        ("(" * 60 + "a" + ")" * 60, 51, "nested deeper"),
        ("a\udc80", 2, "not UTF-8"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_place(
    store: Store, query: str, column: int | None, part: str
) -> None:
    """Never a wrong result: the message says what, the column where."""
    with pytest.raises(QueryError) as caught:
        hits(store, query)

    assert part in str(caught.value)
    assert column is None or caught.value.column == column


@pytest.mark.parametrize(
    ("query", "others", "expected"),
    [
        ('source.ip:({} OR 192.0.2.77 OR "2001:db8::7")', "192.0.2.{:d}", [5, 6]),
        ('source.ip:({} OR "2001:db8::/32")', '"192.0.{:d}.0/28"', [6]),
        ("{} OR active", "word{:d}", [2]),
        ('{} OR "connection refused"', '"some phrase {:d}"', [1]),
        ("{} OR activ*", "w*d{:d}", [2]),
        ("{} OR container.name:db", "container.name:x{:d}", [2]),
        ("{} OR source.port:[400 TO 500]", "source.port:[{0:d} TO {0:d}]", [5]),
    ],
)
def test_a_long_list_of_alternatives_is_one_condition(
    store: Store, query: str, others: str, expected: list[int]
) -> None:
    """Thirty phrases, wildcards or networks took all memory there is; hundreds cost about what one costs."""
    numbers = range(78, 256)

    assert hits(store, query.format(" OR ".join(others.format(each) for each in numbers))) == expected


@pytest.mark.parametrize(("query", "column"), [("a~.", 2), ("a^1.2.3", 2), ('x "b"~..', 6)])
def test_a_degree_that_is_no_number_crashed_the_parser(query: str, column: int) -> None:
    """It is an error with its place."""
    with pytest.raises(QueryError, match="takes a number") as caught:
        translate(query, now_ns=TIME)

    assert caught.value.column == column


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab*?"\\/()[]{}:+-!&|^~<>= \tANDORTO.,_u0#\u3000é\u0000'), max_size=24))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """No query ends in a traceback."""
    column = None
    with contextlib.suppress(QueryError):
        try:
            translate(text, now_ns=TIME)
        except QueryError as error:
            column = error.column
            raise

    assert column is None or 1 <= column <= len(text) + 1
