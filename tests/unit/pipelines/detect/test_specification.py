"""Sigma's specification 2.1, point by point: what holds and what does not, with the section that says so.

Where the text is silent the section is `pySigma`, whose own semantics count, or `ours`, with the reason.
"""

from typing import Any, NamedTuple

import pytest

from tests.kit.rules import fires, loaded, rule_of


class Point(NamedTuple):
    """One sentence of the specification: a detection, documents on which it holds, and others."""

    section: str
    detection: str
    holds: list[dict[str, Any]]
    fails: list[dict[str, Any]]


def one(line: str) -> str:
    """Return a detection of one search identifier with one field."""
    return f"s: {{{line}}}\ncondition: s"


POINTS = [
    Point("General: case-insensitive", one("f: Whoami"), [{"f": "whoami"}, {"f": "WHOAMI"}], [{"f": "whoami "}]),
    Point("ours: ASCII folds alone, as the scan does", one("f: KILL"), [{"f": "kill"}], [{"f": "\u212aill"}]),
    Point("ours: ASCII folds alone", one("f: \u00c4b"), [{"f": "\u00c4B"}], [{"f": "\u00e4b"}]),
    Point("String Wildcard: ? is one character", one("f: 'prog?.exe'"), [{"f": "progA.exe"}], [{"f": "prog.exe"}]),
    Point("String Wildcard: ? is one character", one("f: '?'"), [{"f": "\U0001f600"}, {"f": "\n"}], [{"f": ""}]),
    Point(
        "String Wildcard: * is any length",
        one("f: 'a_V*.exe'"),
        [{"f": "a_V1.exe"}, {"f": "a_V.exe"}, {"f": "a_V\n2.1.exe"}],
        [{"f": "a_V1.exe2"}, {"f": "a_.exe"}],
    ),
    Point("String Wildcard", one("f: 'ab*ba'"), [{"f": "abba"}, {"f": "ab-ba"}], [{"f": "aba"}]),
    Point("String Wildcard", one("f: '*a?c*d'"), [{"f": "xabcd"}, {"f": "aacabcd"}], [{"f": "acd"}]),
    Point("String Wildcard: a value", one("f: '*'"), [{"f": "x"}, {"f": ""}, {"f": 0}], [{}, {"f": None}, {"f": []}]),
    Point(r"Escape: single backslash is plain", one(r"f: 'C:\w'"), [{"f": r"c:\W"}], [{"f": "c:w"}]),
    Point(r"Escape: \\ is one backslash", one(r"f: 'C:\\w'"), [{"f": r"c:\w"}], [{"f": r"c:\\w"}]),
    Point(r"Escape: \* is a plain star", one(r"f: 'a\*'"), [{"f": "a*"}], [{"f": "ab"}, {"f": r"a\*"}]),
    Point(r"Escape: \? is plain", one(r"f: 'a\?'"), [{"f": "a?"}], [{"f": "ab"}]),
    Point(r"Escape: \\* is a backslash and any", one(r"f: 'a\\*'"), [{"f": "a\\b"}, {"f": "a\\"}], [{"f": "a*"}]),
    Point(r"Escape: \\\* is both plain", one(r"f: 'a\\\*'"), [{"f": r"a\*"}], [{"f": r"a\b"}]),
    Point(r"Escape: \\\\ is two", one(r"f: 'a\\\\b'"), [{"f": r"a\\b"}], [{"f": r"a\b"}]),
    Point(
        "Lists: texts are keywords, joined by or",
        "k:\n  - EVILSERVICE\n  - svchost.exe -n evil\ncondition: k",
        [{"message": "an EvilService x"}, {"a": {"b": ["-", "svchost.exe -N evil"]}}],
        [{"message": "service"}, {"evilservice": "x"}],
    ),
    Point(
        "Lists: maps are joined by or",
        "s:\n  - Image|endswith: '\\\\example.exe'\n  - Description|contains: Test executable\ncondition: s",
        [{"Image": r"c:\example.exe"}, {"Description": "a test executable"}],
        [{"Image": "example.exe", "Description": "test"}],
    ),
    Point(
        "Maps: fields joined by and, values by or",
        "s:\n  EventLog: Security\n  EventID:\n    - 517\n    - 1102\ncondition: s",
        [{"EventLog": "security", "EventID": 517}, {"EventLog": "Security", "EventID": "1102"}],
        [{"EventLog": "Security", "EventID": 5}, {"EventID": 517}],
    ),
    Point("Maps: a number", one("f: 404"), [{"f": 404}, {"f": "404"}, {"f": 404.0}], [{"f": "0404"}, {"f": 4040}]),
    Point("ours: a text against a number", one("f: '404'"), [{"f": 404}, {"f": "404"}], [{"f": 4040}]),
    Point("ours: wildcards against a number", one("f: '4*'"), [{"f": 404}, {"f": 4.5}], [{"f": 504}]),
    Point("ours: a boolean", one("f: true"), [{"f": True}, {"f": "True"}], [{"f": 1}, {"f": "yes"}, {}]),
    Point("ours: a text against a boolean", one("f: 'true'"), [{"f": True}], [{"f": False}]),
    Point("ours: any element of a list", one("f: b"), [{"f": ["a", "B"]}, {"f": [["b"]]}], [{"f": ["ab"]}, {"f": []}]),
    Point("ours: fields of fields", one("a.b: x"), [{"a": {"b": "x"}}, {"a.b": "x"}], [{"a": {"c": "x"}}]),
    Point("ours: fields in lists of objects", one("a.b: x"), [{"a": [{"b": "y"}, {"b": "x"}]}], [{"a": ["x"]}]),
    Point("ours: a place in a list", one("a.1: x"), [{"a": ["y", "x"]}], [{"a": ["x", "y"]}, {"a": ["x"]}]),
    Point("ours: keys with dots", one("a.b.c: x"), [{"a": {"b.c": "x"}}, {"a.b": {"c": "x"}}], [{"a": {"b": "c"}}]),
    Point("Special Values: ''", one("f: ''"), [{"f": ""}, {"f": ["a", ""]}], [{"f": " "}, {}, {"f": None}]),
    Point("Special Values: null", one("f: null"), [{}, {"f": None}, {"f": []}, {"f": [None]}], [{"f": ""}, {"f": 0}]),
    Point("Special Values: an object is a value", one("f: null"), [{}], [{"f": {"a": 1}}, {"f": [{}]}]),
    Point(
        "Special Values: not null by a filter",
        "s: {EventID: 4738}\nfilter: {PasswordLastSet: null}\ncondition: s and not filter",
        [{"EventID": 4738, "PasswordLastSet": "x"}],
        [{"EventID": 4738}, {"EventID": 4738, "PasswordLastSet": None}],
    ),
    Point("Field Existence: true", one("f|exists: true"), [{"f": "x"}, {"f": None}, {"f": ""}], [{}, {"g": 1}]),
    Point("Field Existence: false", one("f|exists: false"), [{}], [{"f": None}, {"f": []}]),
    Point(
        "Keywords: |all joins by and",
        "k:\n  '|all':\n    - OabVirtualDirectory\n    - ' -ExternalUrl '\ncondition: k",
        [{"message": "x -externalurl OABVirtualDirectory"[::1] + " -ExternalUrl y"}],
        [{"message": "OabVirtualDirectory"}, {"message": "x -ExternalUrl y"}],
    ),
    Point("Keywords: across the whole event", "k: [a1, b2]\ncondition: k", [{"x": {"y": "zA1"}}], [{"x": "a"}]),
    Point("Keywords: with wildcards", "k: ['a*z']\ncondition: k", [{"m": "..a--z.."}], [{"m": "z a"}]),
    Point("Keywords: numbers", "k: [4711]\ncondition: k", [{"m": "pid 4711,"}, {"m": 4711}], [{"m": 47}]),
    Point("Keywords: a pattern", "k:\n  '|re': ['a\\d+z']\ncondition: k", [{"m": "-a12z-"}], [{"m": "az"}]),
    Point(
        "ours: keywords do not look at what we know of the sender",
        "k: [docker, nginx]\ncondition: k",
        [{"message": "docker"}, {"event": {"original": "nginx"}}, {"tidewaiter": {"app": {"x": "nginx"}}}],
        [
            {"tidewaiter": {"origin": {"input": "docker"}}, "container": {"name": "nginx"}},
            {"event": {"dataset": "docker.events", "module": "docker"}, "related": {"hosts": ["docker"]}},
        ],
    ),
]

