"""An expression as a function of a document: what `predicate.holds` says, without a walk through the tree each time.

Texts that the same paths are asked for in a row are looked for together: whole ones in a set, beginnings and ends by
one call. Everything else is asked of the predicate, which says what holds (P4).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from pipelines.detect import text
from pipelines.detect.expression import MANY, And, Expression, FieldTest, Named, Not, Or, Text
from pipelines.detect.predicate import View, holds, text_matcher

Holds = Callable[[View], bool]


def compiled(item: Expression) -> Holds:
    """Return whether the expression holds on a document; that raises what `holds` does."""
    if isinstance(item, Named):
        return compiled(item.item)
    if isinstance(item, Not):
        inner = compiled(item.item)
        return lambda view: not inner(view)
    if isinstance(item, And):
        return _all([compiled(each) for each in item.items])
    if isinstance(item, Or):
        return _any(list(_alternatives(item.items)))
    (function,) = _alternatives([item])
    return function


def _alternatives(items: Iterable[Expression]) -> Iterator[Holds]:
    """Yield functions of which one has to hold, in order; texts of one field in a row are one of them."""
    for paths, group in groupby(items, _paths_of_text):
        if paths is None:
            yield from (compiled(each) if isinstance(each, Named | Not | And | Or) else _asked(each) for each in group)
        else:
            tests = [each.test for each in group if isinstance(each, FieldTest)]
            yield _one_of(paths, [test for test in tests if isinstance(test, Text)])


def _paths_of_text(item: Expression) -> tuple[str, ...] | None:
    """Return where a text is compared that folds; None for any other condition."""
    if isinstance(item, FieldTest) and isinstance(item.test, Text) and not item.test.cased:
        return item.paths
    return None


def _asked(item: Expression) -> Holds:
    return lambda view: holds(item, view)


def _all(functions: list[Holds]) -> Holds:
    def every(view: View) -> bool:
        for function in functions:  # noqa: SIM110 - a generator costs more than all that it asks
            if not function(view):
                return False
        return True

    return every


def _any(functions: list[Holds]) -> Holds:
    if len(functions) == 1:
        return functions[0]

    def one(view: View) -> bool:
        for function in functions:  # noqa: SIM110 - a generator costs more than all that it asks
            if function(view):
                return True
        return False

    return one


def _one_of(paths: tuple[str, ...], tests: Iterable[Text]) -> Holds:
    """Return whether any value at the paths is one of these texts."""
    whole: set[str] = set()
    begins: list[str] = []
    ends: list[str] = []
    others: list[text.Matches] = []
    for test in tests:
        match test.parts:
            case (str(literal),):
                whole.add(text.fold(literal))
            case (str(literal), int(wildcard)) if wildcard == MANY:
                begins.append(text.fold(literal))
            case (int(wildcard), str(literal)) if wildcard == MANY:
                ends.append(text.fold(literal))
            case _:
                others.append(text_matcher(test))
    beginnings, endings, matchers = tuple(begins), tuple(ends), tuple(others)

    def found(view: View) -> bool:
        for path in paths:
            for value in view.folded(path):
                if value in whole or value.startswith(beginnings) or value.endswith(endings):
                    return True
                for matches in matchers:
                    if matches(value):
                        return True
        return False

    return found
