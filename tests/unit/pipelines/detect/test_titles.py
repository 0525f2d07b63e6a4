"""An alert's sentence: what was found, who, from where, in what and on which host, and what they did."""

from typing import Any

import pytest

from pipelines.detect.rule import LogSource, Place, Rule
from pipelines.detect.titles import MESSAGE_LIMIT, title_of

RULE = Rule("r", "A shell", Place("r.yml"), LogSource("test"), ())
POD = {"type": "pod", "name": "web-1"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "A shell"),
        ({"host": {"name": "node-1"}}, "A shell: on node-1"),
        (
            {
                "user": {"name": "root"},
                "container": {"name": "web", "id": "a" * 64},
                "orchestrator": {"namespace": "shop", "resource": POD},
                "host": {"name": "node-1"},
                "process": {"command_line": "sh -c id"},
            },
            "A shell: root in container web of pod shop/web-1 on node-1: sh -c id",
        ),
        ({"container": {"id": "b" * 64}}, "A shell: in container bbbbbbbbbbbb"),
        (
            {"user": {"name": "alice", "effective": {"name": "root"}}, "process": {"executable": "/bin/sh"}},
            "A shell: alice as root: /bin/sh",
        ),
        (
            {
                "user": {"name": "system:anonymous"},
                "source": {"ip": "203.0.113.9"},
                "orchestrator": {"namespace": "kube-system", "resource": {"type": "secrets", "name": "token"}},
                "http": {"request": {"method": "GET"}},
                "url": {"original": "/api/v1/secrets"},
            },
            "A shell: system:anonymous from 203.0.113.9 on secrets kube-system/token: GET /api/v1/secrets",
        ),
        ({"file": {"path": "/etc/shadow"}}, "A shell: /etc/shadow"),
    ],
)
def test_the_sentence_says_what_a_document_knows(document: dict[str, Any], expected: str) -> None:
    """And leaves out what it does not."""
    assert title_of(RULE, document) == expected


def test_what_is_watched_cannot_write_a_line_of_its_own_into_it() -> None:
    """Names and commands are what others chose: each is one line, and bounded."""
    document = {
        "user": {"name": "root\n2026-11-30 All is well\x1b[2J"},
        "container": {"name": "w" * 5000},
        "process": {"command_line": "\u202e" + "x" * 9000},
    }
    made = title_of(RULE, document)

    assert made.isprintable()
    assert len(made) < MESSAGE_LIMIT
    assert made.startswith('A shell: "root 2026-11-30 All is well [2J" in container www')


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("root from 192.0.2.1", '"root from 192.0.2.1"'),
        ('x" from 192.0.2.1', '"x\' from 192.0.2.1"'),
        ("\u3000root", '" root"'),
        ("system:anonymous", "system:anonymous"),
    ],
)
def test_a_name_cannot_say_from_where_it_was(name: str, shown: str) -> None:
    """What a login gives as a user is any text, and stands before the address that is proven."""
    document = {"user": {"name": name}, "source": {"ip": "203.0.113.9"}}

    assert title_of(RULE, document) == f"A shell: {shown} from 203.0.113.9"


def test_a_long_title_leaves_room() -> None:
    """The sentence still says where."""
    rule = Rule("r", "t" * 5000, Place("r.yml"), LogSource("test"), ())

    made = title_of(rule, {"host": {"name": "node-1"}, "url": {"path": "/" + "p" * 5000}})
    assert "on node-1" in made
    assert len(made) <= MESSAGE_LIMIT
