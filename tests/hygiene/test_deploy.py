"""Every recipe under deploy/ is what it says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.errors import ConfigError
from collector.supervisor import Limits
from collector.watchers.kubernetes_cluster import LEADING_ON, NAMESPACE, NODE, POD

DEPLOY = Path(__file__).parents[2] / "deploy"
TIDEWAITER = Path(sys.executable).with_name("tidewaiter")
TAG = "{{.ImageName}}/{{.Name}}/{{.ID}}"


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("tidewaiter.yaml")), ids=lambda path: path.parent.name)
def test_a_configuration_passes_check(path: Path) -> None:
    """`tidewaiter check` finds nothing wrong with it but secrets that only the reader's machine has."""
    done = subprocess.run([TIDEWAITER, "--config", path, "check"], capture_output=True, text=True, check=False)
    missing = "from here, cannot read"
    rules, *said = [line for line in done.stdout.splitlines() if missing not in line]

    assert re.fullmatch(r".*: (\d+) rules, \1 can match", rules)
    assert (done.returncode, said) == (0, [f"{path}: ok"])


def test_the_docker_recipes_agree() -> None:
    """daemon.json, the Compose file and the README's command line give the driver the same options."""
    daemon = json.loads((DEPLOY / "docker/daemon.json").read_text())
    services = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]
    compose, never_waits = services["web"]["logging"], services["cache"]["logging"]["options"]
    readme = (DEPLOY / "docker/README.md").read_text()
    command = dict(re.findall(r"--log-opt '?([a-z-]+)=([^'\s]+)'?(?= \\)", readme))

    assert daemon["log-opts"] == compose["options"] == command
    assert never_waits == {**command, "mode": "non-blocking", "max-buffer-size": "8m"}
    assert daemon["log-driver"] == compose["driver"] == "fluentd"
    assert command["tag"] == TAG


def test_fluent_bit_keeps_what_is_not_acknowledged() -> None:
    """The output asks for acknowledgements and never gives a chunk up."""
    (output,) = yaml.safe_load((DEPLOY / "fluent-bit/output.yaml").read_text())["pipeline"]["outputs"]

    assert output["name"] == "forward"
    assert output["require_ack_response"] is True
    assert output["retry_limit"] == "no_limits"


def test_fluent_bit_sends_the_files_of_logins_with_acknowledgements() -> None:
    """The files are those that rsyslog's recipe and auditd write, and the output is the one of the other recipe."""
    pipeline = yaml.safe_load((DEPLOY / "auth/fluent-bit.yaml").read_text())["pipeline"]
    (usual,) = yaml.safe_load((DEPLOY / "fluent-bit/output.yaml").read_text())["pipeline"]["outputs"]
    (output,) = pipeline["outputs"]

    assert output.items() <= usual.items()
    assert {"require_ack_response", "retry_limit"} <= output.keys()
    assert [each["path"] for each in pipeline["inputs"]] == ["/var/log/tidewaiter-auth.log", "/var/log/audit/audit.log"]
    assert '"/var/log/tidewaiter-auth.log"' in (DEPLOY / "auth/rsyslog.conf").read_text()


AUDIT_RULE = re.compile(
    r"-D|-b \d+|-f [012]|-a always,exit(?: -F arch=b(?:64|32))(?: -S [a-z,]+)(?: -F [a-z]+(?:=|!=|>=)\w+)+ -k [a-z]+"
    r"|-w /[\w./-]+ -p [rwxa]+ -k [a-z]+"
)


def test_the_audit_rules_are_rules() -> None:
    """Of the forms that auditctl(8) knows; to load them would change the machine's own trail."""
    lines = (DEPLOY / "auth/audit.rules").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert len(rules) > 10
    assert [rule for rule in rules if not AUDIT_RULE.fullmatch(rule)] == []


def directives() -> dict[str, str]:
    """What the service's unit sets."""
    lines = (DEPLOY / "systemd/tidewaiter.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_the_service_unit_is_notified_hardened_and_stops_the_supervisor_first() -> None:
    """Type=notify and KillMode=mixed, so that the drain is the supervisor's; no privilege it does not need."""
    unit = directives()

    assert (unit["Type"], unit["KillMode"], unit["NoNewPrivileges"]) == ("notify", "mixed", "yes")
    assert (unit["ProtectSystem"], unit["StateDirectoryMode"], unit["UMask"]) == ("strict", "0700", "0077")
    assert int(unit["TimeoutStopSec"]) > Limits().drain_s


def test_the_service_unit_keeps_the_data_folder_a_folder() -> None:
    """DynamicUser makes it a symbolic link, which the collector refuses."""
    unit = directives()

    assert "DynamicUser" not in unit
    assert f"--data-dir /var/lib/{unit['StateDirectory']} " in unit["ExecStart"]
    assert (
        f"useradd --system --home-dir /var/lib/{unit['StateDirectory']} " in (DEPLOY / "systemd/README.md").read_text()
    )


def test_the_service_unit_is_patient_with_a_full_journal_but_not_with_a_wrong_configuration() -> None:
    """It is never given up, and never restarted over a mistake that only an operator can mend."""
    unit = directives()

    assert (unit["TimeoutStartSec"], unit["StartLimitIntervalSec"]) == ("infinity", "0")
    assert int(unit["RestartPreventExitStatus"]) == ConfigError.exit_code


def test_systemd_accepts_the_unit_where_it_is_installed() -> None:
    """`systemd-analyze verify` has nothing to say; machines without systemd check the text only."""
    program = shutil.which("systemd-analyze")
    unit = (DEPLOY / "systemd/tidewaiter.service").read_text()
    if program is None:
        assert unit.startswith("[Unit]")
        return
    with_real_program = unit.replace("/opt/tidewaiter/bin/tidewaiter", str(TIDEWAITER))
    done = subprocess.run(
        [program, "--man=no", "--generators=no", "verify", "/dev/stdin:tidewaiter.service"],
        input=with_real_program,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Unknown" not in done.stderr
    assert "Invalid" not in done.stderr


def kubernetes(file: str) -> dict[str, Any]:
    """The documents of a manifest by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes" / file).read_text())}


def test_a_cluster_is_asked_for_what_its_watcher_follows_and_grants_no_more() -> None:
    """Only reading verbs, and only of the kinds that are listed; the account is the pod's."""
    role, binding = kubernetes("rbac.yaml")["ClusterRole"], kubernetes("rbac.yaml")["ClusterRoleBinding"]
    pod = kubernetes("collector.yaml")["StatefulSet"]["spec"]["template"]["spec"]
    granted = {(group, kind) for rule in role["rules"] for group in rule["apiGroups"] for kind in rule["resources"]}
    followed = {
        (kind.path.split("/")[2] if kind.path.startswith("/apis") else "", kind.plural)
        for kind in (POD, NAMESPACE, NODE, *LEADING_ON)
    }

    assert granted == followed
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == pod["serviceAccountName"]


def test_the_cluster_s_collector_has_time_to_drain_and_no_privilege() -> None:
    """One writer of a journal, stopped within its grace, with nothing that it does not need."""
    stateful = kubernetes("collector.yaml")["StatefulSet"]["spec"]
    pod = stateful["template"]["spec"]
    (container,) = pod["containers"]

    assert stateful["replicas"] == 1
    assert pod["terminationGracePeriodSeconds"] > Limits().drain_s
    assert (pod["securityContext"]["runAsNonRoot"], container["securityContext"]["capabilities"]) == (
        True,
        {"drop": ["ALL"]},
    )
    assert container["securityContext"]["readOnlyRootFilesystem"]
