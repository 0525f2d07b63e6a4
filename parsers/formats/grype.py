r"""Grype: reports of `grype … -o json`, each one object; posted to an input `http`, or compact in one line.

    {"matches":[{"vulnerability":{"id":"GHSA-xxxx-yyyy-zzzz","severity":"Critical","namespace":"github:language:python","urls":[],"cvss":[],"fix":{"versions":["2.0.1"],"state":"fixed"},"advisories":[],"risk":12.5},"relatedVulnerabilities":[{"id":"CVE-2023-0002","severity":"Critical","urls":[],"cvss":[]}],"matchDetails":[{"type":"exact-direct-match","matcher":"python-matcher","searchedBy":{},"found":{}}],"artifact":{"id":"0a1b","name":"libpy","version":"2.0.0","type":"python","locations":[],"language":"python","licenses":[],"cpes":[],"purl":"pkg:pypi/libpy@2.0.0","upstreams":[]}}],"source":{"type":"image","target":{"userInput":"web:1.2","imageID":"sha256:aaaa","manifestDigest":"sha256:eeee","tags":["web:1.2"],"repoDigests":["web@sha256:bbbb"]}},"distro":{"name":"debian","version":"12","idLike":[]},"descriptor":{"name":"grype","version":"0.0.0","timestamp":"2023-11-14T23:13:20.5+01:00"}}

A report is one document with the number of its findings by severity (`tidewaiter.report`), and each match another. The id
of a finding's document begins with that of its report. What Grype said of a match stands under `grype`; the report's
document has source, distribution and the names and versions of scanner and database, but not the scanner's
configuration, for that may hold passwords of registries. Matches that the operator told Grype to ignore are not findings.
Beyond 10,000 findings they are counted only. A line of a log is read up to 1 MiB, a report that is posted up to 32 MiB.
Not handled: reports over several lines of a log, tables, CycloneDX, SARIF. Source: Grype's documentation, "Output formats".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.reports import (
    PRODUCED,
    Image,
    Told,
    cves,
    finding,
    finish,
    kept,
    named,
    objects,
    package,
    references,
    score,
    severity_of,
    subject,
    vulnerability,
)
from parsers.sensors import inside, text_at
from parsers.table import Parsed, Table
from parsers.times import iso

SCANNER: Final = "Grype"
_FREE_SHAPES: Final = ("metadata",)
_IMAGE_BULK: Final = frozenset({"manifest", "config", "layers", "labels"})
"""Of an image its base64 texts and layers, which are not kept."""


def image_of(report: Mapping[str, Any]) -> Image | None:
    """Return the image that a report is about, None where it is of something else; a directory's target is a text."""
    source = report.get("source")
    target = inside(source, "target")
    if text_at(source, "type") != "image" or not isinstance(target, dict):
        return None
    found = references(target.get("repoDigests"))
    digest = text_at(target, "manifestDigest")
    return Image(
        text_at(target, "userInput"), text_at(target, "imageID"), [*found, *([f"@{digest}"] if digest else [])]
    )


