"""Counts alerts by the level of their rules: names from a fixed set, however many rules there are."""

from typing import Final

from collector import telemetry
from pipelines.batch import RuleCounts
from pipelines.detect.carried import Carried

NO_LEVEL: Final = "none"
"""Of rules that say none, and of those that held no longer when their alerts were counted."""


class AlertCounts:
    """Knows the levels of the rules that hold."""

    def __init__(self) -> None:
        self._carried: Carried | None = None
        self._levels: dict[str, str] = {}

    def add(self, rules: RuleCounts, carried: Carried | None) -> None:
        """Count the alerts of a batch, under the rules that hold."""
        if carried is not self._carried:
            self._carried = carried
            self._levels = {} if carried is None else {rule.key: rule.level or NO_LEVEL for rule in carried.rules}
        for key, (raised, suppressed) in rules.items():
            level = self._levels.get(key, NO_LEVEL)
            telemetry.WORKER_ALERTS.labels(level=level, outcome="raised").inc(raised)
            telemetry.WORKER_ALERTS.labels(level=level, outcome="suppressed").inc(suppressed)
