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


class Bound(msgspec.Struct, frozen=True):
    """What a correlation's count is compared with; `operator` is `gt`, `gte`, `lt`, `lte`, `eq` or `neq`."""

    operator: str
    number: int | float

    def holds(self, count: float) -> bool:
        """Whether the comparison holds of a count."""
        if self.operator in ("gte", "lte", "eq") and count == self.number:
            return True
        if self.operator in ("gt", "gte"):
            return count > self.number
        if self.operator in ("lt", "lte"):
            return count < self.number
        return self.operator == "neq" and count != self.number


class Term(msgspec.Struct, frozen=True):
    """One way in which a condition over rules holds: places in `Correlation.parts`, rising.

    All that are required have an event in the window, and none that is forbidden.
    """

    required: tuple[int, ...]
    forbidden: tuple[int, ...] = ()


class Reference(msgspec.Struct, frozen=True):
    """A rule whose matches a correlation takes, or a `chained` correlation whose alerts it takes, by key.

    `group` and `value` name the fields of its events that the correlation groups by and looks at, in order.
    """

    rule: str
    group: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    chained: bool = False


class Correlation(msgspec.Struct, frozen=True):
    """A loaded correlation. All its `bounds` hold of what its type counts; or one of its `terms` holds, where it has.

    `lateness_ns` is how long it waits for events that are on their way. It `alerts` unless it only serves another.
    """

    key: str
    title: str
    place: Place
    type: str
    parts: tuple[Reference, ...]
    group_by: tuple[str, ...]
    timespan_ns: int
    lateness_ns: int
    bounds: tuple[Bound, ...] = ()
    terms: tuple[Term, ...] = ()
    percentile: int | None = None
    generate: bool = False
    alerts: bool = True
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
    remarks: tuple[Problem, ...] = ()

    @property
    def at_close(self) -> bool:
        """Whether it can be judged only when its window has closed: more events can make it untrue."""
        return (
            self.type in ("value_avg", "value_median", "value_percentile")
            or any(bound.operator not in ("gt", "gte") for bound in self.bounds)
            or any(term.forbidden for term in self.terms)
        )

    @property
    def ordered(self) -> bool:
        """Whether events count in the order of its rules only."""
        return self.type == "temporal_ordered"


class Correlated(msgspec.Struct, frozen=True):
    """A rule whose matches go to correlations: the fields to take along, and where a document may hold each.

    With `silent` it does not alert by itself: no correlation that names it says `generate: true`.
    """

    rule: str
    fields: tuple[tuple[str, tuple[str, ...]], ...]
    silent: bool = False


class RuleSet(msgspec.Struct, frozen=True):
    """All rules that loaded, in the order of their files, and everything that is wrong; data alone, so it is cached.

    Of `correlations` those that others name come first; `correlated` are the rules whose matches they take.
    """

    rules: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    correlated: tuple[Correlated, ...] = ()
