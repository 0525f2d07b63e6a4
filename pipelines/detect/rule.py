"""What a rule is here: its metadata as published, its condition on each source of documents, and what is wrong."""

import msgspec

from pipelines.detect.expression import Expression


class Place(msgspec.Struct, frozen=True):
    """Where something stands in a file; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a rule or a file. With `fatal` the rule is not loaded, else it is and this is a remark."""

    place: Place
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class LogSource(msgspec.Struct, frozen=True):
    """Category, product and service of a rule, or of a source of documents; at least one of a rule's is given."""

    category: str | None = None
    product: str | None = None
    service: str | None = None

    def contains(self, other: "LogSource") -> bool:
        """Whether all that is given here is so there (`SigmaLogSource.__contains__` of pySigma)."""
        mine = (self.category, self.product, self.service)
        theirs = (other.category, other.product, other.service)
        return all(own in (None, their) for own, their in zip(mine, theirs, strict=True))

    def __str__(self) -> str:
        names = ("category", "product", "service")
        return ", ".join(f"{name}: {value}" for name in names if (value := getattr(self, name)) is not None)


class Where(msgspec.Struct, frozen=True):
    """Which datasets' documents a source means: these, or with `but` all but these."""

    datasets: frozenset[str] = frozenset()
    but: bool = True

    def has(self, dataset: str) -> bool:
        """Whether documents of the dataset are meant."""
        return (dataset in self.datasets) is not self.but


class Variant(msgspec.Struct, frozen=True):
    """What a rule is on one source of documents: its condition with that source's fields and its own condition."""

    source: str
    where: Where
    expression: Expression


class Related(msgspec.Struct, frozen=True):
    """Another rule, by id, and what it is to this one (`derived`, `obsolete`, …)."""

    id: str
    type: str


class Rule(msgspec.Struct, frozen=True):
    """A loaded rule. It holds on a document where a variant does; `never` says why it cannot, None where it can.

    `key` is the id, else the name, else the place: unique in a set. `remarks` are not faults: a part of the condition
    that can never hold, a filter that keeps instead of taking away.
    """

    key: str
    title: str
    place: Place
    log_source: LogSource
    variants: tuple[Variant, ...]
    never: str | None = None
    id: str | None = None
    name: str | None = None
    level: str | None = None
    status: str | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None
    date: str | None = None
    modified: str | None = None
    references: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()
    filters: tuple[str, ...] = ()
    remarks: tuple[Problem, ...] = ()


class RuleSet(msgspec.Struct, frozen=True):
    """All rules that loaded, in the order of their files, and everything that is wrong; data alone, so it is cached."""

    rules: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()
