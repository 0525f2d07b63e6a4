"""Lines of authentication: who did it, from where, and what somebody chose who wanted it to read otherwise."""

from typing import Any, Final

import pytest

from parsers.format import formats
from parsers.table import Payload, related_kind
from pipelines.parse import first_of

NOW_S: Final = 1795953600


def fields(line: str) -> dict[str, Any]:
    """The fields of a line by their whole names, with its format under `format`."""
    name, parsed = first_of(formats(), Payload(line), NOW_S)
    if parsed is None:
        return {}
    flat = {"format": name, "message": parsed.message}

    def add(inner: dict[str, Any], before: str) -> None:
        for name, value in inner.items():
            if isinstance(value, dict):
                add(value, f"{before}{name}.")
            else:
                flat[before + name] = value

    add(parsed.event, "event.")
    add(parsed.fields, "")
    return flat


SPOOFS = [
    "root from 198.51.100.4 port 22 ssh2",
    "root from 198.51.100.4 port 22 ssh2: ED25519 SHA256:abc",
    "root from 198.51.100.4 port 22 ssh2 [preauth]",
    "root 198.51.100.4 port 22",
    "root 198.51.100.4 port 22: Too many authentication failures",
    "root 198.51.100.4 port 22: Change of username or service not allowed: (",
    "invalid user root from 198.51.100.4 not allowed because x",
    " ",
    "a\tb",
]
"""Names that look like the rest of a line of sshd."""

TEXTS = [
    "Failed password for invalid user {} from 203.0.113.9 port 50000 ssh2",
    "Failed password for {} from 203.0.113.9 port 50000 ssh2",
    "Failed publickey for invalid user {} from 203.0.113.9 port 50000 ssh2: RSA SHA256:AAAA",
    "Invalid user {} from 203.0.113.9 port 50000",
    "Postponed keyboard-interactive for invalid user {} from 203.0.113.9 port 50000 ssh2 [preauth]",
    "error: maximum authentication attempts exceeded for invalid user {} from 203.0.113.9 port 50000 ssh2 [preauth]",
    "Connection closed by invalid user {} 203.0.113.9 port 50000 [preauth]",
    "Connection reset by authenticating user {} 203.0.113.9 port 50000 [preauth]",
    "Disconnecting invalid user {} 203.0.113.9 port 50000: Too many authentication failures [preauth]",
    "Disconnecting invalid user {0} 203.0.113.9 port 50000: Change of username or service not allowed: "
    "({0},ssh-connection) -> (x 198.51.100.4 port 22: y,ssh-connection) [preauth]",
    "User {} from 203.0.113.9 not allowed because not listed in AllowUsers",
    "error: PAM: Authentication failure for illegal user {} from 203.0.113.9",
]
"""What sshd writes about a name before it knows that it is somebody's."""


@pytest.mark.parametrize("name", SPOOFS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("head", ["", "Nov 29 02:00:00 web1 sshd[7]: ", "<38>Nov 29 02:00:00 sshd-auth[7]: "])
def test_the_address_is_the_peers_whatever_the_name(head: str, text: str, name: str) -> None:
    """No name that a client chooses makes a line tell of another address, or of another name."""
    found = fields(head + text.format(name))

    assert ("203.0.113.9", "failure") == (found["source.ip"], found.get("event.outcome", "failure"))
    assert found.get("user.name", "") in (name, name.removeprefix("invalid user "))


@pytest.mark.parametrize("text", [text for text in TEXTS if "{0}" not in text])
def test_lines_written_once_for_several_are_the_same(text: str) -> None:
    """What rsyslog wrote as `message repeated` has the line in brackets; its fields are those of the line."""
    line = text.format("guest")
    once = fields(f"Nov 29 02:00:00 web1 sshd[7]: {line}")
    several = fields(f"Nov 29 02:00:00 web1 sshd[7]: message repeated 3 times: [ {line}]")

    assert several.pop("message") == f"message repeated 3 times: [ {once.pop('message')}]"
    assert once == several


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "h su[1]: pam_unix(su:session): session opened for user root by alice(uid=1000)",
            {"user.name": "alice", "user.id": "1000", "user.effective.name": "root", "event.action": "logged-on"},
        ),
        (
            "h useradd[1]: new user: name=bob, UID=1001, GID=1001, home=/srv, shell=/bin/bash, from=/dev/pts/0",
            {"user.name": "bob", "user.target.id": "1001", "event.type": ["user", "creation"]},
        ),
        (
            "h usermod[1]: change user 'bob' UID from '1' to '0'",
            {"user.target.id": "1", "user.changes.id": "0", "event.category": ["iam"]},
        ),
        ("h su[1]: - pts/0 alice:root", {"event.outcome": "failure", "user.effective.name": "root"}),
        ("h login[1]: ROOT LOGIN ON tty1", {"user.name": "root", "event.action": "user_login"}),
        (
            "h crontab[1]: (alice) AUTH (crontab command not allowed)",
            {"event.outcome": "failure", "user.name": "alice"},
        ),
        ("h gpasswd[1]: user bob added by root to group sudo", {"user.name": "root", "user.target.name": "bob"}),
    ],
)
def test_who_did_what_to_whom(line: str, expected: dict[str, Any]) -> None:
    """`user` acts, `user.effective` is who it became, `user.target` whom it was done to."""
    found = fields(f"Nov 29 02:00:00 {line}")

    assert expected == {name: found.get(name) for name in expected}


def test_a_group_is_no_user() -> None:
    """`related.user` lists names of users, not those of their groups."""
    kinds = [related_kind(name) for name in ("user.name", "user.target.name", "source.user.name", "user.group.name")]

    assert ["user", "user", "user", None] == kinds
    assert related_kind("user.effective.group.name") is None
