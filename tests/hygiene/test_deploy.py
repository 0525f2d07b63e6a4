"""Every recipe under deploy/ is what it says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from collector.errors import ConfigError
from collector.supervisor import Limits

DEPLOY = Path(__file__).parents[2] / "deploy"
TIDEWAITER = Path(sys.executable).with_name("tidewaiter")
TAG = "{{.ImageName}}/{{.Name}}/{{.ID}}"


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("tidewaiter.yaml")), ids=lambda path: path.parent.name)
def test_a_configuration_passes_check(path: Path) -> None:
    """`tidewaiter check` finds nothing wrong with it but secrets that only the reader's machine has."""
    done = subprocess.run([TIDEWAITER, "--config", path, "check"], capture_output=True, text=True, check=False)
    missing = "from here, cannot read"
    said = [line for line in done.stdout.splitlines() if missing not in line]

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
