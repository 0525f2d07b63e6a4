"""What logging daemons say beside a line: of which program it is, of which host and container, and how grave."""

import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pipelines.normalize.daemons import daemon_of, put_under
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.paths import Paths
from tests.kit.pieces import at_time

SCHEMA = Schema(Path(__file__).parents[3] / "data")
NOW_S = 1_795_953_600

JOURNAL = {
    "PRIORITY": "6", "SYSLOG_FACILITY": "10", "SYSLOG_IDENTIFIER": "sudo", "_PID": "77", "_UID": "1000",
    "_COMM": "sudo",
    "_EXE": "/usr/bin/sudo", "_CMDLINE": "sudo id", "_SYSTEMD_UNIT": "session-3.scope", "_HOSTNAME": "web1",
    "_TRANSPORT": "syslog", "MESSAGE": "   alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
}  # fmt: skip
"""What Fluent Bit's `systemd` input sends."""

CONTAINER = {
    "PRIORITY": "3", "CONTAINER_ID": "c" * 12, "CONTAINER_ID_FULL": "c" * 64, "CONTAINER_NAME": "web",
    "_COMM": "dockerd", "_UID": "0",
    "CONTAINER_TAG": "c" * 12, "IMAGE_NAME": "acme/web:1.2", "SYSLOG_IDENTIFIER": "c" * 12, "_PID": "7",
    "_HOSTNAME": "web1", "_TRANSPORT": "journal", "MESSAGE": "started",
}  # fmt: skip
"""The same of a container's line, by Docker's `journald` driver."""

SYSLOG = {"pri": "86", "host": "web2", "ident": "su", "pid": "231", "message": "(to root) alice on pts/0"}
"""What Fluent Bit's parser `syslog-rfc3164` makes."""


def document(record: dict[str, Any], tag: bytes = b"host.journal") -> dict[str, Any]:
    """Return the document of one record; both paths make the same one."""
    entry = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", NOW_S, 0)), record])
    frame = frame_of(("forward", [(entry, tag, 1)]))
    (made,) = Paths(Settings(version="0.1.0"), SCHEMA).check(at_time(frame, NOW_S * 10**9))
    return made


def test_a_program_known_by_its_head_is_known_without_one() -> None:
    """Sudo's line in the journal has only its text; program, process and severity are beside it."""
    made = document(dict(JOURNAL))

    assert ("system.auth", "sudo", "success") == (
        made["event"]["dataset"],
        made["event"]["action"],
        made["event"]["outcome"],
    )
    assert {"name": "alice", "effective": {"name": "root"}} == made["user"]
    process = made["process"]
    assert ("sudo", 77, "/usr/bin/sudo") == (process["name"], process["pid"], process["executable"])
    assert {"id": "1000"} == process["user"]
    assert {
        "appname": "sudo", "hostname": "web1", "severity": {"code": 6}, "facility": {"code": 10}
    } == made["log"]["syslog"]  # fmt: skip
    assert JOURNAL["MESSAGE"] == made["message"]
    assert ["web1", "192.0.2.7"] == made["related"]["hosts"]
    assert "192.0.2.7" == made["host"]["name"]


def test_a_plain_line_of_a_service_has_what_the_journal_knows() -> None:
    """The unit is the service, the severity also the level; all else stays."""
    made = document({**JOURNAL, "SYSLOG_IDENTIFIER": "shopd", "_SYSTEMD_UNIT": "shop.service", "MESSAGE": "ready"})

    assert ("shopd", {"name": "shop"}, "info", "ready") == (
        made["process"]["name"],
        made["service"],
        made["log"]["level"],
        made["message"],
    )
    assert {"_COMM": "sudo", "_TRANSPORT": "syslog"} == made["tidewaiter"]["fields"]


def test_a_line_of_a_container_is_the_containers() -> None:
    """Not dockerd's, which only wrote it down."""
    made = document(dict(CONTAINER))

    assert ("c" * 64, "web", "acme/web") == (
        made["container"]["id"],
        made["container"]["name"],
        made["container"]["image"]["name"],
    )
    assert "stderr" == made["tidewaiter"]["container"]["stream"]
    assert {"process", "log"}.isdisjoint(made)
    assert "labels" not in made["container"]