def artifact_of(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return what was scanned: its name and its type."""
    source = report.get("source")
    target = inside(source, "target")
    name = target if isinstance(target, str) else text_at(target, "userInput") or text_at(source, "name")
    return name, text_at(source, "type")


def cvss(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the score of the primary entry of the newest version of CVSS, else the first that has one."""
    entries = sorted(
        objects(found.get("cvss")),
        key=lambda each: (text_at(each, "type").lower() != "primary", -_version_number(text_at(each, "version"))),
    )
    for each in entries:
        made = score(inside(each, "metrics", "baseScore"), each.get("vector"))
        if made:
            return made
    return {}


def _version_number(text: str) -> float:
    try:
        return float(text[:4])
    except ValueError:
        return 0.0


def _finding(match: dict[str, Any], image: Image | None) -> Told:
    about, artifact = match.get("vulnerability"), match.get("artifact")
    about = about if isinstance(about, dict) else {}
    artifact = artifact if isinstance(artifact, dict) else {}
    related = list(objects(match.get("relatedVulnerabilities")))
    identifier, severity = text_at(about, "id"), severity_of(about.get("severity"))
    name, version = artifact.get("name"), artifact.get("version")
    fixed = references(inside(about, "fix", "versions"))
    kind = text_at(artifact, "type")
    description = named(about, "description") or next(
        (text for each in related if (text := named(each, "description"))), ""
    )
    found = vulnerability(
        identifier,
        severity,
        scanner=SCANNER,
        description=description,
        reference=text_at(about, "dataSource"),
        category=kind,
    )
    scored = next((made for each in (about, *related) if (made := cvss(each))), {})
    path = next((path for each in objects(artifact.get("locations")) if (path := text_at(each, "path"))), "")
    said = kept(match, "artifact", "matchDetails") | {"artifact": kept(artifact, *_FREE_SHAPES)}
    said["matchDetails"] = [
        {"type": text_at(each, "type"), "matcher": text_at(each, "matcher")}
        for each in objects(match.get("matchDetails"))
    ]
    fix = f", fixed in {', '.join(fixed)}" if fixed else ""
    return said, finding(
        "vulnerability",
        severity,
        f"{identifier} ({severity}) in {name or '?'} {version or ''}".rstrip() + fix,
        scanner=SCANNER,
        fields={
            "vulnerability": found | scored,
            "package": package(name, version, path=path, kind=kind),
            "grype": said,
        },
        own={
            "cve": cves(identifier, *(each.get("id") for each in related)),
            "fixed_version": fixed,
            "fix_state": text_at(about, "fix", "state"),
            "purl": text_at(artifact, "purl"),
            "image": image.own if image else {},
        },
    )


def complete(report: Mapping[str, Any], parsed: Parsed) -> None:
    """Put the findings of a report into what was parsed, and what it is about."""
    image, matches = image_of(report), report.get("matches")
    descriptor, source = report["descriptor"], report.get("source")
    said: dict[str, Any] = {"descriptor": kept(descriptor, "configuration", "db")}
    database = inside(descriptor, "db")
    if isinstance(database, dict):
        said["descriptor"]["db"] = kept(database, "providers")
    if isinstance(source, dict):
        target = source.get("target")
        said["source"] = kept(source, "target", "metadata") | (
            {"target": kept(target, *_IMAGE_BULK) if isinstance(target, dict) else target} if target else {}
        )
    if isinstance(report.get("distro"), dict):
        said["distro"] = kept(report["distro"])
    ignored = sum(1 for _ in objects(report.get("ignoredMatches")))
    parsed.fields["grype"] = said | ({"ignored": ignored} if ignored else {})
    if image is not None and image.digests:
        parsed.related["hash"] = image.digests
    finish(
        parsed,
        SCANNER,
        (_finding(each, image) for each in objects(matches)),
        (severity_of(inside(each, "vulnerability", "severity")) for each in objects(matches)),
        artifact_of(report),
    )


def subject_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image that a report is about as members of ECS's `container`."""
    return subject(image_of(report))


def _is_report(found: Mapping[str, Any]) -> bool:
    return isinstance(found["matches"], list) and isinstance(found["descriptor"], dict)


REPORT = Table(
    dataset="grype.report",
    requires=("matches", "descriptor"),
    accept=_is_report,
    whole="grype",
    finish=complete,
    produces=PRODUCED,
    time=iso("descriptor.timestamp"),
    constants={
        "event.category": ["vulnerability"],
        "event.type": ["info"],
        "event.action": "scan",
        "vulnerability.scanner.vendor": SCANNER,
    },
    fields={},
)


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"matches"' in line


FORMAT = Format(title="Grype reports", tables=(REPORT,), sniff=_sniff, marks=('"descriptor"',), subject=subject_of)
