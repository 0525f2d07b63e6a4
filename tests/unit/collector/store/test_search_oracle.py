"""Generated queries against a plain, slow matcher that shares no code with the store."""

import ipaddress
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.store.lucene import translate
from collector.store.reader import Store, open_store
from parsers.timestamps import rfc3339
from tests.kit.stores import seal_all, store_documents

Document = dict[str, Any]
Query = tuple[str, Callable[[Document], bool]]

WORDS = ("error", "refused", "user_id", "web", "x1", "42", "timeout", "Naïve", "слово")
BREAKS = (" ", ", ", " - ", "/", "\n", " (", ") ", "=", "\t", '"', "\\")
NAMES = (
    "web-1",
    "web-10",
    "WEB-1",
    "a b",
    "*",
    "a*b",
    "?",
    'q"x',
    "back\\slash",
    "é",
    "日本",
    "",
    "a:b",
    "(x)",
    "-5",
    "+y",
    "!",
)
KEYS = ("a", "b", "a.b", "c/d", "e f", "x[0]", 'q"', "back\\")
FLATTENED = ("tidewaiter.fields", "tidewaiter.app")
ADDRESSES = (
    "10.0.0.1",
    "10.0.0.255",
    "192.0.2.7",
    "::1",
    "2001:db8::7",
    "2001:db8:0:1::",
    "::ffff:10.0.0.1",
    "0.0.0.0",
    "ff02::2",
)
NETWORKS = ("10.0.0.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.7/32", "2001:db8::/64", "10.0.0.128/25")
NUMBERS = (-5, 0, 1, 42, 443, 65535, 2**40, -(2**40), 2**63 - 1)
BASE_NS = 1_700_000_000_000_000_000


def make_corpus() -> list[Document]:
    """Make documents of every type, with lists and missing fields, always the same."""
    choose = random.Random(11)

    def some(values: tuple[Any, ...]) -> Any:
        count = choose.randint(0, 3)
        return choose.choice(values) if count < 2 else choose.sample(values, count)

    def free(depth: int) -> Any:
        if depth and choose.random() < 0.6:
            made = {choose.choice(KEYS): free(depth - 1) for _ in range(choose.randint(1, 3))}
            return [made, free(0)] if choose.random() < 0.2 else made
        return choose.choice(["v", "w", 5, 1.5, True, None, ["v", 7], "", "V"])

    corpus = []
    for number in range(60):
        text = "".join(choose.choice(WORDS) + choose.choice(BREAKS) for _ in range(choose.randint(0, 6)))
        optional = {
            "message": text,
            "container": {"name": some(NAMES)},
            "source": {"ip": some(ADDRESSES), "port": some(NUMBERS)},
            "process": {"interactive": choose.choice([True, False])},
            "tidewaiter": {name.partition(".")[2]: {choose.choice(KEYS): free(3)} for name in FLATTENED},
        }
        kept = {key: value for key, value in optional.items() if choose.random() < 0.8}
        instant = BASE_NS + choose.randrange(0, 4 * 86400) * 10**9 + choose.randrange(10**9)
        corpus.append({"event": {"sequence": number, "id": f"{number:024d}"}, "@timestamp": rfc3339(instant), **kept})
    return corpus


CORPUS = make_corpus()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """A store that holds CORPUS as lines, and the same sealed."""
    folders = [tmp_path_factory.mktemp(name) for name in ("lines", "sealed")]
    for folder in folders:
        store_documents(folder, CORPUS)
    seal_all(folders[1])
    with open_store(folders[0]) as lines, open_store(folders[1]) as sealed:
        yield lines, sealed


def values(document: Document, name: str) -> list[Any]:
    """All values of a field, found by walking."""
    at: Any = document
    for key in name.split("."):
        at = at.get(key) if isinstance(at, dict) else None
    return [each for each in (at if isinstance(at, list) else [at]) if each is not None]


