"""Failures and connections are remembered: bounded, for a while, in the checkpoint, the same on both paths."""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pipelines import logins
from pipelines.logins import CONNECTION_NS, FAILURES_LIMIT, WINDOW_NS, Logins
from pipelines.normalize.logins import own_fields, session_id, whereabouts
from pipelines.normalize.logins import told as told_of
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.paths import Paths
from tests.kit.pieces import at_time

SCHEMA = Schema(Path(__file__).parents[2] / "data")
NOW_S = 1_795_953_600
SECOND = 1_000_000_000
HOST = ("192.0.2.7", "web1")
ALICE = (*HOST, "", "alice", "", "192.0.2.9")

HEAD = "Nov 29 12:00:00 web1 sshd[{}]: "
FAILED = "Failed password for {} from 192.0.2.9 port 50000 ssh2"
ACCEPTED = "Accepted password for {} from 192.0.2.9 port 50001 ssh2"


class Told:
    """Lines of one sender, frame by frame, through both paths."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.paths = Paths(settings or Settings(version="0.1.0"), SCHEMA)
        self._sequence = 3

    def frame(self, *lines: str, **beside: str) -> list[dict[str, Any]]:
        """Return the documents of a frame; `beside` are further keys of its records."""
        self._sequence += 1
        stamp = msgpack.ExtType(0, struct.pack(">II", NOW_S, 0))
        payload = b"".join(msgpack.packb([stamp, {**beside, "log": line}]) for line in lines)
        frame = frame_of(("forward", [(payload, b"auth", len(lines))]), sequence=self._sequence)
        documents = self.paths.check(at_time(frame, NOW_S * SECOND + self._sequence))
        return sorted(documents, key=lambda document: document["event"]["sequence"])


def failed(user: str = "alice", pid: int = 7) -> str:
    """A refused password's line."""
    return HEAD.format(pid) + FAILED.format(user)


def accepted(user: str = "alice", pid: int = 8) -> str:
    """A login's line."""
    return HEAD.format(pid) + ACCEPTED.format(user)


def failures(document: dict[str, Any]) -> int | None:
    """How many failures a document says stand before it, if its fact says so too."""
    found: int | None = document["tidewaiter"].get("auth", {}).get("failures")
    assert (found is not None) == ("login_after_failures" in document["tidewaiter"].get("facts", []))
    return found


def test_a_failure_counts_for_an_hour_from_the_last_one() -> None:
    """Journal time decides, up to the hour itself."""
    remembered = Logins()
    remembered.fail(ALICE, 1, "a", 1, told_before=False)
    remembered.fail(ALICE, 1, "b", WINDOW_NS, told_before=False)

    assert 2 == remembered.succeed(ALICE, 2 * WINDOW_NS)
    remembered.fail(ALICE, 1, "a", 1, told_before=False)
    assert 0 == remembered.succeed(ALICE, WINDOW_NS + 2)


def test_a_success_begins_anew_and_concerns_nobody_else() -> None:
    """Neither another user, nor another source, nor another host."""
    told = Told()
    told.frame(failed(), failed(), failed("bob"))
    first, second = told.frame(accepted(), accepted())
    other = told.frame(accepted("bob").replace("192.0.2.9", "192.0.2.10"), accepted("bob").replace("web1", "web2"))

    assert [2, None, None, None] == [failures(each) for each in (first, second, *other)]


def test_lines_of_one_message_count_in_their_order() -> None:
    """Though a parser takes logins before failures."""
    told = Told()
    told.frame(accepted("bob"))
    _, login, _, again = told.frame(failed(), accepted(), failed(), accepted())

    assert [1, 1] == [failures(login), failures(again)]


def test_a_container_and_its_host_are_two_places() -> None:
    """What failed on the one says nothing about the other."""
    told = Told()
    told.frame(failed())
    container = {"container_id": "c" * 64, "container_name": "/jump", "source": "stderr"}
    (inside,) = told.frame(accepted(), **container)
    (outside,) = told.frame(accepted())

    assert [None, 1] == [failures(inside), failures(outside)]


@pytest.mark.parametrize(
    "container",
    [
        {"kubernetes": {"pod_name": "web-0", "namespace_name": "shop", "container_name": "app", "host": "node1"}},
        {"kubernetes": {"pod_name": "web-0", "host": "node1"}},
        {"container_name": "web"},
        {"stream": "stderr"},
        {"kubernetes": {"namespace_name": "shop"}},
        {"container_id": "node1", "source": "stderr"},
    ],
)
def test_a_container_of_no_id_has_no_say_in_its_hosts_logins(container: dict[str, Any]) -> None:
    """Whatever of it is known: it prints the same line as the host's sshd."""
    told = Told(Settings(version="0.1.0", hosts={"192.0.2.7": "node1"}))
    (inside,) = told.frame(failed(), **container)
    (outside,) = told.frame(accepted(pid=7))

    assert "node1" == inside["host"]["name"] == outside["host"]["name"]
    assert failures(outside) is None
    assert inside["tidewaiter"]["session"] != outside["tidewaiter"]["session"]
    (login,) = told.frame(accepted(), **container)
    assert 1 == failures(login)
    assert "login_in_container" in login["tidewaiter"]["facts"]


