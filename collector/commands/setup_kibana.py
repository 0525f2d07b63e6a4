"""`tidewaiter setup kibana`: installs what analysts open, by Kibana's API or as files to import by hand."""

import os
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
import orjson

from collector.certificates import client_context
from collector.config_secrets import Secret
from collector.config_values import URL
from collector.setup.kibana_api import install
from collector.setup.kibana_objects import ndjson, rules, saved_objects

KEY_VARIABLE: Final = "TIDEWAITER_KIBANA_API_KEY"
OBJECTS_FILE: Final = "tidewaiter-objects.ndjson"
RULES_FILE: Final = "tidewaiter-rules.ndjson"


@click.command(short_help="Install data view, searches, dashboard and rule.")
@click.option("--url", metavar="URL", help="Kibana's address as in the browser, with its base path if it has one.")
@click.option("--space", default="", metavar="NAME", help="The space to install into, else the default one.")
@click.option("--api-key-file", metavar="FILE", help=f"File with an API key. Without: {KEY_VARIABLE}, if that is set.")
@click.option("--user", metavar="NAME", help="A user instead of a key, together with --password-file.")
@click.option("--password-file", metavar="FILE", help="File with the user's password.")
@click.option("--ca-file", metavar="FILE", help="PEM file with the authority of Kibana's certificate.")
@click.option("--rule/--no-rule", "with_rule", default=True, help="The rule that shows our alerts in Security.")
@click.option("--folder", metavar="DIR", help="Write the objects as files instead, to import them by hand.")
@click.option("--dry-run", is_flag=True, help="Print the objects and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
def kibana(*, with_rule: bool, folder: str | None, dry_run: bool, as_json: bool, **how: str | None) -> None:
    """Install a data view, searches, a dashboard, and the rule that shows our alerts in the Security app.

    All have ids of their own: called again, the command makes them anew and touches nothing else. What you changed in
    one of them is lost then; save yours under another name.
    """
    objects, wanted = saved_objects(), rules() if with_rule else []
    if dry_run:
        click.echo(orjson.dumps({"objects": objects, "rules": wanted}, option=orjson.OPT_INDENT_2))
        return
    results = _written(Path(folder), objects, wanted) if folder else install(_reached(**how), objects, wanted)
    if as_json:
        click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    else:
        for name, result in results.items():
            click.echo(f"{result:10} {name}")


def _written(folder: Path, objects: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, content in ((OBJECTS_FILE, objects), (RULES_FILE, wanted)):
        if content:
            (folder / name).write_bytes(ndjson(content))
            results[str(folder / name)] = "written"
    return results


def _reached(
    *,
    url: str | None,
    space: str | None,
    api_key_file: str | None,
    user: str | None,
    password_file: str | None,
    ca_file: str | None,
) -> dict[str, Any]:
    """Return how Kibana is reached; raise SecretError or CertificateError."""
    if not url:
        raise click.UsageError("say where Kibana is: --url https://HOST:5601, or --folder DIR for files")
    try:
        url = URL.read(url)
    except ValueError as error:
        # Never the address itself: there may be a password in it.
        raise click.BadParameter(str(error) or f"not an address such as {URL.example}", param_hint="--url") from None
    if (user is None) != (password_file is None) or (user is not None and api_key_file is not None):
        raise click.UsageError("give --api-key-file, or --user and --password-file")
    headers = {}
    if user is not None:
        password = Secret(file=password_file).read()
        headers["authorization"] = aiohttp.encode_basic_auth(user, password, "utf-8")
    elif api_key_file is not None or os.environ.get(KEY_VARIABLE):
        key = Secret(file=api_key_file) if api_key_file is not None else Secret(env=KEY_VARIABLE)
        headers["authorization"] = f"ApiKey {key.read()}"
    if headers and url.startswith("http:"):
        click.echo("warning: credentials go to Kibana without TLS: whoever listens can read them", err=True)
    tls = client_context(ca_file) if url.startswith("https:") else None
    return {"url": url, "space": space or "", "headers": headers, "tls": tls}
