"""What goes into the correlations and what comes out."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

ID_BYTES: Final = 27
"""A document's id is 24 characters, a finding's three more."""

IDS_LIMIT: Final = 100
"""Ids of events that an alert names: the newest."""


class Match(NamedTuple):
    """A rule that held on a document; times in nanoseconds. `fields`: see `pipelines.correlate.fields`."""

    rule: str
    time_ns: int
    journal_ns: int
    id: str
    fields: Mapping[str, tuple[str, ...]]


class Alert(msgspec.Struct, frozen=True):
    """A correlation that held for a group.

    `match` is the id of the event that completed it, `time_ns` that event's time (at close: the window's end),
    `journal_ns` the journal time at which it was known. `count` events of the window are known: all of them, but for
    groups that slide and have many more than are needed. `value` is what was counted or computed of them, `ids` the
    newest of theirs. `late`: one of them came later than the correlation waits, and was counted at the time until which
    it waits. `suppressed` events of the group came in the timespan behind the alert before. `cut`: a window that was
    judged at its close had more events than are kept, so that `value` is of part of them or a sample.
    """

    id: str
    correlation: str
    group: tuple[str, ...]
    match: str
    time_ns: int
    journal_ns: int
    count: int
    value: int | float
    ids: tuple[str, ...]
    late: bool = False
    suppressed: int = 0
    cut: bool = False


class Held(NamedTuple):
    """A window in which a correlation held; as `Alert` says."""

    time_ns: int
    match: str
    events: int
    measure: int | float
    ids: tuple[str, ...]
    late: bool
    cut: bool = False


class Pressure(msgspec.Struct, frozen=True):
    """Groups of a correlation were forgotten for want of room: it may miss. Told at most once a minute."""

    correlation: str
    journal_ns: int
    evicted: int


class Counts(msgspec.Struct):
    """What became of a correlation's events so far.

    `late` came behind the watermark, `ahead` were dated later than their journal time: both are counted at the nearest
    time that is believed. `ungrouped` lack a field that is grouped by, `unusable` the value that is looked at. `cut`
    rows were dropped or put together beyond a limit, `evicted` groups forgotten for want of room.
    """

    events: int = 0
    late: int = 0
    ahead: int = 0
    ungrouped: int = 0
    unusable: int = 0
    completed: int = 0
    alerts: int = 0
    suppressed: int = 0
    cut: int = 0
    evicted: int = 0
