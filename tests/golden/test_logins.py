"""Logins as real programs log them, scene by scene: who, from where, how, why not, and which lines are one act.

`logins/*.log` were recorded from OpenSSH 9.2, util-linux' su, sudo 1.9, shadow and Debian's cron through rsyslog, on
one host, with addresses, times and keys replaced; a line `# NAME` begins a scene. `--golden=write` writes what stands
beside them anew.
"""

import json
import struct
from itertools import count
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.paths import Paths
from tests.kit.pieces import at_time

FOLDER = Path(__file__).parent / "logins"
SAMPLES = sorted(FOLDER.glob("*.log"))
SCHEMA = Schema(Path(__file__).parents[1] / "data")
NOW_S = 1_795_953_600
"""2026-11-29T12:00:00Z, when the lines are received."""

Scenes = dict[str, list[dict[str, Any]]]
SHOWN = ("event", "user", "group", "source", "destination", "process")
HIDDEN = ("created", "sequence", "id", "kind", "module")


def told(sample: Path, *, container: bool = False) -> Scenes:
    """Return the documents of a sample's scenes; both paths make the same ones."""
    paths = Paths(Settings(version="0.1.0"), SCHEMA)
    numbers = count()
    whose = {"container_id": "c" * 64, "container_name": "/jump", "source": "stderr"} if container else {}
    scenes: Scenes = {}
    for scene, lines in scenes_of(sample):
        entries = [
            msgpack.packb([msgpack.ExtType(0, struct.pack(">II", NOW_S, next(numbers))), {**whose, "log": line}])
            for line in lines
        ]
        frame = frame_of(("forward", [(b"".join(entries), b"host.auth", len(entries))]), sequence=next(numbers))
        documents = paths.check(at_time(frame, NOW_S * 10**9 + next(numbers)))
        scenes[scene] = sorted(documents, key=lambda document: document["event"]["sequence"])
    return scenes


def scenes_of(sample: Path) -> list[tuple[str, list[str]]]:
    """Return a sample's scenes with their lines."""
    scenes: list[tuple[str, list[str]]] = []
    for line in sample.read_text(encoding="utf-8").split("\n")[:-1]:
        if line.startswith("# "):
            scenes.append((line[2:], []))
        else:
            scenes[-1][1].append(line)
    return scenes


