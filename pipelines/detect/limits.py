"""How often a rule raises alerts: some at once, then so many a minute, for each group and for all together.

In journal time, and kept in the state: so it is the same in every replay (P10). What is suppressed is counted, and told
by the next alert of its group; what was suppressed for a rule as a whole, or for a group that is forgotten since, by
the next of the rule.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from pipelines.detect.carried import AlertLimits
from pipelines.sections import Key, Section

GROUPS_LIMIT: Final = 16_384
"""Groups of all rules that are remembered; the one that raised an alert longest ago is forgotten, and begins anew."""

GROUPS_BYTES_LIMIT: Final = 16 << 20

RULES_LIMIT: Final = 8_192
"""The same of rules."""

RULES_BYTES_LIMIT: Final = 8 << 20

PART_CHARACTERS: Final = 80
"""Of each part of a group."""

MINUTE_NS: Final = 60 * 1_000_000_000


class Raised(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When as many alerts as there were would have been raised at their pace; how many were suppressed since one was.

    `due_ns` is in journal time: the theoretical arrival time of the generic cell rate algorithm, which needs no more.
    """

    due_ns: int = 0
    suppressed: int = 0


Raisings = Section[Raised]


def new_groups() -> Raisings:
    """Return a state's section of groups, by rule, place and user."""
    return Section(Raised, limit=GROUPS_LIMIT, limit_bytes=GROUPS_BYTES_LIMIT, cost=lambda _: 16)


def new_rules() -> Raisings:
    """Return a state's section of rules that raised alerts."""
    return Section(Raised, limit=RULES_LIMIT, limit_bytes=RULES_BYTES_LIMIT, cost=lambda _: 16)


class Limiter:
    """Says of each match of a batch in turn whether it is an alert; all at one instant of journal time.

    What it says is noted in the sections by `close`: a flood costs them one entry for each group, not for each match.
    """

    def __init__(self, limits: AlertLimits, groups: Raisings, rules: Raisings, now_ns: int) -> None:
        self._groups = _Open(groups, now_ns, round(limits.every_s * 1e9), limits.burst)
        self._rules = _Open(rules, now_ns, MINUTE_NS // limits.rule_burst, limits.rule_burst)

    def has_room(self, rule: str) -> bool:
        """Whether a rule may raise one more for any group."""
        return self._rules.has_room((rule,))

    def suppress(self, rule: str) -> None:
        """Count one that is not raised whatever its group."""
        self._rules.suppress((rule,), 1)

    def take(self, rule: str, source: Mapping[str, Any]) -> int | None:
        """Return how many were suppressed before the one that is raised now; None where it is suppressed as well."""
        key = (rule, *group_of(source))
        if not self.has_room(rule):
            self.suppress(rule)
            return None
        if not self._groups.has_room(key):
            self._groups.suppress(key, 1)
            return None
        return self._groups.take(key) + self._rules.take((rule,))

    def close(self) -> None:
        """Note what was said; what groups suppressed that have no room any more is their rules'."""
        for key, outdone in self._groups.close():
            if outdone.suppressed:
                self._rules.suppress(key[:1], outdone.suppressed)
        list(self._rules.close())


class _Open:
    """The entries of a section that a batch is about, while they change: [`due_ns`, `suppressed`] each."""

    def __init__(self, section: Raisings, now_ns: int, pace_ns: int, burst: int) -> None:
        self._section = section
        self._now_ns = now_ns
        self._pace_ns = pace_ns
        self._ahead_ns = (burst - 1) * pace_ns
        self._entries: dict[Key, list[int]] = {}

    def has_room(self, key: Key) -> bool:
        """Whether one more is not more than a burst ahead of its pace."""
        return self._entry(key)[0] - self._now_ns <= self._ahead_ns

    def suppress(self, key: Key, count: int) -> None:
        self._entry(key)[1] += count

    def take(self, key: Key) -> int:
        """Raise one, and return how many were suppressed before it."""
        entry = self._entry(key)
        suppressed = entry[1]
        entry[:] = max(entry[0], self._now_ns) + self._pace_ns, 0
        return suppressed

    def close(self) -> Iterator[tuple[Key, Raised]]:
        """Put what changed; yield what has no room any more."""
        for key, (due_ns, suppressed) in self._entries.items():
            raised = Raised(due_ns, suppressed)
            if raised != (self._section.get(key) or Raised()):
                yield from self._section.put(key, raised)

    def _entry(self, key: Key) -> list[int]:
        found = self._entries.get(key)
        if found is None:
            raised = self._section.get(key) or Raised()
            found = self._entries[key] = [raised.due_ns, raised.suppressed]
        return found


def group_of(source: Mapping[str, Any]) -> tuple[str, str]:
    """Return where a document is from, its container or else its host, and the user that it is about."""
    place = _text(source, "container", "id") or _text(source, "host", "name")
    return place, _text(source, "user", "name")


def _text(source: Mapping[str, Any], name: str, leaf: str) -> str:
    found = source.get(name)
    text = found.get(leaf) if isinstance(found, Mapping) else None
    return text[:PART_CHARACTERS] if isinstance(text, str) else ""
