"""Which documents a Sigma log source means, and where the fields of its rules stand in them.

A source says what log sources it satisfies, which datasets its documents have, a condition where that is not enough,
and its fields: `paths` gives where a document may hold a field, nothing where none does. Fields of ECS and of our own
may stand in any rule under their own names. `detect/tables.py` has the sources of our documents.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from parsers.ecs_types import field_named
from pipelines.detect.expression import Expression, FieldTest
from pipelines.detect.rule import LogSource, Where

_OBJECT: Final = "object"
"""The type of a name that holds fields and is none itself (`user`, `labels`)."""

NO_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {}


class Source(msgspec.Struct, frozen=True):
    """One kind of documents, as rules see it.

    `prefixes`: objects that hold what the source itself logs, under its own names; a field that no table names is
    looked for there. `stands_for` gives a test for a field with just this value, folded: what the source tells by the
    presence of another field.
    """

    name: str
    satisfies: tuple[LogSource, ...]
    where: Where
    condition: Expression | None = None
    fields: Mapping[str, tuple[str, ...]] = NO_FIELDS
    prefixes: tuple[str, ...] = ()
    stands_for: Mapping[tuple[str, str], FieldTest] = {}

    def paths(self, field: str) -> tuple[str, ...]:
        """Return where a field may stand: as the table says, else under its own name, else below a prefix.

        A field of ECS or of ours comes before a prefix: what stands there a container may have chosen (its labels are
        among an Engine's attributes), and no label is to pass for what the Engine says.
        """
        if field in self.fields:
            return self.fields[field]
        own = field_named(field)
        if own is not None and own.type != _OBJECT:
            return (field,)
        below = tuple(path for prefix in self.prefixes if field_named(path := f"{prefix}.{field}") is not None)
        return below or ((field,) if own is not None else ())


class OpenSource(msgspec.Struct, frozen=True):
    """Documents that have the fields of rules under their own names, whatever their log source: for foreign events."""

    name: str = "any"

    @property
    def where(self) -> Where:
        """All datasets."""
        return Where()

    @property
    def condition(self) -> None:
        """Nothing more."""
        return

    @property
    def stands_for(self) -> Mapping[tuple[str, str], FieldTest]:
        """Nothing."""
        return {}

    def paths(self, field: str) -> tuple[str, ...]:
        """Return the field itself."""
        return (field,)


class Sources:
    """The sources there are, by what rules ask for."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def of(self, wanted: LogSource) -> tuple[Source | OpenSource, ...]:
        """Return the sources a rule's log source means: those that satisfy just this, else all that it contains."""
        exact = tuple(source for source in self._sources if wanted in source.satisfies)
        return exact or tuple(
            source for source in self._sources if any(wanted.contains(each) for each in source.satisfies)
        )


class OpenSources(Sources):
    """Every log source means every document, and every field itself."""

    def __init__(self) -> None:
        super().__init__(())

    def of(self, wanted: LogSource) -> tuple[Source | OpenSource, ...]:
        """Return the one source."""
        return (OpenSource(),)
