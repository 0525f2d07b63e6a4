"""One page of metrics from the reports of all roles, in Prometheus' text format."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collector.samples import Family
from collector.telemetry import declared


class _Merged(Collector):
    def __init__(self, reports: Iterable[Iterable[Family]]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        merged = {metric.name: Metric(metric.name, metric.documentation, metric.type) for metric in declared()}
        for report in self._reports:
            for family in report:
                if family.name in merged:
                    for sample in family.samples:
                        merged[family.name].add_sample(sample.name, sample.labels, sample.value)
        return (metric for metric in merged.values() if metric.samples)


def exposition(reports: Iterable[Iterable[Family]]) -> bytes:
    """Merge the reports of all processes; what is not declared is left out, so no metric is without its meaning."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(reports))
    return generate_latest(registry)
