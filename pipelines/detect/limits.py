"""How often a rule raises alerts: some at once, then so many a minute, for each group and for all together.

In journal time, and kept in the state: so it is the same in every replay (P10). What is suppressed is counted, and told
by the next alert of its group; what was suppressed for a rule as a whole, or for a group that is forgotten since, by
the next of the rule.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pipelines.detect.carried import AlertLimits
from pipelines.sections import Section

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
    """Says of each match in turn whether it is an alert; at one instant of journal time."""

    def __init__(self, limits: AlertLimits, groups: Raisings, rules: Raisings, now_ns: int) -> None:
        self._limits = limits
        self._groups = groups
        self._rules = rules
        self._now_ns = now_ns

    def has_room(self, rule: str) -> bool:
        """Whether a rule may raise one more for any group."""
        pace_ns = MINUTE_NS // self._limits.rule_burst
        return _next(self._rules.get((rule,)), self._now_ns, pace_ns, self._limits.rule_burst) is not None

    def suppress(self, rule: str) -> None:
        """Count one that is not raised whatever its group."""
        found = self._rules.get((rule,)) or Raised()
        self._rules.put((rule,), Raised(found.due_ns, found.suppressed + 1))

    def take(self, rule: str, source: Mapping[str, Any]) -> int | None:
        """Return how many were suppressed before the one that is raised now; None where it is suppressed as well."""
        limits, now_ns = self._limits, self._now_ns
        if not self.has_room(rule):
            self.suppress(rule)
            return None
        key = (rule, *group_of(source))
        group = self._groups.get(key) or Raised()
        due_ns = _next(group, now_ns, round(limits.every_s * 1e9), limits.burst)
        if due_ns is None:
            self._put_group(key, Raised(group.due_ns, group.suppressed + 1))
            return None
        whole = self._rules.get((rule,)) or Raised()
        rule_due_ns = _next(whole, now_ns, MINUTE_NS // limits.rule_burst, limits.rule_burst)
        self._rules.put((rule,), Raised(rule_due_ns or now_ns))
        self._put_group(key, Raised(due_ns))
        return group.suppressed + whole.suppressed

    def _put_group(self, key: tuple[str, ...], raised: Raised) -> None:
        for (rule, *_), outdone in self._groups.put(key, raised):
            if outdone.suppressed:
                found = self._rules.get((rule,)) or Raised()
                self._rules.put((rule,), Raised(found.due_ns, found.suppressed + outdone.suppressed))


def group_of(source: Mapping[str, Any]) -> tuple[str, str]:
    """Return where a document is from, its container or else its host, and the user that it is about."""
    place = _text(source, "container", "id") or _text(source, "host", "name")
    return place, _text(source, "user", "name")


def _next(raised: Raised | None, now_ns: int, pace_ns: int, burst: int) -> int | None:
    """Return when so many will be due with one more; None where that is more than a burst ahead of their pace."""
    due_ns = max(raised.due_ns if raised is not None else 0, now_ns)
    return due_ns + pace_ns if due_ns - now_ns <= (burst - 1) * pace_ns else None


def _text(source: Mapping[str, Any], name: str, leaf: str) -> str:
    found = source.get(name)
    text = found.get(leaf) if isinstance(found, Mapping) else None
    return text[:PART_CHARACTERS] if isinstance(text, str) else ""
