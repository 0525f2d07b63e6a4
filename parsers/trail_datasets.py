"""The data streams' datasets of trails: records that are no lines, whose documents no format makes."""

from typing import Final

TRAIL_DATASETS: Final = ("docker.events", "kubernetes.audit_logs")
