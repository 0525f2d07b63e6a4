"""Audit records tell of the login behind a process, of rules, of a socket's other end, and at times of a container."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parsers.audit import fields_of, record_of
from parsers.audit_about import CONTAINER_TEXT_LIMIT, KEYS_LIMIT, audit_fields, peer_fields, socket_address
from parsers.audit_event import event_fields

CONTAINER = "a1" * 32
HEAD = "msg=audit(1795953600.123:501):"


def fields(record: str) -> dict[str, Any]:
    """The fields of one record."""
    return fields_of([record_of(record)])


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("020001BBC00002070000000000000000", "192.0.2.7", 443),
        ("020001BBC0000207", "192.0.2.7", 443),
        ("0A00003500000000" + "20010DB8000000000000000000000007" + "00000000", "2001:db8::7", 53),
        ("01002F72756E2F782E736F636B00", None, None),
        ("0A000035000000002001", None, None),
        ("020001BB", None, None),
        ("zz", None, None),
        ("", None, None),
    ],
    ids=["IPv4", "IPv4 without its end", "IPv6", "Unix", "IPv6 cut", "IPv4 cut", "no digits", "nothing"],
)
def test_a_sockets_address_is_the_kernels_structure(address: str, host: str | None, port: int | None) -> None:
    """Family little-endian, port big-endian; what is cut or of another family has none."""
    assert (host, port) == socket_address(address)


@given(st.text(alphabet="0123456789abcdefABCDEFxg \x00", max_size=300))
@example("02" * 128)
@example("0A" * 129)
def test_any_text_gives_an_address_or_none(address: str) -> None:
    """Never an exception, and never half of one."""
    host, port = socket_address(address)

    assert (host is None) == (port is None)
    assert set(peer_fields(address, accepted=True)) in (set(), {"source.address", "source.ip", "source.port"})


def test_a_connection_has_its_destination_and_an_accepted_one_its_source() -> None:
    """The system call tells whose address it is."""
    call = f'type=SYSCALL {HEAD} arch=c000003e syscall={{}} success=yes exit=0 pid=7 auid=1000 uid=0 ses=3 comm="curl"'
    address = f"type=SOCKADDR {HEAD} saddr=020001BBC00002070000000000000000"
    out = event_fields([call.format(42).removeprefix("type="), address])
    into = event_fields([call.format(43).removeprefix("type="), address])

    assert ("connected-to", "192.0.2.7", 443) == tuple(
        out[name] for name in ("event.action", "destination.ip", "destination.port")
    )
    assert ("accepted-connection-from", "192.0.2.7", 443) == tuple(
        into[name] for name in ("event.action", "source.ip", "source.port")
    )
    assert "source.ip" not in out
    assert "destination.ip" not in into


def test_the_login_behind_a_process_stays_through_su() -> None:
    """`auid` and `ses`; a daemon has none, and no name is made up for it."""
    person = fields(f'SYSCALL {HEAD} syscall=59 pid=7 auid=1000 uid=0 ses=3 key="exec"\x1dAUID="alice" UID="root"')
    daemon = fields(f'SYSCALL {HEAD} syscall=59 pid=7 auid=4294967295 uid=0 ses=4294967295 key=(null)\x1dAUID="unset"')
    told = {name: value for name, value in person.items() if name.startswith("tidewaiter.")}

    assert {
        "tidewaiter.audit.session": "3",
        "tidewaiter.audit.login.id": "1000",
        "tidewaiter.audit.login.name": "alice",
        "tidewaiter.audit.keys": ["exec"],
    } == told
    assert not [name for name in daemon if name.startswith("tidewaiter.")]


def test_keys_of_several_rules_are_a_list_and_bounded() -> None:
    """A byte 0x01 stands between them."""
    assert ["exec", "priv"] == audit_fields({"key": "exec\x01priv"}, {}, {})["tidewaiter.audit.keys"]
    assert KEYS_LIMIT == len(audit_fields({"key": "\x01".join("k" * 999)}, {}, {})["tidewaiter.audit.keys"])


SHIM = f"containerd-shim-runc-v2 -namespace moby -id {CONTAINER}".encode().hex().upper()


@pytest.mark.parametrize(
    "record",
    [
        f"SERVICE_START {HEAD} pid=1 uid=0 auid=4294967295 ses=4294967295 msg='unit=docker-{CONTAINER} res=success'",
        f'PATH {HEAD} item=0 name="/var/lib/docker/containers/{CONTAINER}/config.v2.json" inode=7',
        f'CWD {HEAD} cwd="/run/containerd/io.containerd.runtime.v2.task/moby/{CONTAINER}"',
        f"PROCTITLE {HEAD} proctitle={SHIM}",
        f'UNKNOWN[1420] {HEAD} cgroup="/system.slice/docker-{CONTAINER}.scope"',
    ],
    ids=["unit", "path", "folder", "shim", "cgroup"],
)
def test_a_container_is_what_a_runtimes_own_names_hold(record: str) -> None:
    """64 hexadecimal digits behind a name that an engine or a runtime gives."""
    assert CONTAINER == fields(record)["tidewaiter.audit.container_id"]


def test_digits_alone_are_no_container() -> None:
    """A hash in a file's name, an id that is too long, or one that a program prints."""
    for text in (f"/srv/{CONTAINER}", f"docker-{CONTAINER}0", f"echo {CONTAINER}"):
        assert audit_fields({"cwd": text, "proctitle": text}, {}, {})["tidewaiter.audit.container_id"] is None


def test_many_names_of_runtimes_in_a_line_do_not_cost_a_look_at_it_each() -> None:
    """The id is looked for once, behind the first; and only in as much of a value as a path can be long."""
    command = "runc " * 100 + "--root /run create {}"
    assert CONTAINER == audit_fields({"proctitle": command.format(CONTAINER)}, {}, {})["tidewaiter.audit.container_id"]
    far = "x" * CONTAINER_TEXT_LIMIT + f" docker-{CONTAINER}"
    assert audit_fields({"proctitle": far}, {}, {})["tidewaiter.audit.container_id"] is None
