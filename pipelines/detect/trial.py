"""A case of a rule's test file is run: its lines go through the pipeline, and the alerts are held against `expect`.

Each case runs as one frame and line by line, through the pipeline with its rules as in production. On the documents of
each way three more are asked which rules hold: the scan, the scan without Hyperscan, and every rule on every document
(P4). All have to agree.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from pipelines.batch import Documents
from pipelines.detect.carried import AlertLimits, encode_rules
from pipelines.detect.case_frames import Journal
from pipelines.detect.cases import Case, Expected, Placed
from pipelines.detect.detection import ALERTS_LIMIT
from pipelines.detect.matcher import Matcher, brute_force
from pipelines.detect.predicate import View, spelled
from pipelines.detect.ready import FAULTS
from pipelines.detect.rule import Rule, RuleSet
from pipelines.frame import Frame
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State

PAUSES_LIMIT: Final = 3600
"""Seconds of journal time that are let pass at the end for lines that wait for more."""

NO_LIMITS: Final = AlertLimits(burst=1 << 30, rule_burst=1 << 30)
"""Every alert is raised: what a case expects is what its rule finds."""

ONE_FRAME: Final = "as one frame"
ONE_BY_ONE: Final = "line by line"

OF_THE_FRAME: Final = ("id", "sequence", "created")
"""What of `event` depends on the frame that brought a record, and not on the record."""


class Made(NamedTuple):
    """A document that lines became, and which of the rules hold on it."""

    dataset: str
    document: dict[str, Any]
    rules: tuple[Rule, ...]


class Alert(NamedTuple):
    """A rule that holds, the document that it holds on, and the alert as it is shipped."""

    rule: Rule
    source: dict[str, Any]
    document: dict[str, Any]


class Result(NamedTuple):
    """What came of a case: `faults` say why it failed, `rules` are those it is about, `made` its documents."""

    placed: Placed
    rules: tuple[Rule, ...]
    faults: tuple[str, ...]
    alerts: tuple[Alert, ...] = ()
    made: tuple[Made, ...] = ()

    @property
    def name(self) -> str:
        """The case's name."""
        return self.placed.case.name

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.faults


class Way(NamedTuple):
    """What one way of sending the lines gave."""

    made: tuple[Made, ...]
    alerts: tuple[Alert, ...]
    faults: tuple[str, ...]


