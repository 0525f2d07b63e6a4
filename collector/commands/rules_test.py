"""`tidewaiter rules test`: the test files beside rules are run, from raw lines to alerts."""

from typing import Any, Final

import click
import msgspec

from collector.commands import terminal
from collector.config_rules import RulesConfig
from collector.pipeline_settings import pipeline_settings

EXIT_FOUND: Final = 1


@click.command(short_help="Run the test files beside rules.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--pack", is_flag=True, help="The rules that come with Tidewaiter as well.")
@click.option("--json", "as_json", is_flag=True, help="An object a line: one for each case, and for each mistake.")
@click.option("--junit", type=click.File("wb", lazy=True), metavar="FILE", help="Write results as JUnit's XML as well.")
@click.pass_context
def test(ctx: click.Context, *, paths: tuple[str, ...], pack: bool, as_json: bool, junit: Any) -> None:
    """Run the tests of rules: of `NAME.yml` they stand beside it in `NAME.test.yml`.

    PATHs are files of rules, their test files, and folders; else what the configuration names under `rules.paths`.
    The lines of each case go through the pipeline as in production. For a case that fails it is shown which documents
    they became, and which condition of the rule failed on which value. A rule without a test file is named.

    Exit code 0; 1 where a case fails, a rule does not load or a test file is wrong; 2 for wrong usage.
    """
    # Pipeline and pySigma are slow to import; the group's other commands do without.
    from collector.commands.rules_tested import Report
    from collector.rule_tests import read_rule_tests, results

    config = ctx.obj.load().config
    options: RulesConfig = msgspec.structs.replace(config.rules, paths=list(paths or config.rules.paths), pack=pack)
    if not options.wanted:
        raise click.UsageError("nothing to test: name files or folders of rules, or --pack for our own")
    settings = pipeline_settings(config)
    report = Report()
    with terminal.quiet_when_nobody_reads():
        for file in read_rule_tests(options):
            report.show(file, list(results(file, settings)), as_json=as_json)
        if not as_json:
            click.echo(report.summary)
    if junit is not None:
        junit.write(report.junit())
    if not report.good:
        ctx.exit(EXIT_FOUND)
