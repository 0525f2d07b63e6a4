"""The command line. Each command imports what it needs when it runs, so `tidewaiter --help` is quick."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click
import msgspec

from collector import __version__
from collector.config_file import Loaded, load
from collector.errors import ConfigError, TidewaiterError

COMMANDS: Final = {
    "run": ("collector.commands.run", "Run the collector in the foreground."),
    "check": ("collector.commands.check", "Check the configuration and name every problem with its place."),
    "search": ("collector.commands.search", "Search the local store."),
    "setup": ("collector.commands.setup", "Install templates in Elasticsearch."),
}
"""Command -> the module that holds it under its own name, and its line in the help."""

COMMON_OPTIONS: Final = {"--config": "FILE", "--data-dir": "DIR"}
"""Options of the group, which stand before the command, and what they take."""


class Settings(msgspec.Struct):
    """What the group's options say; commands find it as `ctx.obj`."""

    config_file: str | None
    data_dir_given: str | None

    def load(self) -> Loaded:
        """Load the configuration; raise ConfigError."""
        return load(self.config_file, self.data_dir_given)

    @property
    def data_dir(self) -> Path:
        """The data folder in effect; raise ConfigError."""
        return Path(self.load().config.data_dir)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="Configuration file; else TIDEWAITER_CONFIG, ./tidewaiter.yaml, /etc/tidewaiter/tidewaiter.yaml or built in.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    help="Data folder; else TIDEWAITER_DATA_DIR, the configuration's data_dir or the user's data folder.",
)
@click.version_option(__version__, prog_name="tidewaiter")
@click.pass_context
def cli(ctx: click.Context, config_file: str | None, data_dir: str | None) -> None:
    """Tidewaiter: logs and audit trails of containers, collected as evidence."""
    ctx.obj = Settings(config_file, data_dir)


def _advised(error: click.NoSuchOption) -> click.UsageError:
    """Return the error with what was probably meant."""
    if error.option_name in COMMON_OPTIONS:
        place = f"{error.option_name} stands before the command, as in: {_common_use(error)}."
        return click.UsageError(place, error.ctx)
    return error


def _common_use(error: click.NoSuchOption) -> str:
    command = error.ctx.info_name if error.ctx is not None else "COMMAND"
    return f"tidewaiter {error.option_name} {COMMON_OPTIONS[error.option_name]} {command}"


def main() -> None:
    """Run the command line; an error an operator can act on is a sentence, never a traceback."""
    try:
        ended = cli.main(prog_name="tidewaiter", standalone_mode=False)
        # click hands back what `ctx.exit(code)` was called with, and a command's own result otherwise.
        sys.exit(ended if isinstance(ended, int) else 0)
    except click.ClickException as error:
        (_advised(error) if isinstance(error, click.NoSuchOption) else error).show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except TidewaiterError as error:
        click.echo(f"tidewaiter: {error}", err=True)
        sys.exit(error.exit_code)