def test_no_program_of_the_host_passes_for_a_container() -> None:
    """What journald puts in itself says who wrote the line."""
    made = document({**CONTAINER, "_COMM": "logger", "_PID": "8"})

    assert "container" not in made
    assert ("c" * 12, 8) == (made["process"]["name"], made["process"]["pid"])


@pytest.mark.parametrize(
    "noted",
    [
        {"_COMM": None, "_UID": None},
        {"_COMM": None},
        {"_UID": None},
        {"_UID": "1000", "_EXE": "/tmp/dockerd", "_SYSTEMD_UNIT": "docker.service"},
    ],
)
def test_a_program_called_dockerd_does_not_pass_for_dockerd(noted: dict[str, str | None]) -> None:
    """A process chooses its own name, and not its user; what journald did not note is no proof."""
    record = {**CONTAINER, **noted, "SYSLOG_IDENTIFIER": "sshd", "MESSAGE": "Accepted password for eve from 192.0.2.9"}
    made = document({key: value for key, value in record.items() if value is not None})

    assert "container" not in made
    assert "c" * 64 == made["tidewaiter"]["fields"]["CONTAINER_ID_FULL"]
    assert ("tidewaiter", "stderr") == (made["event"]["module"], made["tidewaiter"]["container"]["stream"])


def test_a_label_cannot_replace_one_of_the_two_ids_of_a_container() -> None:
    """Docker's labels are written over the driver's keys."""
    made = document({**CONTAINER, "CONTAINER_ID_FULL": "d" * 64, "CONTAINER_TAG": "web"})

    assert "c" * 12 == made["container"]["id"]
    assert {"id": "d" * 64} == made["tidewaiter"]["claimed"]["container"]
    assert ["_identity_conflict"] == made["tags"]


FILE = b"kube.var.log.containers.web-0_shop_app-" + b"e" * 64 + b".log"
POD = {"pod_name": "web-0", "namespace_name": "shop", "docker_id": "e" * 64, "container_name": "app"}


@pytest.mark.parametrize(
    ("tag", "beside"),
    [
        (FILE, {}),
        (b"kube.var.log.pods.shop_web-0_u1.app.0.log", {}),
        (b"kube.shop.web-0.app." + b"e" * 64, {}),
        (b"app", {"kubernetes": POD}),
        (b"app", {"stream": "stdout"}),
        (b"app", {"_p": "F", "logtag": "F"}),
    ],
)
def test_no_object_that_a_pod_prints_passes_for_journalds(tag: bytes, beside: dict[str, Any]) -> None:
    """Fluent Bit can put the keys of such an object among the record's, whatever they are called."""
    forged = {**JOURNAL, "CONTAINER_ID_FULL": "d" * 64, "_COMM": "dockerd", "_UID": "0", "_PID": "1"}
    made = document({**forged, **beside}, tag)

    assert made.get("container", {}).get("id") in (None, "e" * 64)
    assert {"process", "log", "service", "user"}.isdisjoint(made)
    assert "_EXE" in made["tidewaiter"]["fields"]


@pytest.mark.parametrize("labels_of", ["d" * 64, "victim"])
@pytest.mark.parametrize(
    ("tag", "beside"),
    [(b"app", {"kubernetes": POD}), (FILE, {"kubernetes": POD}), (FILE, {})],
)
def test_no_id_that_a_pod_prints_is_its_own(labels_of: str, tag: bytes, beside: dict[str, Any]) -> None:
    """The id of its log's file is, or that of the map that the agent makes."""
    made = document({"log": "x", "container_id": labels_of, "stream": "stdout", **beside}, tag)

    assert "e" * 64 == made["container"]["id"]
    assert {"id": labels_of} == made["tidewaiter"]["claimed"]["container"]
    assert ["_identity_conflict"] == made["tags"]


