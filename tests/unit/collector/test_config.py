"""The configuration's types: described, handed on whole, and secrets read late."""

import typing
from pathlib import Path

import msgspec
import pytest

from collector import config as configuration
from collector import config_documents, config_watchers
from collector.config import Config
from collector.config_file import parse
from collector.config_secrets import Secret, SecretError

STRUCTS = [
    kind
    for kind in (*vars(configuration).values(), config_watchers.EngineTlsConfig, config_documents.FactsConfig)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not Secret
]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_option_is_described_beside_its_type(kind: type[msgspec.Struct]) -> None:
    """A sentence a user can read, from which schema and reference page are made."""
    hints = typing.get_type_hints(kind, include_extras=True)
    described = {
        name: [mark.description or "" for mark in typing.get_args(hint)[1:] if isinstance(mark, msgspec.Meta)]
        for name, hint in hints.items()
    }

    assert described
    assert [name for name, texts in described.items() if len(texts) != 1 or not texts[0].endswith(".")] == []


def test_the_schema_of_the_configuration_can_be_made() -> None:
    """Types and descriptions are what msgspec makes a JSON Schema of."""
    schema = msgspec.json.schema(Config)

    assert "senders wait" in str(schema["$defs"]["JournalConfig"]["properties"]["limit"]["description"])


def test_a_configuration_survives_the_way_to_a_child_process() -> None:
    """What the supervisor hands over as JSON is the same configuration on the other side."""
    config = parse("outputs: {e: {type: elasticsearch, urls: ['http://x'], password: {env: P}, username: u}}", "f")

    assert msgspec.convert(msgspec.to_builtins(config), Config) == config


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


@pytest.mark.parametrize("content", [b"", b"\nkey\n", b"\xff\xfe"], ids=["empty", "empty line", "not text"])
def test_a_file_without_a_secret_is_an_error_that_shows_nothing_of_it(tmp_path: Path, content: bytes) -> None:
    """Its path is in the message, its content is not."""
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(SecretError, match=str(tmp_path)) as caught:
        Secret(file=str(tmp_path / "secret")).read()
    assert "key" not in str(caught.value).replace(str(tmp_path), "")
