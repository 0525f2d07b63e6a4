"""An alert as a document: which rule, how grave, which technique, and of whom and where, in its source's words.

Elastic's rule for alerts of others finds all it asks for: `event.kind: alert`, a severity of its four, a risk score and
a `message` that is a title. Of the source document everything that says who, where and what is copied, so that an alert
reads by itself; `tidewaiter.alert.source` names the document, whose time and sequence it has.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from parsers.canonical import encode
from parsers.timestamps import rfc3339
from pipelines.batch import DataStream
from pipelines.detect.attack import threat_of
from pipelines.detect.rule import Rule
from pipelines.detect.titles import MESSAGE_LIMIT, shortened, title_of
from pipelines.frame import Frame
from pipelines.normalize.container import fixed_tail
from pipelines.settings import Settings

SEVERITIES: Final = {
    "informational": (21, 5),
    "low": (21, 21),
    "medium": (47, 47),
    "high": (73, 73),
    "critical": (99, 99),
}
"""`event.severity`, one of the four that Elastic knows, and `event.risk_score`, by a rule's level."""

NO_LEVEL: Final = "low"
"""What a rule that says no level counts as."""

TEXT_LIMIT: Final = 1_000
"""Characters of a text of a rule: a keyword is searched up to 1,024."""

LIST_LIMIT: Final = 20
"""Elements of a list of a rule."""

COPIED: Final = (
    "user", "source", "destination", "client", "server", "process", "file", "url", "http", "user_agent", "network",
    "group", "service", "container", "orchestrator", "cloud", "organization", "labels",
)  # fmt: skip
"""Objects of the source document that an alert has as well; `host`, `kubernetes`, `related` and `tags` are others."""

COPIED_OWN: Final = ("origin", "tag", "container", "claimed", "facts", "exec", "actor", "session", "auth", "audit")
"""The same below `tidewaiter`. What an application said under names of its own is in the source document alone."""

COPIED_AUDIT: Final = ("auditID", "stage", "verb", "requestURI", "user", "objectRef", "responseStatus", "sourceIPs")
"""The same below `kubernetes.audit`: the objects that were sent and answered may be large."""

ALLOWED_OR_NOT: Final = ("allowed", "denied")
"""What of the source's `event.type` goes with `intrusion_detection`."""

_NO_WORD: Final = re.compile(r"[^a-z0-9]+")


class Source(NamedTuple):
    """What an alert is about: the source document, its id and its data stream."""

    document: Mapping[str, Any]
    identifier: bytes
    stream: DataStream


class Alerts:
    """Makes the alerts of one rule set, which has this hash; what they say of a rule is made once for it."""

    def __init__(self, rules_hash: str) -> None:
        self._hash = rules_hash
        self._rules: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def encoded(
        self, rule: Rule, about: Source, identifier: bytes, frame: Frame, settings: Settings, *, suppressed: int = 0
    ) -> bytes:
        """Return an alert with its newline; `suppressed` were not raised since the one before it."""
        said, threat = self._of_rule(rule)
        source, stream = about.document, settings.alerts_stream
        event = {
            "created": rfc3339(frame.journal_time),
            "sequence": source["event"]["sequence"],
            "id": identifier.decode(),
            **_event(rule, source["event"]),
            "module": "tidewaiter",
            "dataset": stream.dataset,
        }
        own = {name: source["tidewaiter"][name] for name in COPIED_OWN if name in source.get("tidewaiter", ())}
        document = {
            "event": event,
            "@timestamp": source["@timestamp"],
            "message": title_of(rule, source),
            "rule": said,
            **({"threat": threat} if threat else {}),
            **_copied(source),
            "tidewaiter": {**own, "alert": self._own(rule, about, suppressed)},
            **fixed_tail(frame, settings, stream),
        }
        return encode(document) + b"\n"

    def _of_rule(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        found = self._rules.get(rule.key)
        if found is None:
            found = self._rules[rule.key] = _rule_of(rule), threat_of(rule.tags)
        return found

    def _own(self, rule: Rule, about: Source, suppressed: int) -> dict[str, Any]:
        source = about.document
        said = source.get("message")
        made: dict[str, Any] = {
            "level": rule.level or NO_LEVEL,
            "rules": self._hash,
            "source": {"id": [about.identifier.decode()], "stream": str(about.stream)},
        }
        action = source["event"].get("action")
        if isinstance(action, str):
            made["source"]["action"] = action
        if isinstance(said, str):
            made["message"] = shortened(said, MESSAGE_LIMIT)
        if rule.references:
            made["references"] = _texts(rule.references)
        if rule.false_positives:
            made["false_positives"] = _texts(rule.false_positives)
        if suppressed:
            made["suppressed"] = suppressed
        return made


def _event(rule: Rule, source: Mapping[str, Any]) -> dict[str, Any]:
    severity, risk = SEVERITIES.get(rule.level or NO_LEVEL, SEVERITIES[NO_LEVEL])
    types = [each for each in ALLOWED_OR_NOT if each in source.get("type", ())]
    return {
        "kind": "alert",
        "category": list(dict.fromkeys(("intrusion_detection", *source.get("category", ())))),
        "type": ["info", *types],
        "action": slug_of(rule),
        "severity": severity,
        "risk_score": risk,
    }


def severity_of(rule: Rule) -> int:
    """Return `event.severity` of its alerts."""
    return SEVERITIES.get(rule.level or NO_LEVEL, SEVERITIES[NO_LEVEL])[0]


def slug_of(rule: Rule) -> str:
    """Return a rule's name, or its title as a word."""
    return shortened(rule.name or _NO_WORD.sub("_", rule.title.lower()).strip("_") or rule.key, TEXT_LIMIT)


def _rule_of(rule: Rule) -> dict[str, Any]:
    """Return `rule`: what the Detection Rule License asks to be named is in it."""
    source = rule.log_source
    texts = {
        "id": rule.key,
        "uuid": rule.id,
        "name": rule.title,
        "description": rule.description,
        "category": source.category or source.service or source.product,
        "license": rule.license,
        "reference": next(iter(rule.references), None),
        "version": rule.modified or rule.date,
    }
    made: dict[str, Any] = {name: shortened(text, TEXT_LIMIT) for name, text in texts.items() if text}
    authors = [each.strip() for each in (rule.author or "").split(",") if each.strip()]
    if authors:
        made["author"] = _texts(authors)
    return {**made, "ruleset": "sigma"}


def _copied(source: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: source[name] for name in ("host", *COPIED) if name in source}
    if isinstance(kubernetes := source.get("kubernetes"), dict):
        made["kubernetes"] = {name: value for name, value in kubernetes.items() if name != "audit"}
        if isinstance(audit := kubernetes.get("audit"), dict):
            made["kubernetes"]["audit"] = {name: audit[name] for name in COPIED_AUDIT if name in audit}
    return made | {name: source[name] for name in ("related", "tags") if name in source}


def _texts(texts: tuple[str, ...] | list[str]) -> list[str]:
    return [shortened(each, TEXT_LIMIT) for each in texts[:LIST_LIMIT]]
