"""What goes wrong with a rule, or with all of them, stops nothing else; what is raised is bounded and counted once."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.detect import detection
from pipelines.detect.alerts import Alerts
from pipelines.detect.carried import AlertLimits, encode_rules
from pipelines.detect.expression import Compare, Expression, FieldTest
from pipelines.detect.matcher import Matcher
from pipelines.detect.rule import LogSource, Place, Rule, RuleSet, Variant, Where
from pipelines.detect.scan import HyperscanScanner
from pipelines.frame import Frame
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.detection import ANY, LOGIN, SHELL, rule_set, rules_frame, rules_message
from tests.kit.frames import frame_of
from tests.kit.pieces import docker_pieces, packed

SETTINGS = Settings(version="0.1.0")
SHELL_ID = "11111111-1111-4111-8111-111111111111"
ANY_ID = "22222222-2222-4222-8222-222222222222"


def rule(key: str, expression: Expression) -> Rule:
    """Return a rule of any documents."""
    return Rule(key, key, Place("r.yml"), LogSource("test"), (Variant("any", Where(), expression),))


FAILS = FieldTest("t", ("@timestamp",), Compare("gte", 0, "fortnight"))
"""What no loader makes: times have no such part."""


class Told:
    """Which rules failed; None: all of them."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []

    def __call__(self, rule: Rule | None, error: Exception) -> None:
        """Take note."""
        self.keys.append(rule.key if rule is not None else None)


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def lines(*texts: str, sequence: int = 2, container: str = "a" * 64) -> Frame:
    """Return a frame of lines."""
    entries = [
        packed({"container_id": container, "container_name": "/web", "source": "stdout", "log": text}) for text in texts
    ]
    return frame_of(("forward", [(b"".join(entries), b"", len(entries))]), sequence=sequence)


def pipeline(message: bytes, told: Told | None = None) -> Pipeline:
    """Return a pipeline for which the rules of a message hold."""
    made = Pipeline(SETTINGS, failed, on_rule_failure=told or failed)
    list(made(rules_frame([message])))
    return made


def raised(batch: Batch) -> dict[str, tuple[int, int]]:
    """Return which alerts were raised and suppressed."""
    assert sum(count for count, _ in batch.tally.rules.values()) == batch.tally.derived
    return batch.tally.rules


def test_a_rule_that_cannot_be_evaluated_is_told_once_and_others_go_on() -> None:
    """With every document it would be told again; with another set it may be another rule."""
    told = Told()
    bad = rule("bad", FAILS)
    shell = rule_set(SHELL).rules
    made = pipeline(encode_rules(RuleSet((bad, *shell))), told)
    for sequence in (2, 3):
        (batch,) = made(lines("uid=0", sequence=sequence))
        assert raised(batch) == {SHELL_ID: (1, 0)}
    assert told.keys == ["bad"]

    list(made(rules_frame([encode_rules(RuleSet((*shell, bad)))], sequence=4)))
    list(made(lines("uid=0", sequence=5)))
    assert told.keys == ["bad", "bad"]


def test_an_alert_that_cannot_be_made_costs_no_other_and_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rule is told."""
    told = Told()
    made = pipeline(rules_message(SHELL, ANY), told)
    encoded = Alerts.encoded

    def failing(alerts: Alerts, rule: Rule, *about: Any, **more: Any) -> bytes:
        if rule.key == ANY_ID:
            raise TypeError("a fault of ours")
        return encoded(alerts, rule, *about, **more)

    monkeypatch.setattr(Alerts, "encoded", failing)
    (batch,) = made(lines("uid=0", "hello"))

    assert (batch.tally.documents, raised(batch)) == (2, {SHELL_ID: (1, 0)})
    assert told.keys == [ANY_ID]


def test_where_the_scan_fails_documents_are_matched_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same either way (P4)."""

    def failing(*_: object) -> None:
        raise RuntimeError("hyperscan says no")

    monkeypatch.setattr(HyperscanScanner, "hits", failing)
    (batch,) = pipeline(rules_message(SHELL))(lines("hello", "uid=0"))

    assert raised(batch) == {SHELL_ID: (1, 0)}


def test_where_nothing_can_be_matched_documents_are_delivered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once that rules do not run."""

    def failing(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    told = Told()
    made = pipeline(rules_message(SHELL), told)
    monkeypatch.setattr(Matcher, "matches", failing)
    for sequence in (2, 3):
        (batch,) = made(lines("uid=0", sequence=sequence))
        assert (batch.tally.documents, batch.tally.derived) == (1, 0)
    assert told.keys == [None]


def test_a_rule_that_no_matcher_can_be_made_with_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by name, and the others hold."""
    told = Told()
    made = Pipeline(SETTINGS, failed, on_rule_failure=told)
    init = Matcher.__init__

    def failing(matcher: Matcher, rules: Any, **how: Any) -> None:
        if any(each.key == ANY_ID for each in rules):
            raise ValueError("a fault of ours")
        init(matcher, rules, **how)

    monkeypatch.setattr(Matcher, "__init__", failing)
    list(made(rules_frame([rules_message(ANY, SHELL)])))
    (batch,) = made(lines("uid=0"))

    assert raised(batch) == {SHELL_ID: (1, 0)}
    assert told.keys == [ANY_ID]


