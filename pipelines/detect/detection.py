"""Rules on what a pipeline makes: each batch's documents are asked of the matcher, and its alerts go with it.

An alert stands in the batch of its document, so whoever has settled the one has the other; its id is that of the
document with the rule's, so it is created once (P8). The books count it as derived from its document's record.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pipelines.batch import Accounts, Batch, Documents
from pipelines.detect.alerts import Alerts, Source, severity_of
from pipelines.detect.carried import AlertLimits, Carried
from pipelines.detect.limits import Limiter
from pipelines.detect.matcher import Match, Matcher
from pipelines.detect.ready import Matchers, Ready
from pipelines.detect.rule import Rule
from pipelines.frame import Frame, Ids, alert_id, position_of
from pipelines.settings import Settings
from pipelines.state import State

ALERTS_LIMIT: Final = 4_096
"""Alerts of one batch, the gravest first; what is more is suppressed."""

ALERTS_BYTES_LIMIT: Final = 32 << 20
"""All alerts of one batch together."""

NOT_MATCHED: Final = ("tidewaiter.alerts", "tidewaiter.balance", "tidewaiter.dead_letters")
"""Datasets of our own documents that no rule is asked about: alerts, books, and what stands in no other document."""

RuleFailed = Callable[[Rule | None, Exception], None]
"""Is told of a rule that could not be evaluated, once for each set; None: of the set as a whole."""


class _Made(NamedTuple):
    """An alert, by the place of its match among those of the batch."""

    place: int
    identifier: bytes
    line: bytes


class _Counts(NamedTuple):
    """Alerts by their rules' keys."""

    raised: Counter[str]
    suppressed: Counter[str]


class _Found(NamedTuple):
    """A match with the place of its documents in the batch, and its document."""

    number: int
    match: Match
    document: Mapping[str, Any]