MODIFIERS = [
    Point("all", "s: {f|contains|all: [a, b]}\ncondition: s", [{"f": "xbya"}, {"f": ["a", "b"]}], [{"f": "a"}]),
    Point("startswith", one("f|startswith: adm"), [{"f": "ADMIN"}, {"f": "adm"}], [{"f": "xadm"}]),
    Point("endswith", one(r"f|endswith: '\cmd.exe'"), [{"f": r"c:\CMD.exe"}], [{"f": "cmd.exe"}]),
    Point("contains", one("f|contains: mimi"), [{"f": "a MIMI b"}, {"f": "mimi"}], [{"f": "mim"}]),
    Point("contains: wildcards within", one("f|contains: 'a?c'"), [{"f": "-abc-"}], [{"f": "ac"}]),
    Point("cased", one("f|cased: Admin"), [{"f": "Admin"}], [{"f": "admin"}]),
    Point("cased, contains", one("f|contains|cased: Admin"), [{"f": "an Admin"}], [{"f": "an admin"}]),
    Point("neq", one("f|neq: a"), [{"f": "b"}, {}], [{"f": "A"}]),
    Point("neq: different from all values", one("f|neq: [a, b]"), [{"f": "c"}], [{"f": "a"}, {"f": "b"}]),
    Point(
        "windash", one("f|windash|contains: ' -x'"), [{"f": "c /x"}, {"f": "c \u2013x"}, {"f": "c -x"}], [{"f": "x"}]
    ),
    Point("windash within all", one("f|windash|contains|all: [' -x', ' -y']"), [{"f": "c /x -y"}], [{"f": "c /x"}]),
    Point("re: case-sensitive", one("f|re: 'a+b'"), [{"f": "xaab"}], [{"f": "AB"}]),
    Point("re: anchors", one("f|re: '^a.c$'"), [{"f": "abc"}], [{"f": "xabc"}, {"f": "a\nc"}]),
    Point("re: alternation and groups", one("f|re: '^(a|b){2}$'"), [{"f": "ab"}], [{"f": "abc"}]),
    Point("re: numbers by their text", one("f|re: '^5\\d\\d$'"), [{"f": 503}], [{"f": 404}]),
    Point("re|i", one("f|re|i: 'a+b'"), [{"f": "AAB"}], [{"f": "b"}]),
    Point("re|m", one("f|re|m: '^b$'"), [{"f": "a\nb\nc"}], [{"f": "abc"}]),
    Point("re|s", one("f|re|s: 'a.b'"), [{"f": "a\nb"}], [{"f": "ab"}]),
    Point("re: without s a dot is no newline", one("f|re: 'a.b'"), [{"f": "a-b"}], [{"f": "a\nb"}]),
    Point("base64", one("f|base64: foobar"), [{"f": "Zm9vYmFy"}], [{"f": "foobar"}]),
    Point(
        "base64offset, contains",
        one("f|base64offset|contains: foobar"),
        [{"f": "xxZm9vYmFyxx"}, {"f": "eGZvb2Jhcg=="}, {"f": "eHhmb29iYXI="}],
        [{"f": "foobar"}],
    ),
    Point("wide", one("f|wide|base64offset|contains: cmd"), [{"f": "YwBtAGQA"}], [{"f": "Y21k"}]),
    Point("utf16le is wide", one("f|utf16le|base64offset|contains: cmd"), [{"f": "YwBtAGQA"}], [{"f": "Y21k"}]),
    Point("utf16be", one("f|utf16be|base64offset|contains: cmd"), [{"f": "AGMAbQBk"}], [{"f": "YwBtAGQA"}]),
    Point("utf16 with its mark", one("f|utf16|base64: cmd"), [{"f": "//5jAG0AZAA="}], [{"f": "YwBtAGQA"}]),
    Point("lt", one("f|lt: 5"), [{"f": 4}, {"f": "4.9"}], [{"f": 5}, {"f": "x"}, {}, {"f": True}]),
    Point("lte", one("f|lte: 5"), [{"f": 5}, {"f": -1}], [{"f": 5.1}]),
    Point("gt", one("f|gt: 5"), [{"f": 6}, {"f": "10"}], [{"f": 5}, {"f": "0x10"}]),
    Point("gte", one("f|gte: 5"), [{"f": 5}, {"f": [1, 9]}], [{"f": 4}]),
    Point("neq of a number", one("f|neq: 5"), [{"f": 6}], [{"f": 5}]),
    Point("minute", one("t|minute: 7"), [{"t": "2026-11-29T02:07:00.5Z"}], [{"t": "2026-11-29T07:08:00Z"}, {"t": "x"}]),
    Point("hour, in UTC", one("t|hour: 1"), [{"t": "2026-11-29T02:07:00+01:00"}], [{"t": "2026-11-29T02:07:00Z"}]),
    Point("hour, compared", one("t|hour|gte: 22"), [{"t": "2026-11-29T23:00:00Z"}], [{"t": "2026-11-29T21:00:00Z"}]),
    Point("day", one("t|day: 29"), [{"t": "2026-11-29T02:07:00Z"}], [{"t": "2026-11-28T02:07:00Z"}]),
    Point("week", one("t|week: 48"), [{"t": "2026-11-29T02:07:00Z"}], [{"t": "2026-11-30T02:07:00Z"}]),
    Point("month", one("t|month: 11"), [{"t": "2026-11-29T02:07:00Z"}], [{"t": "2026-10-29T02:07:00Z"}]),
    Point(
        "year", one("t|year: 2026"), [{"t": "2026-11-29T02:07:00Z"}, {"t": 1795917600}], [{"t": "2025-11-29T02:07:00Z"}]
    ),
    Point(
        "cidr IPv4",
        one("f|cidr: 192.0.2.0/24"),
        [{"f": "192.0.2.3"}, {"f": "::ffff:192.0.2.7"}],
        [{"f": "198.51.100.1"}],
    ),
    Point(
        "cidr: what is no address",
        one("f|cidr: 192.0.2.0/24"),
        [{"f": ["x", "192.0.2.1"]}],
        [{"f": "192.0.2."}, {"f": 192}],
    ),
    Point(
        "cidr IPv6",
        one("f|cidr: '2001:db8::/48'"),
        [{"f": "2001:DB8:0::7"}],
        [{"f": "2001:db8:1::"}, {"f": "192.0.2.4"}],
    ),
    Point(
        "fieldref", one("f|fieldref: g"), [{"f": "A", "g": "a"}, {"f": 1, "g": "1"}], [{"f": "a"}, {"f": "a", "g": "b"}]
    ),
    Point("fieldref, neq", one("f|fieldref|neq: g"), [{"f": "a", "g": "b"}], [{"f": "a", "g": "a"}]),
    Point(
        "fieldref, startswith", one("f|fieldref|startswith: g"), [{"f": "abc", "g": "ab"}], [{"f": "ab", "g": "abc"}]
    ),
    Point("fieldref, endswith", one("f|fieldref|endswith: g"), [{"f": "abc", "g": "bc"}], [{"f": "abc", "g": "ab"}]),
    Point("fieldref, contains", one("f|fieldref|contains: g"), [{"f": "abc", "g": "b"}], [{"f": "abc", "g": "d"}]),
]

