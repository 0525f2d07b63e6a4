"""The configuration file: defaults, every problem at once with its place, and nothing guessed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.config import ForwardInputConfig
from collector.config_file import load, parse
from collector.config_outputs import ElasticsearchOutputConfig, LocalOutputConfig
from collector.config_secrets import Secret
from collector.errors import ConfigError, Problem
from collector.pipeline_settings import pipeline_settings
from pipelines.enrich.lookups import Lookup
from pipelines.enrich.static import FieldRule
from pipelines.parse import ParserRule

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
         "inputs.c.listen", "[::1]:1 is taken by input b"),
        ("inputs: {b: {type: forward}, c: {type: forward}}", "inputs.c.listen", "default address is taken by input b"),
        ("inputs: {b: {type: forward, listen: 'localhost:8686'}}", "inputs.b.listen", "taken by the console"),
        ("console: {listen: '0.0.0.0:24224'}", "console.listen", "taken by input forward"),
        ("inputs: {tidewaiter: {type: forward}}", "inputs.tidewaiter", "our own"),
        ("inputs: {a: {type: [forward]}}", "inputs.a.type", "must be text, not a list"),
        ("inputs: {a: {type: forward, listen: 'a:70000'}}", "inputs.a.listen", "at most 65535"),
        ("inputs: {a: {type: forward, listen: 'unix://run/x'}}", "inputs.a.listen", "absolute path"),
        (f"inputs: {{a: {{type: forward, listen: 'unix:///{'x' * 107}'}}}}", "inputs.a.listen", "at most 107 bytes"),
        ("console: {listen: 'unix:///run/console.sock'}", "console.listen", "not possible"),
        ("inputs: {a: {type: forward, connection_limit: 1:30}}", "inputs.a.connection_limit", "whole number"),
        ("outputs: {}", "outputs", "nowhere"),
        ("outputs: {a: {type: local}, b: {type: local}}", "outputs.b", "output a is it"),
        ("outputs: {pipeline: {type: local}}", "outputs.pipeline", "our own"),
        ("outputs: {dead-letters: {type: local}}", "outputs.dead-letters", "our own"),
        ("journal: {limit: 511MiB}", "journal.limit", "at least 512MiB"),
        ("inputs: {a: {type: forward, message_limit: 3GiB}}", "journal.limit", "at least 24576MiB"),
        ("parsers: [{parser: ngnix}]", "parsers[0].parser", "did you mean nginx?"),
        ("parsers: [{parser: nginx}, {parser: None}]", "parsers[1].parser", "did you mean none?"),
        ("parsers: [{parser: '../x'}]", "parsers[0].parser", "unknown parser '../x'; known: accounts, "),
        ("parsers: [{image: nginx}]", "parsers[0].parser", "is required where multiline is not given"),
        ("parsers: [{parser: '', image: nginx}]", "parsers[0].parser", "empty"),
        ("parsers: [{multiline: maybe}]", "parsers[0].multiline", "must be true or false"),
        ("parsers: [{parser: nginx, imag: nginx}]", "parsers[0].imag", "did you mean image?"),
        ("parsers: [{parser: nginx, image: [nginx]}]", "parsers[0].image", "must be text, not a list"),
        ("parsers: {parser: nginx}", "parsers", "must be a list, not a mapping"),
        ("documents: {original: sometimes}", "documents.original", "sometimes"),
        ("documents: {orginal: always}", "documents.orginal", "did you mean original?"),
        ("fields: [{set: {host.name: a}}]", "fields[0].set.host.name", "cannot be set"),
        ("fields: [{set: {servce.name: a}}]", "fields[0].set.servce.name", "did you mean service.name?"),
        ("fields: [{set: {labels.team: [a, b]}}]", "fields[0].set.labels.team", "is one text; lists are"),
        (f"fields: [{{set: {{labels.team: {'x' * 1025}}}}}]", "fields[0].set.labels.team", "more than 1024"),
        (f"fields: [{{set: {{labels.{'x' * 250}: a}}}}]", f"fields[0].set.labels.{'x' * 250}", "name of more than 256"),
        ("fields: [{set: {labels.team: {a: b}}}]", "fields[0].set.labels.team", "must be text"),
        ("fields: [{set: {tags: [a, {}]}}]", "fields[0].set.tags[1]", "must be text"),
        ("fields: [{set: {}}]", "fields[0].set", "set nothing"),
        ("fields: [{name: a}]", "fields[0].set", "is required"),
        ("fields: [{peer: 192.0.2.1/24, set: {labels.a: b}}]", "fields[0].peer", "host bits set"),
        ("lookups: {A b: {file: f, match: container.name, add: {a: labels.a}}}", "lookups.A b", "a-z"),
        ("lookups: {a: {file: f, match: source.ip, add: {a: labels.a}}}", "lookups.a.match", "from line to line"),
        ("lookups: {a: {file: f, match: container.name, add: {a: host.name}}}", "lookups.a.add.a", "cannot be set"),
        ("lookups: {a: {file: f, match: container.name, add: {}}}", "lookups.a.add", "set nothing"),
        ("lookups: {a: {match: container.name, add: {a: labels.a}}}", "lookups.a.file", "is required"),
        ("lookups: {a: {file: f, match: container.name, add: {a: [labels.a]}}}", "lookups.a.add.a", "must be text"),
        ("lookups: {" + ", ".join(f"l{n}: {{file: f, match: container.name, add: {{a: labels.a}}}}" for n in range(17))
         + "}", "lookups", "are 17, and at most 16"),
        ("hosts: {edge-1: a}", "hosts.edge-1", "no peer"),
        ("name: ''", "name", "empty"),
        ('name: "a\\nb"', "name", "control character"),
        ('inputs: {a: {type: forward, listen: "unix:///run/a\\0b"}}', "inputs.a.listen", "control character"),
        ("inputs: {a: {type: forward, connection_limit: 0777}}", "inputs.a.connection_limit", "whole number"),
        ("!x {name: a}", "(file)", "YAML tag"),
        ("!x name: a", "(file)", "YAML tag"),
        ("name: !!binary aGVsbG8=", "name", "YAML tag"),
        ("inputs: !x {a: {type: forward}}", "inputs", "YAML tag"),
        ("inputs: {a: !x {type: forward}}", "inputs.a", "YAML tag"),
        ("outputs: {e: {type: elasticsearch, urls: !x ['http://127.0.0.1:9']}}", "outputs.e.urls", "YAML tag"),
        ("name: !path a", "name", "tag"),
        ("inputs: !x {a: {type: forward}}", "inputs", "tag"),
        ("inputs: {a: !!python/object:os.system {type: forward}}", "inputs.a", "tag"),
        ("outputs: {e: {type: elasticsearch, urls: !x ['http://127.0.0.1:1']}}", "outputs.e.urls", "tag"),
        ('"\\e[31m": 1', "\\x1b[31m", "unknown key"),
        ("? [a]\n: b", "(file)", "a key must be text"),
        ("inputs: {A b: {type: forward}}", "inputs.A b", "a-z"),
        ("inputs: {a: {listen: '127.0.0.1:1'}}", "inputs.a.type", "required"),
        ("inputs: {a: {type: forward, connection_limit: -1}}", "inputs.a.connection_limit", "more than 0"),
        ("inputs: {a: {type: forward, inflation_limit: 0}}", "inputs.a.inflation_limit", "more than 0"),
        ("inputs: {a: {type: forward, users: {u: {env: X}}}}", "inputs.a.users", "shared_key or client_keys"),
        ("inputs: {a: {type: forward, shared_key: k3y}}", "inputs.a.shared_key", "never written here"),
        ("inputs: {a: {type: forward, client_keys: {c: {}}}}", "inputs.a.client_keys.c", "exactly one"),
        ("inputs: {a: {type: forward, tls: {certificate: c}}}", "inputs.a.tls.key", "required"),
        ("inputs: {a: {type: forward, tls: {certificate: c, key: k, client_optional: true}}}",
         "inputs.a.tls.client_optional", "client_ca"),
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


@pytest.mark.parametrize(
    "text",
    [
        "outputs: {e: {type: elasticsearch, urls: ['https://u:s3cret@es.example']}}",
        "outputs: {e: {type: elasticsearch, urls: ['htps://u:s3cret@es.example']}}",
        "outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: {s3cret}}}",
        "outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: {key: s3cret}}}",
        "outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: [s3cret]}}",
        "outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: !s3cret x}}",
        "outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: *s3cret}}",
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(text: str) -> None:
    """However it got into the file, no message shows it."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "tidewaiter.yaml")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("outputs:\n\tstore: {type: local}\n", 2, "not YAML: indent with spaces, never with a tab"),
        ("journal: {limit: 1GiB\nconsole: {}\n", 2, "not YAML: expected ',' or '}', but got ':'"),
        ("journal: {limit: [}\n", 1, "not YAML: expected the node content, but found '}'"),
        ("name: a\n---\nname: b\n", 2, "not YAML: a second document begins here"),
        ("a: &x 1\nb: &x 2\n", 2, "not YAML: an anchor (&) of this name is there already"),
        ("name: *s3cret\n", 1, "not YAML: found undefined alias …"),
    ],
)
def test_what_is_not_yaml_is_told_in_words_that_help(text: str, line: int, message: str) -> None:
    """Tokens are shown as they are; a name that might be a secret is not."""
    (problem,) = problems(text)

    assert ("(file)", line) == (problem.path, problem.line)
    assert problem.message.startswith(message)


