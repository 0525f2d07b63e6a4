"""What the configuration says about documents; together with a frame it decides every byte of a batch (P10)."""

from typing import Final

import msgspec

from parsers.format import formats
from pipelines.batch import DataStream
from pipelines.parse import ParserRule

ECS_VERSION: Final = "9.4.0"


class Settings(msgspec.Struct, frozen=True):
    """`hosts` maps a peer as `Origin.peer` shows it to its host name; `version` is the collector's own.

    `parsers` are the operator's rules, of which the first that fits a stream decides.
    """

    version: str
    namespace: str = "default"
    hosts: dict[str, str] = {}
    parsers: tuple[ParserRule, ...] = ()

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
