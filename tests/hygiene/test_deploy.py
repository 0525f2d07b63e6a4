"""Every recipe under deploy/ is what it says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
TIDEWAITER = Path(sys.executable).with_name("tidewaiter")
TAG = "{{.ImageName}}/{{.Name}}/{{.ID}}"


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("tidewaiter.yaml")), ids=lambda path: path.parent.name)
def test_a_configuration_passes_check(path: Path) -> None:
    """`tidewaiter check` finds nothing wrong with it."""
    done = subprocess.run([TIDEWAITER, "--config", path, "check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"{path}: ok\n")


def test_the_docker_recipes_agree() -> None:
    """daemon.json, the Compose file and the README's command line give the driver the same options."""
    daemon = json.loads((DEPLOY / "docker/daemon.json").read_text())
    compose = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]["web"]["logging"]
    readme = (DEPLOY / "docker/README.md").read_text()
    command = dict(re.findall(r"--log-opt '?([a-z-]+)=([^'\s]+)'?(?= \\)", readme))

    assert daemon["log-opts"] == compose["options"] == command
    assert daemon["log-driver"] == compose["driver"] == "fluentd"
    assert command["tag"] == TAG


def test_fluent_bit_keeps_what_is_not_acknowledged() -> None:
    """The output asks for acknowledgements and never gives a chunk up."""
    (output,) = yaml.safe_load((DEPLOY / "fluent-bit/output.yaml").read_text())["pipeline"]["outputs"]

    assert output["name"] == "forward"
    assert output["require_ack_response"] is True
    assert output["retry_limit"] == "no_limits"


def test_the_service_unit_is_notified_hardened_and_stops_the_supervisor_first() -> None:
    """Type=notify and KillMode=mixed, so that the drain is the supervisor's; no privilege it does not need."""
    unit = dict(
        line.split("=", 1) for line in (DEPLOY / "systemd/tidewaiter.service").read_text().splitlines() if "=" in line
    )

    assert (unit["Type"], unit["KillMode"], unit["NoNewPrivileges"]) == ("notify", "mixed", "yes")
    assert (unit["ProtectSystem"], unit["StateDirectoryMode"]) == ("strict", "0700")
    assert int(unit["TimeoutStopSec"]) > 10


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
