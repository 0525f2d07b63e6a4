"""Documents made from rules: on which a rule holds, and on which it nearly does.

What comes out is a try: whether a rule holds on it, the predicate says. Paths are those of the rule's expression.
"""

import ipaddress
import random
import re
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from parsers.canonical import encode
from pipelines.batch import DataStream, Documents
from pipelines.detect.expression import (
    MANY,
    And,
    Boolean,
    Compare,
    Exists,
    Expression,
    FieldTest,
    KeywordTest,
    Named,
    Network,
    Not,
    Null,
    Number,
    Or,
    Regex,
    SameAs,
    Test,
    Text,
    TimePart,
)
from pipelines.detect.predicate import View, holds
from pipelines.frame import Ids

FILLINGS = ("", "x", " ", "\\", '"', "a\nb", "\u00e9", "\u212a", "/usr/bin/", '\\"', "\U0001f600", "0", "-", "K")
"""What wildcards stand for: nothing, one, what JSON escapes, what folds beyond ASCII."""
TRIES = 25
"""Documents that are made of an expression, until it holds on one."""
ONES = ("x", "\\", '"', "\n", "\u00e9", "7")


def documents_of(dataset: str, made: list[dict[str, Any]]) -> Documents:
    """Encode documents as the pipeline does."""
    lines = [encode(each) + b"\n" for each in made]
    names = [b"%06d" % number for number in range(len(made))]
    return Documents.of_lines(DataStream("logs", dataset, "default"), lines, Ids(b"", names))


class Maker:
    """Makes documents; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def positive(self, item: Expression) -> dict[str, Any]:
        """Return a document on which the expression holds, or after some tries one on which it nearly does."""
        document: dict[str, Any] = {}
        for _ in range(TRIES):
            document = {"event": {"kind": "event"}, "message": self._filling()}
            self._satisfy(item, document, wanted=True)
            if holds(item, View(document)):
                break
        return document

    def mutated(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document like this one, with one value changed a little: what nearly holds."""
        leaves = list(_leaves(document))
        if not leaves:
            return document
        chosen = self.random.choice(leaves)
        changed: dict[str, Any] = _replaced(document, chosen, self._changed(_got(document, chosen)))
        return changed

    def _changed(self, value: Any) -> Any:
        if isinstance(value, str) and value:
            place = self.random.randrange(len(value))
            change = self.random.choice(("drop", "swap", "fold", "add", "first", "last", "list", "none"))
            return {
                "drop": value[:place] + value[place + 1 :],
                "swap": value[:place] + self.random.choice(ONES) + value[place + 1 :],
                "fold": value.swapcase(),
                "add": value[:place] + self.random.choice(FILLINGS) + value[place:],
                "first": self.random.choice(FILLINGS) + value,
                "last": value + self.random.choice(FILLINGS),
                "list": ["other", value],
                "none": None,
            }[change]
        if isinstance(value, bool) or value is None:
            return self.random.choice((not value, str(value).lower(), None))
        if isinstance(value, int | float):
            return self.random.choice((value + 1, str(value), float(value), -value))
        return self.random.choice((None, "x"))

    def _satisfy(self, item: Expression, document: dict[str, Any], *, wanted: bool) -> None:
        if isinstance(item, Named):
            self._satisfy(item.item, document, wanted=wanted)
        elif isinstance(item, Not):
            self._satisfy(item.item, document, wanted=not wanted)
        elif isinstance(item, And | Or):
            if isinstance(item, And) is wanted:
                for each in item.items:
                    self._satisfy(each, document, wanted=wanted)
            elif wanted:
                self._satisfy(self.random.choice(item.items), document, wanted=wanted)
        elif isinstance(item, KeywordTest) and wanted:
            document["message"] = f"{document.get('message', '')} {self._value(item.test)}"
        elif isinstance(item, FieldTest):
            self._set(item, document, wanted=wanted)

    def _set(self, item: FieldTest, document: dict[str, Any], *, wanted: bool) -> None:
        absent = isinstance(item.test, Null) or (isinstance(item.test, Exists) and not item.test.value)
        if absent is wanted or not item.paths:
            return
        path = self.random.choice(item.paths)
        value = self._value(item.test)
        if isinstance(item.test, SameAs):
            _put(document, item.test.paths[0], value)
        if isinstance(value, str) and (there := _got_path(document, path)) is not None:
            value = self.random.choice((f"{there}{value}", f"{value}{there}", [there, value]))
        elif self.random.random() < 0.1:
            value = self.random.choice(([value], ["other", value]))
        _put(document, path, value)

    def _value(self, test: Test) -> Any:
        match test:
            case Text():
                return self._cased("".join(self._part(part) for part in test.parts), test)
            case Number():
                return self.random.choice((test.value, str(test.value), float(test.value)))
            case Boolean():
                return self.random.choice((test.value, str(test.value).lower()))
            case Regex():
                return self._filling() + self._matching(test)
            case Network():
                network = ipaddress.ip_network(test.cidr)
                return str(network[self.random.randrange(min(network.num_addresses, 1 << 31))])
            case Compare() if test.part is None:
                return test.value + {"lt": -1, "lte": 0, "gt": 1, "gte": 0}[test.operator]
            case TimePart():
                return f"2026-11-{test.value if test.part == 'day' else 29:02d}T0{self.random.randrange(9)}:07:00Z"
        return self._filling()

    def _part(self, part: str | int) -> str:
        if isinstance(part, str):
            return part
        return self._filling() if part == MANY else self.random.choice(ONES)

    def _cased(self, text: str, test: Text) -> str:
        if test.cased or self.random.random() < 0.5:
            return text
        return "".join(each.swapcase() if each.isascii() and self.random.random() < 0.5 else each for each in text)

    def _filling(self) -> str:
        return self.random.choice(FILLINGS)

    def _matching(self, test: Regex) -> str:
        flags = sum(getattr(re, each.upper()) for each in test.flags)
        try:
            return self._of_tree(parser.parse(test.pattern, flags))
        except re.error:
            return ""

    def _of_tree(self, tree: Any) -> str:
        return "".join(self._of_node(kind, about) for kind, about in tree)

    def _of_node(self, kind: Any, about: Any) -> str:
        if kind is constants.LITERAL:
            return chr(about)
        if kind is constants.ANY:
            return "x"
        if kind is constants.NOT_LITERAL:
            return "x" if about != ord("x") else "y"
        if kind is constants.IN:
            return self._of_class(about)
        if kind is constants.BRANCH:
            return self._of_tree(self.random.choice(about[1]))
        if kind is constants.SUBPATTERN:
            return self._of_tree(about[3])
        if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            count = self.random.randint(about[0], min(about[1], about[0] + 2))
            return "".join(self._of_tree(about[2]) for _ in range(count))
        return ""

    def _of_class(self, about: Any) -> str:
        negated = about[0][0] is constants.NEGATE
        allowed = {chr(code) for code in range(32, 127)}
        named = set()
        for kind, what in about:
            if kind is constants.LITERAL:
                named.add(chr(what))
            elif kind is constants.RANGE:
                named |= {chr(code) for code in range(what[0], min(what[1], 0x2000) + 1)}
            elif kind is constants.CATEGORY:
                named |= {each for each in allowed if _in_category(what, each)}
        return self.random.choice(sorted(allowed - named if negated else named) or ["x"])


