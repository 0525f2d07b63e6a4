"""`tidewaiter setup`: installs what outputs need elsewhere, with credentials the collector itself need not have."""

from typing import Any

import click
import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from collector import __version__
from collector.config import ElasticsearchOutputConfig
from collector.errors import TidewaiterError, UnreachableError
from collector.outputs.elasticsearch_client import connection_options
from collector.setup.templates import objects


class SetupError(TidewaiterError):
    """Elasticsearch refused an object."""


@click.group()
def setup() -> None:
    """Install templates in Elasticsearch."""


@setup.command(short_help="Install templates and retention.")
@click.option("--output", "name", metavar="NAME", help="The output whose cluster is meant, if there are several.")
@click.option("--dry-run", is_flag=True, help="Print the objects and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def elasticsearch(ctx: click.Context, *, name: str | None, dry_run: bool, as_json: bool) -> None:
    """Install component and index templates and retention; objects that are as they should be stay untouched.

    Needs `manage_index_templates`, which the collector itself should not have: give this command a configuration with
    another key.
    """
    output = _chosen(ctx.obj.load().config.outputs, name)
    wanted = objects(version=__version__, retention_s=output.retention)
    if dry_run:
        click.echo(orjson.dumps(wanted, option=orjson.OPT_INDENT_2))
        return
    results = _install(output, wanted)
    if as_json:
        click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    else:
        for path, result in results.items():
            click.echo(f"{result:10} {path}")


def _chosen(outputs: dict[str, Any], name: str | None) -> ElasticsearchOutputConfig:
    known = {key: output for key, output in outputs.items() if isinstance(output, ElasticsearchOutputConfig)}
    if name is not None and name not in known:
        raise click.BadParameter(f"no elasticsearch output {name!r}; there is: {', '.join(known) or 'none'}")
    if not known:
        raise click.UsageError("the configuration has no output of type elasticsearch")
    if name is None and len(known) > 1:
        raise click.UsageError(f"several elasticsearch outputs: choose one of {', '.join(known)} with --output")
    return known[name] if name is not None else next(iter(known.values()))


def _install(output: ElasticsearchOutputConfig, wanted: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Put what is missing or different; return created, updated or unchanged by object."""
    results = {}
    with Elasticsearch(output.urls, **connection_options(output)) as client:
        for path, body in wanted.items():
            try:
                present = _present_content(client, path)
                if present == body["_meta"]["content"]:
                    results[path] = "unchanged"
                    continue
                client.perform_request("PUT", f"/{path}", headers=_JSON, body=body)
                results[path] = "created" if present is None else "updated"
            except ApiError as error:
                raise SetupError(f"{path}: HTTP {error.meta.status}: {_reason(error)}") from error
            except TransportError as error:
                raise UnreachableError(f"{', '.join(output.urls)}: {error.message}") from error
    return results


def _reason(error: ApiError) -> str:
    """Return Elasticsearch's own words, with the innermost cause."""
    found: Any = error.body.get("error", {}) if isinstance(error.body, dict) else {}
    reason = ""
    while isinstance(found, dict):
        reason = str(found.get("reason", reason))
        found = found.get("caused_by")
    return reason or error.message


_JSON = {"accept": "application/json", "content-type": "application/json"}


def _present_content(client: Elasticsearch, path: str) -> str | None:
    """Return the digest that an installed object carries, empty for somebody else's; None when there is none."""
    try:
        answer = client.perform_request("GET", f"/{path}", headers=_JSON)
    except NotFoundError:
        return None
    (listed,) = answer.body.values()
    if not listed:
        return None
    found = listed[0].get("component_template") or listed[0].get("index_template") or {}
    return str(found.get("_meta", {}).get("content", ""))