class Trial:
    """Runs cases against the rules of one file; compiled once for all of them."""

    def __init__(self, rules: Iterable[Rule], settings: Settings, unable: Mapping[str, str] | None = None) -> None:
        """Take the rules; `unable` says by id, name or title of further rules of the file why these cannot be run."""
        self._rules = tuple(rules)
        # Nobody is asked here what a container is, so no line may wait for that.
        self._settings = msgspec.structs.replace(settings, engines=())
        self._unable = unable or {}
        self._unusable = ""
        try:
            self._message = encode_rules(RuleSet(self._rules), NO_LIMITS)
            self._scan = Matcher(self._rules)
            self._plain = Matcher(self._rules, plain=True)
        except FAULTS as error:
            self._unusable = f"the rules of the file cannot run: {error}"

    def run(self, placed: Placed) -> Result:
        """Run a case."""
        if self._unusable:
            return Result(placed, (), (self._unusable,))
        wanted, faults = self._wanted(placed.rules)
        if faults:
            return Result(placed, wanted, tuple(faults))
        together = self._way(placed, _together)
        apart = self._way(placed, _apart)
        faults = list(dict.fromkeys((*together.faults, *apart.faults)))
        alerts = [alert for alert in together.alerts if alert.rule in wanted]
        others = [alert for alert in apart.alerts if alert.rule in wanted]
        if sorted(map(_same, alerts)) != sorted(map(_same, others)):
            faults.append(
                f"the lines make {counted(len(alerts))} {ONE_FRAME}, and {counted(len(others))} {ONE_BY_ONE}: "
                "what fires must not depend on how lines travel together"
            )
        faults += unmet(placed, alerts)
        return Result(placed, wanted, tuple(faults), tuple(alerts), together.made)

    def _wanted(self, names: Sequence[str]) -> tuple[tuple[Rule, ...], list[str]]:
        """Return the rules that a case is about, or why it cannot be run."""
        if not self._rules and not self._unable:
            return (), ["no rule of the file beside it loads"]
        if not names:
            if len(self._rules) + len(self._unable) == 1:
                return self._rules, list(self._unable.values())
            several = ", ".join([*(rule.key for rule in self._rules), *self._unable])
            return (), [f"the file has several rules: say by `rule:` which is meant ({several})"]
        wanted, faults = [], []
        for name in names:
            found = [rule for rule in self._rules if name in (rule.id, rule.name, rule.title)]
            if found:
                wanted += found
            elif name in self._unable:
                faults.append(self._unable[name])
            else:
                known = ", ".join([*(rule.id or rule.name or rule.title for rule in self._rules), *self._unable])
                faults.append(f"the file beside it has no rule {name!r}; it has {known or 'none that loads'}")
        return tuple(wanted), faults

    def _way(self, placed: Placed, frames: Callable[[Journal, Placed, State], Iterator[Frame]]) -> Way:
        """Send the lines' frames through a pipeline of their own."""
        faults: list[str] = []

        def failed(path: str, frame: Frame, error: Exception) -> None:
            faults.append(f"the {path} path of the pipeline failed, which is a mistake of ours: {error!r}")

        def rule_failed(rule: Rule | None, error: Exception) -> None:
            faults.append(f"{rule.title if rule else 'a rule'}: it cannot be evaluated: {error}")

        pipeline = Pipeline(self._settings, failed, on_rule_failure=rule_failed)
        journal = Journal(placed.case)
        made: list[Made] = []
        shipped: list[dict[str, Any]] = []
        for frame in itertools.chain([journal.rules(self._message)], frames(journal, placed, pipeline.state)):
            for batch in pipeline(frame):
                faults += [f"a line is refused: {letter.reason}" for letter in batch.dead_letters]
                for documents in batch.documents:
                    if documents.stream == self._settings.alerts_stream:
                        shipped += map(orjson.loads, documents.ndjson.splitlines())
                    else:
                        made += self._made(documents, faults)
        alerts = self._alerts(shipped, made)
        held = sum(len(each.rules) for each in made)
        if len(alerts) < min(held, ALERTS_LIMIT) and not faults:
            faults.append("the pipeline raises other alerts than the rules hold, which is a mistake of ours")
        return Way(tuple(made), tuple(alerts), tuple(faults))

    def _made(self, documents: Documents, faults: list[str]) -> Iterator[Made]:
        """Yield documents with the rules that hold on them."""
        scanned = self._scan.matches(documents)
        plain = self._plain.matches(documents)
        if not self._scan.failures and not scanned == plain == brute_force(self._rules, documents):
            faults.append("the scan finds other matches than the plain evaluation, which is a mistake of ours")
        holding: dict[int, list[Rule]] = {}
        for document, rule in scanned:
            holding.setdefault(document, []).append(rule)
        for number, line in enumerate(documents.ndjson.splitlines()):
            yield Made(documents.stream.dataset, orjson.loads(line), tuple(holding.get(number, ())))

    def _alerts(self, shipped: Iterable[dict[str, Any]], made: Iterable[Made]) -> list[Alert]:
        """Return the alerts with what they are about; of none whose document or rule is not among these."""
        sources = {each.document["event"]["id"]: each for each in made}
        found = []
        for document in shipped:
            (identifier,) = document["tidewaiter"]["alert"]["source"]["id"]
            source = sources[identifier]
            found += [
                Alert(rule, source.document, document) for rule in source.rules if rule.key == document["rule"]["id"]
            ]
        return found


def expected_fields(case: Case) -> list[str]:
    """Return the fields of which a case says what they are."""
    return [field for each in case.expect for field in each.fields] if isinstance(case.expect, list) else []


