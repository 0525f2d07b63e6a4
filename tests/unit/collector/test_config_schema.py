"""The schema takes what the loader takes, and refuses in kind what that refuses; the page lists every option."""

import json
import re
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from collector.cli import cli
from collector.config import INTERNAL, Config
from collector.config_file import parse
from collector.config_page import page
from collector.config_schema import schema
from collector.config_values import DURATION, SIZE, duration_written, size_written
from collector.errors import ConfigError
from tests.kit.json_schema import problems
from tests.kit.own_samples import SAMPLES

WRONG = {
    "unknown section": "inpts: {}",
    "unknown option": "journal: {limits: 1GiB}",
    "unknown type": "inputs: {a: {type: forwrd}}",
    "no type": "inputs: {a: {listen: '127.0.0.1:1'}}",
    "a bad name": "inputs: {A b: {type: forward}}",
    "a duration without a unit": "journal: {archive: 30}",
    "a size as a number": "journal: {limit: 1073741824}",
    "a size of another unit": "journal: {limit: 1GB}",
    "text for a truth": "journal: {compress: maybe}",
    "zero": "inputs: {a: {type: forward, connection_limit: 0}}",
    "a fraction": "inputs: {a: {type: forward, connection_limit: 1.5}}",
    "a secret in the file": "inputs: {a: {type: forward, shared_key: geheim}}",
    "a secret of two places": "inputs: {a: {type: forward, shared_key: {file: /a, env: B}}}",
    "a required option left out": "outputs: {es: {type: elasticsearch}}",
    "an empty list": "outputs: {es: {type: elasticsearch, urls: []}}",
    "a text for a list": "outputs: {es: {type: elasticsearch, urls: 'https://es.example:9200'}}",
    "a value that is none of the choices": "documents: {original: sometimes}",
    "no port": "console: {listen: localhost}",
    "a socket for the console": "console: {listen: 'unix:///run/a.sock'}",
    "what processes tell one another": "consumers: [a]",
    "an option of another type": "outputs: {s: {type: local, urls: ['https://es.example:9200']}}",
}

RIGHT = {
    "nothing": "{}",
    "a name that looks like a number": "name: 5",
    "nothing where nothing may stand": "inputs: {a: {type: kubernetes_audit, cluster: }}",
    "one value for a field, or several": "fields: [{set: {service.name: shop, tags: [a, b]}}]",
    "all kinds": """
        journal: {limit: 30GiB, archive: 30d, compress: no}
        inputs:
          docker: {type: forward, listen: "0.0.0.0:24224", users: {a: {env: A}}, shared_key: {file: /a}}
          engine: {type: docker_events, peers: ["192.0.2.0/24", unix]}
        outputs:
          elastic: {type: elasticsearch, urls: ["https://es.example:9200"], api_key: {file: /run/secrets/es}}
        hosts: {"192.0.2.7": node-1}
        parsers: [{parser: nginx, image: "*/web"}]
        lookups: {teams: {file: /etc/teams.csv, match: container.name, add: {team: labels.team}}}
        """,
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_the_loader_refuses_the_schema_refuses(text: str) -> None:
    """In kind: a wrong key, type, unit or choice."""
    with pytest.raises(ConfigError):
        parse(text, "a file")

    assert problems(schema(), yaml.safe_load(text))


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_the_loader_takes_the_schema_takes(text: str) -> None:
    """An editor must not mark what works."""
    parse(text, "a file")

    assert [] == problems(schema(), yaml.safe_load(text))


@pytest.mark.parametrize(("place", "text"), SAMPLES, ids=[place for place, _ in SAMPLES])
def test_every_sample_in_our_pages_keeps_to_the_schema(place: str, text: str) -> None:
    """Those of README and recipes, whole files and fragments."""
    assert [] == problems(schema(), yaml.safe_load(text)), place


def test_there_are_samples() -> None:
    """A pattern that finds none would let everything pass."""
    assert len(SAMPLES) > 10


def test_every_default_is_what_the_loader_makes_of_nothing() -> None:
    """What the schema says is built in, written into a file, changes nothing."""
    sections = {name: said["default"] for name, said in schema()["properties"].items() if said.get("default")}

    assert parse(json.dumps(sections), "a file") == parse("{}", "a file")


def test_every_option_is_described() -> None:
    """On the page, in editors: nothing is left to guess."""
    found = schema()
    silent = [
        f"{name}.{option}"
        for name, definition in {"": found, **found["$defs"]}.items()
        for option, said in definition["properties"].items()
        if "const" not in said and not said.get("description")
    ]

    assert [] == silent


def test_what_processes_tell_one_another_is_no_option() -> None:
    """No file may hold it."""
    hints = Config.__annotations__
    inner = [name for name, hint in hints.items() if INTERNAL in getattr(hint, "__metadata__", ())]

    assert {"consumers", "hash", "settings"} == set(inner)
    assert not set(inner) & schema()["properties"].keys()


@pytest.mark.parametrize("text", ["30s", "5m", "12h", "7d", "250ms", "90s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    """In the largest unit that says it exactly."""
    assert text == duration_written(DURATION.read(text))


@pytest.mark.parametrize("text", ["1B", "64KiB", "1536KiB", "10GiB", "2TiB"])
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    """In the largest unit that says it exactly."""
    assert text == size_written(SIZE.read(text))


def test_the_commands_print_both() -> None:
    """The schema as JSON, the page as Markdown."""
    runner = CliRunner()

    printed = runner.invoke(cli, ["config", "schema"])
    reference = runner.invoke(cli, ["config", "reference"])

    assert (0, 0) == (printed.exit_code, reference.exit_code)
    assert schema() == msgspec.json.decode(printed.output)
    assert page() == reference.output


def test_the_page_has_a_row_for_every_option() -> None:
    """Under a heading that says where it stands."""
    found: dict[str, Any] = schema()
    definitions = {"": found, **found["$defs"]}
    del definitions["Secret"]
    rows = re.findall(r"^\| `(\w+)` \|", page(), re.MULTILINE)

    assert sorted(rows) == sorted(
        option
        for definition in definitions.values()
        for option, said in definition["properties"].items()
        if "const" not in said
    )
