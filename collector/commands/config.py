"""`tidewaiter config`."""

import click
import msgspec

from collector.config_page import page
from collector.config_schema import schema


@click.group()
def config() -> None:
    """What can be configured: the schema of the file, and the page of all options."""


@config.command(name="schema", short_help="Print the JSON Schema of the configuration file.")
def print_schema() -> None:
    """Print the JSON Schema (2020-12) of the configuration file.

    Editors that know YAML check and complete with it: save it, and begin the file with

        # yaml-language-server: $schema=tidewaiter.schema.json
    """
    click.echo(msgspec.json.format(msgspec.json.encode(schema())))


@config.command(name="reference", short_help="Print the page of all options.")
def print_reference() -> None:
    """Print every option with how its value is written, what is built in and what it is, as Markdown."""
    click.echo(page(), nl=False)
