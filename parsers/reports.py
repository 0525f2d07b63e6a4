"""What the reports of scanners have in common: findings of a severity, in an artifact, counted; each a document.

A report is one object, and one document that sums it up; the findings are documents beside it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from parsers.canonical import encode
from parsers.flattened import flattened
from parsers.sensors import SEVERITIES, text_at, to_texts
from parsers.table import Finding, Parsed
from parsers.values import to_number

FINDINGS_LIMIT: Final = 10_000
"""Findings of one report that become documents; those behind them are counted, and the report's document says so."""

GROWTH_LIMIT: Final = 16
"""So many times what a scanner said of its findings their documents may take in all, and SPARE_BYTES."""

SPARE_BYTES: Final = 16 << 10
"""What documents of findings may take however little was said of them."""

DERIVED_BYTES_LIMIT: Final = 64 << 20
"""What documents of one report's findings may take in all."""

FINDING_BYTES: Final = 512
"""What the document of a finding takes beside what is said in it, about."""

REPEATED_LIMIT: Final = 512
"""Characters of each text that documents of findings repeat: of their result target, class and type, of their image
name and id."""

DIGESTS_LIMIT: Final = 16
"""Digests of an image that are kept."""

DIGEST_LIMIT: Final = 192
"""Characters of a digest (`sha512:` and 128 digits are 135); what is longer is none."""

COUNTED_LIMIT: Final = 1_000_000
"""Findings that are counted."""

SEVERITY_NAMES: Final = ("critical", "high", "medium", "low", "negligible", "unknown")

REPORT_LIMIT: Final = 32 << 20
"""Characters of a report that is read; of one in a line of a log `parsers.table.JSON_LIMIT`."""

_CATEGORIES: Final = {
    "vulnerability": "vulnerability",
    "misconfiguration": "configuration",
    "secret": "file",
    "license": "package",
}
_VERSIONS: Final = {"CVSS:4.0": "4.0", "CVSS:3.1": "3.1", "CVSS:3.0": "3.0"}

PRODUCED: Final = (
    "error.message", "event.severity", "event.reason", "file.path", "package.name", "package.version", "package.path",
    "package.type", "package.license", "vulnerability.id", "vulnerability.severity", "vulnerability.description",
    "vulnerability.reference", "vulnerability.category", "vulnerability.classification", "vulnerability.enumeration",
    "vulnerability.scanner.vendor", "vulnerability.score.base", "vulnerability.score.version", "rule.id", "rule.name",
    "rule.description", "rule.reference", "rule.category", "related.hash",
)  # fmt: skip
"""Fields that documents of findings may have."""


Told = tuple[dict[str, Any], Finding]
"""What a scanner said of a finding, and the finding."""


class Image:
    """The image that a report is about: its name as it was given, its local id, its digests in registries."""

    def __init__(self, name: str, identifier: str, references: Iterable[str]) -> None:
        """Take the digests from references such as `example.com/web@sha256:…`."""
        self.name = name[:REPEATED_LIMIT]
        self.id = identifier[:REPEATED_LIMIT]
        found = dict.fromkeys(each.rpartition("@")[2] for each in references if "@" in each)
        self.digests = [each for each in found if each and len(each) <= DIGEST_LIMIT][:DIGESTS_LIMIT]

    @property
    def own(self) -> dict[str, Any]:
        """What stands under `tidewaiter.finding.image`."""
        made: dict[str, Any] = {"name": self.name, "id": self.id, "digest": self.digests}
        return {key: value for key, value in made.items() if value}


def subject(image: Image | None) -> dict[str, Any]:
    """Return an image as members of ECS's `container`; nothing where there is none, or one without name and digests."""
    if image is None:
        return {}
    about: dict[str, Any] = {"name": image.name} if image.name else {}
    if image.digests:
        about["hash"] = {"all": image.digests}
    return {"image": about} if about else {}


def severity_of(word: Any) -> str:
    """Return a severity in lower case, `unknown` for what is none."""
    found = word.lower() if isinstance(word, str) else ""
    return found if found in SEVERITY_NAMES else "unknown"


