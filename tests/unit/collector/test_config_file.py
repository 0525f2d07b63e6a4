"""The configuration file: defaults, every problem at once with its place, and nothing guessed."""

from pathlib import Path

import msgspec
import pytest

from collector.config import Config, ElasticsearchOutput, ForwardInput, LocalOutput, Secret, SecretError
from collector.config_file import load, parse
from collector.errors import ConfigError, Problem

SIX_MISTAKES = """\
data_dirr: /srv/tidewaiter
journal: {limit: 20GB}
inputs:
  docker: {type: forwrd, listen: "0.0.0.0:24224"}
  socket: {type: forward, listen: "24224"}
outputs:
  elastic:
    type: elasticsearch
    api_key: c2VjcmV0
console: []
"""


def problems(text: str) -> list[Problem]:
    """The problems of a file."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "tidewaiter.yaml")
    return caught.value.problems


def test_every_mistake_is_named_at_once_with_line_and_path() -> None:
    """Six different mistakes and a missing option are seven problems, in the order of the file."""
    found = [(problem.line, problem.path) for problem in problems(SIX_MISTAKES)]

    assert found == [
        (1, "data_dirr"),
        (2, "journal.limit"),
        (4, "inputs.docker.type"),
        (5, "inputs.socket.listen"),
        (8, "outputs.elastic.urls"),
        (9, "outputs.elastic.api_key"),
        (10, "console"),
    ]


def test_the_nearest_known_name_is_offered() -> None:
    """An unknown key or type names what was probably meant."""
    messages = [problem.message for problem in problems(SIX_MISTAKES)]

    assert "did you mean data_dir?" in messages[0]
    assert "did you mean forward?" in messages[2]


def test_a_secret_is_never_repeated() -> None:
    """A secret written where a reference belongs does not reach the message."""
    assert "c2VjcmV0" not in str(problems(SIX_MISTAKES))


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("inputs: {a: {type: forward}, a: {type: forward}}", "inputs.a", "given twice"),
        ("inputs: {b: {type: forward, listen: '[::1]:1'}, c: {type: forward, listen: '[::1]:1'}}",
         "inputs.c.listen", "taken by input b"),
        ("inputs: {A b: {type: forward}}", "inputs.A b", "a-z"),
        ("inputs: {a: {listen: '127.0.0.1:1'}}", "inputs.a.type", "required"),
        ("inputs: {a: {type: forward, connections_limit: -1}}", "inputs.a.connections_limit", "more than 0"),
        ("inputs: {a: {type: forward, message_limit: 0B}}", "inputs.a.message_limit", "no size"),
        ("outputs: {e: {type: elasticsearch, urls: []}}", "outputs.e.urls", "empty"),
        ("outputs: {e: {type: elasticsearch, urls: ['ftp://x']}}", "outputs.e.urls[0]", "no URL"),
        ("outputs: {e: {type: elasticsearch, urls: ['http://x'], username: u}}", "outputs.e", "go together"),
        ("outputs: {e: {type: elasticsearch, urls: ['http://x'], gzip: 1}}", "outputs.e.gzip", "true or false"),
        ("outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: {}}}", "outputs.e.api_key", "exactly one"),
        ("outputs: {s: {type: local, retention: 1y}}", "outputs.s.retention", "no duration"),
        ("hosts: {192.0.2.1: [a]}", "hosts.192.0.2.1", "must be text"),
        ("namespace: A-b", "namespace", "at most 100"),
        ("consumers: [a]", "consumers", "unknown key"),
        ("name:", "name", "not nothing"),
        ("- a", "(file)", "must be a mapping"),
        ("a: [", "(file)", "not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_says_where_and_what(text: str, path: str, part: str) -> None:
    """Each kind of mistake has its path and a message that helps."""
    (problem,) = problems(text)

    assert problem.path == path
    assert part in problem.message


def test_an_empty_file_is_the_built_in_configuration() -> None:
    """Forward on loopback, the local store and the console on loopback."""
    config = parse("", "tidewaiter.yaml")

    assert config.inputs == {"forward": ForwardInput(listen="127.0.0.1:24224")}
    assert config.outputs == {"store": LocalOutput()}
    assert config.console.listen == "127.0.0.1:8686"


def test_a_section_that_is_given_replaces_the_built_in_one() -> None:
    """Units are read; what is not given keeps its default."""
    config = parse(
        """
        journal: {limit: 512MiB}
        inputs: {socket: {type: forward, listen: "unix:///run/forward.sock", message_limit: 1MiB}}
        outputs: {elastic: {type: elasticsearch, urls: ["https://es.example:9200/"], api_key: {file: /run/secrets/es}}}
        hosts: {192.0.2.7: edge-1}
        """,
        "tidewaiter.yaml",
    )

    assert config.journal.limit == 512 << 20
    assert config.inputs == {"socket": ForwardInput(listen="unix:///run/forward.sock", message_limit=1 << 20)}
    assert config.outputs == {
        "elastic": ElasticsearchOutput(urls=["https://es.example:9200"], api_key=Secret(file="/run/secrets/es"))
    }
    assert config.hosts == {"192.0.2.7": "edge-1"}


def test_a_configuration_survives_the_way_to_a_child_process() -> None:
    """What the supervisor hands over as JSON is the same configuration on the other side."""
    config = parse("outputs: {e: {type: elasticsearch, urls: ['http://x'], password: {env: P}, username: u}}", "f")

    assert msgspec.convert(msgspec.to_builtins(config), Config) == config


def test_the_file_is_looked_for_in_the_stated_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config wins over TIDEWAITER_CONFIG, that over ./tidewaiter.yaml, that over the built-in configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEWAITER_CONFIG", raising=False)
    monkeypatch.setenv("TIDEWAITER_DATA_DIR", str(tmp_path / "data"))

    assert load().source == "built-in configuration"
    (tmp_path / "tidewaiter.yaml").write_text("name: here")
    assert load().config.name == "here"
    (tmp_path / "other.yaml").write_text("name: other")
    monkeypatch.setenv("TIDEWAITER_CONFIG", "other.yaml")
    assert load().config.name == "other"
    (tmp_path / "given.yaml").write_text("name: given")
    assert load("given.yaml").config.name == "given"
    assert load().config.data_dir == str(tmp_path / "data")
    assert load(data_dir="elsewhere").config.data_dir == str(tmp_path / "elsewhere")


def test_an_input_beyond_loopback_is_named_in_a_warning(tmp_path: Path) -> None:
    """It is allowed without TLS, and said."""
    file = tmp_path / "c.yaml"
    file.write_text("inputs: {a: {type: forward, listen: '0.0.0.0:24224'}, b: {type: forward, listen: '[::1]:24225'}}")

    (warning,) = load(str(file)).warnings
    assert "input a listens on 0.0.0.0:24224" in warning


def test_a_secret_is_read_late_and_its_absence_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of the file, or the variable; an error names where it was looked for."""
    (tmp_path / "key").write_text("abc \n")
    monkeypatch.setenv("ES_KEY", "def")
    monkeypatch.delenv("ES_NONE", raising=False)

    assert Secret(file=str(tmp_path / "key")).read() == "abc"
    assert Secret(env="ES_KEY").read() == "def"
    with pytest.raises(SecretError, match="ES_NONE"):
        Secret(env="ES_NONE").read()
    with pytest.raises(SecretError, match="nowhere"):
        Secret(file=str(tmp_path / "nowhere")).read()
