"""Columns of a sealed file: fields that analysts filter by, beside the whole document.

A column holds a field's value as text, exactly what the document's JSON gives; a `listed` one all of them. Where a
field that is not listed holds a list or an object, the document is `odd`: it is searched by its JSON.
"""

from typing import Final, NamedTuple


class Column(NamedTuple):
    """A field kept beside the document. Columns that are `shown` are those of the views, too."""

    name: str
    field: str
    listed: bool = False
    shown: bool = True

    @property
    def path(self) -> tuple[str, ...]:
        """The keys down to the value."""
        return tuple(self.field.split("."))

    @property
    def pointer(self) -> str:
        """The same as a JSON pointer."""
        return "/" + "/".join(self.path)


TIMESTAMP: Final = '"@timestamp"'

COLUMNS: Final = (
    Column(TIMESTAMP, "@timestamp"),
    Column("id", "event.id"),
    Column("container_id", "container.id"),
    Column("container_name", "container.name"),
    Column("image", "container.image.name"),
    Column("host", "host.name"),
    Column("level", "log.level"),
    Column("message", "message"),
    Column("dataset", "event.dataset"),
    Column("action", "event.action"),
    Column("outcome", "event.outcome"),
    Column("user_name", "user.name"),
    Column("source_ip", "source.ip"),
    Column("service", "service.name"),
    Column("namespace", "orchestrator.namespace"),
    Column("pod", "kubernetes.pod.name"),
    Column("stream_type", "data_stream.type", shown=False),
    Column("stream_dataset", "data_stream.dataset", shown=False),
    Column("stream_namespace", "data_stream.namespace", shown=False),
    Column("category", "event.category", listed=True),
    Column("type", "event.type", listed=True),
    Column("facts", "tidewaiter.facts", listed=True),
)
"""Beside them a sealed file has `sequence`, `second`, `odd`, `line` and `document`."""

SINGLE: Final = tuple(column for column in COLUMNS if not column.listed)
LISTED: Final = tuple(column for column in COLUMNS if column.listed)
SHOWN: Final = tuple(column for column in COLUMNS if column.shown)

BY_NAME: Final = {column.name: column for column in COLUMNS}
BY_PATH: Final = {column.path: column for column in COLUMNS}

SEQUENCE: Final = "/event/sequence"
STREAM: Final = ("stream_type", "stream_dataset", "stream_namespace")