def unmet(placed: Placed, alerts: Sequence[Alert]) -> list[str]:
    """Return what of a case's expectation the alerts do not meet."""
    case = placed.case
    if len(alerts) != placed.expected:
        return [f"expected {counted(placed.expected)}, got {counted(len(alerts))}"]
    if not isinstance(case.expect, list):
        return []
    wanted = [each for each in case.expect for _ in range(each.count)]
    taken = _assigned([[_fits(each, alert) for alert in alerts] for each in wanted])
    left = [alert for number, alert in enumerate(alerts) if number not in taken.values()]
    return [f"no alert has {_different(each, left)}" for number, each in enumerate(wanted) if number not in taken]


def counted(number: int) -> str:
    """Return a number of alerts for people."""
    return "no alert" if not number else "1 alert" if number == 1 else f"{number} alerts"


def _together(journal: Journal, placed: Placed, state: State) -> Iterator[Frame]:
    yield journal.together(placed.lines)
    yield from _pauses(journal, state)


def _apart(journal: Journal, placed: Placed, state: State) -> Iterator[Frame]:
    for line in placed.lines:
        while state.is_open and journal.has_pause_before(line):
            yield journal.pause()
        yield journal.alone(line)
    yield from _pauses(journal, state)


def _pauses(journal: Journal, state: State) -> Iterator[Frame]:
    """Let time pass until nothing waits."""
    for _ in range(PAUSES_LIMIT):
        if not state.is_open:
            return
        yield journal.pause()


def _same(alert: Alert) -> tuple[str, bytes]:
    """Return what an alert is about, whichever frame brought its record."""
    document = {name: value for name, value in alert.source.items() if name != "@timestamp"}
    document["event"] = {name: value for name, value in document["event"].items() if name not in OF_THE_FRAME}
    return alert.rule.key, orjson.dumps(document)


def _fits(expected: Expected, alert: Alert) -> bool:
    return all(_alert_has(alert, field, value) for field, value in expected.fields.items())


def _alert_has(alert: Alert, field: str, value: Any) -> bool:
    """Whether the alert has a value, or the document that it is about; nothing is wanted of both."""
    has = [_has(View(document), field, value) for document in (alert.document, alert.source)]
    return all(has) if value is None else any(has)


def _has(view: View, field: str, value: Any) -> bool:
    """Whether a field has a value, of a list any; a list is wanted as a whole, and nothing where no value is there."""
    found = [spelled(each) for each in view.values(field)]
    if value is None:
        return not found
    if isinstance(value, list):
        return sorted(found) == sorted(spelled(each) for each in value)
    return spelled(value) in found


def _assigned(fits: Sequence[Sequence[bool]]) -> dict[int, int]:
    """Return for as many expectations as can be an alert of its own (augmenting paths)."""
    owner: dict[int, int] = {}

    def take(wanted: int, seen: set[int]) -> bool:
        for alert, fit in enumerate(fits[wanted]):
            if fit and alert not in seen:
                seen.add(alert)
                if alert not in owner or take(owner[alert], seen):
                    owner[alert] = wanted
                    return True
        return False

    for wanted in range(len(fits)):
        take(wanted, set())
    return {wanted: alert for alert, wanted in owner.items()}


def _different(expected: Expected, alerts: Sequence[Alert]) -> str:
    """Return the fields that were expected, and what the alerts that are left have there."""
    wanted = ", ".join(f"{field}: {shown(value)}" for field, value in expected.fields.items())
    wrong = [
        field
        for field, value in expected.fields.items()
        if not any(_alert_has(alert, field, value) for alert in alerts)
    ]
    got = [
        f"{field}: {', '.join(dict.fromkeys(_values(alert, field))) or 'nothing'}"
        for alert in alerts
        for field in wrong or expected.fields
    ]
    return f"{wanted}; it has {'; '.join(dict.fromkeys(got))}"


def _values(alert: Alert, field: str) -> list[str]:
    return [shown(value) for document in (alert.document, alert.source) for value in View(document).values(field)]


def shown(value: Any) -> str:
    """Return a value as JSON."""
    return orjson.dumps(value).decode()