A, B, C = {"a": 1}, {"b": 1}, {"c": 1}
THREE = "a1: {a: 1}\na2: {b: 1}\n_x: {c: 1}\n"

CONDITIONS = [
    Point("or", THREE + "condition: a1 or a2", [A, B], [C, {}]),
    Point("and", THREE + "condition: a1 and a2", [A | B], [A, B]),
    Point("not", THREE + "condition: a1 and not a2", [A], [A | B, {}]),
    Point("and binds more than or", THREE + "condition: a1 or a2 and _x", [A, B | C], [B, C]),
    Point("not binds more than and", THREE + "condition: not a1 and a2", [B], [A | B, {}]),
    Point("brackets", THREE + "condition: (a1 or a2) and _x", [A | C, B | C], [A, C]),
    Point("brackets", THREE + "condition: not (a1 or a2)", [C, {}], [A, B]),
    Point("1 of them, without what begins with _", THREE + "condition: 1 of them", [A, B], [C]),
    Point("any of them", THREE + "condition: any of them", [A, B], [C]),
    Point("all of them", THREE + "condition: all of them", [A | B], [A, B | C]),
    Point("1 of a pattern", THREE + "condition: 1 of a*", [A, B], [C]),
    Point("all of a pattern", THREE + "condition: all of a* and _x", [A | B | C], [A | B]),
    Point("a star anywhere", THREE + "condition: 1 of *2", [B], [A]),
    Point("not 1 of a pattern", THREE + "condition: _x and not 1 of a*", [C], [A | C, B | C]),
    Point("not all of a pattern", THREE + "condition: _x and not all of a*", [C, A | C], [A | B | C]),
    Point("a list: joined by or", THREE + "condition: [a1, a2 and _x]", [A, B | C], [B, C]),
    Point("names that begin with an operator", "notes: {a: 1}\nor_x: {b: 1}\ncondition: notes or or_x", [A, B], [C]),
]


