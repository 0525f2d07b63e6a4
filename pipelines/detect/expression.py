"""A rule's condition as a tree: tests of a field's values or of any value, joined by and, or and not.

All nodes are plain data, so a compiled set can be written down and read again. A field test holds the field's name as
the rule has it and the paths at which a document may hold it; without paths no document has the field.
"""

from typing import Final

import msgspec

MANY: Final = 0
"""Any characters, or none (`*`)."""
ONE: Final = 1
"""Any one character (`?`)."""


class Struct(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """What all nodes are."""


class Text(Struct, frozen=True):
    """The whole value as text: literal parts between wildcards. ASCII letters fold unless `cased`."""

    parts: tuple[str | int, ...]
    cased: bool = False


class Number(Struct, frozen=True):
    """Equal as a number, or a text that spells just this number."""

    value: int | float


class Boolean(Struct, frozen=True):
    """Equal, or the text `true` or `false`."""

    value: bool


class Null(Struct, frozen=True):
    """No value: the field is not there, null, or an empty list."""


class Exists(Struct, frozen=True):
    """Whether the field is there, whatever its value."""

    value: bool


class Regex(Struct, frozen=True):
    """Found anywhere in the value, in the syntax of RE2, which takes linear time; `flags` of `ims`."""

    pattern: str
    flags: str = ""


class Network(Struct, frozen=True):
    """An address within a network; what is no address never is."""

    cidr: str


class Compare(Struct, frozen=True):
    """A number, or a text that spells one, compared; `operator` is `lt`, `lte`, `gt` or `gte`.

    With `part` it is that part of a time which is compared, in UTC.
    """

    operator: str
    value: int | float
    part: str | None = None


class TimePart(Struct, frozen=True):
    """A part of a time in UTC: `minute`, `hour`, `day`, `week` (ISO 8601), `month` or `year`."""

    part: str
    value: int


class SameAs(Struct, frozen=True):
    """Equal to a value of another field; with `starts` it begins so, with `ends` it ends so, with both it has it."""

    field: str
    paths: tuple[str, ...]
    starts: bool = False
    ends: bool = False


Test = Text | Number | Boolean | Null | Exists | Regex | Network | Compare | TimePart | SameAs


class FieldTest(Struct, frozen=True):
    """Any value at any of the paths passes the test; `Null` and `Exists` speak of the field as a whole."""

    field: str
    paths: tuple[str, ...]
    test: Test


class KeywordTest(Struct, frozen=True):
    """Any value that the record brought has the text within it, or the pattern."""

    test: Text | Regex | Number


class Constant(Struct, frozen=True):
    """Holds always, or never."""

    value: bool


class And(Struct, frozen=True):
    """All hold."""

    items: tuple["Expression", ...]


class Or(Struct, frozen=True):
    """One holds at least."""

    items: tuple["Expression", ...]


class Not(Struct, frozen=True):
    """Does not hold."""

    item: "Expression"


class Named(Struct, frozen=True):
    """A search identifier of the rule: holds as what it names does. Kept for people who ask why a rule fired."""

    name: str
    item: "Expression"


Expression = FieldTest | KeywordTest | Constant | And | Or | Not | Named


def both(left: Expression, right: Expression) -> Expression:
    """Return what holds where both do, without constants."""
    if isinstance(left, Constant):
        return right if left.value else left
    if isinstance(right, Constant):
        return left if right.value else right
    return And((left, right))


def folded(item: Expression) -> Expression:
    """Put constants together: a test of a field that no document has is decided here."""
    if isinstance(item, FieldTest):
        if isinstance(item.test, SameAs) and not item.test.paths:
            return Constant(value=False)
        return item if item.paths else Constant(_without_value(item.test))
    if isinstance(item, Not):
        inner = folded(item.item)
        return Constant(not inner.value) if isinstance(inner, Constant) else Not(inner)
    if isinstance(item, Named):
        inner = folded(item.item)
        return inner if isinstance(inner, Constant) else Named(item.name, inner)
    if isinstance(item, And | Or):
        decides = isinstance(item, Or)
        items = [folded(each) for each in item.items]
        if any(isinstance(each, Constant) and each.value is decides for each in items):
            return Constant(decides)
        left = tuple(each for each in items if not isinstance(each, Constant))
        if not left:
            return Constant(not decides)
        return left[0] if len(left) == 1 else type(item)(left)
    return item


def _without_value(test: Test) -> bool:
    """Whether a test passes on a field that is not there."""
    return isinstance(test, Null) or (isinstance(test, Exists) and not test.value)


def field_tests(item: Expression) -> list[FieldTest]:
    """Return all tests of fields, in order."""
    if isinstance(item, FieldTest):
        return [item]
    if isinstance(item, Not | Named):
        return field_tests(item.item)
    if isinstance(item, And | Or):
        return [test for each in item.items for test in field_tests(each)]
    return []