def leaves(at: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All leaves of a flattened object with their dotted names."""
    if isinstance(at, dict):
        for key, inner in at.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(at, list):
        for inner in at:
            yield from leaves(inner, name)
    elif at is not None:
        yield name, at if isinstance(at, str) else json.dumps(at)


def words(text: str) -> list[str]:
    """The words of a text made of WORDS and BREAKS."""
    return re.findall(r"\w+", text.lower())


def fits(pattern: str, text: str) -> bool:
    """Match `*` and `?` by plain recursion."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return fits(pattern[1:], text) or (bool(text) and fits(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and fits(pattern[1:], text[1:])


def escaped(text: str, *, but: str = "") -> str:
    """Write a text so that every special character is meant literally."""
    return "".join(c if c in but or (c.isalnum()) else f"\\{c}" for c in text)


def quoted(text: str) -> str:
    """Write a text as a phrase."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def any_of(name: str, test: Callable[[Any], bool]) -> Callable[[Document], bool]:
    """Hold where one of a field's values passes the test."""
    return lambda document: any(test(value) for value in values(document, name))


def text_queries() -> st.SearchStrategy[Query]:
    """Words, phrases and wildcards in `message`."""
    word = st.sampled_from([word for text in WORDS for word in (text, text.upper(), text[:2])])
    term = word.map(lambda w: (w, any_of("message", lambda text: w.lower() in words(text))))
    start = word.map(
        lambda w: (f"message:{w}*", any_of("message", lambda t: any(x.startswith(w.lower()) for x in words(t))))
    )
    middle = word.map(
        lambda w: (f"*{w[1:]}", any_of("message", lambda t: any(x.endswith(w[1:].lower()) for x in words(t))))
    )

    def phrase(parts: list[str]) -> Query:
        wanted = [part.lower() for part in parts]

        def neighbours(text: str) -> bool:
            found = words(text)
            return any(found[at : at + len(wanted)] == wanted for at in range(len(found)))

        return quoted(" ".join(parts)), any_of("message", neighbours)

    return st.one_of(term, start, middle, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(phrase))


def keyword_queries() -> st.SearchStrategy[Query]:
    """Terms, wildcards and ranges of `container.name`."""
    name = "container.name"
    exact = st.sampled_from(NAMES[:11] + NAMES[12:])
    term = exact.map(lambda v: (f"{name}:{escaped(v)}", any_of(name, lambda x: x == v)))
    phrase = st.sampled_from(NAMES).map(lambda v: (f"{name}:{quoted(v)}", any_of(name, lambda x: x == v)))
    pattern = st.lists(st.sampled_from(["*", "?", "w", "e", "-", "1", " ", "é", "\\"]), min_size=2, max_size=5).map(
        "".join
    )
    like = pattern.map(lambda p: (f"{name}:{escaped(p, but='*?')}x*", any_of(name, lambda x: fits(p + "x*", x))))
    like = st.one_of(
        like, pattern.map(lambda p: (f"{name}:{escaped(p, but='*?')}?", any_of(name, lambda x: fits(p + "?", x))))
    )

    def ranged(bounds: tuple[str, str, bool, bool]) -> Query:
        low, high, with_low, with_high = bounds

        def within(value: str) -> bool:
            at, first, last = value.encode(), low.encode(), high.encode()
            return (first < at or (with_low and first == at)) and (at < last or (with_high and at == last))

        text = f"{'[' if with_low else '{'}{quoted(low)} TO {quoted(high)}{']' if with_high else '}'}"
        return f"{name}:{text}", any_of(name, within)

    bound = st.sampled_from(NAMES)
    return st.one_of(term, phrase, like, st.tuples(bound, bound, st.booleans(), st.booleans()).map(ranged))


def typed_queries() -> st.SearchStrategy[Query]:
    """Numbers, addresses, instants, booleans and existence."""
    number = st.sampled_from(NUMBERS)
    sign = st.sampled_from([(">", int.__gt__), (">=", int.__ge__), ("<", int.__lt__), ("<=", int.__le__)])
    port = number.map(lambda n: (f'source.port:"{n}"', any_of("source.port", lambda x: x == n)))
    compared = st.tuples(sign, number).map(
        lambda pair: (f'source.port:{pair[0][0]}"{pair[1]}"', any_of("source.port", lambda x: pair[0][1](x, pair[1])))
    )

    def inside(network: str) -> Query:
        wanted = ipaddress.ip_network(network)

        def test(text: str) -> bool:
            address: Any = ipaddress.ip_address(text)
            if address.version == 6 and address.ipv4_mapped and wanted.version == 4:
                address = address.ipv4_mapped
            if address.version == 4 and wanted.version == 6:
                address = ipaddress.IPv6Address(f"::ffff:{address}")
            return address in wanted

        return f"source.ip:{quoted(network)}", any_of("source.ip", test)

    def key(text: str) -> int:
        address = ipaddress.ip_address(text)
        return int(address) if address.version == 6 else int(ipaddress.IPv6Address(f"::ffff:{address}"))

    address = st.sampled_from(ADDRESSES)
    same = address.map(lambda a: (f"source.ip:{quoted(a)}", any_of("source.ip", lambda x: key(x) == key(a))))
    between = st.tuples(address, address).map(
        lambda pair: (
            f"source.ip:[{quoted(pair[0])} TO {quoted(pair[1])}]",
            any_of("source.ip", lambda x: key(pair[0]) <= key(x) <= key(pair[1])),
        )
    )
    instant = st.sampled_from([document["@timestamp"] for document in CORPUS]).map(str)
    after = instant.map(lambda t: (f"@timestamp:>{quoted(t)}", any_of("@timestamp", lambda x: x > t)))
    day = instant.map(lambda t: (f"@timestamp:{t[:10]}", any_of("@timestamp", lambda x: x[:10] == t[:10])))
    until = instant.map(lambda t: (f"@timestamp:[* TO {t[:10]}}}", any_of("@timestamp", lambda x: x[:10] < t[:10])))
    flag = st.booleans().map(
        lambda b: (f"process.interactive:{str(b).lower()}", any_of("process.interactive", lambda x: x is b))
    )
    names = st.sampled_from(["message", "container.name", "source.ip", "source.port", "process.interactive"])
    exists = names.map(lambda n: (f"_exists_:{n}", lambda document: bool(values(document, n))))
    return st.one_of(
        port, compared, st.sampled_from(NETWORKS).map(inside), same, between, after, day, until, flag, exists
    )


def flattened_queries(field: str) -> st.SearchStrategy[Query]:
    """Leaves of a flattened field, whose keys may hold dots and more."""

    def found(document: Document) -> list[tuple[str, str]]:
        return list(leaves(document.get("tidewaiter", {}).get(field.rpartition(".")[2], {})))

    names = sorted({name for document in CORPUS for name, _ in found(document)})
    name, value = st.sampled_from(names), st.sampled_from(["v", "V", "w", "5", "1.5", "true", "7", ""])

    def leaf(pair: tuple[str, str]) -> Query:
        return f"{field}.{escaped(pair[0], but='.')}:{quoted(pair[1])}", lambda document: pair in found(document)

    exists = name.map(
        lambda n: (f"_exists_:{field}.{escaped(n, but='.')}", lambda document: n in [key for key, _ in found(document)])
    )
    whole = value.map(lambda v: (f"{field}:{quoted(v)}", lambda document: v in [value for _, value in found(document)]))
    return st.one_of(st.tuples(name, value).map(leaf), exists, whole)


def combined(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    """Queries of queries, bracketed throughout."""
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: (f"({p[0][0]} AND {p[1][0]})", lambda d: p[0][1](d) and p[1][1](d))),
        pairs.map(lambda p: (f"({p[0][0]} OR {p[1][0]})", lambda d: p[0][1](d) or p[1][1](d))),
        inner.map(lambda q: (f"(NOT {q[0]})", lambda d: not q[1](d))),
        pairs.map(lambda p: (f"(+{p[0][0]} -{p[1][0]})", lambda d: p[0][1](d) and not p[1][1](d))),
        st.lists(inner, min_size=2, max_size=6).map(_any_of),
        st.lists(inner, min_size=2, max_size=6).map(_none_of),
    )


def _any_of(queries: list[Query]) -> Query:
    """Side by side, where those of one field are looked up together."""
    return "(" + " OR ".join(text for text, _ in queries) + ")", lambda d: any(matches(d) for _, matches in queries)


def _none_of(queries: list[Query]) -> Query:
    _, matches = _any_of(queries)
    return "(" + " ".join(["*:*", *(f"-{each}" for each, _ in queries)]) + ")", lambda d: not matches(d)


leaf_queries = st.one_of(text_queries(), keyword_queries(), typed_queries(), *map(flattened_queries, FLATTENED))


@pytest.mark.timeout(400)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=st.recursive(leaf_queries, combined, max_leaves=8))
def test_queries_find_what_the_plain_matcher_finds(stores: tuple[Store, Store], query: Query) -> None:
    """Whatever is asked of whatever documents, as lines or sealed, the hits are those of plain evaluation."""
    text, matches = query
    lines, sealed = (list(store.search(translate(text, now_ns=BASE_NS))) for store in stores)
    found = [json.loads(document)["event"]["sequence"] for document in lines]

    assert sorted(found) == [document["event"]["sequence"] for document in CORPUS if matches(document)]
    assert sealed == lines
