"""Charts of a Kibana dashboard (saved objects of type `lens`), as its panels hold them by value.

The shape is the oldest that 8.x understands, which newer versions migrate: `reference/elasticsearch.md` section 5.1.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from collector.setup.kibana_query import Query, kql

RECORDS: Final = "___records___"
"""What Kibana calls the number of documents, where a field would stand."""

LAYER: Final = "layer"
TOP: Final = 10
"""Values that a table or chart shows; the others are put together."""

Reference = dict[str, str]


class Column(NamedTuple):
    """A column of a chart's data: its id, Kibana's description, and the field it reads (none: it counts)."""

    id: str
    content: dict[str, Any]
    field: str | None


class Chart(NamedTuple):
    """A chart: what it is called, which documents it is of, its columns, and Kibana's type and state for its looks."""

    title: str
    query: Query
    columns: tuple[Column, ...]
    kind: str
    looks: dict[str, Any]


def count() -> Column:
    """Count documents."""
    return Column("count", _number("Documents", "count", RECORDS), None)


def distinct(field: str, label: str) -> Column:
    """Count the values of a field."""
    return Column("distinct", _number(label, "unique_count", field), field)


def over_time() -> Column:
    """Split by time."""
    parameters = {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
    return Column("time", _bucket("Time", "date", "date_histogram", "@timestamp", parameters), "@timestamp")


def by(field: str, label: str, *, type_: str = "string", of: str = "count", at: int = 0) -> Column:
    """Split by the values of a field, those with most of `of` first."""
    parameters = {
        "size": TOP,
        "orderBy": {"type": "column", "columnId": of},
        "orderDirection": "desc",
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }
    return Column(f"by-{at}", _bucket(label, type_, "terms", field, parameters), field)


def figure(title: str, query: Query, column: Column) -> Chart:
    """One number."""
    looks = {"layerId": LAYER, "layerType": "data", "metricAccessor": column.id}
    return Chart(title, query, (column,), "lnsMetric", looks)


def table(title: str, query: Query, split: Sequence[Column], column: Column) -> Chart:
    """A table of the most frequent values."""
    columns = (*split, column)
    shown = [{"columnId": each.id, "isTransposed": False} for each in columns]
    return Chart(title, query, columns, "lnsDatatable", {"layerId": LAYER, "layerType": "data", "columns": shown})


def bars(title: str, query: Query, split: Column) -> Chart:
    """Bars over time, each in parts."""
    columns = (over_time(), split, count())
    layer = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": "bar_stacked",
        "position": "top",
        "showGridlines": False,
        "xAccessor": "time",
        "splitAccessor": split.id,
        "accessors": ["count"],
    }
    looks = {
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "preferredSeriesType": "bar_stacked",
        "layers": [layer],
    }
    return Chart(title, query, columns, "lnsXY", looks)


def ring(title: str, query: Query, split: Column) -> Chart:
    """Shares of a whole."""
    layer = {
        "layerId": LAYER,
        "layerType": "data",
        "primaryGroups": [split.id],
        "metrics": ["count"],
        "numberDisplay": "percent",
        "categoryDisplay": "default",
        "legendDisplay": "default",
        "nestedLegend": False,
    }
    return Chart(title, query, (split, count()), "lnsPie", {"shape": "donut", "layers": [layer]})


def attributes(chart: Chart, data_view: str) -> dict[str, Any]:
    """Return the Lens object of a chart, with its reference to the data view of that id."""
    layer = {
        "columns": {column.id: column.content for column in chart.columns},
        "columnOrder": [column.id for column in chart.columns],
        "incompleteColumns": {},
        "sampling": 1,
    }
    return {
        "title": chart.title,
        "description": "",
        "visualizationType": chart.kind,
        "type": "lens",
        "references": [reference(data_view)],
        "state": {
            "visualization": chart.looks,
            "query": {"query": kql(chart.query), "language": "kuery"},
            "filters": [],
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def reference(data_view: str) -> Reference:
    """Refer to the data view that a chart's layer reads."""
    return {"type": "index-pattern", "id": data_view, "name": f"indexpattern-datasource-layer-{LAYER}"}


def _number(label: str, operation: str, source: str) -> dict[str, Any]:
    return {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "operationType": operation,
        "scale": "ratio",
        "isBucketed": False,
        "sourceField": source,
        "params": {"emptyAsNull": True},
    }


def _bucket(label: str, type_: str, operation: str, source: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": label,
        "customLabel": True,
        "dataType": type_,
        "operationType": operation,
        "scale": "interval" if operation == "date_histogram" else "ordinal",
        "isBucketed": True,
        "sourceField": source,
        "params": parameters,
    }
