"""`tidewaiter parsers list`, `show` and `try` as an operator and a rule author use them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands.parsers_try import Sender, Trial
from parsers.describe import facts
from parsers.format import formats
from pipelines.enrich.engines import Engine
from pipelines.settings import Settings

AT = "2026-11-29T02:00:05Z"
ACCESS = '192.0.2.7 - - [29/Nov/2026:02:00:00 +0000] "GET /cart HTTP/1.1" 200 512 "-" "curl/8.5.0"\n'
JSON = '{"level":"warn","msg":"no stock","who":"a"}\n'


def parsers(*arguments: str, lines: str | bytes = "") -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(cli, ["parsers", *arguments], input=lines, catch_exceptions=False)


def tried(*arguments: str, lines: str | bytes) -> list[dict[str, object]]:
    """What `try --json` says of lines that come at a time of their own."""
    return [
        json.loads(line)
        for line in parsers("try", "--at", AT, "--json", *arguments, lines=lines).stdout.split("\n")[:-1]
    ]


def test_every_parser_is_listed() -> None:
    """For programs with lists, in the order in which lines are tried."""
    rows = [json.loads(line) for line in parsers("list", "--json").stdout.splitlines()]

    assert [row["name"] for row in rows] == list(formats())
    assert {"nginx.access", "nginx.error"} == next(set(row["datasets"]) for row in rows if row["name"] == "nginx")


@pytest.mark.parametrize("name", list(formats()))
def test_every_parser_is_explained(name: str) -> None:
    """Its own words, and each field that it can give on a line of its own."""
    shown = parsers("show", name).stdout

    assert facts(name).documentation in shown
    assert [each.name for each in facts(name).fields if f"\n{each.name} " not in f"{shown} "] == []


def test_a_rule_author_reads_types_and_constants() -> None:
    """Fields with their type, the part of the line they come from and what never varies."""
    fields = {each["name"]: each for each in json.loads(parsers("show", "nginx", "--json").stdout)["fields"]}

    assert fields["source.ip"] == {"name": "source.ip", "type": "ip", "sources": ["client"], "constants": []}
    assert fields["event.action"]["constants"] == ["authentication_failed"]
    assert fields["related.ip"]["type"] == "ip"
    assert fields["@timestamp"]["type"] == "date"


@pytest.mark.parametrize("command", ["show", "try"])
def test_an_unknown_name_is_wrong_usage_and_the_nearest_is_offered(command: str) -> None:
    """Exit code 2, and nothing on the standard output."""
    result = parsers(command, "ngnix")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean nginx?" in result.output


def test_lines_are_one_stream_whose_choice_evolves() -> None:
    """A line that no held parser takes is tried on all; what no parser takes is said to be plain."""
    found = tried(lines=ACCESS + JSON + "hello\n" + ACCESS)

    assert [(each["line"], each["outcome"], each["parser"], each["reason"]) for each in found] == [
        (1, "parsed", "nginx", "lines"),
        (2, "parsed", "json", "lines"),
        (3, "plain", None, "lines"),
        (4, "parsed", "nginx", "lines"),
    ]


def test_the_document_is_the_one_that_is_shipped() -> None:
    """Whole, with the container's identity and the line's own time."""
    (found,) = tried("--image", "nginx:1.27", "--container", "web", "--stream", "stderr", lines=ACCESS)
    document = found["document"]

    assert isinstance(document, dict)
    assert (found["parser"], found["reason"]) == ("nginx", "image")
    assert document["@timestamp"] == "2026-11-29T02:00:00.000000000Z"
    assert document["container"]["image"] == {"name": "nginx", "tag": ["1.27"]}
    assert (document["container"]["name"], document["tidewaiter"]["container"]["stream"]) == ("web", "stderr")
    assert document["data_stream"]["dataset"] == "nginx.access"


def test_what_an_image_does_not_say_was_found_by_the_lines() -> None:
    """A stream of nginx that writes JSON in between."""
    assert [each["reason"] for each in tried("--image", "nginx", lines=ACCESS + JSON)] == ["image", "lines"]


def test_a_line_that_does_not_fit_what_was_asked_for_is_a_problem() -> None:
    """It is plain, tagged, and the exit code is 1; `none` asks for plain lines."""
    result = parsers("try", "nginx", "--json", lines=JSON)
    (found,) = map(json.loads, result.stdout.splitlines())

    assert (result.exit_code, found["outcome"], found["parser"], found["reason"]) == (1, "failed", "nginx", "label")
    assert found["document"]["tags"] == ["_parse_failure"]
    assert parsers("try", "none", lines=JSON).exit_code == 0


def test_rules_of_the_configuration_hold(tmp_path: Path) -> None:
    """By image, name and namespace; a label goes before them."""
    file = tmp_path / "tidewaiter.yaml"
    file.write_text("parsers: [{parser: none, namespace: shop, name: 'batch-*'}]")
    config = ["--config", str(file)]

    (ruled,) = tried(*config, "--namespace", "shop", "--container", "batch-1", lines=JSON)
    (other,) = tried(*config, "--namespace", "shop", "--container", "web", lines=JSON)
    (labelled,) = tried(
        *config, "--namespace", "shop", "--container", "batch-1", "--label", "tidewaiter.parser=json", lines=JSON
    )

    assert (ruled["outcome"], ruled["reason"]) == ("plain", "rule")
    assert (other["parser"], other["reason"]) == ("json", "lines")
    assert (labelled["parser"], labelled["reason"]) == ("json", "label")


def test_fields_and_tables_of_the_configuration_are_on_the_document(tmp_path: Path) -> None:
    """A table whose file cannot be used is told, and sets nothing."""
    file, teams = tmp_path / "tidewaiter.yaml", tmp_path / "teams.csv"
    teams.write_text("name,team\nweb,payments\n")
    file.write_text(
        "fields: [{set: {service.name: shop}}]\n"
        f"lookups: {{teams: {{file: {teams}, match: container.name, add: {{team: labels.team}}}}}}\n"
    )
    (found,) = tried("--config", str(file), "--container", "web", lines=JSON)
    teams.unlink()
    without = parsers("try", "--config", str(file), "--container", "web", lines="x\n")

    assert isinstance(found["document"], dict)
    assert (found["document"]["service"], found["document"]["labels"]) == ({"name": "shop"}, {"team": "payments"})
    assert without.exit_code == 0
    assert f"note: lookup teams sets nothing: {teams}: cannot be read" in without.stderr
    assert "service.name" in without.stdout


def test_people_are_told_what_became_of_each_line() -> None:
    """In a sentence, with the fields that vary; nothing of a line reaches the terminal as a command (P5)."""
    shown = parsers("try", "--at", AT, lines=ACCESS + "hello \x1b[31m\n").stdout

    assert "line 1: nginx, found by the lines -> logs-nginx.access-default\n" in shown
    assert "line 2: plain: no parser takes it -> logs-tidewaiter.container-default\n" in shown
    assert "\n  source.ip                  192.0.2.7\n" in shown
    assert "\x1b[31m" not in shown
    assert "hello \\x1b[31m" in shown


def test_a_label_that_names_no_parser_is_told() -> None:
    """A container's typing mistake cannot be refused: its lines are plain, and it is said why."""
    shown = parsers("try", "--label", "tidewaiter.parser=ngnix", lines=JSON).stdout

    assert "plain: the label asks for 'ngnix', and there is no such parser" in shown


def test_bytes_that_are_no_text_pass_through_as_a_container_would_send_them() -> None:
    """The document says so."""
    (found,) = tried(lines=b"a\xffb\n")

    assert found["document"]["tags"] == ["_invalid_utf8"]  # type: ignore[index]


@pytest.mark.parametrize("options", [["--at", "tomorrow"], ["--at", "2200-01-01T00:00:00Z"], ["--label", "x"]])
def test_an_option_that_says_nothing_is_wrong_usage(options: list[str]) -> None:
    """Exit code 2 and an example."""
    result = parsers("try", *options)

    assert result.exit_code == 2
    assert "write" in result.output


def test_a_line_that_is_tried_waits_for_no_engine() -> None:
    """Where an Engine is configured for this machine's senders, what it would say of a container is not asked."""
    trial = Trial(Settings(version="0", engines=(Engine("engine"),)), Sender(), 1_700_000_000_000_000_000)

    assert [each.outcome for each in trial.line(b"hello")] == ["plain"]
