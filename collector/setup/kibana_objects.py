"""Kibana's objects for our documents: a data view, searches, a dashboard, and the rule that takes our alerts over.

Pure data. Ids are stable, so that an import changes what the one before made, and never anything else. The shapes are
the oldest that 8.x understands; newer versions migrate them (`reference/elasticsearch.md` sections 5.1 to 5.3).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from collector.setup import kibana_lens as lens
from collector.setup.kibana_lens import Chart
from collector.setup.kibana_query import Query, Term, kql

CORE_VERSION: Final = "8.8.0"
VERSIONS: Final = {"index-pattern": "8.0.0", "search": "8.0.0", "dashboard": "8.9.0", "tag": "8.0.0"}
"""Which shape an object of a type has."""

DATA_VIEW: Final = "tidewaiter-logs"
TAG: Final = "tidewaiter-tag"
DASHBOARD: Final = "tidewaiter-overview"

WIDTH: Final = 48
"""Columns of a dashboard's grid."""

PERIOD: Final = "now-24h"
"""What a dashboard shows when it is opened."""

EXECS: Final[Query] = ((Term("event.dataset", ("docker.events",)), Term("event.action", ("exec_start",))),)
ENTERED: Final[Query] = (
    (
        Term("event.dataset", ("docker.events",)),
        Term("event.action", ("exec_start", "attach", "extract-to-dir", "archive-path", "commit", "export")),
    ),
    (
        Term("event.dataset", ("kubernetes.audit_logs",)),
        Term("kubernetes.audit.objectRef.subresource", ("exec", "attach", "portforward", "ephemeralcontainers")),
    ),
)
LOGINS: Final[Query] = ((Term("event.category", ("authentication",)),),)
FAILED_LOGINS: Final[Query] = ((*LOGINS[0], Term("event.outcome", ("failure",))),)
ALERTS: Final[Query] = ((Term("event.kind", ("alert",)),),)
GAPS: Final[Query] = ((Term("event.action", ("gap",)),),)
DOUBTFUL: Final[Query] = (
    (Term("tags", ("_identity_conflict", "_container_unknown", "_metadata_missing", "_time_far_off")),),
    (Term("tags", ("_parse_failure",)),),
)
OWN: Final[Query] = ((Term("event.dataset", ("tidewaiter.audit",)),),)
ERRORS: Final[Query] = ((Term("log.level", ("error", "critical", "alert", "emergency", "fatal")),),)
EVERYTHING: Final[Query] = ((Term("event.module"),),)


class Search(NamedTuple):
    """A search that an analyst opens in Discover: which documents, and which of their fields are columns."""

    id: str
    title: str
    about: str
    query: Query
    columns: tuple[str, ...]


class Placed(NamedTuple):
    """A chart, or a search by its id, at its place on the dashboard."""

    shown: Chart | str
    x: int
    y: int
    width: int
    height: int


SEARCHES: Final = (
    Search(
        "tidewaiter-entered",
        "Tidewaiter: who entered a container",
        "Processes started in running containers, and all else by which somebody reached into one.",
        ENTERED,
        (
            *("event.action", "container.name", "process.command_line", "user.name", "source.ip"),
            *("host.name", "tidewaiter.facts"),
        ),
    ),
    Search(
        "tidewaiter-logins",
        "Tidewaiter: logins",
        "Who tried to log in where, and whether that succeeded.",
        LOGINS,
        (
            *("event.action", "event.outcome", "user.name", "source.ip", "host.name"),
            *("container.name", "event.reason"),
        ),
    ),
    Search(
        "tidewaiter-alerts",
        "Tidewaiter: alerts",
        "What rules found.",
        ALERTS,
        ("rule.name", "event.severity", "container.name", "user.name", "source.ip", "message"),
    ),
    Search(
        "tidewaiter-gaps",
        "Tidewaiter: gaps",
        "Times of which an audit trail may lack something, for whoever tells it had forgotten it.",
        GAPS,
        ("event.reason", "host.name", "message"),
    ),
    Search(
        "tidewaiter-doubtful",
        "Tidewaiter: doubtful documents",
        "Lines whose sender, container, time or format is not what it should be.",
        DOUBTFUL,
        ("tags", "container.name", "tidewaiter.origin.peer", "message"),
    ),
    Search(
        "tidewaiter-errors",
        "Tidewaiter: errors",
        "What containers call an error themselves.",
        ERRORS,
        ("log.level", "container.name", "event.dataset", "message"),
    ),
    Search(
        "tidewaiter-own",
        "Tidewaiter: what the collector did",
        "The collector's own audit records: starts, stops, and what was done to the evidence.",
        OWN,
        ("event.action", "event.outcome", "tidewaiter.origin.peer", "message"),
    ),
)

