"""`tidewaiter setup`: installs what outputs need elsewhere, with credentials the collector itself need not have."""

from typing import Any, Final

import click
import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError, UnsupportedProductError

from collector import __version__
from collector.commands.setup_kibana import kibana
from collector.config_outputs import ElasticsearchOutputConfig
from collector.errors import TidewaiterError, UnreachableError
from collector.outputs.elasticsearch_client import NO_PRODUCT, OPENSEARCH, OpenSearchSetupNode, connection_options
from collector.setup.templates import is_ours, objects, streams
from pipelines.settings import Settings

ANSWER_S: Final = 60.0
"""How long an object may take to be installed: a cluster that is busy takes its time."""


class SetupError(TidewaiterError):
    """Elasticsearch refused an object."""


@click.group()
def setup() -> None:
    """Install templates in Elasticsearch, and what analysts open in Kibana."""


setup.add_command(kibana)


@setup.command(short_help="Install templates and retention.")
@click.option("--output", "name", metavar="NAME", help="The output whose cluster is meant, if there are several.")
@click.option("--dry-run", is_flag=True, help="Print the objects and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.pass_context
def elasticsearch(ctx: click.Context, *, name: str | None, dry_run: bool, as_json: bool) -> None:
    """Install component and index templates and retention; objects that are as they should be stay untouched.

    Data streams that follow another's template of higher priority, such as that of an installed integration, are named:
    `other` stands before them.

    Needs `manage_index_templates`, which the collector itself should not have: give this command a configuration with
    another key.
    """
    config = ctx.obj.load().config
    output = _chosen(config.outputs, name)
    wanted = objects(version=__version__, retention_s=output.retention, server=output.server)
    if dry_run:
        click.echo(orjson.dumps(wanted, option=orjson.OPT_INDENT_2))
        return
    results = _install(output, wanted, config.namespace)
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


def _install(output: ElasticsearchOutputConfig, wanted: dict[str, dict[str, Any]], namespace: str) -> dict[str, str]:
    """Put what is missing or different; return created, updated or unchanged by object, `other` by data stream."""
    results = {}
    connection = connection_options(output)
    if output.server == "opensearch":
        connection["node_class"] = OpenSearchSetupNode
    with Elasticsearch(output.urls, request_timeout=ANSWER_S, **connection) as client:
        for path, body in wanted.items():
            present = _asked(client, output, "GET", path)
            content = _content(present) if present is not None else None
            if content == body["_meta"]["content"]:
                results[path] = "unchanged"
                continue
            _asked(client, output, "PUT", path, body)
            results[path] = "created" if content is None else "updated"
        # OpenSearch has no integrations, and answers 500 when it is asked this of a stream that is there.
        names = [] if output.server == "opensearch" else streams(Settings(version=__version__, namespace=namespace))
        for stream in names:
            made = _asked(client, output, "POST", f"_index_template/_simulate_index/{stream}")
            if made is None or not is_ours(made["template"]):
                results[stream] = "other"
    return results


def _asked(client: Elasticsearch, output: ElasticsearchOutputConfig, method: str, path: str, body: Any = None) -> Any:
    """Send a request; return the answer, None for 404; raise SetupError or UnreachableError."""
    try:
        return client.perform_request(method, f"/{path}", headers=_JSON, body=body).body
    except NotFoundError:
        return None
    except ApiError as error:
        hint = f" ({OPENSEARCH})" if _is_opensearch(output, error) else ""
        raise SetupError(f"{path}: HTTP {error.meta.status}: {_reason(error)}{hint}") from error
    except UnsupportedProductError as error:
        what = OPENSEARCH if _is_opensearch(output, error) else NO_PRODUCT
        raise SetupError(f"{', '.join(output.urls)}: {what}") from error
    except TransportError as error:
        raise UnreachableError(f"{', '.join(output.urls)}: {error.message}") from error


def _is_opensearch(output: ElasticsearchOutputConfig, error: ApiError | UnsupportedProductError) -> bool:
    """Tell whether OpenSearch answers, and the output does not say so."""
    return output.server != "opensearch" and "x-opensearch-version" in error.meta.headers


def _reason(error: ApiError) -> str:
    """Return Elasticsearch's own words, with the innermost cause."""
    found: Any = error.body.get("error", {}) if isinstance(error.body, dict) else {}
    reason = ""
    while isinstance(found, dict):
        reason = str(found.get("reason", reason))
        found = found.get("caused_by")
    return reason or error.message


_JSON = {"accept": "application/json", "content-type": "application/json"}


def _content(answer: Any) -> str | None:
    """Return the digest that an installed object carries, empty for somebody else's; None when there is none."""
    (listed,) = answer.values()
    if not listed:
        return None
    found = listed[0].get("component_template") or listed[0].get("index_template") or {}
    return str(found.get("_meta", {}).get("content", ""))