def test_memory_that_does_not_suffice_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a frame becomes must not depend on it: the worker ends, and the frame is read again."""

    def failing(*_: object, **__: object) -> None:
        raise MemoryError

    for place, name in ((Matcher, "matches"), (Alerts, "encoded")):
        made = pipeline(rules_message(SHELL))
        with monkeypatch.context() as patch:
            patch.setattr(place, name, failing)
            with pytest.raises(MemoryError):
                list(made(lines("uid=0")))


class Failing:
    """A chunk path that fails after some batches, having changed the state."""

    def __init__(self, after: int) -> None:
        self._path = ChunkPath(SETTINGS)
        self._after = after

    def process(self, frame: Frame, state: State) -> Iterator[Batch]:
        """Yield some batches and raise."""
        for number, batch in enumerate(self._path.process(frame, state)):
            if number == self._after:
                break
            yield batch
        raise ValueError("a fault of ours")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_what_a_path_that_fails_has_raised_is_raised_once(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that were given stay given, those behind them come from the other path, and the state is that of one."""
    monkeypatch.setattr("pipelines.layout.RECORDS_LIMIT", 2)
    monkeypatch.setattr("pipelines.reference.RECORDS_LIMIT", 2)
    message = rules_message(SHELL, limits=AlertLimits(burst=3))
    whole, failing = pipeline(message), pipeline(message)
    failing._on_failure = lambda *_: None
    failing._chunk = Failing(after)  # type: ignore[assignment]
    frame = lines(*["uid=0"] * 6)

    expected = list(whole(frame))
    assert [each.tally.rules[SHELL_ID] for each in expected] == [(2, 0), (1, 1), (0, 2)]
    assert list(failing(frame)) == expected
    assert failing.state.encode() == whole.state.encode()


def test_a_batch_raises_so_many_alerts_and_the_gravest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of one rule hides no graver one; what is suppressed is counted and told."""
    monkeypatch.setattr(detection, "ALERTS_LIMIT", 3)
    made = pipeline(rules_message(ANY, SHELL, limits=AlertLimits(burst=100)))

    (batch,) = made(lines("a", "b", "c", "uid=0", "uid=0"))
    assert raised(batch) == {ANY_ID: (1, 4), SHELL_ID: (2, 0)}
    (batch,) = made(lines("a", sequence=3))
    (alerts,) = [part for part in batch.documents if part.stream.dataset == "tidewaiter.alerts"]
    assert msgspec.json.decode(alerts.ndjson)["tidewaiter"]["alert"]["suppressed"] == 4


def test_a_line_in_pieces_raises_its_alert_where_it_is_whole() -> None:
    """The alert has the place of the line's first piece, as its document has."""
    made = pipeline(rules_message(SHELL))
    pieces = [packed(each) for each in docker_pieces(b"it says uid=0 here", 7)]
    frames = [frame_of(("forward", [(each, b"", 1)]), sequence=2 + number) for number, each in enumerate(pieces)]
    batches = [batch for frame in frames for batch in made(frame)]

    assert [sum(count for count, _ in batch.tally.rules.values()) for batch in batches] == [0, 0, 1]
    ids = {part.stream.dataset: part.ids[0] for part in batches[-1].documents}
    assert ids["tidewaiter.alerts"].startswith(ids["tidewaiter.container"])
    (counts,) = [counts for counts in batches[-1].accounts.rows.values() if counts.documents]
    assert (counts.documents, counts.derived) == (1, 1)


def test_the_matcher_of_a_set_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each frame, nor for a set that says the same; it takes as long as thousands of documents."""
    made: list[int] = []
    init = Matcher.__init__

    def counting(matcher: Matcher, rules: Any, **how: Any) -> None:
        made.append(len(rules))
        init(matcher, rules, **how)

    monkeypatch.setattr(Matcher, "__init__", counting)
    one = pipeline(rules_message(SHELL))
    for sequence, message in enumerate((rules_message(SHELL), rules_message(SHELL, LOGIN), rules_message()), 1):
        list(one(lines("a", sequence=10 * sequence)))
        list(one(rules_frame([message], sequence=10 * sequence + 1)))
    list(one(lines("a", sequence=50)))

    assert made == [1, 2]


def test_a_set_that_only_a_newer_program_reads_ends_detection_and_is_told() -> None:
    """In a checkpoint that this one restored; another set makes up for it."""
    told = Told()
    made = pipeline(encode_rules(RuleSet((rule("r", FAILS),))), told)
    ((key, carried),) = made.state.rules.items()
    made.state.rules.put(key, type(carried)("another", b"no zstd"))

    (batch,) = made(lines("uid=0"))
    assert (batch.tally.documents, batch.tally.derived, told.keys) == (1, 0, [None])
    list(made(rules_frame([rules_message(SHELL)], sequence=3)))
    assert [raised(batch) for batch in made(lines("uid=0", sequence=4))] == [{SHELL_ID: (1, 0)}]