class Detection:
    """The rules that hold, for one pipeline. Nothing that goes wrong with one stops anything else (P7)."""

    def __init__(self, on_failure: RuleFailed, matchers: Matchers | None = None) -> None:
        self._on_failure = on_failure
        self._matchers = matchers or Matchers()
        self._carried: Carried | None = None
        self._ready: Ready | None = None
        self._plain: Ready | None = None
        self._alerts = Alerts("")
        self._limits = AlertLimits()
        self._told: set[str] = set()

    def change_to(self, carried: Carried | None) -> None:
        """Let another rule set hold, None: none; cheap where it is the same."""
        before, self._carried = self._carried, carried
        if carried is before or (carried is not None and before is not None and carried.hash == before.hash):
            return
        self._ready, self._plain, self._told = None, None, set()
        if carried is None:
            return
        try:
            ready = self._matchers.of(carried) if carried.rules else None
        except (ValueError, RecursionError) as error:  # of a newer program, in a checkpoint that this one restored
            self._fail(None, error)
            return
        if ready is not None:
            self._ready, self._limits, self._alerts = ready, carried.limits, Alerts(carried.hash)
            for rule, why in ready.left_out:
                self._fail(rule, why)

    def prepare(self, datasets: Iterable[str]) -> None:
        """Make ready for documents of these datasets and all that rules name, so that no frame takes longer for it."""
        if self._ready is not None:
            variants = [variant for rule in self._ready.rules for variant in rule.variants]
            named = {dataset for each in variants for dataset in each.where.datasets}
            self._ready.matcher.prepare(sorted(named.union(datasets)))

    def with_alerts(self, batch: Batch, frame: Frame, state: State, settings: Settings) -> Batch:
        """Return a batch of the frame with the alerts of its documents; what was raised is noted in the state.

        Raises MemoryError.
        """
        if self._ready is None:
            return batch
        found = [
            _Found(number, *each)
            for number, documents in enumerate(batch.documents)
            if documents.stream.dataset not in NOT_MATCHED
            for each in self._matches(self._ready, documents)
        ]
        if not found:
            return batch
        limiter = Limiter(self._limits, state.alert_groups, state.alert_rules, state.now_ns)
        counts = _Counts(Counter(), Counter())
        made = list(self._raised(batch, found, limiter, counts, frame, settings))
        limiter.close()
        return _with(batch, sorted(made), settings, counts)

    def _raised(
        self, batch: Batch, found: list[_Found], limiter: Limiter, counts: _Counts, frame: Frame, settings: Settings
    ) -> Iterator[_Made]:
        """Yield the alerts of matches."""
        left, left_bytes = ALERTS_LIMIT, ALERTS_BYTES_LIMIT
        for place in _in_order(found):
            number, match, document = found[place]
            key = match.rule.key
            if not left or left_bytes <= 0:
                limiter.suppress(key)
                counts.suppressed[key] += 1
                continue
            before = limiter.take(key, document)
            if before is None:
                counts.suppressed[key] += 1
                continue
            try:
                documents = batch.documents[number]
                source = Source(document, documents.ids[match.document], documents.stream)
                identifier = alert_id(source.identifier, key)
                line = self._alerts.encoded(match.rule, source, identifier, frame, settings, suppressed=before)
            except MemoryError:
                raise
            except Exception as error:  # the boundary of a rule: its alert is not made, all else goes on (P7)
                self._fail(match.rule, error)
                limiter.suppress(key, before + 1)
                counts.suppressed[key] += 1
                continue
            left, left_bytes = left - 1, left_bytes - len(line)
            counts.raised[key] += 1
            yield _Made(place, identifier, line)

    def _matches(self, ready: Ready, documents: Documents) -> list[tuple[Match, Mapping[str, Any]]]:
        """Return the matches on one data stream's documents; where the scan fails, those that are found without it."""
        try:
            found = ready.matcher.matches(documents)
        except MemoryError:
            raise
        except Exception as error:  # the boundary of detection
            if ready is self._plain:
                self._fail(None, error)
                return []
            self._plain = self._plain or Ready(Matcher(ready.rules, plain=True), ready.rules)
            return self._matches(self._plain, documents)
        for failure in ready.matcher.failures:
            self._fail(failure.rule, failure.error)
        return [(match, ready.matcher.matched[match.document]) for match in found]

    def _fail(self, rule: Rule | None, error: Exception) -> None:
        """Tell of a failure, once for each rule: it would come with every document."""
        key = rule.key if rule is not None else ""
        if key not in self._told:
            self._told.add(key)
            self._on_failure(rule, error)


def _in_order(found: list[_Found]) -> Iterable[int]:
    """Return the places of matches in the order in which they may become alerts: the gravest first."""
    return sorted(range(len(found)), key=lambda place: -severity_of(found[place].match.rule))


def _with(batch: Batch, made: list[_Made], settings: Settings, counts: _Counts) -> Batch:
    """Return the batch with alerts, which the books count beside their documents."""
    keys = sorted(counts.raised | counts.suppressed)
    by_rule = {key: (counts.raised[key], counts.suppressed[key]) for key in keys}
    tally = msgspec.structs.replace(batch.tally, derived=batch.tally.derived + len(made), rules=by_rule)
    if not made:
        return msgspec.structs.replace(batch, tally=tally)
    names = [each.identifier for each in made]
    alerts = Documents.of_lines(settings.alerts_stream, [each.line for each in made], Ids(b"", names))
    return msgspec.structs.replace(
        batch,
        documents=tuple(sorted((*batch.documents, alerts), key=lambda documents: documents.stream)),
        tally=tally,
        accounts=_counted(batch.accounts, names),
    )


def _counted(accounts: Accounts, identifiers: Iterable[bytes]) -> Accounts:
    rows = {account: msgspec.structs.replace(counts) for account, counts in accounts.rows.items()}
    for identifier in identifiers:
        account = accounts.of(position_of(identifier))
        if account is not None and account in rows:
            rows[account].derived += 1
    return msgspec.structs.replace(accounts, rows=rows)
