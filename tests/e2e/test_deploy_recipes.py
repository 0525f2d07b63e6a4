"""The recipes under deploy/, run for real: Docker's log options and the service's command."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme
import yaml

from tests.kit.docker_engine import DockerEngine
from tests.kit.forward_handshakes import over_tls, with_handshake
from tests.kit.forward_sender import ForwardSender, Options
from tests.kit.running import RunningCollector, free_port, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
SEARCHABLE_WITHIN_S = 20.0
STARTED_WITHIN_S = 20.0

WITHOUT_EXECUTABLE_MEMORY = """
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program as MemoryDenyWriteExecute does; kernels before 6.3 do not know it and start it as it is."""


def recipes() -> dict[str, Mapping[str, str]]:
    """Log options of every Docker recipe by its name."""
    services = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]
    return {
        "daemon.json": json.loads((DEPLOY / "docker/daemon.json").read_text())["log-opts"],
        **{f"compose {name}": service["logging"]["options"] for name, service in services.items()},
    }


@pytest.mark.docker
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", recipes())
def test_a_container_logs_by_the_recipe(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector], recipe: str
) -> None:
    """The Engine takes the options as they stand, and the lines come with name, image and fractions of a second."""
    collector = start_collector()
    given = {**recipes()[recipe], "fluentd-address": f"127.0.0.1:{collector.forward_port}"}
    options = ["--log-driver", "fluentd", *(f"--log-opt={name}={value}" for name, value in given.items())]

    container = docker.run("for n in 1 2 3; do echo line $n; done", options=["--name", "recipe", *options])
    wait_until(
        lambda: len(collector.search("container.name:recipe")) >= 3,
        timeout_s=SEARCHABLE_WITHIN_S,
        what="three lines",
        poll_s=0.2,
    )
    documents = collector.search("container.name:recipe")

    assert ["line 1", "line 2", "line 3"] == [document["message"] for document in documents]
    assert {container} == {document["container"]["id"] for document in documents}
    assert {"acme/bb"} == {document["container"]["image"]["name"] for document in documents}
    assert any("." in document["@timestamp"] for document in documents)
    assert 0 == collector.stop()


@pytest.mark.timeout(600)
def test_the_service_starts_and_stops_as_its_unit_says(tmp_path: Path) -> None:
    """ExecStart as it stands tells systemd READY and STOPPING, needs no writable executable memory, and ends with 0."""
    unit = (DEPLOY / "systemd/tidewaiter.service").read_text()
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    collector = RunningCollector(tmp_path / "collector")
    ours = {
        "/opt/tidewaiter/bin/tidewaiter": str(Path(sys.executable).with_name("tidewaiter")),
        "/etc/tidewaiter/tidewaiter.yaml": str(collector.config_file),
        "/var/lib/tidewaiter": str(collector.data_dir),
    }
    command = [ours.get(word, word) for word in shlex.split(line.removeprefix("ExecStart="))]

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(STARTED_WITHIN_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONSAFEPATH": "1"}
        with subprocess.Popen(
            [sys.executable, "-c", WITHOUT_EXECUTABLE_MEMORY, *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as service:
            try:
                started = systemd.recv(100)
                ready = collector.get("/health/ready")[0]
                service.send_signal(signal.SIGTERM)
                stopping = systemd.recv(100)
                code = service.wait(STARTED_WITHIN_S)
            finally:
                service.kill()

    assert set(ours) < set(shlex.split(line.removeprefix("ExecStart=")))
    assert (b"READY=1", 200, b"STOPPING=1", 0) == (started, ready, stopping, code)


def test_a_host_proves_itself_by_the_recipe(tmp_path: Path) -> None:
    """Both sides as they stand, but for paths and port: the document says by certificate and key who sent it."""
    authority = trustme.CA()
    server, client = authority.issue_cert("collector.example"), authority.issue_cert("web-1.example")
    server.private_key_pem.write_to_path(tmp_path / "collector.key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "collector.pem")
    authority.cert_pem.write_to_path(tmp_path / "hosts-ca.pem")
    (tmp_path / "forward").write_text("shared")
    (tmp_path / "web-1").write_text("own")
    text = (DEPLOY / "secured/tidewaiter.yaml").read_text()
    ours = yaml.safe_load(re.sub(r"/etc/tidewaiter/(tls|secrets)", str(tmp_path), text))
    port = free_port()
    ours["inputs"] = {"hosts": {**ours["inputs"]["hosts"], "listen": f"127.0.0.1:{port}"}}
    collector = RunningCollector(tmp_path / "c", settings=ours)
    (theirs,) = yaml.safe_load((DEPLOY / "secured/fluent-bit.yaml").read_text())["pipeline"]["outputs"]
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client.configure_cert(context)
    connect = with_handshake(over_tls("127.0.0.1", port, context), key=b"own", client=theirs["self_hostname"])
    collector.start()
    try:
        collector.wait_ready()
        asyncio.run(ForwardSender(connect, Options()).send(1))
        wait_until(lambda: len(collector.search("*")) == 1, timeout_s=SEARCHABLE_WITHIN_S, what="the line")
        (document,) = collector.search("*")
    finally:
        collector.kill_all()

    assert document["tidewaiter"]["origin"] == {
        "input": "hosts",
        "transport": "tls",
        "peer": "127.0.0.1",
        "auth": "certificate:web-1.example+key:web-1.example",
        "host": "web-1.example",
    }