def test_a_misspelt_secret_is_one_problem_with_a_hint() -> None:
    """The key that was meant is named."""
    (problem,) = problems("outputs: {e: {type: elasticsearch, urls: ['http://x'], api_key: {fiel: /run/secrets/es}}}")

    assert "did you mean file?" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 5000,
        "a: " + "[" * 5000 + "]" * 5000,
        "name: a\x01b",
        "a: &x [*x]",
        "inputs: &x {a: *x}",
        "a: 1\n---\n",
    ],
    ids=["unclosed", "deep", "control character", "loop", "loop of inputs", "two documents"],
)
def test_what_is_no_configuration_is_a_problem_not_a_crash(text: str) -> None:
    """Broken, endless and over-deep YAML has its sentence as well."""
    assert problems(text)


WORDS = """
    data_dir name journal limit inputs outputs hosts console a type forward local elasticsearch urls api_key file env
    listen 127.0.0.1:1 unix:///x 30d 20GiB 1 1:30 2026-99-99 true ~ !x !!int &a *a << 192.0.2.7 http://x '' " ' : ? - ,
    [ ] { }
"""
PIECES = st.tuples(st.sampled_from(WORDS.split()), st.sampled_from(["", " ", ": ", "\n", "\n  ", "\n    "]))


@given(st.lists(PIECES, max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_configuration_or_a_list_of_problems(pieces: list[tuple[str, str]]) -> None:
    """Nothing else leaves the reader, whatever YAML makes of the text."""
    text = "".join(piece + gap for piece, gap in pieces)

    try:
        made: object = parse(text, "f")
    except ConfigError as error:
        made = error.problems
    assert made


def test_aliases_are_read_at_each_place() -> None:
    """YAML's anchors work: options are written once and used twice."""
    config = parse(
        "outputs: {e: {type: elasticsearch, urls: [http://127.0.0.1:1], password: &key {env: P}, username: u},\n"
        "          f: {type: elasticsearch, urls: [http://127.0.0.1:2], api_key: *key}}",
        "f",
    )

    assert [output.password for output in config.outputs.values() if isinstance(output, ElasticsearchOutputConfig)] == [
        Secret(env="P"),
        None,
    ]


def test_a_peer_is_written_as_its_connection_shows_it() -> None:
    """Another spelling of the same address is the same peer."""
    config = parse("hosts: {'2001:DB8::0007': a, '::ffff:192.0.2.7': b, 'unix:uid=0': c}", "f")

    assert config.hosts == {"2001:db8::7": "a", "192.0.2.7": "b", "unix:uid=0": "c"}


def test_an_empty_file_is_the_built_in_configuration() -> None:
    """Forward on loopback, the local store and the console on loopback."""
    config = parse("", "tidewaiter.yaml")

    assert config.inputs == {"forward": ForwardInputConfig(listen="127.0.0.1:24224")}
    assert config.outputs == {"store": LocalOutputConfig()}
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
    assert config.inputs == {"socket": ForwardInputConfig(listen="unix:///run/forward.sock", message_limit=1 << 20)}
    assert config.outputs == {
        "elastic": ElasticsearchOutputConfig(urls=["https://es.example:9200"], api_key=Secret(file="/run/secrets/es"))
    }
    assert config.hosts == {"192.0.2.7": "edge-1"}


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


def test_a_key_without_tls_beyond_loopback_is_named_in_a_warning(tmp_path: Path) -> None:
    """It says who is there when a connection begins, and hides nothing of what follows."""
    (tmp_path / "c.yaml").write_text(
        "inputs: {a: {type: forward, listen: '0.0.0.0:24224', shared_key: {env: K}},"
        " b: {type: forward, listen: '[::1]:24225', shared_key: {env: K}}}"
    )

    (warning,) = load(str(tmp_path / "c.yaml")).warnings
    assert warning == (
        "input a listens on 0.0.0.0:24224, beyond loopback, with a key and without TLS: "
        "whoever is in between can read records and alter them"
    )


def test_credentials_without_tls_and_an_open_console_are_named_in_warnings(tmp_path: Path) -> None:
    """Loopback and TLS are fine."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "console: {listen: ':8686'}\n"
        "outputs: {e: {type: elasticsearch, api_key: {env: K},"
        " urls: ['http://127.0.0.1:1', 'http://[::1]:1', 'https://es.example', 'http://es.example']}}"
    )

    console, credentials = load(str(file)).warnings
    assert "the console listens on :8686" in console
    assert "to http://es.example without TLS" in credentials


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"name: a\n# \xff\n", "UTF-8"), (b"#" * (1 << 20) + b"\n", "larger than 1 MiB")],
    ids=["not text", "too large"],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, part: str) -> None:
    """Its name and the reason, never a traceback."""
    (tmp_path / "c.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=part):
        load(str(tmp_path / "c.yaml"))


def test_a_data_folder_of_a_user_that_is_not_there_is_a_problem() -> None:
    """`~name` stands for a home only when there is one."""
    with pytest.raises(ConfigError, match="data_dir"):
        load(data_dir="~no-such-user/data")


def test_parser_rules_are_what_the_pipeline_goes_by() -> None:
    """In their order; what a rule does not say fits everything, and `none` is a name that asks for no parser."""
    rules = "[{parser: nginx, image: '*/edge-*', namespace: shop}, {parser: none, name: batch}, {multiline: false}]"
    config = parse(f"parsers: {rules}", "f")

    assert pipeline_settings(config).parsers == (
        ParserRule("nginx", image="*/edge-*", namespace="shop"),
        ParserRule("none", name="batch"),
        ParserRule(multiline=False),
    )


def test_the_line_that_documents_keep_reaches_the_pipeline() -> None:
    """By its name in the file; without one, lines of which something was left out."""
    assert pipeline_settings(parse("documents: {original: changed}", "f")).original == "changed"
    assert pipeline_settings(parse("", "f")).original == "needed"


def test_fields_and_lookups_are_what_the_pipeline_is_told() -> None:
    """Rules in their order; of a lookup how it is asked, for its rows come by the journal."""
    text = """
        fields:
          - {name: "shop-*", peer: 192.0.2.0/24, set: {service.name: shop, labels.build: 007, tags: [a, b]}}
        lookups:
          teams: {file: /etc/tidewaiter/teams.csv, match: service.name, add: {team: labels.team}}
    """
    settings = pipeline_settings(parse(text, "tidewaiter.yaml"))
    fields: dict[str, str | list[str]] = {"service.name": "shop", "labels.build": "007", "tags": ["a", "b"]}

    assert settings.fields == (FieldRule(fields, name="shop-*", peer="192.0.2.0/24"),)
    assert settings.lookups == {"teams": Lookup("service.name", {"team": "labels.team"})}
