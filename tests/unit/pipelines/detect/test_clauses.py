"""Literals of rules: what must be in a document's bytes, and what is not for sure."""

import pytest

from pipelines.detect.clauses import clauses_of, required_keys
from pipelines.detect.regex_literals import required
from tests.kit.rules import rule_of


def atoms(line: str) -> list[list[bytes]]:
    """Return the clauses of a detection with one field, sorted."""
    (variant,) = rule_of(f"s: {{{line}}}\ncondition: s").variants
    return sorted(sorted(clause) for clause in clauses_of(variant.expression))


def whole(*values: str, field: str = "f") -> list[bytes]:
    """Return how values stand by themselves: behind the field's key, or in a list."""
    forms = ('%s":{},', '%s":{}}}', "[{},", "[{}]", ",{},", ",{}]")
    return [(form.replace("%s", field)).format(value).encode() for value in values for form in forms]


BEFORE = (b'f":', b"[", b",")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("f: Whoami", [whole('"whoami"')]),
        ("f: a-longer-text", [[b'"a-longer-text"']]),
        ("f|contains: Whoami", [[b"whoami"]]),
        ("f|startswith: Whoami", [[b'f":"whoami', b'["whoami', b',"whoami']]),
        ("f|endswith: /ss", [[b'/ss"']]),
        ("f: 'a*bcd?efg'", [[b'efg"']]),
        ("f: [one, two]", [whole('"one"', '"two"')]),
        ("f|contains|all: [get, post]", [[b"post"]]),
        ("f: one, g: two", [whole('"one"')]),
        (r"f|contains: 'a\b\c'", [[rb"a\\b\\c"]]),
        ("f|contains: 'say \"x\"'", [[rb"say \"x\""]]),
        ('f|contains: "ab\\tcd\\x01"', [[rb"ab\tcd\u0001"]]),
        ("f: \u00e9tage", [[b'tage"']]),
        ("f|contains: na\u00efvely", [[b"vely"]]),
        ("f: '404'", [whole('"404"', "404")]),
        ("f: 404", [[*whole('"404"', "404"), b'f":404.0', b"[404.0", b",404.0"]]),
        (
            "f: 0",
            [[*whole('"0"', "0", "-0"), *(before + each for before in BEFORE for each in (b"0.0", b"-0.0"))]],
        ),
        ("f|endswith: '404'", [[b"404"]]),
        ("f: 'true'", [whole('"true"', "true")]),
        ("f: true", [whole('"true"', "true")]),
        ("f: 10000000000000000", []),
        ("f: 1.5", []),
        ("f|contains: ab", []),
        ("f: null", []),
        ("f|exists: true", []),
        ("f|neq: something", []),
        ("f|cidr: 192.0.2.0/24", []),
        ("f|gt: 100000", []),
        ("f|re: 'abc+[de]fgh'", [[b"abc"], [b"fgh"]]),
        ("f|re: '(abc|def)+x?'", [[b"abc", b"def"]]),
    ],
)
def test_atoms(line: str, expected: list[list[bytes]]) -> None:
    """Encoded as in a document, in lower case, with the quotation mark where a text begins or ends."""
    assert sorted(map(sorted, expected)) == atoms(line)


def test_an_alternative_without_a_literal_takes_the_clause_away() -> None:
    """Nothing is needed where one way holds without."""
    (variant,) = rule_of("a: {f: something}\nb: {g: null}\ncondition: a or b").variants

    assert () == clauses_of(variant.expression)


def test_clauses_are_added_until_they_are_rare() -> None:
    """What stands in every document is not asked for where something else is."""
    (variant,) = rule_of("s: {f|contains|all: [container, get, post, mimikatz]}\ncondition: s").variants
    (usual,) = rule_of("s: {f|contains|all: [container, get, post, curl, root]}\ncondition: s").variants

    assert (frozenset((b"mimikatz",)),) == clauses_of(variant.expression)
    assert 1 < len(clauses_of(usual.expression)) <= 3


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("s: {a.b|exists: true}\ncondition: s", {b'b":'}),
        ("s: {a.b|cidr: 192.0.2.0/24, c: null}\ncondition: s", {b'b":'}),
        ("s: {a.b|gt: 5}\nt: {c|gt: 5}\ncondition: s or t", {b'b":', b'c":'}),
        ("s: {a.b|gt: 5}\nt: {c: null}\ncondition: s or t", None),
        ("s: {a.b|gt: 5}\ncondition: not s", None),
        ("s: {args.1|gt: 5}\ncondition: s", None),
    ],
)
def test_required_keys(detection: str, expected: set[bytes] | None) -> None:
    """The end of the last key and its colon, however a key with dots is written; a place in a list has none."""
    (variant,) = rule_of(detection).variants

    assert expected == required_keys(variant.expression)


@pytest.mark.parametrize(
    ("pattern", "flags", "expected"),
    [
        ("(abc|de)f", "", ["abc|de", "f"]),
        ("(abc|d?)f", "", ["f"]),
        ("(?:ab)+(c)*(d){2}", "", ["ab"]),
        ("(?i:ask)", "", ["a"]),
        ("(?P<x>ab)c", "", ["c"]),
        ("abc", "", ["abc"]),
        ("^abc$", "", ["abc"]),
        ("abcd?e", "", ["abc", "e"]),
        ("abc*d+e", "", ["ab", "d", "e"]),
        ("ab{2}c", "", ["a", "c"]),
        ("ab{x}c", "", ["a", "{x}c"]),
        ("ab{,2}c", "", ["a", "c"]),
        (r"a\.b\\c\dd", "", [r"a.b\c", "d"]),
        ("a(bc|d)e", "", ["a", "bc|d", "e"]),
        ("a((b)[)])c", "", ["a", "b", "c"]),
        ("a[]b]c[^]d]e", "", ["a", "c", "e"]),
        ("a[[:alpha:]]b", "", ["a", "b"]),
        ("abc|def", "", ["abc|def"]),
        (r"\Qa|b\E", "", []),
        (r"\x41bc", "", []),
        ("mask", "i", ["ma"]),
        ("(?i)mask", "", ["ma"]),
        ("a(?i:b)k", "", ["a", "b"]),
        ("\u00e9bc", "", ["bc"]),
        ("a.b", "s", ["a", "b"]),
        ("", "", []),
    ],
)
def test_literals_of_patterns(pattern: str, flags: str, expected: list[str]) -> None:
    """What stands there once at least, of alternatives one each; of what folds beyond ASCII nothing."""
    assert expected == ["|".join(sorted(each)) for each in required(pattern, flags)]