def shown(scene: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared of a document."""
    own = document["tidewaiter"]
    found = {name: document[name] for name in SHOWN if name in document}
    found["event"] = {name: value for name, value in document["event"].items() if name not in HIDDEN}
    found |= {name: own[name] for name in ("auth", "session", "facts") if name in own}
    return {"scene": scene, "message": document["message"], **found}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_recorded_logins_give_the_documents_beside_them(sample: Path, golden_write: bool) -> None:
    """Line by line: category, type, action, outcome, reason, user, source, method, session."""
    made = [shown(scene, document) for scene, documents in told(sample).items() for document in documents]
    beside = sample.with_suffix(".jsonl")
    if golden_write:
        beside.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made), encoding="utf-8")

    assert [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()] == made


SSH = "192.0.2.7"

ACTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # sample, scene, how the telling line begins, what it tells: outcome, user, whom they became, source, reason, method
    ("sshd", "key ok", "Accepted", {"outcome": "success", "user": "alice", "source": SSH, "method": "publickey"}),
    ("sshd", "password ok", "Accepted", {"outcome": "success", "user": "alice", "source": SSH, "method": "password"}),
    (
        "sshd",
        "keyboard-interactive",
        "Accepted",
        {"outcome": "success", "user": "alice", "source": SSH, "method": "keyboard-interactive/pam"},
    ),
    (
        "sshd",
        "wrong password",
        "Failed",
        {"outcome": "failure", "user": "alice", "source": SSH, "reason": "password refused", "method": "password"},
    ),
    (
        "sshd",
        "keyboard-interactive wrong",
        "error: PAM",
        {"outcome": "failure", "user": "alice", "source": SSH, "reason": "Authentication failure"},
    ),
    (
        "sshd",
        "unknown user",
        "Failed",
        {"outcome": "failure", "user": "guest", "source": SSH, "reason": "invalid user", "method": "password"},
    ),
    (
        "sshd",
        "wrong key",
        "Connection closed",
        {"outcome": "failure", "user": "alice", "source": SSH, "reason": "no login before the end"},
    ),
    (
        "sshd_verbose",
        "wrong key",
        "Failed",
        {"outcome": "failure", "user": "alice", "source": SSH, "reason": "publickey refused", "method": "publickey"},
    ),
    (
        "sshd",
        "too many",
        "error: maximum",
        {"outcome": "failure", "user": "alice", "source": SSH, "reason": "maximum authentication attempts exceeded"},
    ),
    (
        "sshd",
        "denied user",
        "User daemon",
        {"outcome": "failure", "user": "daemon", "source": SSH, "reason": "listed in DenyUsers"},
    ),
    (
        "sshd",
        "expired",
        "fatal: Access denied",
        {"outcome": "failure", "user": "bob", "reason": "denied by PAM account configuration"},
    ),
    (
        "sshd",
        "spoof",
        "Failed",
        {
            "outcome": "failure",
            "user": "root from 198.51.100.1 port 22 ssh2",
            "source": SSH,
            "reason": "invalid user",
            "method": "password",
        },
    ),
    ("sshd", "sftp", "Accepted", {"outcome": "success", "user": "alice", "source": SSH, "method": "publickey"}),
    ("sshd", "forced command", "Accepted", {"outcome": "success", "user": "bob", "source": SSH, "method": "publickey"}),
    ("su", "su ok", "(to root)", {"outcome": "success", "user": "alice", "became": "root"}),
    (
        "su",
        "su failed",
        "FAILED",
        {"outcome": "failure", "user": "alice", "became": "root", "reason": "refused by PAM"},
    ),
    ("sudo", "sudo ok", "   alice", {"outcome": "success", "user": "alice", "became": "root"}),
    (
        "sudo",
        "sudo failed",
        "   alice",
        {
            "outcome": "failure",
            "user": "alice",
            "became": "bob",
            "reason": "3 incorrect password attempts",
            "method": "password",
        },
    ),
    (
        "sudo",
        "sudo not in sudoers",
        "     bob",
        {"outcome": "failure", "user": "bob", "became": "root", "reason": "user NOT in sudoers"},
    ),
    (
        "sudo",
        "sudo command not allowed",
        "     bob",
        {"outcome": "failure", "user": "bob", "became": "root", "reason": "command not allowed"},
    ),
    ("login", "login ok", "pam_unix(login:session): session opened", {"outcome": "success", "user": "alice"}),
    ("login", "login failed", "FAILED", {"outcome": "failure", "user": "alice", "reason": "Authentication failure"}),
    ("login", "login root", "ROOT", {"outcome": "success", "user": "root"}),
)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act[0]}-{act[1].replace(' ', '-')}")
def test_an_act_tells_outcome_user_source_reason_and_method(act: tuple[str, str, str, dict[str, Any]]) -> None:
    """The line that tells it has all of these and no other value of them."""
    sample, scene, beginning, expected = act
    telling = [each for each in told(FOLDER / f"{sample}.log")[scene] if each["message"].startswith(beginning)]
    found = {
        "outcome": telling[0]["event"]["outcome"],
        "user": telling[0]["user"]["name"],
        "became": telling[0]["user"].get("effective", {}).get("name"),
        "source": telling[0].get("source", {}).get("ip"),
        "reason": telling[0]["event"].get("reason"),
        "method": telling[0]["tidewaiter"].get("auth", {}).get("method"),
    }

    assert expected == {name: value for name, value in found.items() if value is not None}


HELPER = "keyboard-interactive wrong"
"""Here PAM runs in a process of its own, whose line nothing leads to the connection from."""


@pytest.mark.parametrize("name", ["sshd", "sshd_verbose"])
def test_all_lines_of_one_connection_have_one_session(name: str) -> None:
    """Listener, monitor and the user's own process have three numbers; PAM's lines have no address."""
    scenes = told(FOLDER / f"{name}.log")
    sessions = {
        scene: {each["tidewaiter"]["session"]["id"] for each in documents if "session" in each["tidewaiter"]}
        for scene, documents in scenes.items()
        if scene not in ("start", "stop", "failed then ok", "denied user", "expired", HELPER)
    }

    assert dict.fromkeys(sessions, 1) == {scene: len(found) for scene, found in sessions.items()}
    assert len(sessions) == len(set().union(*sessions.values()))


def test_lines_of_sudo_have_a_session_where_it_says_its_process() -> None:
    """`Defaults syslog_pid`: command and PAM's session are one act; without it nothing tells."""
    scenes = told(FOLDER / "sudo.log")
    with_pid = [each for each in scenes["sudo pid"] if each["process"]["name"] == "sudo"]
    without = [each for each in scenes["sudo ok"] if each["process"]["name"] == "sudo"]

    assert 1 == len({each["tidewaiter"]["session"]["id"] for each in with_pid})
    assert not [each for each in without if "session" in each["tidewaiter"]]


def test_a_login_behind_failures_says_how_many() -> None:
    """Two refused passwords, then the right one: the fact stands on the success and on nothing else."""
    documents = told(FOLDER / "sshd.log")["failed then ok"]
    facts = [
        (each["message"].split()[0], each["tidewaiter"]["facts"]) for each in documents if "facts" in each["tidewaiter"]
    ]
    failures = [each["tidewaiter"].get("auth", {}).get("failures") for each in documents]

    assert [("Accepted", ["login_after_failures"])] == facts
    assert [2] == [each for each in failures if each is not None]


def test_the_same_lines_out_of_a_container_say_so() -> None:
    """Its id, a started server, and each login; a failure is no login."""
    scenes = told(FOLDER / "sshd.log", container=True)

    def facts(scene: str) -> list[list[str]]:
        return [each["tidewaiter"]["facts"] for each in scenes[scene] if "facts" in each["tidewaiter"]]

    assert [["sshd_started"], ["login_in_container"], []] == [
        *facts("start"),
        *facts("key ok"),
        [each for found in facts("wrong password") for each in found],
    ]
    assert {"c" * 64} == {each["container"]["id"] for documents in scenes.values() for each in documents}
