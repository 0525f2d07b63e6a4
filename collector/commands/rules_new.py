"""`tidewaiter rules new`: a rule and its test file to begin with; `schema`: what a test file may say, for editors."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import click
import msgspec

from collector.commands.rules_new_samples import SAMPLES, Sample
from pipelines.detect.cases import TestFile

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")

SCHEMA: Final = "rule-tests.schema.json"
"""The file that test files name for editors; written beside the first one."""

RULE: Final = """\
title: {title}
id: {id}
status: experimental
description: |
  What it finds, and what a person should do about it.
date: {date}
tags: []
logsource:
  {log_source}
detection:
{detection}  condition: selection and not 1 of filter_*
falsepositives:
  - What sets it off and is none.
level: medium
"""

TESTS: Final = """\
# yaml-language-server: $schema={schema}
cases:
  - name: it is found
{about}    lines:
      - {fires}
    expect: 1
  - name: what looks like it is not
{about}    lines:
      - {does_not}
    expect: none
"""

NEXT: Final = """\
Next: make it yours, and keep a case for what it is for and one for what it must not be.
  tidewaiter rules test {tests}
    runs the cases; for one that fails it shows which condition failed on which value
  tidewaiter rules explain {rule} LINE
    what the rule has become; with a line, step by step whether it holds"""


@click.command(short_help="Begin a rule, with its test file.")
@click.argument("name")
@click.option(
    "--logsource",
    "kind",
    type=click.Choice(list(SAMPLES)),
    default="container",
    show_default=True,
    help="; ".join(f"{name}: {sample.about}" for name, sample in SAMPLES.items()) + ".",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where the files go; else this folder.",
)
def new(*, name: str, kind: str, folder: Path) -> None:
    """Write a rule NAME that works, and tests of it, to begin with.

    Writes `NAME.yml` and `NAME.test.yml`, and beside the first of them the schema by which editors complete test files.
    Exit code 2, and nothing written, where one of them is there.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError("a rule's name is 1 to 80 of a-z, 0-9 and _, beginning with a letter")
    rule, tests, schema_file = folder / f"{name}.yml", folder / f"{name}.test.yml", folder / SCHEMA
    for path in (rule, tests):
        if path.exists():
            raise click.UsageError(f"there is a {path} already")
    sample = SAMPLES[kind]
    rule.write_text(_rule(name, sample), encoding="utf-8")
    tests.write_text(_tests(sample), encoding="utf-8")
    if not schema_file.exists():
        schema_file.write_bytes(_schema() + b"\n")
    click.echo(f"{rule}\n{tests}\n\n{NEXT.format(rule=rule, tests=tests)}")


@click.command(name="schema", short_help="Print the JSON Schema of test files.")
def print_schema() -> None:
    """Print the JSON Schema (2020-12) of the files that hold tests of rules.

    Editors that know YAML check and complete with it: save it, and begin the file with

        # yaml-language-server: $schema=rule-tests.schema.json
    """
    click.echo(_schema())


def _rule(name: str, sample: Sample) -> str:
    return RULE.format(
        title=name.replace("_", " ").capitalize(),
        id=uuid4(),
        date=datetime.now(UTC).date().isoformat(),
        log_source=sample.log_source,
        detection=sample.detection,
    )


def _tests(sample: Sample) -> str:
    about = f"    input: {sample.input}\n" if sample.input != "forward" else ""
    about += f"    container: {sample.container}\n" if sample.container else ""
    return TESTS.format(schema=SCHEMA, about=about, fires=sample.fires, does_not=sample.does_not)


def _schema() -> bytes:
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tests of a rule of Tidewaiter",
        **msgspec.json.schema(TestFile),
    }
    return msgspec.json.format(msgspec.json.encode(made))
