"""What the configuration says about documents; together with a frame it decides every byte of a batch (P10)."""

from typing import Final

import msgspec

from pipelines.batch import DataStream

ECS_VERSION: Final = "9.4.0"


class Settings(msgspec.Struct, frozen=True):
    """`hosts` maps a peer as `Origin.peer` shows it to its host name; `version` is the collector's own."""

    version: str
    namespace: str = "default"
    hosts: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """What of this decides values that a state keeps (`pipelines.sections`): nothing does, at present."""
        return ""

    @property
    def container_stream(self) -> DataStream:
        """Where lines of containers go."""
        return DataStream("logs", "tidewaiter.container", self.namespace)

    @property
    def audit_stream(self) -> DataStream:
        """Where the collector's own audit records go; outside the default search."""
        return DataStream("logs", "tidewaiter.audit", self.namespace)
