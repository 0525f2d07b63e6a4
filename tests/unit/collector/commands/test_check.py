"""`tidewaiter check` loads what TLS needs, and says whose fault it is with file, line and path."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from collector import rule_files
from collector.cli import cli
from tests.kit.rule_folders import rule


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs."""
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A certificate with its key, an authority, and files that are something else."""
    certificate, other = (authority.issue_cert("collector.example") for _ in range(2))
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other-key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "text.pem").write_text("no PEM")
    return tmp_path


@pytest.fixture
def check(folder: Path) -> Callable[[str], tuple[int, list[str]]]:
    """Check a configuration in which `@` stands for the folder; return the exit code and what was said."""

    def run(text: str) -> tuple[int, list[str]]:
        file = folder / "tidewaiter.yaml"
        rules = "" if "rules:" in text else "rules: {pack: false}\n"
        file.write_text(text.replace("@", f"{folder}/") + rules)
        command = ["--config", str(file), "--data-dir", str(folder / "data"), "check"]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        return done.exit_code, [line.replace(f"{folder}/", "") for line in done.stdout.splitlines()]

    return run


SECURED = """\
inputs:
  docker:
    type: forward
    tls:
      certificate: {certificate}
      key: {key}
      client_ca: {ca}
outputs:
  elastic:
    type: elasticsearch
    urls: ["https://es.example:9200"]
    ca_file: {ca_file}
"""
GOOD = {"certificate": "@certificate.pem", "key": "@key.pem", "ca": "@ca.pem", "ca_file": "@ca.pem"}


def test_certificates_that_can_be_used_are_no_problem(check: Callable[[str], tuple[int, list[str]]]) -> None:
    """Of inputs and outputs."""
    assert check(SECURED.format(**GOOD)) == (0, ["tidewaiter.yaml: ok"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"certificate": "@text.pem"},
            "tidewaiter.yaml:5: inputs.docker.tls.certificate: text.pem: no certificate in PEM form",
        ),
        (
            {"certificate": "@key.pem"},
            "tidewaiter.yaml:5: inputs.docker.tls.certificate: key.pem: no certificate in PEM form",
        ),
        (
            {"key": "@other-key.pem"},
            "tidewaiter.yaml:6: inputs.docker.tls.key: other-key.pem: is not the key of the certificate in "
            "certificate.pem",
        ),
        ({"key": "@text.pem"}, "tidewaiter.yaml:6: inputs.docker.tls.key: text.pem: no private key in PEM form"),
        ({"ca": "@text.pem"}, "tidewaiter.yaml:7: inputs.docker.tls.client_ca: text.pem: no certificate in PEM form"),
        (
            {"ca_file": "@text.pem"},
            "tidewaiter.yaml:12: outputs.elastic.ca_file: text.pem: no certificate in PEM form",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem_with_its_place(
    check: Callable[[str], tuple[int, list[str]]], wrong: dict[str, str], said: str
) -> None:
    """It was found when the input did not listen, in the log of the start."""
    code, lines = check(SECURED.format(**{**GOOD, **wrong}))

    assert code == 1
    assert lines[0].startswith(said)
    assert lines[1:] == ["tidewaiter.yaml: 1 problem"]


def test_a_key_with_a_passphrase_is_named(check: Callable[[str], tuple[int, list[str]]], folder: Path) -> None:
    """Nobody is there to be asked for it."""
    (folder / "key.pem").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n"
        "\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    )

    assert check(SECURED.format(**GOOD))[1][0].endswith("key.pem: the key has a passphrase; give one without")


def test_a_file_that_is_not_there_is_a_warning(check: Callable[[str], tuple[int, list[str]]]) -> None:
    """The configuration may be meant for another machine."""
    code, lines = check(SECURED.format(**{**GOOD, "key": "@none.pem"}))

    assert (code, lines) == (
        0,
        ["tidewaiter.yaml: warning: input docker: from here, cannot read none.pem", "tidewaiter.yaml: ok"],
    )


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ("tls:", "inputs.docker.tls", "must not be empty: leave it out, or fill it in"),
        ("tls: {}", "inputs.docker.tls.certificate", "is required"),
        ("shared_key: ~", "inputs.docker.shared_key", "must not be empty: leave it out, or fill it in"),
        (
            "tls: {certificate: '@certificate.pem', key: '@key.pem', client_ca: }",
            "inputs.docker.tls.client_ca",
            "must not be empty: it would demand nothing",
        ),
    ],
)
def test_an_empty_protection_is_refused(
    check: Callable[[str], tuple[int, list[str]]], options: str, path: str, said: str
) -> None:
    """The input would have listened without it, as if the line were not there."""
    code, lines = check(f"inputs:\n  docker:\n    type: forward\n    {options}\n")

    assert code == 1
    assert f"tidewaiter.yaml:4: {path}: {said}" in lines


TABLES = """\
lookups:
  teams:
    match: container.name
    file: {file}
    add: {{team: labels.team}}
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("service,team\nshop,payments\n", (0, ["tidewaiter.yaml: ok"])),
        (
            "service,team\nshop\n",
            (1, ["tidewaiter.yaml:4: lookups.teams.file: teams.csv, line 2: has 1 cells, and there are 2 columns",
                 "tidewaiter.yaml: 1 problem"]),
        ),
        (
            None,
            (0, ["tidewaiter.yaml: warning: lookup teams: from here, cannot read teams.csv", "tidewaiter.yaml: ok"]),
        ),
    ],
)  # fmt: skip
def test_the_file_of_a_lookup_is_read(
    folder: Path, check: Callable[[str], tuple[int, list[str]]], content: str | None, expected: tuple[int, list[str]]
) -> None:
    """What is wrong in it is told with its line; one that is not there may be on the machine it is meant for."""
    if content is not None:
        (folder / "teams.csv").write_text(content)

    assert check(TABLES.format(file="@teams.csv")) == expected