def test_a_container_known_by_its_files_name_only_has_no_say_in_its_hosts_logins() -> None:
    """Fluent Bit without its filter for pods; another file is another container."""
    file = "kube.var.log.containers.{}_shop_app-" + "e" * 64 + ".log"
    places = [file.format("web-0"), "kube.shop.web-0.app." + "e" * 64, "host.secure"]
    tails = [{"host": {"name": "node1"}, "tidewaiter": {"tag": tag}} for tag in places]
    lines = [told_of("pam", {}, {}, {}, "", whereabouts(tail)) for tail in tails]

    assert 3 == len({line.place for line in lines})
    assert [True, True, False] == [line.contained for line in lines]


def test_users_of_a_service_in_a_container_are_not_in_the_container() -> None:
    """Keycloak's and the like: only logins into the system are `login_in_container`."""
    told = Told()
    line = "type=LOGIN, realmId=shop, clientId=web, userId=u1, ipAddress=192.0.2.9, username=alice"
    message = f"2026-11-29 12:00:00,000 DEBUG [org.keycloak.events] (executor-thread-1) {line}"
    container = {"container_id": "c" * 64, "container_name": "/x", "source": "stderr"}
    service, system = told.frame(message, accepted(), **container)

    assert "start" in service["event"]["type"]
    assert "authentication" in service["event"]["category"]
    assert "facts" not in service["tidewaiter"]
    assert ["login_in_container"] == system["tidewaiter"]["facts"]


def test_a_refused_password_and_what_follows_from_it_are_one_failure() -> None:
    """Sshd and PAM tell of it in several lines; rsyslog's count of repeated lines counts."""
    told = Told()
    told.frame(
        HEAD.format(7) + "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser="
        " rhost=192.0.2.9  user=alice",
        failed(),
        HEAD.format(7) + "Connection closed by authenticating user alice 192.0.2.9 port 50000 [preauth]",
    )
    told.frame(HEAD.format(9) + f"message repeated 3 times: [ {FAILED.format('alice')}]")
    (login,) = told.frame(accepted())

    assert 4 == failures(login)


def test_a_refused_key_is_a_failure_though_only_the_end_tells_of_it() -> None:
    """At sshd's usual level nothing else does."""
    told = Told()
    told.frame(*[HEAD.format(7) + "Connection closed by authenticating user alice 192.0.2.9 port 50000 [preauth]"] * 2)
    (login,) = told.frame(accepted())

    assert 1 == failures(login)


def test_sudo_without_asking_is_no_failed_attempt() -> None:
    """Nor is a command that it does not allow: only a wrong password is."""
    told = Told()
    tail = "TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id"
    told.frame(*[f"sudo[9]:    alice : {why} ; {tail}" for why in ("a password is required", "command not allowed")])
    (run,) = told.frame(f"sudo[9]:    alice : {tail}")
    told.frame(f"sudo[9]:    alice : 2 incorrect password attempts ; {tail}")
    (later,) = told.frame(f"sudo[9]:    alice : {tail}")

    assert [None, 2] == [failures(run), failures(later)]


def test_web_logins_count_too() -> None:
    """A line of JSON by any logger, and a sentence."""
    told = Told()
    line = {"event": "login failed", "user": "alice", "client_ip": "192.0.2.9"}
    told.frame(json.dumps(line), container_id="c" * 64, source="stdout")
    (login,) = told.frame(json.dumps({**line, "event": "login succeeded"}), container_id="c" * 64, source="stdout")

    assert 1 == failures(login)


def test_a_silent_fact_is_not_told_and_the_count_stays() -> None:
    """`documents: {facts: {login_after_failures: false}}`."""
    told = Told(Settings(version="0.1.0", silent_facts=("login_after_failures",)))
    told.frame(failed())
    (login,) = told.frame(accepted())

    assert "facts" not in login["tidewaiter"]
    assert 1 == login["tidewaiter"]["auth"]["failures"]


def test_what_is_remembered_survives_a_restart() -> None:
    """Failures and connections are in the checkpoint."""
    told = Told()
    (begun,) = told.frame(HEAD.format(7) + "Connection from 192.0.2.9 port 50000 on 192.0.2.22 port 22")
    told.frame(failed())
    told.paths.restart()
    ended, login = told.frame(HEAD.format(19) + "Disconnected from user alice 192.0.2.9 port 50000", accepted())

    assert begun["tidewaiter"]["session"] == ended["tidewaiter"]["session"]
    assert 1 == failures(login)


