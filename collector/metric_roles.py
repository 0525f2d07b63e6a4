"""In what metrics are declared: a registry for each role, so that a role reports nothing of another."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class MetricRole:
    """Declares the metrics of one role, in a registry of its own: a role reports nothing of another."""

    def __init__(self, name: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = f"tidewaiter_{name}_"

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Declare a counter."""
        return Counter(self._prefix + name, meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """Declare a gauge."""
        return Gauge(self._prefix + name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        """Declare a histogram with these upper bounds."""
        return Histogram(self._prefix + name, meaning, buckets=buckets, registry=self.registry)
