"""Alerts are counted by level, whatever their rules are called."""

from collector.alert_counts import AlertCounts
from collector.samples import Telemetry
from pipelines.decisions import take
from pipelines.detect.carried import Carried, rules_in
from pipelines.state import State
from tests.kit.detection import ANY, LOGIN, rules_message

ANY_KEY, LOGIN_KEY = (text.split(" id: ")[1].split()[0] for text in (ANY, LOGIN))


def carried(*rules: str) -> Carried | None:
    """Return a set as it holds."""
    state = State()
    take("rules", memoryview(rules_message(*rules)), state)
    return rules_in(state.rules)


def counted() -> dict[tuple[str, str], float]:
    """Alerts so far, by level and outcome."""
    return {
        (sample.labels["level"], sample.labels["outcome"]): sample.value
        for family in Telemetry("worker").families()
        for sample in family.samples
        if sample.name == "tidewaiter_worker_alerts_total"
    }


def test_alerts_are_counted_by_the_level_of_their_rule() -> None:
    """Raised and suppressed; a rule without a level, and one that holds no longer, are counted as none."""
    before, counts = counted(), AlertCounts()
    counts.add({ANY_KEY: (3, 2), LOGIN_KEY: (1, 0)}, carried(ANY, LOGIN))
    counts.add({ANY_KEY: (5, 0)}, carried(LOGIN))

    after = counted()

    assert {("low", "raised"): 3, ("low", "suppressed"): 2, ("none", "raised"): 6} == {
        key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)
    }
