r"""Trivy: reports of `trivy … --format json`, each one object; posted to an input `http`, or compact in one line.

    {"SchemaVersion":2,"CreatedAt":"2023-11-14T22:13:20.000000001Z","ArtifactName":"web:1.2","ArtifactType":"container_image","Metadata":{"OS":{"Family":"debian","Name":"12.2"},"ImageID":"sha256:aaaa","RepoTags":["web:1.2"],"RepoDigests":["web@sha256:bbbb"]},"Results":[{"Target":"web:1.2 (debian 12.2)","Class":"os-pkgs","Type":"debian","Vulnerabilities":[{"VulnerabilityID":"CVE-2023-0001","PkgName":"libx","InstalledVersion":"1.0-1","FixedVersion":"1.0-2","Severity":"HIGH","PrimaryURL":"https://example.org/CVE-2023-0001"}]}]}

A report is one document with the number of its findings by severity (`tidewaiter.report`), and each finding another:
vulnerabilities, misconfigurations that failed, secrets, licenses. The id of a finding's document begins with that of its
report. Of a finding all that Trivy said stands under `trivy`, but no lines of code and no matches, for these hold
secrets; of the report its metadata. Lists of packages are not kept. A report without findings is a report. Beyond 10,000
findings they are counted only. A line of a log is read up to 1 MiB, a report that is posted up to 32 MiB. Not handled:
reports over several lines of a log, tables, other formats. Source: Trivy's documentation, "Reporting".
"""

from collections.abc import Iterator, Mapping
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
    repeated,
    score,
    severity_of,
    subject,
    vulnerability,
)
from parsers.sensors import inside, text_at
from parsers.table import Parsed, Table
from parsers.times import iso
from parsers.values import text, to_integer

SCANNER: Final = "Trivy"
_KINDS: Final = {
    "Vulnerabilities": "vulnerability",
    "Misconfigurations": "misconfiguration",
    "Secrets": "secret",
    "Licenses": "license",
}
_SECRET_KEYS: Final = ("Match", "Code", "CauseMetadata")
_SOURCES_FIRST: Final = ("nvd", "ghsa", "redhat")
_SCORES: Final = (("V3Score", "V3Vector"), ("V40Score", "V40Vector"), ("V2Score", "V2Vector"))

RESULTS_LIMIT: Final = 1000
"""Parts of an artifact that a report's document names; findings name theirs."""


def image_of(report: Mapping[str, Any]) -> Image | None:
    """Return the image that a report is about, None where it is of something else."""
    metadata = report.get("Metadata")
    identifier = text_at(metadata, "ImageID")
    if not identifier and text_at(report, "ArtifactType") != "container_image":
        return None
    return Image(text_at(report, "ArtifactName"), identifier, references(inside(metadata, "RepoDigests")))