RULES = "rules: {pack: false, paths: [@rules]}\n"


def test_rules_that_are_sound_are_counted(folder: Path, check: Callable[[str], tuple[int, list[str]]]) -> None:
    """How many there are, and how many of them a document can match."""
    (folder / "rules").mkdir()
    (folder / "rules" / "a.yml").write_text(rule(1, "alpha"))
    (folder / "rules" / "b.yml").write_text(rule(2, "beta").replace("category: application", "product: plan9"))

    assert (0, ["tidewaiter.yaml: 2 rules, 1 can match", "tidewaiter.yaml: ok"]) == check(RULES)


def test_a_mistake_in_a_rule_has_its_place(folder: Path, check: Callable[[str], tuple[int, list[str]]]) -> None:
    """A part that no document has is a warning, with its place as well."""
    (folder / "rules").mkdir()
    (folder / "rules" / "a.yml").write_text(rule(1, "alpha").replace("words: [", "words|nosuch: ["))
    (folder / "rules" / "b.yml").write_text(
        "title: B\nlogsource: {product: linux}\ndetection:\n  a: {Nowhere: 1}\n  b: {message: x}\n  condition: a or b\n"
    )

    code, said = check(RULES)

    assert 1 == code
    assert [
        "rules/b.yml:4:7: warning: no document has the field Nowhere",
        "tidewaiter.yaml: 1 rules, 1 can match; mistakes that keep others from loading: 1",
        "tidewaiter.yaml: 1 problem",
    ] == said[1:]
    assert said[0].startswith("rules/a.yml:6:")


def test_a_path_of_rules_that_is_not_there_is_a_problem(check: Callable[[str], tuple[int, list[str]]]) -> None:
    """It is no warning as for other files: without its rules a collector would be blind, and look well."""
    expected = [
        "tidewaiter.yaml:1: rules.paths[0]: rules: there is no such file or folder",
        "tidewaiter.yaml:1: rules.placeholders.admins: admins: there is no such file or folder",
        "tidewaiter.yaml: 2 problems",
    ]

    assert (1, expected) == check("rules: {pack: false, paths: [@rules], placeholders: {admins: @admins}}\n")


def test_a_set_that_is_too_large_is_a_problem(
    folder: Path, check: Callable[[str], tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector would go on with the one before."""
    monkeypatch.setattr(rule_files, "FILES_LIMIT", 1)
    (folder / "rules").mkdir()
    for number, name in enumerate(("a.yml", "b.yml")):
        (folder / "rules" / name).write_text(rule(number, name))

    expected = ["tidewaiter.yaml:1: rules: there are more than 1 files of rules", "tidewaiter.yaml: 1 problem"]
    assert (1, expected) == check(RULES)
