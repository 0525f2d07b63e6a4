"""Options of inputs that are posted to: what `check` refuses, warns of and misses."""

from pathlib import Path

import pytest

from collector.config_file import absences, load, parse
from collector.config_http import HttpInputConfig, KubernetesAuditInputConfig
from collector.errors import ConfigError
from collector.pipeline_settings import pipeline_settings
from pipelines.settings import Audit


def problems(text: str) -> list[str]:
    """The problems of a file, each as path and message."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "tidewaiter.yaml")
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def warnings(folder: Path, inputs: str) -> list[str]:
    """What is warned of."""
    file = folder / "tidewaiter.yaml"
    file.write_text(f"data_dir: {folder}\ninputs: {inputs}\n", encoding="utf-8")
    return load(str(file), None).warnings


def test_they_listen_on_this_machine_unless_told_otherwise() -> None:
    """Each type has an address of its own, and none of another's."""
    config = parse("inputs: {a: {type: kubernetes_audit}, b: {type: http}, c: {type: forward}}", "file")

    assert ["127.0.0.1:8443", "127.0.0.1:8080", "127.0.0.1:24224"] == [each.listen for each in config.inputs.values()]  # type: ignore[union-attr]


def test_two_inputs_of_one_address_are_refused() -> None:
    """Also where both stand there by default."""
    (found,) = problems("inputs: {a: {type: http}, b: {type: kubernetes_audit, listen: '127.0.0.1:8080'}}")

    assert "inputs.b.listen: 127.0.0.1:8080 is taken by input a" == found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{type: http, listen: '127.0.0.1:1'}", []),
        ("{type: http, listen: 'unix:///run/tidewaiter/http.sock'}", []),
        ("{type: kubernetes_audit, listen: '0.0.0.0:1'}", ["without TLS or tokens: whoever reaches the port"]),
        (
            "{type: http, listen: '0.0.0.0:1', tokens: {a: {env: A}}}",
            ["without TLS: whoever is in between can read tokens"],
        ),
        (
            "{type: http, listen: '0.0.0.0:1', tls: {certificate: c, key: k}}",
            ["without tokens, users or client certificates: whoever reaches the port can send records"],
        ),
        (
            "{type: kubernetes_audit, listen: '0.0.0.0:1', tls: "
            "{certificate: c, key: k, client_ca: a, client_optional: true}}",
            ["without tokens, users or client certificates: whoever reaches the port can send records"],
        ),
        ("{type: http, listen: '0.0.0.0:1', tls: {certificate: c, key: k, client_ca: a}}", []),
        ("{type: http, listen: '0.0.0.0:1', tls: {certificate: c, key: k}, tokens: {a: {env: A}}}", []),
        ("{type: http, listen: '0.0.0.0:1', tls: {certificate: c, key: k}, users: {a: {env: A}}}", []),
    ],
)
def test_who_listens_beyond_loopback_without_tls_is_warned(options: str, expected: list[str], tmp_path: Path) -> None:
    """Named with its address and what that means."""
    found = warnings(tmp_path, f"{{a: {options}}}")

    assert len(expected) == len(found)
    assert all(part in each for part, each in zip(expected, found, strict=True))


def test_an_empty_list_of_tokens_is_refused() -> None:
    """It would ask nobody for anything, which nobody means who writes it."""
    assert ["inputs.a.tokens: must be a mapping, not nothing"] == problems("inputs: {a: {type: http, tokens: }}")


def test_secrets_that_are_not_there_are_told() -> None:
    """By their place, never by what they hold."""
    config = parse(
        "inputs: {a: {type: http, tokens: {t: {env: NO_SUCH_VARIABLE}}, users: {u: {file: /no/such}}}}", "file"
    )

    assert [
        "input a: from here, the environment variable NO_SUCH_VARIABLE is not set",
        "input a: from here, cannot read the secret in /no/such: No such file or directory",
    ] == list(absences(config))


def test_what_documents_are_to_know_comes_from_the_input() -> None:
    """The cluster's name and its proxies, by the input's."""
    config = parse(
        "inputs: {a: {type: kubernetes_audit, cluster: shop, proxies: [192.0.2.0/24]}, b: {type: http}}", "file"
    )

    assert {"a": Audit("shop", ("192.0.2.0/24",))} == pipeline_settings(config).audits
    assert (KubernetesAuditInputConfig, HttpInputConfig) == tuple(map(type, config.inputs.values()))
