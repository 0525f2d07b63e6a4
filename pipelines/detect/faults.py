"""Where in a file it is that pySigma does not take a rule: its errors have no places, so the part is looked for.

A search identifier is read again by itself, then each of its fields, until the one is found that raises the error.
"""

import re
from typing import Any, Final

import msgspec
from sigma.exceptions import SigmaConditionError, SigmaError
from sigma.rule import SigmaDetection, SigmaDetectionItem

from pipelines.detect.documents import FAULTS, Document, Path
from pipelines.detect.rule import Problem
from pipelines.detect.translate import UntranslatableError

_KEYS: Final = {
    "SigmaIdentifierError": "id",
    "SigmaNameError": "name",
    "SigmaTaxonomyError": "taxonomy",
    "SigmaRelatedError": "related",
    "SigmaLevelError": "level",
    "SigmaStatusError": "status",
    "SigmaTagError": "tags",
    "SigmaDateError": "date",
    "SigmaModifiedError": "modified",
    "SigmaFieldsError": "fields",
    "SigmaFalsePositivesError": "falsepositives",
    "SigmaAuthorError": "author",
    "SigmaDescriptionError": "description",
    "SigmaReferencesError": "references",
    "SigmaTitleError": "title",
    "SigmaScopeError": "scope",
    "SigmaLicenseError": "license",
    "SigmaLogsourceError": "logsource",
    "SigmaFilterRuleReferenceError": "rules",
}
"""The key that an error of pySigma speaks of, by its class."""

_WITHIN = re.compile(r"\(at char \d{1,6}\), \(line:1, col:(\d{1,6})\)")
"""Where in a condition pyparsing stopped."""
_FOUND = re.compile(r"found ('.+')")
_ANY_FAULT: Final = (SigmaError, *FAULTS)


class UnknownModifierError(ValueError):
    """A field has a modifier that Sigma does not have."""

    def __init__(self, key: str, modifier: str, nearest: str | None) -> None:
        self.key = key
        hint = f"; is {nearest} meant?" if nearest else ""
        super().__init__(f"a modifier {modifier!r} is not known{hint}")


def problem_of(document: Document, part: str, error: Exception) -> Problem:
    """Return what an error says and where what it is about stands; `part` is where a rule's identifiers are."""
    return problem_at(document, _path(document, part, error), error)


def problem_at(document: Document, path: Path, error: Exception) -> Problem:
    """Return what an error says of a value; where it is a condition that was not understood, the place within it."""
    text = _said(error)
    within = _WITHIN.search(text)
    if within is None:
        return document.problem(text, path)
    found = _FOUND.search(text[: within.start()])
    text = f"the condition is not understood from {found[1]} on" if found else "the condition ends too early"
    place, is_plain = document.value_place(path)
    if not is_plain:
        return Problem(place, f"{text}, at column {within[1]} of the condition")
    return Problem(msgspec.structs.replace(place, column=place.column + int(within[1]) - 1), text)


def _path(document: Document, part: str, error: Exception) -> Path:
    name = type(error).__name__
    if isinstance(error, UntranslatableError) and error.identifier:
        return field_path(document, part, error.field, error.identifier) or (part, error.identifier)
    if isinstance(error, UnknownModifierError):
        return _key_named(document.content.get(part), (part,), error.key) or (part,)
    if name in _KEYS and name != "SigmaModifiedError":
        return (part, "rules") if _KEYS[name] == "rules" else (_KEYS[name],)
    if "name" in str(error) and "rule name" in str(error):
        return ("name",)
    if isinstance(error, SigmaConditionError):
        return (part, "condition")
    found = _broken(document.content.get(part), (part,), type(error))
    if found is None and name == "SigmaModifiedError":
        return ("modified",)
    return found or ((part, "condition") if document.content.get(part) else (part,))


def field_path(document: Document, part: str, field: str | None, identifier: str | None = None) -> Path | None:
    """Return the path of the first use of a field, or of a keyword with modifiers (None), in a search identifier."""
    identifiers = document.content.get(part)
    for name, definition in identifiers.items() if isinstance(identifiers, dict) else ():
        if identifier not in (None, name):
            continue
        for step, item in enumerate(definition) if isinstance(definition, list) else ((None, definition),):
            for key in item if isinstance(item, dict) else ():
                if str(key).partition("|")[0] == (field or ""):
                    return (part, name, key) if step is None else (part, name, step, key)
    return None


def _broken(definition: Any, path: Path, kind: type[Exception]) -> Path | None:
    """Return the path of the part of search identifiers that raises such an error by itself."""
    if not isinstance(definition, dict):
        return None
    for name, below in definition.items():
        if name in ("condition", "rules"):
            continue
        found = _broken_part(below, (*path, name), kind)
        if found is not None:
            return found
    return None


def _broken_part(below: Any, path: Path, kind: type[Exception]) -> Path | None:
    if isinstance(below, list):
        for index, each in enumerate(below):
            found = _broken_part(each, (*path, index), kind) if isinstance(each, dict) else None
            if found is not None:
                return found
    if isinstance(below, dict):
        for key, value in below.items():
            try:
                SigmaDetectionItem.from_mapping(key, value)
            except kind:
                return (*path, key)
            except _ANY_FAULT:
                continue
    try:
        SigmaDetection.from_definition(below)
    except kind:
        return path
    except _ANY_FAULT:
        return None
    return None


def _key_named(definition: Any, path: Path, key: str) -> Path | None:
    if isinstance(definition, dict):
        if key in definition:
            return (*path, key)
        pairs = list(definition.items())
    else:
        pairs = list(enumerate(definition)) if isinstance(definition, list) else []
    for step, below in pairs:
        found = _key_named(below, (*path, step), key)
        if found is not None:
            return found
    return None


def _said(error: Exception) -> str:
    """Return an error's sentence; pySigma's name a class where they are none of its own."""
    text = str(error) or type(error).__name__
    if isinstance(error, SigmaError | ValueError):
        return text
    return f"pySigma cannot read it ({type(error).__name__}: {text})"
