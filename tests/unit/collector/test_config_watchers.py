"""Inputs that ask an Engine: how they are written, and what is told of those that cannot be used."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import trustme
from click.testing import CliRunner

from collector.cli import cli
from collector.config import listening, watched
from collector.config_file import load, parse
from collector.config_watchers import DockerEventsInputConfig, EngineTlsConfig
from collector.errors import ConfigError

ENGINE = "inputs: {engine: {type: docker_events, %s}}"


def refusals(text: str) -> list[tuple[str, str]]:
    """Path and message of each problem."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [(problem.path, problem.message) for problem in caught.value.problems]


def warnings_of(options: str, folder: Path) -> list[str]:
    """What an operator is told of an input with these options."""
    file = folder / "tidewaiter.yaml"
    file.write_text(ENGINE % options)
    return load(str(file)).warnings


def test_an_engine_is_this_machines_unless_something_else_is_said() -> None:
    """Docker's own socket, and the senders of this machine."""
    config = parse("inputs: {docker: {type: forward}, engine: {type: docker_events}}", "f")

    engine = config.inputs["engine"]
    assert isinstance(engine, DockerEventsInputConfig)
    assert "unix:///var/run/docker.sock" == engine.url
    assert ["127.0.0.0/8", "::1/128", "unix"] == engine.peers
    assert (["docker"], ["engine"]) == (list(listening(config)), list(watched(config)))


def test_several_engines_are_named_with_those_that_send_for_them() -> None:
    """Addresses are networks of one."""
    config = parse(
        """\
inputs:
  one:
    type: docker_events
    url: tcp://engine.example:2376
    peers: [192.0.2.7, "2001:db8::/64"]
    tls: {ca: ca.pem, certificate: own.pem, key: own.key}
    container_limit: 500
    resync: 5m
  two: {type: docker_events, peers: [198.51.100.0/24, unix, "unix:uid=0"]}
""",
        "f",
    )

    assert {
        "one": DockerEventsInputConfig(
            "tcp://engine.example:2376",
            ["192.0.2.7/32", "2001:db8::/64"],
            EngineTlsConfig("ca.pem", "own.pem", "own.key"),
            500,
            300.0,
        ),
        "two": DockerEventsInputConfig(peers=["198.51.100.0/24", "unix", "unix:uid=0"]),
    } == config.inputs


@pytest.mark.parametrize(
    "url",
    [
        "/var/run/docker.sock",
        "unix://docker.sock",
        "unix:///run/",
        "http://engine.example:2375",
        "tcp://engine.example",
        "tcp://:2375",
        "tcp://engine.example:0",
        "tcp://engine.example:2375/v1.41",
        "tcp://user@engine.example:2375",
        "engine.example:2375",
    ],
)
def test_another_address_is_refused_with_an_example(url: str) -> None:
    """Both forms."""
    ((path, message),) = refusals(ENGINE % f'url: "{url}"')

    assert "inputs.engine.url" == path
    assert 'write for example "unix:///var/run/docker.sock" or "tcp://engine.example:2376"' in message


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ("peers: [192.0.2.7/24]", "inputs.engine.peers[0]", "has host bits set"),
        ("peers: [engine.example]", "inputs.engine.peers[0]", "is no peer"),
        ("peers: []", "inputs.engine.peers", "must not be empty"),
        ("listen: 127.0.0.1:1", "inputs.engine.listen", "unknown key 'listen'"),
        ("tls: {ca: a.pem}", "inputs.engine.tls", "there is none on a Unix socket"),
        ("url: 'tcp://a:1', tls: {key: a}", "inputs.engine.tls", "certificate and key go together"),
        ("url: 'tcp://a:1', tls: {ca: ~}", "inputs.engine.tls.ca", "must not be empty"),
        ("url: 'tcp://a:1', tls: ", "inputs.engine.tls", "must not be empty"),
        ("container_limit: 0", "inputs.engine.container_limit", "must be more than 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: str, path: str, said: str) -> None:
    """With its place."""
    ((where, message),) = refusals(ENGINE % options)

    assert path == where
    assert said in message


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("[unix]", "[unix]", "unix"),
        ("[unix]", '["unix:uid=0"]', "unix"),
        ("[192.0.2.0/24]", "[198.51.100.7, 192.0.2.7]", "192.0.2.0/24"),
        ('["::/0"]', '["2001:db8::7"]', "::/0"),
    ],
)
def test_a_sender_belongs_to_one_engine(one: str, two: str, shared: str) -> None:
    """Whose container a record is of must not be a guess."""
    text = f"inputs: {{a: {{type: docker_events, peers: {one}}}, b: {{type: docker_events, peers: {two}}}}}"

    found = refusals(text)

    assert ["inputs.a.peers", "inputs.b.peers"] == [path for path, _ in found]
    assert f"{shared} is a peer of input b too: say which senders' containers each Engine runs" == found[0][1]


