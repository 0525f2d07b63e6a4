"""The matcher: rules of a document's dataset, in order; and both scans, which find the same."""

import sys

import msgspec
import pytest

from pipelines.detect.expression import FieldTest, Number
from pipelines.detect.matcher import Match, Matcher
from pipelines.detect.rule import Variant, Where
from pipelines.detect.scan import HyperscanScanner, PlainScanner, scanner_of
from pipelines.detect.tables import SOURCES
from tests.kit.rule_documents import documents_of
from tests.kit.rules import loaded, rule_of

WEB = """\
title: A traversal
name: traversal
logsource: {category: webserver}
detection: {s: {cs-uri-query|contains: ../}, condition: s}
---
title: Any shell
name: shell
logsource: {product: linux}
detection: {k: [/bin/sh], condition: k}
---
title: Somebody without an agent
name: agentless
logsource: {category: webserver}
detection: {s: {cs-method|exists: true, c-useragent: null}, condition: s}
"""
ACCESS = {"event": {"category": ["web"]}, "url": {"query": "f=../../etc"}, "http": {"request": {"method": "GET"}}}


BEYOND = FieldTest("f", ("f",), Number(10**20))
"""What no loader makes: its number has no text in our JSON, and so it fails on texts."""


def told(found: list[Match]) -> list[tuple[int, str | None]]:
    """Return matches by document and rule's name."""
    return [(match.document, match.rule.name) for match in found]


def test_matches_come_by_document_and_rule() -> None:
    """In the documents' order, and of one document in that of the rules."""
    matcher = Matcher(loaded(WEB, SOURCES).rules)
    other = {"event": {"category": ["web"]}, "message": "/bin/sh"}

    assert [(0, "traversal"), (0, "agentless"), (2, "traversal"), (2, "agentless")] == told(
        matcher.matches(documents_of("nginx.access", [ACCESS, other, ACCESS]))
    )
    assert [(1, "shell")] == told(matcher.matches(documents_of("system.auth", [{"message": "x"}, other])))


def test_rules_of_other_sources_cost_nothing() -> None:
    """What no rule asks about is neither scanned nor decoded."""
    matcher = Matcher(loaded(WEB.split("---")[1], SOURCES).rules)

    assert [] == matcher.matches(documents_of("nginx.access", [{"message": "/bin/sh"}]))
    assert (1, 0, 0, 0) == matcher.cost


def test_few_documents_are_decoded() -> None:
    """Only those with the rarest literals that a rule needs."""
    matcher = Matcher([rule_of("s: {f|contains|all: [mimikatz, sekurlsa]}\ncondition: s")])
    quiet = [{"f": "x"}, {"f": "mimikatz"}] * 100

    assert [(200, None)] == told(matcher.matches(documents_of("test", [*quiet, {"f": "SEKURLSA Mimikatz"}])))
    assert (201, 101, 101, 1) == matcher.cost


def test_a_rule_that_fails_on_a_document_fails_there_alone() -> None:
    """The other rules match on that document, that rule on others; told until the next batch."""
    good = rule_of("s: {f: xyz}\ncondition: s")
    bad = msgspec.structs.replace(good, key="bad", variants=(Variant("any", Where(), BEYOND),))
    matcher = Matcher([bad, good])

    assert [0, 1] == [match.document for match in matcher.matches(documents_of("test", [{"f": "xyz"}] * 2))]
    assert [(0, "bad", TypeError), (1, "bad", TypeError)] == [
        (document, rule.key, type(error)) for document, rule, error in matcher.failures
    ]
    assert [("bad", 0)] == [
        (match.rule.key, match.document) for match in matcher.matches(documents_of("test", [{"f": 1e20}]))
    ]
    assert () == matcher.failures


def test_no_documents_and_no_rules() -> None:
    """Nothing is found, and nothing fails."""
    assert [] == Matcher([]).matches(documents_of("test", [{"f": "x"}]))
    assert [] == Matcher([rule_of("s: {f: xyz}\ncondition: s")]).matches(documents_of("test", []))


def test_datasets_without_end() -> None:
    """A dataset that was never seen has its rules as well; what is remembered is bounded."""
    matcher = Matcher([rule_of("s: {f: xyz}\ncondition: s")])
    found = [matcher.matches(documents_of(f"d{number}", [{"f": "xyz"}])) for number in range(3000)]

    assert all(map(told, found))


ATOMS = (b'"a"', b"kill", rb"\u0000", rb"\\", b"404", b"a" * 64, b'\\"x', b"a*b", b"(", b"\x7f", b"[a-z]")
BODIES = (
    b'{"f":"A"}\n{"f":"KiLL\\\\"}\n',
    '{"f":"\u212aill"}\n{"g":"\u017f"}\n'.encode(),
    b'{"f":"\\u0000"}\n{"f":404}\n{}\n',
    b'{"f":"' + b"A" * 200 + b'"}\n{"f":"\\"X"}\n{"f":"a*b([a-z]\x7f"}\n',
    b"",
)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_both_scans_find_the_same(body: bytes) -> None:
    """Characters of patterns, escapes, control characters, what folds beyond ASCII: a literal is a literal."""
    starts = [at for at in range(len(body)) if at == 0 or body[at - 1 : at] == b"\n"]
    fast = scanner_of(ATOMS)

    assert isinstance(fast, HyperscanScanner)
    assert PlainScanner(ATOMS).hits(body, starts) == fast.hits(body, starts)


def test_without_hyperscan_the_plain_scan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform that its wheel is missing for."""
    monkeypatch.setitem(sys.modules, "hyperscan", None)

    assert isinstance(scanner_of(ATOMS), PlainScanner)
