"""How many alerts a rule raises: some at once, then at a pace, in journal time; what is not raised is told later."""

from typing import Any

import pytest

from pipelines.detect import limits
from pipelines.detect.carried import AlertLimits
from pipelines.detect.limits import Limiter, new_groups, new_rules

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND_NS


def document(container: str, user: str, host: str) -> dict[str, Any]:
    """Return what of a document says its group."""
    return {"container": {"id": container} if container else {}, "host": {"name": host}, "user": {"name": user}}


class Rules:
    """What is remembered, and the time."""

    def __init__(self, **options: Any) -> None:
        self.limits = AlertLimits(**options)
        self.groups = new_groups()
        self.rules = new_rules()
        self.now_ns = NOW_NS

    def take(
        self, rule: str = "r", *, after_s: float = 0.0, container: str = "a", user: str = "root", host: str = "node-1"
    ) -> int | None:
        """Ask for one alert, some time later."""
        self.now_ns += round(after_s * SECOND_NS)
        limiter = Limiter(self.limits, self.groups, self.rules, self.now_ns)
        taken = limiter.take(rule, document(container, user, host))
        limiter.close()
        return taken


def test_a_burst_is_raised_and_then_one_each_interval() -> None:
    """What was suppressed in between is told by the next."""
    rules = Rules(burst=3, every_s=60)

    assert [rules.take() for _ in range(5)] == [0, 0, 0, None, None]
    assert rules.take(after_s=59.9) is None
    assert rules.take(after_s=0.1) == 3
    assert rules.take() is None
    assert [rules.take(after_s=3600), rules.take(), rules.take(), rules.take()] == [1, 0, 0, None]


@pytest.mark.parametrize(
    ("container", "user", "host"), [("b", "root", "node-1"), ("a", "www", "node-1"), ("", "root", "node-2")]
)
def test_another_container_user_or_host_is_another_group(container: str, user: str, host: str) -> None:
    """A noisy one hides no other."""
    rules = Rules(burst=1)

    assert [rules.take(), rules.take()] == [0, None]
    assert rules.take(container=container, user=user, host=host) == 0
    assert rules.take(rule="s") == 0


def test_a_rule_raises_so_many_whatever_the_groups() -> None:
    """Names can be made up: what goes on for ever is bounded by rule, and told by its next alert."""
    rules = Rules(burst=1, rule_burst=5)

    assert [rules.take(user=f"user-{number}") for number in range(7)] == [0, 0, 0, 0, 0, None, None]
    assert rules.take(rule="s") == 0
    assert len(rules.groups) == 6
    assert rules.take(user="late", after_s=12) == 2
    assert rules.take(user="later", after_s=12) == 0


@pytest.fixture
def few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups are remembered."""
    monkeypatch.setattr(limits, "GROUPS_LIMIT", 2)


@pytest.mark.usefixtures("few_groups")
def test_what_a_forgotten_group_suppressed_is_told_by_its_rule() -> None:
    """A group that is forgotten begins anew, and nothing that was suppressed is lost with it."""
    rules = Rules(burst=1)

    assert [rules.take(user="a"), rules.take(user="a"), rules.take(user="a")] == [0, None, None]
    assert [rules.take(user="b"), rules.take(user="c"), rules.take(user="d")] == [0, 0, 2]
    assert len(rules.groups) == 2


def test_groups_of_any_text_are_bounded() -> None:
    """A user's name may be as long as a line."""
    rules = Rules()
    rules.take(user="x" * 10_000)
    ((key, _),) = rules.groups.items()

    assert sum(map(len, key)) < 2 * limits.PART_CHARACTERS