@pytest.mark.parametrize(
    ("one", "two"), [("unix", "127.0.0.1/32"), ("unix:uid=0", "unix:uid=1"), ("0.0.0.0/0", "::/0")]
)
def test_engines_with_senders_of_their_own_are_good(one: str, two: str) -> None:
    """Neither takes the other's."""
    text = f"inputs: {{a: {{type: docker_events, peers: ['{one}']}}, b: {{type: docker_events, peers: ['{two}']}}}}"
    inputs = parse(text, "f").inputs

    assert [[one], [two]] == [cast(DockerEventsInputConfig, each).peers for each in inputs.values()]


def test_an_engine_beyond_loopback_without_tls_is_named_in_a_warning(tmp_path: Path) -> None:
    """Who is in between says what containers are."""
    far = warnings_of("url: 'tcp://engine.example:2375'", tmp_path)

    assert [
        "input engine asks tcp://engine.example:2375 without TLS: who is in between can alter what containers are "
        "said to be"
    ] == far
    for good in ("url: 'tcp://127.0.0.1:2375'", "url: 'tcp://engine.example:2376', tls: {}", "resync: 1m"):
        assert [] == warnings_of(good, tmp_path)


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str], tuple[int, list[str]]]:
    """Check an input with these options; return the exit code and what was said, less the folder."""

    def run(options: str) -> tuple[int, list[str]]:
        file = tmp_path / "tidewaiter.yaml"
        file.write_text(ENGINE % options.replace("@", f"{tmp_path}/") + "\nrules: {pack: false}\n")
        done = CliRunner().invoke(cli, ["--config", str(file), "--data-dir", str(tmp_path / "data"), "check"])
        return done.exit_code, [line.replace(f"{tmp_path}/", "") for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """A Unix socket that somebody listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening_socket:
        listening_socket.bind(str(tmp_path / "d.sock"))
        listening_socket.listen()
        yield listening_socket


@pytest.mark.usefixtures("engine_socket")
def test_check_finds_nothing_wrong_where_somebody_answers(check: Callable[[str], tuple[int, list[str]]]) -> None:
    """It only connects."""
    assert (0, ["tidewaiter.yaml: ok"]) == check("url: 'unix://@d.sock'")


def test_check_says_of_a_socket_why_it_cannot_be_read(
    check: Callable[[str], tuple[int, list[str]]], engine_socket: socket.socket
) -> None:
    """There is none, or nobody listens: a warning, for the file may be meant for another machine."""
    _, missing = check("url: 'unix://@none.sock'")
    engine_socket.close()
    _, refused = check("url: 'unix://@d.sock'")

    said = "tidewaiter.yaml: warning: input engine: from here, cannot read the socket"
    assert [f"{said} none.sock: No such file or directory", "tidewaiter.yaml: ok"] == missing
    assert [f"{said} d.sock: Connection refused", "tidewaiter.yaml: ok"] == refused


def test_check_says_whose_a_socket_is_that_it_may_not_use(
    check: Callable[[str], tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The group that the user has to be in."""

    class Refusing(socket.socket):
        def connect(self, _address: object) -> None:
            raise PermissionError(13, "Permission denied")

    (tmp_path / "d.sock").touch()
    monkeypatch.setattr(socket, "socket", Refusing)
    group = (tmp_path / "d.sock").stat().st_gid

    assert f"d.sock: it belongs to group {group}, of which this user is none" in check("url: 'unix://@d.sock'")[1][0]


def test_check_loads_certificates(check: Callable[[str], tuple[int, list[str]]], tmp_path: Path) -> None:
    """What is there and cannot be used is a problem; what is not there is a warning."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf, other = authority.issue_cert("watcher"), authority.issue_cert("watcher")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    other.private_key_pem.write_to_path(tmp_path / "own.key")

    tls = "url: 'tcp://127.0.0.1:1', tls: {ca: '@%s', certificate: '@own.pem', key: '@own.key'}"
    wrong_key, missing = check(tls % "ca.pem"), check(tls % "none.pem")

    assert (1, "own.key: is not the key of the certificate in own.pem") == (
        wrong_key[0],
        wrong_key[1][0].partition("inputs.engine.tls.key: ")[2],
    )
    assert (0, "tidewaiter.yaml: warning: input engine: from here, cannot read none.pem") == (missing[0], missing[1][0])