def _in_category(what: Any, character: str) -> bool:
    name = str(what).rpartition("_")[2].lower()
    inside = {
        "digit": character.isdigit(),
        "space": character.isspace(),
        "word": character.isalnum() or character == "_",
    }[name]
    return inside is not ("NOT" in str(what))


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands at a path; where an object is in the way the key holds dots."""
    here: dict[str, Any] = document
    names = path.split(".")
    while len(names) > 1:
        if names[1].isdecimal() and len(names) == 2:
            there = here.setdefault(names[0], [])
            if isinstance(there, list):
                there.extend("-" for _ in range(int(names[1]) + 1 - len(there)))
                there[int(names[1])] = value
            return
        below = here.setdefault(names[0], {})
        if not isinstance(below, dict):
            break
        here = below
        names.pop(0)
    here[".".join(names)] = value


def _got_path(document: dict[str, Any], path: str) -> Any:
    here: Any = document
    for name in path.split("."):
        if not isinstance(here, dict) or name not in here:
            return None
        here = here[name]
    return here if isinstance(here, str) else None


Steps = tuple[str | int, ...]


def _leaves(value: Any, steps: Steps = ()) -> list[Steps]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [steps] if pairs is None else [leaf for key, below in pairs for leaf in _leaves(below, (*steps, key))]


def _got(value: Any, steps: Steps) -> Any:
    for step in steps:
        value = value[step]
    return value


def _replaced(value: Any, steps: Steps, new: Any) -> Any:
    if not steps:
        return new
    first, *rest = steps
    if isinstance(value, list):
        return [_replaced(each, tuple(rest), new) if at == first else each for at, each in enumerate(value)]
    return {key: _replaced(each, tuple(rest), new) if key == first else each for key, each in value.items()}