def vulnerability(
    identifier: str, severity: str, *, scanner: str, description: str, reference: str, category: str
) -> dict[str, Any]:
    """Return ECS's `vulnerability` without its score."""
    authority, dash, _ = identifier.partition("-")
    made: dict[str, Any] = {
        "id": identifier,
        "severity": severity,
        "description": description,
        "reference": reference,
        "category": [category] if category else None,
        "enumeration": authority if dash else "",
        "scanner": {"vendor": scanner},
    }
    return {key: value for key, value in made.items() if value}


def score(base: Any, vector: Any) -> dict[str, Any]:
    """Return members of `vulnerability` that tell of a CVSS score; a vector without a prefix is of version 2."""
    number = to_number(base)
    if number is None:
        return {}
    version = _VERSIONS.get(vector[:8], "2.0") if isinstance(vector, str) and vector else ""
    return {"classification": "CVSS", "score": {"base": number} | ({"version": version} if version else {})}


def package(name: Any, version: Any, *, path: str = "", kind: str = "", license_name: str = "") -> dict[str, Any]:
    """Return ECS's `package`."""
    made = {"name": name, "version": version, "path": path, "type": kind, "license": license_name}
    return {key: value for key, value in made.items() if isinstance(value, str) and value}


def finding(
    kind: str, severity: str, message: str, *, scanner: str, fields: Mapping[str, Any], own: Mapping[str, Any]
) -> Finding:
    """Return a finding; what is empty is left out."""
    event: dict[str, Any] = {
        "category": [_CATEGORIES[kind]],
        "type": ["info"],
        "action": f"{kind}_found",
    }
    if severity in SEVERITIES:
        event["severity"] = SEVERITIES[severity]
    return Finding(
        message=message,
        event=event,
        fields={key: value for key, value in fields.items() if value},
        own={"kind": kind, **{key: value for key, value in own.items() if value}},
    )


def finish(
    parsed: Parsed, scanner: str, findings: Iterator[Told], severities: Iterable[str], artifact: tuple[str, str]
) -> None:
    """Put a report's findings, their number by severity and a sentence into what was parsed.

    `artifact` is its name and its type. `severities` are those of all findings, in any order.
    """
    counts = Counter(islice(severities, COUNTED_LIMIT))
    total = sum(counts.values())
    parsed.findings = list(islice(_affordable(findings), FINDINGS_LIMIT))
    parsed.rest = {}
    name, kind = artifact
    parsed.report = {
        **({"artifact": name} if name else {}),
        **({"artifact_type": kind} if kind else {}),
        "findings": total,
        **{each: counts[each] for each in SEVERITY_NAMES if counts[each]},
    }
    if total > len(parsed.findings):
        parsed.report["left_out"] = total - len(parsed.findings)
    by_severity = ", ".join(f"{counts[each]} {each}" for each in SEVERITY_NAMES if counts[each])
    parsed.message = f"{scanner} scanned {name or 'an artifact'}: {total} finding{'s' * (total != 1)}" + (
        f" ({by_severity})" if by_severity else ""
    )


def _affordable(findings: Iterator[Told]) -> Iterator[Finding]:
    """Yield findings up to the first whose document would take more than all so far may.

    A line of a few bytes for each finding would else become any number of times as many: a report's documents repeat
    what it says once.
    """
    allowed, taken = SPARE_BYTES, 0
    for said, found in findings:
        allowed = min(allowed + GROWTH_LIMIT * len(encode(said)), DERIVED_BYTES_LIMIT)
        taken += FINDING_BYTES + len(encode((found.message, found.event, found.fields, found.own)))
        if taken > allowed:
            return
        yield found


def repeated(found: Mapping[str, Any], *keys: str) -> dict[str, str]:
    """Return texts of a part of a report which each finding in it repeats, cut to REPEATED_LIMIT."""
    return {key: text[:REPEATED_LIMIT] for key in keys if (text := text_at(found, key))}


def kept(found: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """Return what a scanner said of a finding, for a flattened field, without these keys."""
    return flattened({key: value for key, value in found.items() if key not in without})


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; of anything else nothing."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def cves(*candidates: Any) -> list[str]:
    """Return the ids of CVEs among these, each once."""
    return list(dict.fromkeys(each for each in candidates if isinstance(each, str) and each.startswith("CVE-")))


def named(found: Mapping[str, Any], *keys: str) -> str:
    """Return the first text of these keys that is not empty."""
    return next((text for key in keys if (text := text_at(found, key))), "")


def references(value: Any) -> list[str]:
    """Return the texts of a list of references."""
    return to_texts(value) or []