OVERVIEW: Final = (
    Placed(lens.figure("Documents", EVERYTHING, lens.count()), 0, 0, 12, 6),
    Placed(lens.figure("Containers", EVERYTHING, lens.distinct("container.id", "Containers")), 12, 0, 12, 6),
    Placed(lens.figure("Processes started in containers", EXECS, lens.count()), 24, 0, 12, 6),
    Placed(lens.figure("Failed logins", FAILED_LOGINS, lens.count()), 36, 0, 12, 6),
    Placed(lens.bars("Documents by dataset", EVERYTHING, lens.by("event.dataset", "Dataset")), 0, 6, 32, 12),
    Placed(lens.ring("Levels", EVERYTHING, lens.by("log.level", "Level")), 32, 6, 16, 12),
    Placed(
        lens.table(
            "Containers with most documents",
            EVERYTHING,
            [lens.by("container.name", "Container"), lens.by("container.image.name", "Image", at=1)],
            lens.count(),
        ),
        *(0, 18, 24, 12),
    ),
    Placed(
        lens.table(
            "Failed logins by source and user",
            FAILED_LOGINS,
            [lens.by("source.ip", "Source", type_="ip"), lens.by("user.name", "User", at=1)],
            lens.count(),
        ),
        *(24, 18, 24, 12),
    ),
    Placed(lens.bars("Processes started in containers", EXECS, lens.by("container.name", "Container")), 0, 30, 24, 12),
    Placed(lens.bars("Facts about acts", EVERYTHING, lens.by("tidewaiter.facts", "Fact")), 24, 30, 24, 12),
    Placed("tidewaiter-entered", 0, 42, WIDTH, 16),
)


def saved_objects() -> list[dict[str, Any]]:
    """Return all saved objects, what others refer to before them."""
    return [_tag(), _data_view(), *map(_search, SEARCHES), _dashboard(OVERVIEW)]


def rules() -> list[dict[str, Any]]:
    """Return the detection rules: one, which makes an alert of Kibana's of each alert of ours."""
    severities = (("21", "low"), ("47", "medium"), ("73", "high"), ("99", "critical"))
    alerts: dict[str, Any] = {
        "rule_id": "tidewaiter-alerts",
        "type": "query",
        "name": "Tidewaiter alerts",
        "description": "Each alert that Tidewaiter's own rules raised, under its own name and severity.",
        "index": ["logs-tidewaiter.alerts-*"],
        "language": "kuery",
        "query": kql(ALERTS),
        "enabled": True,
        "interval": "1m",
        # What becomes searchable late is seen by a later run; none is taken twice.
        "from": "now-10m",
        "to": "now",
        "max_signals": 1000,
        "severity": "medium",
        "severity_mapping": [
            {"field": "event.severity", "operator": "equals", "value": value, "severity": severity}
            for value, severity in severities
        ],
        "risk_score": 47,
        "risk_score_mapping": [{"field": "event.risk_score", "operator": "equals", "value": ""}],
        "rule_name_override": "rule.name",
        "timestamp_override": "event.ingested",
        "author": ["Tidewaiter"],
        "tags": ["Tidewaiter"],
        "threat": [],
        "references": [],
        "false_positives": [],
    }
    return [alerts]


def ndjson(objects: Iterable[dict[str, Any]]) -> bytes:
    """Encode objects one a line, always the same way."""
    return b"".join(_text(each).encode() + b"\n" for each in objects)


def _object(type_: str, id_: str, attributes: dict[str, Any], references: Iterable[dict[str, str]]) -> dict[str, Any]:
    return {
        "id": id_,
        "type": type_,
        "attributes": attributes,
        "references": list(references),
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": VERSIONS[type_],
    }


def _tag() -> dict[str, Any]:
    about = "What `tidewaiter setup kibana` installed, and changes again when it is called."
    return _object("tag", TAG, {"name": "Tidewaiter", "description": about, "color": "#0B64DD"}, ())


def _data_view() -> dict[str, Any]:
    attributes = {"title": "logs-*", "name": "Tidewaiter: logs", "timeFieldName": "@timestamp", "fields": "[]"}
    return _object("index-pattern", DATA_VIEW, attributes, ())


def _search(search: Search) -> dict[str, Any]:
    view = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": {"query": kql(search.query), "language": "kuery"}, "filter": [], "indexRefName": view}
    attributes = {
        "title": search.title,
        "description": search.about,
        "columns": list(search.columns),
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _object(
        "search", search.id, attributes, [{"type": "index-pattern", "id": DATA_VIEW, "name": view}, *_tagged()]
    )


def _dashboard(placed: Iterable[Placed]) -> dict[str, Any]:
    panels, references = [], []
    for number, each in enumerate(placed):
        panel, named = _panel(f"panel-{number}", each)
        panels.append(panel)
        references += named
    attributes = {
        "title": "Tidewaiter: overview",
        "description": "What comes in, who entered containers, and who failed to log in.",
        "panelsJSON": _text(panels),
        "optionsJSON": _text({"useMargins": True, "syncColors": False, "hidePanelTitles": False}),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _text({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "timeRestore": True,
        "timeFrom": PERIOD,
        "timeTo": "now",
        "version": 1,
    }
    return _object("dashboard", DASHBOARD, attributes, [*references, *_tagged()])


def _panel(index: str, placed: Placed) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return a panel and what it refers to, by the names that the dashboard's own references have."""
    panel: dict[str, Any] = {
        "panelIndex": index,
        "gridData": {"x": placed.x, "y": placed.y, "w": placed.width, "h": placed.height, "i": index},
    }
    if isinstance(placed.shown, str):
        name = f"panel_{index}"
        panel |= {"type": "search", "panelRefName": name, "embeddableConfig": {}}
        return panel, [{"type": "search", "id": placed.shown, "name": f"{index}:{name}"}]
    content = lens.attributes(placed.shown, DATA_VIEW)
    panel |= {"type": "lens", "title": placed.shown.title, "embeddableConfig": {"attributes": content}}
    return panel, [{**each, "name": f"{index}:{each['name']}"} for each in content["references"]]


def _tagged() -> Iterator[dict[str, str]]:
    yield {"type": "tag", "id": TAG, "name": f"tag-ref-{TAG}"}


def _text(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)
