"""Linux audit records are decoded by what they are, and say who did what."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from parsers.audit import decoded, fields_of, record_of
from parsers.audit_kinds import SYSCALL_NAMES, SYSCALLS, TYPE_NAMES, TYPES
from parsers.formats.auditd import FORMAT
from parsers.table import Payload

TAXONOMY: Final = json.loads((Path(__file__).parents[2] / "data" / "event_taxonomy.json").read_text())

EVENT: Final = """
SYSCALL msg=audit(1700000000.123:501): arch=c000003e syscall=59 success=yes exit=0 a0=55d0 a1=55d1 a2=55d2 a3=8 \
items=2 ppid=100 pid=101 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm="bash" \
exe="/usr/bin/bash" subj=unconfined key="exec"
EXECVE msg=audit(1700000000.123:501): argc=3 a0="bash" a1="-c" a2=6375726C20687474703A2F2F312E322E332E347C7368
CWD msg=audit(1700000000.123:501): cwd="/root"
PATH msg=audit(1700000000.123:501): item=0 name="/usr/bin/bash" inode=1234 dev=08:01 mode=0100755 ouid=0 ogid=0 \
rdev=00:00 nametype=NORMAL
PROCTITLE msg=audit(1700000000.123:501): proctitle=62617368002D63006375726C20687474703A2F2F312E322E332E347C7368
""".strip().splitlines()
"""One event: alice, by now root, runs a shell."""

CURL: Final = bytes.fromhex("6375726C20687474703A2F2F312E322E332E347C7368").decode()


def fields(text: str) -> dict[str, Any]:
    """The fields of one record."""
    return fields_of([record_of(text)])


def test_records_of_one_event_tell_it_together() -> None:
    """Who, as whom, with which arguments, where: each field has the first word."""
    found = fields_of(map(record_of, EVENT))

    assert ("1000", "0", "0") == tuple(
        found[name] for name in ("process.entry_leader.user.id", "user.id", "user.effective.id")
    )
    assert (["bash", "-c", CURL], 3) == (found["process.args"], found["process.args_count"])
    assert ("/root", f"bash -c {CURL}") == (found["process.working_directory"], found["process.title"])
    assert ("executed", "SYSCALL", "success") == tuple(found[f"event.{name}"] for name in ("action", "code", "outcome"))


@pytest.mark.parametrize(
    ("kind", "key", "raw", "expected"),
    [
        ("USER_LOGIN", "acct", "6261642075736572", "bad user"),
        ("USER_LOGIN", "acct", '"dead"', "dead"),
        ("USER_LOGIN", "acct", '"6261642075736572"', "6261642075736572"),
        ("USER_LOGIN", "acct", "dead", "dead"),
        ("USER_LOGIN", "acct", "ABC", "ABC"),
        ("SYSCALL", "a0", "6261", "6261"),
        ("EXECVE", "a0", "612062", "a b"),
        ("EXECVE", "a1[2]", "612062", "a b"),
        ("EXECVE", "argc", "10", "10"),
        ("PATH", "inode", "1234", "1234"),
        ("SYSCALL", "key", "657865630170726976", "exec\x01priv"),
        ("SYSCALL", "key", "(null)", None),
        ("PATH", "name", "FFFE20", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} "),
        ("USER_AUTH", "hostname", "?", None),
        ("USER_AUTH", "acct", '""', None),
    ],
)
def test_a_value_is_decoded_by_its_key_and_type(kind: str, key: str, raw: str, expected: str | None) -> None:
    """Never by its shape: figures that look like hexadecimal stay, and so does all that is quoted."""
    assert expected == decoded(kind, key, raw)


def test_no_resolved_name_passes_for_a_key_of_the_record() -> None:
    """What stands behind 0x1D may hold anything; the record's own keys never come from there."""
    record = record_of(
        "USER_LOGIN msg=audit(1700000001.000:502): pid=9 uid=0 auid=1000 msg='op=login acct=\"x'AUID=y\" "
        'res=failed\'\x1dAUID="a res=success pid=1" UID="root"'
    )

    assert ("9", "failed", "x'AUID=y") == (record.said["pid"], record.payload["res"], record.payload["acct"])
    assert {"AUID": "a res=success pid=1", "UID": "root"} == record.names


def test_a_program_cannot_speak_for_the_kernel() -> None:
    """Process and login identity are the kernel's keys, whatever stands within `msg='…'`."""
    found = fields(
        'USER_AUTH msg=audit(1700000001.000:502): pid=9 uid=0 auid=1000 msg=\'pid=1 uid=5 auid=0 acct="root" '
        "res=success'"
    )

    assert (9, "1000", "root") == (found["process.pid"], found["user.id"], found["user.effective.name"])


def test_an_identity_that_is_not_set_is_left_out() -> None:
    """4294967295 and -1 are nobody's number."""
    found = fields("SYSCALL msg=audit(1700000001.000:502): auid=4294967295 uid=-1 euid=0 ses=4294967295 pid=7")

    assert {"user.effective.id": "0"} == {name: value for name, value in found.items() if "user" in name}


def test_all_kinds_are_of_ecs() -> None:
    """Every category exists and expects the types that stand with it."""
    kinds = {**TYPES, **SYSCALLS}
    wrong = {
        name
        for name, kind in kinds.items()
        for each in kind.type
        if each not in {known for category in kind.category for known in TAXONOMY["expected_event_types"][category]}
    }

    assert set() == wrong


def test_system_calls_have_the_numbers_of_their_architecture() -> None:
    """Those of `protocols/syslog-and-audit.md`, and no action names a call that nothing is the number of."""
    x86_64, aarch64 = SYSCALL_NAMES["c000003e"], SYSCALL_NAMES["c00000b7"]
    expected = {"59": "execve", "322": "execveat", "2": "open", "257": "openat", "87": "unlink", "263": "unlinkat"}
    expected |= {"101": "ptrace", "165": "mount", "175": "init_module", "313": "finit_module"}

    assert expected == {number: x86_64[number] for number in expected}
    assert set() == {*SYSCALLS} - {*x86_64.values(), *aarch64.values()} - {"umount", "stime"}
    assert ("SYSCALL", "AVC") == (TYPE_NAMES["1300"], TYPE_NAMES["1400"])


def test_every_field_of_a_record_is_in_its_table() -> None:
    """Tables of single types have fewer fields than that of all, which the chunk path pays for, and lack none."""
    samples = Path(__file__).parents[2] / "golden" / "formats" / "auditd" / "audit.log"
    lines = [line for line in samples.read_text(encoding="utf-8").split("\n") if line.startswith("type=")]
    found = [(FORMAT.parse(Payload(line), 0), fields(line.removeprefix("type="))) for line in lines]

    assert [len(expected) for parsed, expected in found if parsed is not None] == [
        count(parsed.event) + count(parsed.fields) + count(parsed.own) for parsed, _ in found if parsed is not None
    ]


def count(members: dict[str, Any]) -> int:
    """How many values an object holds."""
    return sum(count(value) if isinstance(value, dict) else 1 for value in members.values())