def test_a_map_that_a_pod_prints_does_not_hide_its_files_name() -> None:
    """Where the agent has no filter for pods, `kubernetes` is the pod's own word too."""
    made = document({"log": "x", "kubernetes": {**POD, "docker_id": "d" * 64}}, FILE)

    assert ("e" * 64, {"id": "d" * 64}) == (made["container"]["id"], made["tidewaiter"]["claimed"]["container"])


def test_a_short_id_beside_the_whole_one_is_no_conflict() -> None:
    """Agents and drivers write either; the whole one stands."""
    made = document({"log": "x", "container_id": "e" * 12, "kubernetes": dict(POD)})

    assert "e" * 64 == made["container"]["id"]
    assert "tags" not in made


def test_a_name_that_a_pod_prints_is_a_claim() -> None:
    """Beside the map of the agent."""
    made = document({"log": "x", "container_name": "victim", "kubernetes": dict(POD)})

    assert ("app", {"name": "victim"}) == (made["container"]["name"], made["tidewaiter"]["claimed"]["container"])


@pytest.mark.parametrize(
    "labels",
    [
        {"MESSAGE": "x", "SYSLOG_IDENTIFIER": "sshd", "_PID": "7", "_HOSTNAME": "db1"},
        {"MESSAGE": "x", "CONTAINER_ID_FULL": "d" * 64, "CONTAINER_TAG": "d" * 12, "IMAGE_NAME": "acme/db"},
        {"message": "x", "ident": "sshd", "host": "db1", "pid": "7"},
    ],
)
def test_no_label_of_a_container_passes_for_a_daemon(labels: dict[str, str]) -> None:
    """Docker's other drivers put labels beside the line, under whatever names."""
    made = document({"container_id": "c" * 64, "container_name": "/web", "source": "stdout", "log": "hello", **labels})

    assert ("hello", {"id": "c" * 64, "name": "web"}) == (
        made["message"],
        {name: made["container"].get(name) for name in ("id", "name")},
    )
    assert {"process", "log", "tags"}.isdisjoint(made)
    assert "image" not in made["container"]


def test_a_syslog_parsers_record_is_read_as_the_line_it_was() -> None:
    """`pri` is facility and severity; the host is a claim."""
    made = document(dict(SYSLOG))

    assert ("su", "success", 231) == (made["event"]["action"], made["event"]["outcome"], made["process"]["pid"])
    assert ("web2", {"code": 10}, {"code": 6}) == tuple(
        made["log"]["syslog"][name] for name in ("hostname", "facility", "severity")
    )
    assert "session" in made["tidewaiter"]


def test_odd_values_stay_where_they_are() -> None:
    """A priority beyond the last, a number that is none, a name that is no text: nothing is lost or made up."""
    made = document({"pri": "999", "host": "web2", "ident": "app", "pid": "-", "message": "x", "extradata": ["y"]})
    odd = document({**JOURNAL, "PRIORITY": "9", "_PID": "x", "SYSLOG_IDENTIFIER": ["a"], "MESSAGE": "x"})

    assert {"name": "app"} == made["process"]
    assert {"pid": "-", "extradata": ["y"]} == made["tidewaiter"]["fields"]
    assert "level" not in odd["log"]
    assert ("x", ["a"]) == (odd["tidewaiter"]["fields"]["_PID"], odd["tidewaiter"]["fields"]["SYSLOG_IDENTIFIER"])


def test_an_applications_message_is_no_daemons() -> None:
    """Without host and program beside it."""
    assert daemon_of({"message": "x", "host": "web2"}, b"") is None
    assert daemon_of({"MESSAGE": "x"}, b"") is None
    assert daemon_of({"log": "x", "ident": "a", "host": "b", "message": "y"}, b"") is None


def test_a_parsers_fields_come_before_a_daemons() -> None:
    """Object by object; what only one says stays."""
    said = {"process": {"name": "kernel"}, "log": {"level": "info", "syslog": {"hostname": "a"}}}
    fields = {"process": {"name": "cat", "pid": 7}, "log": {"syslog": {"priority": 6}}}

    assert {
        "process": {"name": "cat", "pid": 7},
        "log": {"level": "info", "syslog": {"hostname": "a", "priority": 6}},
    } == put_under(said, fields)
