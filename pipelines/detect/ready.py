"""Matchers of rule sets, made before they are needed: to make one takes longer than a frame may wait.

Shared by the pipelines of a process, which use them one after the other. A set that is about to be appended is made
ready in another thread meanwhile, for the datasets that have come so far.
"""

from typing import Final, NamedTuple

from pipelines.detect.carried import Carried, new_rule_sets, rules_in, take_message
from pipelines.detect.matcher import Matcher
from pipelines.detect.rule import Rule

KEPT: Final = 2
"""Sets whose matchers are kept: that which holds, and the next one."""

FAULTS: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What a rule may raise of which no matcher can be made."""


class Ready(NamedTuple):
    """A matcher, the rules that it is of, and those that had to be left out, with the reason."""

    matcher: Matcher
    rules: tuple[Rule, ...]
    left_out: tuple[tuple[Rule, Exception], ...] = ()


class Matchers:
    """The matchers of the newest sets, by their hashes."""

    def __init__(self) -> None:
        self._ready: dict[str, Ready] = {}

    def of(self, carried: Carried) -> Ready:
        """Return what is made of a set, or make it; raise ValueError or RecursionError where it cannot be decoded."""
        found = self._ready.get(carried.hash)
        if found is None:
            found = self._keep(carried.hash, _made(carried.rules))
        return found

    def prepare(self, message: bytes) -> None:
        """Make a set ready that is about to hold, by its message; may be called in another thread.

        Raises ValueError or RecursionError for no such message.
        """
        sets = new_rule_sets()
        take_message(memoryview(message), sets)
        carried = rules_in(sets)
        if carried is None or not carried.rules or carried.hash in self._ready:
            return
        datasets = {dataset for each in tuple(self._ready.values()) for dataset in each.matcher.datasets}
        made = _made(carried.rules)
        made.matcher.prepare(sorted(datasets))
        self._keep(carried.hash, made)

    def _keep(self, rules_hash: str, made: Ready) -> Ready:
        ready = {**self._ready, rules_hash: made}
        self._ready = dict(tuple(ready.items())[-KEPT:])
        return made


def _made(rules: tuple[Rule, ...]) -> Ready:
    try:
        return Ready(Matcher(rules), rules)
    except FAULTS:
        left_out = tuple((rule, error) for rule in rules if (error := _why_unusable(rule)) is not None)
        bad = {rule.key for rule, _ in left_out}
        usable = tuple(rule for rule in rules if rule.key not in bad)
        return Ready(Matcher(usable), usable, left_out)


def _why_unusable(rule: Rule) -> Exception | None:
    try:
        Matcher((rule,))
    except FAULTS as error:
        return error
    return None
