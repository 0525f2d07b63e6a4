"""What the configuration says about documents; together with a frame it decides every byte of a batch (P10)."""

from typing import Final

import msgspec

from parsers.format import formats
from parsers.probes import ProbeRule
from pipelines.batch import DataStream
from pipelines.enrich.engines import Engine
from pipelines.enrich.lookups import Lookup
from pipelines.enrich.static import FieldRule
from pipelines.normalize.original import Original
from pipelines.parse import ParserRule

ECS_VERSION: Final = "9.4.0"


class Audit(msgspec.Struct, frozen=True):
    """What the operator says of an input of Kubernetes audit events.

    `cluster` is the cluster's name, empty where a `kubernetes` input says it; `proxies` are addresses and networks.
    """

    cluster: str = ""
    proxies: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True):
    """`hosts` maps a peer as `Origin.peer` shows it to its host name; `version` is the collector's own.

    `parsers` are the operator's rules, of which the first that fits a stream decides; `original` says which documents
    keep their line as it came; `engines` are those who are asked what containers are, and for whose senders; `fields`
    are rules that set fields, and `lookups` say how the operator's tables are asked, by name. `silent_facts` are those
    that no document has, `probes` the commands that the operator knows as such. `audits` say how the events of API
    servers are read, by the input they are posted to.
    """

    version: str
    namespace: str = "default"
    hosts: dict[str, str] = {}
    parsers: tuple[ParserRule, ...] = ()
    original: Original = "needed"
    engines: tuple[Engine, ...] = ()
    fields: tuple[FieldRule, ...] = ()
    lookups: dict[str, Lookup] = {}
    silent_facts: tuple[str, ...] = ()
    audits: dict[str, Audit] = {}
    probes: tuple[ProbeRule, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What decides values that a state keeps (`pipelines.sections`): the formats there are, for choices name them.

        What was asked for by a label or a rule is not kept, so a changed rule holds from the next line on.
        """
        return " ".join(formats())

    @property
    def container_stream(self) -> DataStream:
        """Where lines of containers go."""
        return DataStream("logs", "tidewaiter.container", self.namespace)

    def stream_of(self, dataset: str | None) -> DataStream:
        """Where documents of a parser's dataset go; None: where plain lines of containers go."""
        return DataStream("logs", dataset, self.namespace) if dataset else self.container_stream

    @property
    def audit_stream(self) -> DataStream:
        """Where the collector's own audit records go; outside the default search."""
        return DataStream("logs", "tidewaiter.audit", self.namespace)

    @property
    def balance_stream(self) -> DataStream:
        """Where rows of the books go; outside the default search."""
        return DataStream("logs", "tidewaiter.balance", self.namespace)

    @property
    def alerts_stream(self) -> DataStream:
        """Where alerts go."""
        return DataStream("logs", "tidewaiter.alerts", self.namespace)

    @property
    def own_streams(self) -> dict[str, DataStream]:
        """Where the collector's own records go, by their encoding."""
        return {
            "audit": self.audit_stream,
            "dead-letter": self.dead_letters_stream,
            "balance": self.balance_stream,
            "alert": self.alerts_stream,
        }

    @property
    def dead_letters_stream(self) -> DataStream:
        """Where documents of dead letters go, if they are wanted."""
        return DataStream("logs", "tidewaiter.dead_letters", self.namespace)
