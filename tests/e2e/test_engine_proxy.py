"""The proxy of deploy/engine, run for real before a real Engine."""

import http.client
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.docker_engine import DockerEngine
from tests.kit.journals import end_of_files, frames_in, messages_of, read_all
from tests.kit.running import RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

RECIPE = Path(__file__).parents[2] / "deploy/engine/haproxy.cfg"
TOLD_WITHIN_S = 15.0


@pytest.fixture
def reader(docker: DockerEngine, tmp_path: Path) -> Iterator[Path]:
    """The recipe's proxy, with the paths and the group of this machine."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is missing: apt-get install haproxy")
    path = tmp_path / "reader.sock"
    recipe = RECIPE.read_text()
    for theirs, ours in (
        ("/run/engine-reader/engine.sock", str(path)),
        ("/var/run/docker.sock", docker.address.removeprefix("unix://")),
        (" group tidewaiter", ""),
    ):
        assert recipe.count(theirs) == 1
        recipe = recipe.replace(theirs, ours)
    (tmp_path / "haproxy.cfg").write_text(recipe)
    proxy = subprocess.Popen([program, "-db", "-f", str(tmp_path / "haproxy.cfg")])
    try:
        wait_until(path.exists, timeout_s=60, what="the proxy's socket")
        yield path
    finally:
        proxy.terminate()
        proxy.wait(10)


def status_of(path: Path, method: str, target: str) -> int:
    """Ask over a Unix socket."""
    connection = http.client.HTTPConnection("engine", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_recipes_proxy_lets_pass_what_is_needed(
    docker: DockerEngine, start_collector: Callable[..., RunningCollector], reader: Path
) -> None:
    """Through it a container is told with its details, its image and its host, and a command with its user."""
    inputs = {"engine": {"type": "docker_events", "url": f"unix://{reader}"}}
    collector = start_collector(settings={"inputs": inputs})
    wait_until(
        lambda: collector.metric("tidewaiter_watcher_connected", input="engine") == 1,
        timeout_s=TOLD_WITHIN_S,
        what="connected",
    )

    container = docker.start_container("sleep 1000", options=["--name", "read"])
    docker.docker("exec", "--user", "1000", container, "true")
    docker.docker("rm", "--force", container)
    journal = collector.data_dir / "journal"

    def payloads() -> bytes:
        frames = frames_in(read_all(journal, end_of_files(journal)))
        return b"\n".join(message.payload for frame in frames for message in messages_of(frame))

    gone = b'{"kind":"gone","engine":"engine","id":"%s"}' % container.encode()
    destroyed = b'"Action":"destroy","scope":"local","Actor":{"ID":"%s"' % container.encode()
    wait_until(lambda: gone in payloads() and destroyed in payloads(), timeout_s=TOLD_WITHIN_S, what="gone", poll_s=0.1)

    assert b'"Name":"/read"' in payloads()
    assert b'"RepoTags":["acme/bb:1.2"]' in payloads()
    assert b'"kernel":' in payloads()
    assert b'"user":"1000"' in payloads()
    assert 0 == collector.stop()


def test_the_recipes_proxy_lets_nothing_else_pass(docker: DockerEngine, reader: Path) -> None:
    """Neither control, nor the reads by which secrets can be had; the Engine is not even asked."""
    container = docker.docker("create", "acme/bb:1.2", "true").strip()

    refused = [
        ("POST", "/containers/create"),
        ("POST", f"/v1.41/containers/{container}/start"),
        ("DELETE", f"/containers/{container}"),
        ("POST", "/events"),
        ("GET", f"/containers/{container}/logs?stdout=1"),
        ("GET", f"/containers/{container}/archive?path=/etc/shadow"),
        ("GET", f"/containers/{container}/export"),
        ("GET", f"/v1.41/containers/{container}/json/../archive?path=/etc/shadow"),
        ("GET", f"/containers/{container}%2Farchive?path=/&x=/json"),
        ("GET", "/images/acme/bb:1.2/get"),
        ("POST", f"/exec/{'e' * 64}/start"),
        ("GET", f"/exec/{'e' * 64}/resize"),
        ("GET", "/secrets"),
        ("GET", "/_ping"),
    ]
    statuses = [status_of(reader, *request) for request in refused]
    docker.docker("rm", container)

    assert [403] * len(refused) == statuses
    assert 200 == status_of(reader, "GET", "/version")
