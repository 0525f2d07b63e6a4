"""Pages that are made from the code say what the code says now, and hand-written ones name what there is."""

import re
from pathlib import Path

import pytest
from click import Context, Group

from collector.cli import cli
from collector.config_page import page as configuration_page
from collector.config_rules import RulesConfig
from collector.rule_files import read_rule_files
from collector.rule_page import page as rules_page
from parsers.describe import page
from parsers.docker_actions import ACTS
from parsers.facts import FACTS
from parsers.format import formats
from parsers.own_fields import (
    ALERT_FIELDS,
    AUTH_FIELDS,
    BALANCE_FIELDS,
    LETTER_FIELDS,
    REPORT_FIELDS,
    TRAIL_FIELDS,
    WATCHED_FIELDS,
)
from pipelines import gather, join
from pipelines.detect.load import load
from pipelines.enrich import describe
from pipelines.normalize import container, identity, parsed
from pipelines.trails import docker_exec, docker_gap, docker_said

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_page_of_formats_is_what_make_docs_makes() -> None:
    """Where this fails: `make docs`."""
    assert (DEPLOY / "formats.md").read_text(encoding="utf-8") == page(), "deploy/formats.md is old: make docs"


def test_the_page_of_options_is_what_make_docs_makes() -> None:
    """Where this fails: `make docs`."""
    text = (DEPLOY / "configuration.md").read_text(encoding="utf-8")

    assert text == configuration_page(), "deploy/configuration.md is old: make docs"


def test_the_page_of_rules_is_what_make_docs_makes() -> None:
    """Where this fails: `make docs`."""
    text = (DEPLOY / "rules-pack.md").read_text(encoding="utf-8")
    files = read_rule_files(RulesConfig()).files

    assert text == rules_page(load(files.items()).rules), "deploy/rules-pack.md is old: make docs"


def test_the_page_of_formats_has_a_section_for_each() -> None:
    """In alphabetical order."""
    text = (DEPLOY / "formats.md").read_text(encoding="utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == sorted(formats())


def test_the_page_of_parsers_explains_each_tag() -> None:
    """A tag that documents can have from a line has a row."""
    modules = (container, describe, gather, identity, join, parsed)
    tags = {
        value
        for module in modules
        for value in vars(module).values()
        if re.fullmatch(r"(?:_[a-z0-9]+){2,}", str(value))
    }
    rows = set(re.findall(r"^\| `(_\w+)` \|", (DEPLOY / "parsers.md").read_text(encoding="utf-8"), re.MULTILINE))

    assert tags
    assert tags == rows


def test_the_page_of_dockers_trail_tells_of_each_action_and_tag() -> None:
    """Each action as its table has it, and each tag that only a trail's documents have."""
    text = (DEPLOY / "docker-trail.md").read_text(encoding="utf-8")
    actions = [
        f"| {kind} | `{action}` | {', '.join(act.category)} | {', '.join(act.type)} | {act.outcome} |"
        for kind, acts in ACTS.items()
        for action, act in acts.items()
    ]
    constants = [value for module in (docker_exec, docker_gap, docker_said) for value in vars(module).values()]
    tags = {value for value in constants if re.fullmatch(r"(?:_[a-z0-9]+)+", str(value))}

    assert [row for row in actions if row not in text] == []
    assert tags == set(re.findall(r"^\| `(_\w+)` \|", text, re.MULTILINE))


def test_the_page_of_metadata_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "metadata.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in WATCHED_FIELDS.items()
    ]

    assert "".join(rows) in text


def test_the_page_of_facts_has_a_row_for_each_fact_and_field() -> None:
    """With their meanings, as they are declared."""
    text = (DEPLOY / "facts.md").read_text(encoding="utf-8")
    facts = [f"| `{name}` | {means} |\n" for name, means in FACTS.items()]
    fields = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in TRAIL_FIELDS.items()
    ]

    assert "".join(facts) in text
    assert "".join(fields) in text


def test_the_page_of_sensors_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "sensors.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in REPORT_FIELDS.items()
    ]

    assert "".join(rows) in text


def test_the_page_of_logins_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "auth.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in AUTH_FIELDS.items()
    ]

    assert "".join(rows) in text


def test_the_page_of_dead_letters_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "dead-letters.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in LETTER_FIELDS.items()
    ]

    assert "".join(rows) in text


def test_the_page_of_the_books_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "balance.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {field.type} | {field.means} |\n" for name, field in BALANCE_FIELDS.items()]

    assert "".join(rows) in text


def test_the_page_of_alerts_has_a_row_for_each_field() -> None:
    """With its type and meaning, as they are declared."""
    text = (DEPLOY / "alerts.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {field.type}{' list' if field.is_list else ''} | {field.means} |\n"
        for name, field in ALERT_FIELDS.items()
    ]

    assert "".join(rows) in text


@pytest.mark.parametrize(
    ("command", "page_of"),
    [("parsers", "parsers.md"), ("rules", "rules.md"), ("dead-letters", "dead-letters.md")],
)
def test_the_page_of_a_group_shows_commands_that_exist(command: str, page_of: str) -> None:
    """Each command of the group is in it."""
    text = (DEPLOY / page_of).read_text(encoding="utf-8")
    group = cli.get_command(Context(cli), command)

    assert isinstance(group, Group)
    assert [name for name in group.commands if f"{command} {name}" not in text] == []
