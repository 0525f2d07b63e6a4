"""Conversions that the formats of security sensors have in common: severities, times, names of programs, addresses."""

import re
from typing import Any, Final

from parsers.times import iso
from parsers.timestamps import rfc3339
from parsers.values import Value, made

SEVERITIES: Final = {
    "emergency": 99, "alert": 99, "critical": 99, "error": 73, "high": 73, "warning": 47, "medium": 47,
    "notice": 21, "informational": 21, "info": 21, "debug": 21, "low": 21, "negligible": 21,
}  # fmt: skip
"""`event.severity` by what a product calls it: the four steps that Elastic's rules know (low 21, medium 47, high 73,
critical 99)."""

_read_time: Final = iso("").read


def severity(*sources: str) -> Value:
    """`event.severity` from a product's word, in whatever case it is written."""
    return made(lambda word: SEVERITIES.get(word.lower()) if isinstance(word, str) else None, *sources, kind="long")


def date(*sources: str) -> Value:
    """A time in the one form of our documents."""
    return made(to_date, *sources, kind="date")


def program(*sources: str) -> Value:
    """The last part of a program's path."""
    return made(to_program, *sources)


def texts(*sources: str) -> Value:
    """A list of texts, without what is none."""
    return made(to_texts, *sources, kind="keyword[]")


def to_date(value: Any) -> str | None:
    """Return an RFC 3339 time as our documents write it, or None."""
    instant = _read_time(value, 0)
    return rfc3339(instant[0] * 1_000_000_000 + instant[1]) if instant else None


def to_program(value: Any) -> str | None:
    """Return what stands behind the last slash of a path, or None."""
    return value.rpartition("/")[2] or None if isinstance(value, str) else None


def to_texts(value: Any) -> list[str] | None:
    """Return the texts of a list that are not empty, each once, or None where there are none."""
    found = [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []
    return list(dict.fromkeys(found)) or None


def container(identifier: str, *, name: str, image: str, tag: str, digest: str) -> dict[str, Any]:
    """Return ECS's `container` as a sensor names it; nothing where the id is none that an Engine gives."""
    if not _CONTAINER_ID.fullmatch(identifier):
        return {}
    made: dict[str, Any] = {"id": identifier}
    if name:
        made["name"] = name
    if image and image not in _UNKNOWN:
        made["image"] = {"name": image}
        if tag and tag not in _UNKNOWN:
            made["image"]["tag"] = [tag]
        if _DIGEST.fullmatch(digest):
            made["image"]["hash"] = {"all": [digest]}
    return made


_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{12,64}")
_DIGEST: Final = re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{32,128}")
_UNKNOWN: Final = frozenset({"<NA>", "N/A", "incomplete"})


def inside(value: Any, *path: str) -> Any:
    """Return what stands at these keys of an object in an object; None where one of them is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    """The same where it is a text, else the empty one."""
    found = inside(value, *path)
    return found if isinstance(found, str) else ""