def test_a_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that failed longest ago is forgotten; a count has a limit too."""
    monkeypatch.setattr(logins, "ATTEMPTS_LIMIT", 2)
    remembered = Logins()
    for name in ("a", "b", "c"):
        remembered.fail((*HOST, "", name, "", ""), FAILURES_LIMIT + 1, "", 1, told_before=False)

    assert [0, FAILURES_LIMIT] == [remembered.succeed((*HOST, "", name, "", ""), 2) for name in ("a", "c")]


def test_a_flood_in_one_place_forgets_nothing_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can print as many names and hosts as it likes."""
    monkeypatch.setattr(logins, "ATTEMPTS_LIMIT", 8)
    monkeypatch.setattr(logins, "CONNECTIONS_LIMIT", 8)
    remembered = Logins()
    remembered.fail(ALICE, 1, "", 1, told_before=False)
    remembered.begin(HOST, "192.0.2.9 50000", 7, 1)
    for number in range(100):
        place = ("container", f"host {number}")
        remembered.fail((*place, "", f"user {number}", "", ""), 1, "", 2, told_before=False)
        remembered.begin(place, f"192.0.2.9 {number}", 9, 2)

    assert 1 == remembered.succeed(ALICE, 3)
    assert 7 == remembered.leading(HOST, "192.0.2.9 50000", 19, 3)
    assert 1 == remembered.succeed(("container", "host 99", "", "user 99", "", ""), 3)


def test_a_long_name_is_remembered_by_a_hash() -> None:
    """So a flood of them outdoes no more than one of short ones; two of them are two."""
    remembered = Logins()
    names = ["x" * 20_000 + end for end in "ab"]
    lines = [
        told_of(
            "sshd",
            {"category": ["authentication"], "type": ["info"], "outcome": "failure"},
            {"user": {"name": name}, "log": {"syslog": {"hostname": name}}},
            {"auth": {"method": "password"}},
            "Failed password",
            whereabouts({"host": {"name": "web1"}, "tidewaiter": {"tag": "auth"}}),
        )
        for name in names
    ]
    for line in lines:
        own_fields(line, remembered, 1, ())

    attempts = remembered.sections["attempts"]
    assert 2 == len(attempts)
    assert attempts.size_bytes < 2000


def test_a_number_of_a_process_that_comes_again_begins_a_new_session() -> None:
    """A connection's own lines say so; nothing of what the process was before stays."""
    remembered = Logins()
    remembered.begin(HOST, "192.0.2.9 50000", 7, 1)
    assert 7 == remembered.leading(HOST, "192.0.2.9 50000", 9, 2)
    assert 7 == remembered.leading(HOST, "", 9, 3)

    remembered.begin(HOST, "192.0.2.9 50001", 9, 4)

    assert 9 == remembered.leading(HOST, "", 9, 5)


def test_a_connection_is_forgotten_after_a_day() -> None:
    """A peer's port comes again as well."""
    remembered = Logins()
    remembered.begin(HOST, "192.0.2.9 50000", 7, 1)

    assert 7 == remembered.leading(HOST, "192.0.2.9 50000", 9, 1 + CONNECTION_NS)
    assert 11 == remembered.leading(HOST, "192.0.2.9 50000", 11, 3 + 2 * CONNECTION_NS)


def test_a_session_is_of_its_host_and_kind() -> None:
    """Names are joined so that none can pass for another: the separator cannot stand in a host's name."""
    names = {
        session_id(("a", "b"), "process", "1"),
        session_id(("a", "b"), "audit", "1"),
        session_id(("a", "b"), "process", "11"),
        session_id(("ab", ""), "process", "1"),
    }

    assert 4 == len(names)
    assert {16} == {len(each) for each in names}


def test_audit_records_of_one_login_have_its_session() -> None:
    """Whatever process they are of; a record without a login has none."""
    told = Told()
    record = (
        "type=USER_ACCT msg=audit(1795953600.000:{0}): pid={0} uid=0 auid={1} ses={2}"
        " msg='op=PAM:accounting acct=\"root\" res=success'"
    )
    unset = 4294967295
    logins_of = ((1, 1000, 3), (2, 1000, 3), (3, 1000, 4), (4, unset, unset))
    documents = told.frame(*(record.format(*each) for each in logins_of))
    sessions = [each["tidewaiter"].get("session", {}).get("id") for each in documents]

    assert sessions[0] == sessions[1] != sessions[2]
    assert sessions[3] is None
    assert {"session": "3", "login": {"id": "1000"}} == documents[0]["tidewaiter"]["audit"]
