"""The command line. Each command imports what it needs when it runs, so `tidewaiter --help` is quick."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click
import msgspec

from collector import __version__
from collector.config_file import Loaded, folder_named, load
from collector.errors import ConfigError, TidewaiterError

COMMANDS: Final = {
    "run": ("collector.commands.run", "Run the collector in the foreground."),
    "reload": ("collector.commands.reload", "Let the collector that runs read its configuration again."),
    "check": ("collector.commands.check", "Check the configuration and name every problem with its place."),
    "config": ("collector.commands.config", "What can be configured: schema and page of all options."),
    "search": ("collector.commands.search", "Search the local store."),
    "tap": ("collector.commands.tap", "Show what comes into the local store, as it comes."),
    "parsers": ("collector.commands.parsers", "What becomes of a line: list, explain and try parsers."),
    "rules": (
        "collector.commands.rules",
        "Sigma rules: which run, and why some never match; begin, test and explain them.",
    ),
    "balance": ("collector.commands.balance", "The books: what was received, and what became of it."),
    "journal": ("collector.commands.journal", "Look at the journal, and let go of outputs that are no more."),
    "dead-letters": (
        "collector.commands.dead_letters",
        "Look at what could not be decoded or delivered, and offer it again.",
    ),
    "verify": ("collector.commands.verify", "Prove that the journal is what was written."),
    "setup": ("collector.commands.setup", "Install what Elasticsearch and Kibana need."),
}
"""Command -> the module that holds it under its own name, and its line in the help."""


class Settings(msgspec.Struct):
    """What the common options say; commands find it as `ctx.obj`."""

    config_file: str | None = None
    data_dir_given: str | None = None

    def load(self) -> Loaded:
        """Load the configuration; raise ConfigError."""
        return load(self.config_file, self.data_dir_given)

    @property
    def folder_named(self) -> Path:
        """The data folder that the file names, also of one that is wrong elsewhere; raise ConfigError."""
        return Path(folder_named(self.config_file, self.data_dir_given))

    @property
    def data_dir(self) -> Path:
        """The data folder in effect; raise ConfigError."""
        return Path(self.load().config.data_dir)


def _keep(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Take note of a common option, wherever it stands; the one that is nearest to the end of the line wins."""
    settings = ctx.ensure_object(Settings)
    if value is not None:
        setattr(settings, option.name or "", value)


COMMON_OPTIONS: Final = (
    click.Option(
        ["--config", "config_file"],
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="Configuration; else TIDEWAITER_CONFIG, ./tidewaiter.yaml, /etc/tidewaiter/tidewaiter.yaml or built in.",
    ),
    click.Option(
        ["--data-dir", "data_dir_given"],
        metavar="DIR",
        expose_value=False,
        callback=_keep,
        help="Data folder; else TIDEWAITER_DATA_DIR, the configuration's data_dir or the user's data folder.",
    ),
)
"""What every command takes, before its name or behind it."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        for each in command.commands.values() if isinstance(command, click.Group) else (command,):
            each.params.extend(option for option in COMMON_OPTIONS if option not in each.params)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, params=[*COMMON_OPTIONS], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tidewaiter")
def cli() -> None:
    """Tidewaiter: logs and audit trails of containers, collected as evidence."""


def main() -> None:
    """Run the command line; an error an operator can act on is a sentence, never a traceback."""
    try:
        ended = cli.main(prog_name="tidewaiter", standalone_mode=False)
        # click hands back what `ctx.exit(code)` was called with, and a command's own result otherwise.
        sys.exit(ended if isinstance(ended, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except TidewaiterError as error:
        click.echo(f"tidewaiter: {error}", err=True)
        sys.exit(error.exit_code)
