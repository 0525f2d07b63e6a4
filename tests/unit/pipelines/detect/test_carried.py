"""The rule set that holds, as the journal carries it: equal sets are equal bytes, and nothing that comes breaks it."""

import os
import subprocess
import sys
from hashlib import sha256

import msgspec
import pytest
import zstandard

from pipelines.detect import carried
from pipelines.detect.carried import AlertLimits, encode_rules, new_rule_sets, rules_in, take_message
from pipelines.detect.expression import Constant, Expression, Not
from pipelines.detect.rule import LogSource, Place, Rule, RuleSet, Variant, Where
from pipelines.frame import Origin
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.detection import ANY, LOGIN, SHELL, rule_set, rules_frame, rules_message

NEVER = "title: Never\nlogsource: {product: windows}\ndetection: {a: {b: c}, condition: a}\n"


def rule(expression: Expression) -> Rule:
    """Return a rule with this condition."""
    return Rule("r", "A rule", Place("r.yml"), LogSource("test"), (Variant("any", Where(), expression),))


def compressed(content: bytes) -> bytes:
    """Return a message of this content, with its hash."""
    packed = zstandard.ZstdCompressor().compress(content)
    return msgspec.msgpack.encode([carried.VERSION, sha256(content).hexdigest(), packed])


def test_a_set_comes_back_as_it_was() -> None:
    """All of a rule that decides matches and alerts; what was remarked on its file stays with who loaded it."""
    sets = new_rule_sets()
    made = rule_set(SHELL, LOGIN)
    take_message(memoryview(encode_rules(made, AlertLimits(burst=3))), sets)
    held = rules_in(sets)

    assert held is not None
    assert held.rules == tuple(msgspec.structs.replace(each, remarks=()) for each in made.rules)
    assert held.limits == AlertLimits(burst=3)


def test_equal_sets_give_equal_bytes_in_every_process() -> None:
    """Sets of texts have another order in each process, and the bytes stand in the journal."""
    code = """if True:
        from pipelines.detect.carried import encode_rules
        from pipelines.detect.expression import Constant
        from pipelines.detect.rule import *
        where = Where(frozenset(f"dataset.{number}" for number in range(20)), but=False)
        variant = Variant("any", where, Constant(value=True))
        print(encode_rules(RuleSet((Rule("r", "A rule", Place("r.yml"), LogSource("test"), (variant,)),))).hex())
    """
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(said) == 1


def test_rules_that_cannot_match_are_not_carried() -> None:
    """They stand in a list of what is loaded, and in no checkpoint."""
    sets = new_rule_sets()
    take_message(memoryview(rules_message(SHELL, NEVER)), sets)
    held = rules_in(sets)

    assert held is not None
    assert [each.title for each in held.rules] == ["A shell speaks"]


def test_an_equal_set_is_no_news() -> None:
    """What was made of the one before still holds."""
    sets = new_rule_sets()
    take_message(memoryview(rules_message(SHELL)), sets)
    before = rules_in(sets)
    take_message(memoryview(rules_message(SHELL)), sets)

    assert rules_in(sets) is before


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"{}",
        msgspec.msgpack.encode([carried.VERSION + 1, *msgspec.msgpack.decode(rules_message(LOGIN))[1:]]),
        msgspec.msgpack.encode([carried.VERSION, "0" * 64, b""]),
        msgspec.msgpack.encode([carried.VERSION, "0" * 64, zstandard.compress(b"\x92\x80\x90")]),
        compressed(b"\x92\x80\x93"),
        compressed(b"\x92\x80\x91" * 5_000),
        compressed(b"\x92\x81\xa5burst\xa1x\x90"),
        rules_message(SHELL)[:-20],
    ],
    ids=["nothing", "no-msgpack", "no-list", "newer", "no-zstd", "no-hash", "cut", "deep", "no-number", "cut-short"],
)
def test_what_is_no_rule_set_is_a_dead_letter_and_the_set_before_holds_on(payload: bytes) -> None:
    """Nothing that a message says stops the pipeline."""
    pipeline = Pipeline(Settings(version="0.1.0"), failed, on_rule_failure=failed)
    list(pipeline(rules_frame([rules_message(SHELL)])))
    held = rules_in(pipeline.state.rules)

    (batch,) = pipeline(rules_frame([payload], sequence=2))
    assert [letter.code for letter in batch.dead_letters] == ["bad_rules"]
    assert rules_in(pipeline.state.rules) is held


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def test_a_set_of_a_sender_is_a_dead_letter() -> None:
    """Rules come from the collector's own process alone."""
    state = Pipeline(Settings(version="0.1.0"), failed)
    sender = Origin("docker", "tcp", "192.0.2.7")
    sent = msgspec.structs.replace(rules_frame([rules_message(SHELL)]), origins=(sender, sender))

    (batch,) = state(sent)
    assert [letter.code for letter in batch.dead_letters] == ["not_internal"]
    assert rules_in(state.state.rules) is None


def test_what_inflates_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its head says, before a byte of it is inflated; and one that does not say it as well."""
    monkeypatch.setattr(carried, "CONTENT_BYTES_LIMIT", 1000)
    content = b"\x92\x80\x90" + b"\x00" * 1000
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(content)

    for payload in (compressed(content), msgspec.msgpack.encode([1, sha256(content).hexdigest(), unsized])):
        with pytest.raises(ValueError, match="over the limit"):
            take_message(memoryview(payload), new_rule_sets())


def test_who_makes_a_set_is_told_that_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed and not."""
    for name in ("RULES_BYTES_LIMIT", "CONTENT_BYTES_LIMIT"):
        with monkeypatch.context() as patch:
            patch.setattr(carried, name, 100)
            with pytest.raises(ValueError, match="100 go"):
                rules_message(SHELL)


def test_a_condition_that_is_too_deep_is_told_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is evaluated by recursion, whose end would depend on where it is called."""
    condition: Expression = Constant(value=True)
    for _ in range(carried.DEPTH_LIMIT):
        condition = Not(condition)
    with pytest.raises(ValueError, match="'A rule' has more than 100 levels"):
        encode_rules(RuleSet((rule(condition),)))

    message = encode_rules(RuleSet((rule(condition.item),))) if isinstance(condition, Not) else b""
    monkeypatch.setattr(carried, "DEPTH_LIMIT", 50)
    with pytest.raises(ValueError, match="more than 50 levels"):
        take_message(memoryview(message), new_rule_sets())


def test_a_checkpoint_holds_the_set() -> None:
    """Whoever begins with it has the rules, without a look at the journal before."""
    pipeline = Pipeline(Settings(version="0.1.0"), failed)
    list(pipeline(rules_frame([rules_message(ANY)])))
    restored = State()
    restored.load(pipeline.state.encode(), settings_changed=True)
    held = rules_in(restored.rules)

    assert held is not None
    assert [each.title for each in held.rules] == ["Anything at all"]
    assert restored.encode() == pipeline.state.encode()