def _found(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield each finding with its kind and what is said of the result that it stands in."""
    for result in objects(report.get("Results")):
        about = repeated(result, "Target", "Class", "Type")
        for key, kind in _KINDS.items():
            for each in objects(result.get(key)):
                if kind != "misconfiguration" or text_at(each, "Status") in ("FAIL", ""):
                    yield kind, each, about


def cvss(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the score: of the source of the severity, else of the best known source that has one."""
    by_source = found.get("CVSS")
    if not isinstance(by_source, dict):
        return {}
    for source in dict.fromkeys((text_at(found, "SeveritySource"), *_SOURCES_FIRST, *by_source)):
        for base, vector in _SCORES:
            made = score(inside(by_source, source, base), inside(by_source, source, vector))
            if made:
                return made
    return {}


def _vulnerability(found: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    identifier, kind = text_at(found, "VulnerabilityID"), text_at(result, "Type")
    severity = severity_of(found.get("Severity"))
    about = vulnerability(
        identifier,
        severity,
        scanner=SCANNER,
        description=named(found, "Description", "Title"),
        reference=text_at(found, "PrimaryURL"),
        category=kind,
    )
    name, version = found.get("PkgName"), found.get("InstalledVersion")
    fixed = [each for part in text_at(found, "FixedVersion").split(",") if (each := part.strip())]
    fields = {
        "vulnerability": about | cvss(found),
        "package": package(name, version, path=text_at(found, "PkgPath"), kind=kind),
    }
    own = {
        "cve": cves(identifier, *references(found.get("VendorIDs"))),
        "fixed_version": fixed,
        "fix_state": text_at(found, "Status"),
        "purl": text_at(found, "PkgIdentifier", "PURL"),
    }
    fix = f", fixed in {', '.join(fixed)}" if fixed else ""
    return f"{identifier} ({severity}) in {name or '?'} {version or ''}".rstrip() + fix, fields, own


def _misconfiguration(
    found: Mapping[str, Any], result: Mapping[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    rule = {
        "id": named(found, "AVDID", "ID"),
        "name": text_at(found, "Title"),
        "description": text_at(found, "Description"),
        "reference": text_at(found, "PrimaryURL"),
        "category": text_at(found, "Type"),
    }
    cause = found.get("CauseMetadata")
    message = f"{rule['id']} {named(found, 'Message', 'Title')} in {text_at(result, 'Target')}"
    return message, {"rule": {key: value for key, value in rule.items() if value}} | _file(result), _lines(cause)


def _secret(found: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    rule = {"id": text_at(found, "RuleID"), "name": text_at(found, "Title"), "category": text_at(found, "Category")}
    message = f"{named(found, 'Title', 'RuleID')} in {text_at(result, 'Target')}"
    return message, {"rule": {key: value for key, value in rule.items() if value}} | _file(result), _lines(found)


def _license(found: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    name = text_at(found, "Name")
    message = f"license {name} of {named(found, 'PkgName', 'FilePath')}"
    fields = {
        "package": package(found.get("PkgName"), None, kind=text_at(result, "Type"), license_name=name),
        "file": {"path": path} if (path := text_at(found, "FilePath")) else {},
        "rule": {"category": category} if (category := text_at(found, "Category")) else {},
    }
    return message, fields, {}


def _file(result: Mapping[str, Any]) -> dict[str, Any]:
    target = text_at(result, "Target")
    return {"file": {"path": target}} if target else {}


def _lines(found: Any) -> dict[str, Any]:
    return {"start_line": to_integer(inside(found, "StartLine")), "end_line": to_integer(inside(found, "EndLine"))}


_MADE: Final = {
    "vulnerability": _vulnerability,
    "misconfiguration": _misconfiguration,
    "secret": _secret,
    "license": _license,
}


def _finding(kind: str, found: dict[str, Any], result: dict[str, str], image: Image | None) -> Told:
    message, fields, own = _MADE[kind](found, result)
    own |= {"target": text_at(result, "Target"), "image": image.own if image else {}}
    said = kept(found, *_SECRET_KEYS)
    fields["trivy"] = kept(result) | {"Finding": said}
    severity = severity_of(found.get("Severity"))
    return said, finding(kind, severity, message, scanner=SCANNER, fields=fields, own=own)


def complete(report: Mapping[str, Any], parsed: Parsed) -> None:
    """Put the findings of a report into what was parsed, and its metadata."""
    image = image_of(report)
    parsed.fields["trivy"] = kept(report, "Results") | {"Results": _results(report)}
    if isinstance(report.get("Metadata"), dict):
        parsed.fields["trivy"]["Metadata"] = kept(report["Metadata"], "ImageConfig")
    if image is not None and image.digests:
        parsed.related["hash"] = image.digests
    finish(
        parsed,
        SCANNER,
        (_finding(*each, image) for each in _found(report)),
        (severity_of(each.get("Severity")) for _, each, _ in _found(report)),
        (text_at(report, "ArtifactName"), text_at(report, "ArtifactType")),
    )


def _results(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a report says of its parts, without their lists."""
    results: list[dict[str, Any]] = [
        {key: each[key] for key in ("Target", "Class", "Type", "MisconfSummary") if key in each}
        for each in objects(report.get("Results"))
    ]
    return [kept(each) for each in results[:RESULTS_LIMIT]]


def subject_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image that a report is about as members of ECS's `container`."""
    return subject(image_of(report))


def _is_report(found: Mapping[str, Any]) -> bool:
    return isinstance(found["ArtifactName"], str) and any(
        isinstance(found.get(key), kind) for key, kind in (("Results", list), ("Metadata", dict))
    )


REPORT = Table(
    dataset="trivy.report",
    requires=("ArtifactName",),
    accept=_is_report,
    whole="trivy",
    finish=complete,
    produces=PRODUCED,
    time=iso("CreatedAt"),
    constants={
        "event.category": ["vulnerability"],
        "event.type": ["info"],
        "event.action": "scan",
        "vulnerability.scanner.vendor": SCANNER,
    },
    fields={"vulnerability.report_id": text("ReportID")},
)


def _sniff(line: str) -> bool:
    return line[:1] == "{" and ('"Results"' in line or '"Metadata"' in line)


FORMAT = Format(title="Trivy reports", tables=(REPORT,), sniff=_sniff, marks=('"ArtifactName"',), subject=subject_of)
