"""How a table's values come from columns of raw ones: each conversion of a source is done once, whoever wants it."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from parsers.canonical import encode
from parsers.cells import Cells, Converter
from parsers.values import Value


class Ways:
    """The conversions of a table, or of objects of one shape; made once. A source is a group or a chain of keys."""

    def __init__(self) -> None:
        """Know no value yet."""
        self._numbers: dict[tuple[Hashable, int], int] = {}
        self._steps: list[tuple[Hashable, Converter]] = []
        self._values: dict[int, tuple[list[int], bytes | None]] = {}
        self._kept: list[Value] = []

    def number(self, source: Hashable, converter: Converter) -> int:
        """Return the number under which a conversion of a source is done."""
        key = source, id(converter)
        if key not in self._numbers:
            self._numbers[key] = len(self._steps)
            self._steps.append((source, converter))
        return self._numbers[key]

    def add(self, value: Value, sources: Iterable[tuple[Hashable, Converter]]) -> None:
        """Let a value come from the first of these that converts, else from its default."""
        # Found by identity, for to hash a value costs more than to convert one: so it has to live as long.
        self._kept.append(value)
        numbers = [self.number(source, converter) for source, converter in sources]
        self._values[id(value)] = numbers, None if value.default is None else encode(value.default)

    def over(self, raws: Mapping[Any, Sequence[Any]], size: int) -> "Finder":
        """Go over columns of `size` lines."""
        return Finder(self._steps, self._values, raws, size)


class Finder:
    """The converted columns of some lines."""

    def __init__(
        self,
        steps: list[tuple[Hashable, Converter]],
        values: dict[int, tuple[list[int], bytes | None]],
        raws: Mapping[Any, Sequence[Any]],
        size: int,
    ) -> None:
        self._steps = steps
        self._values = values
        self._raws = raws
        self._size = size
        self._done: dict[int, Cells | None] = {}

    def cells(self, number: int) -> Cells | None:
        """Return a conversion's column; None where none converts."""
        done = self._done
        if number in done:
            return done[number]
        source, converter = self._steps[number]
        made = done[number] = converter(self._raws[source])
        return made

    def find(self, value: Value) -> Cells | None:
        """Return a value's column: of each line that of its first source that converts."""
        numbers, default = self._values.get(id(value), _NOWHERE)
        made: Cells | None = None
        for number in numbers:
            more = self.cells(number)
            made = more if made is None else _completed(made, more)
            if made is not None and made.whole:
                return made
        if default is None:
            return made
        column = Cells([default] * self._size, True)
        return column if made is None else _completed(made, column)


_NOWHERE: tuple[list[int], bytes | None] = ([], None)


def _completed(made: Cells, more: Cells | None) -> Cells:
    if more is None:
        return made
    values = [other if own is None else own for own, other in zip(made.values, more.values, strict=True)]
    return Cells(values, more.whole or None not in values)