def name(point: Point) -> str:
    """Return what a point is called."""
    return point.section


@pytest.mark.parametrize("point", [*POINTS, *MODIFIERS, *CONDITIONS], ids=name)
def test_what_the_specification_says(point: Point) -> None:
    """Each document of `holds` fires the rule, none of `fails` does."""
    rule = rule_of(point.detection)

    assert [True] * len(point.holds) == [fires(rule, document) for document in point.holds]
    assert [False] * len(point.fails) == [fires(rule, document) for document in point.fails]


PLACEHOLDERS = {"admins": ("root", "adm_*"), "hosts": ("web1", "web2")}


@pytest.mark.parametrize(
    "point",
    [
        Point(
            "expand: any of the values", one("f|expand: '%admins%'"), [{"f": "ROOT"}, {"f": "adm_x"}], [{"f": "bob"}]
        ),
        Point("Placeholders: only with expand", one("f: '%admins%'"), [{"f": "%admins%"}], [{"f": "root"}]),
        Point("expand within a text", one("f|expand: 'x-%hosts%-y'"), [{"f": "x-web2-y"}], [{"f": "web2"}]),
        Point("expand: two", one("f|expand: '%hosts%/%admins%'"), [{"f": "web1/adm_"}], [{"f": "web1/"}]),
        Point("expand, contains", one("f|expand|contains: '%hosts%'"), [{"f": "a web1 b"}], [{"f": "web"}]),
        Point("expand in a pattern", one("f|re|expand: '^%hosts%$'"), [{"f": "web1"}], [{"f": "web1 "}]),
        Point("expand in a keyword", "k:\n  '|expand': '%hosts%'\ncondition: k", [{"m": "on web2"}], [{"m": "web"}]),
        Point("a percent sign", one("f|expand: '50%'"), [{"f": "50%"}], [{"f": "50"}]),
    ],
    ids=name,
)
def test_placeholders(point: Point) -> None:
    """Values of files stand in the place of `%name%` where `expand` asks for it; their wildcards count."""
    rule = rule_of(point.detection, PLACEHOLDERS)

    assert [True] * len(point.holds) == [fires(rule, document) for document in point.holds]
    assert [False] * len(point.fails) == [fires(rule, document) for document in point.fails]


def test_a_placeholder_without_values_rejects_its_rule() -> None:
    """Rules specification, "Placeholders": a tool that cannot handle one must reject the rule."""
    made = loaded("title: T\nlogsource: {category: test}\ndetection:\n  s:\n    f|expand: '%nobody%'\n  condition: s\n")

    assert made.rules == ()
    assert ["rule.yml:5:5: no values are given for the placeholder %nobody%"] == list(map(str, made.problems))
