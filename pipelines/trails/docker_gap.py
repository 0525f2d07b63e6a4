"""A gap in what an Engine told: one document that names the span, why, and which containers came and went meanwhile."""

from typing import Any, Final

from parsers.docker_event import GapRecord
from pipelines.trails.docker_said import Said, date_of

GAP: Final = "_gap"

CHANGES: Final = {"appeared": "appeared", "gone": "went", "changed": "changed"}
"""What is said of the containers of each list."""

NAMED_LIMIT: Final = 1024
"""Containers of one list that a document names; how many there are stands in `tidewaiter.app`."""

REASONS: Final = {
    "engine_restarted": "the Engine was started again, and forgot what it had not told",
    "memory_exceeded": "more happened than the Engine remembers",
    "overflow": "events came faster than they could be taken",
    "unreadable": "the Engine said what cannot be read",
    "rejected": "the journal does not take what it said",
}


def gap_said(gap: GapRecord) -> Said:
    """Return what a gap is."""
    after, before = date_of(gap.after_ns), date_of(gap.before_ns)
    event: dict[str, Any] = {
        "action": "gap",
        "category": ["configuration"],
        "type": ["info"],
        "outcome": "unknown",
        "provider": "dockerd",
        "reason": gap.why or "unknown",
    }
    if after:
        event["start"] = after
    if before:
        event["end"] = before
    if after and before and gap.before_ns >= gap.after_ns:
        event["duration"] = gap.before_ns - gap.after_ns
    lists = {"appeared": gap.appeared, "gone": gap.gone, "changed": gap.changed}
    named = {name: [str(each) for each in seen[:NAMED_LIMIT]] for name, seen in lists.items() if seen}
    counts = {name: gap.lengths.get(name, len(seen)) for name, seen in lists.items() if seen}
    return Said(
        message=_sentence(gap, counts, after, before),
        event=event,
        own={"docker": {"type": "gap"}, **({"gap": named} if named else {})},
        tags=[GAP],
        rest={"counts": counts} if counts else {},
    )


def _sentence(gap: GapRecord, counts: dict[str, int], after: str, before: str) -> str:
    why = REASONS.get(gap.why, "it is not known why")
    changes = [f"{number} container{'s' if number > 1 else ''} {CHANGES[name]}" for name, number in counts.items()]
    seen = ", ".join(changes) or "no container came or went"
    return f"What happened between {after or '?'} and {before or '?'} may be missing: {why}; {seen}"
