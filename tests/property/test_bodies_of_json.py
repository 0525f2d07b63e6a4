"""A body that is posted is cut into records whatever its bytes: none lost, none doubled, in bounded time."""

import json
import time
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.frame import Origin
from pipelines.settings import Settings
from pipelines.trails.json_split import BROKEN_LIMIT, records
from tests.kit.metadata import Told

POSTED: Final = Origin("sensors", "tcp", "192.0.2.7")
SPACE: Final = st.sampled_from(["", "\n", " \r\n\t", "  "])

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=6), values, max_size=4)
dumped = st.tuples(objects, st.sampled_from([None, 1])).map(lambda each: json.dumps(each[0], indent=each[1]))
fragments = st.sampled_from(
    ['{"a":1}', "[", "]", ",", "{", "}", '"', "\\", "\n", " ", "x", "1", "null", '{"a":[{}]}', "\ud83d"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(dumped, max_size=6), SPACE, SPACE)
def test_objects_come_back_as_they_stand(made: list[str], before: str, behind: str) -> None:
    """In an array, one behind the other, or a line each: every object once, byte for byte, nothing else."""
    array = before + "[" + f"{before},{behind}".join(made) + behind + "]" + before
    row = before + behind.join(made) + before

    assert [each.text for each in records(array)] == made
    assert [each.text for each in records(row)] == made
    assert not any(each.wrong for body in (array, row) for each in records(body))


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments, max_size=24).map("".join))
def test_whatever_comes_is_a_record_or_refused(body: str) -> None:
    """What is cut stands in the body in order, none twice; what is left between are spaces, commas and brackets."""
    at, between = 0, ""
    for each in records(body):
        found = body.index(each.text, at)
        between += body[at:found]
        at = found + len(each.text)
        assert each.text
        if not each.wrong:
            assert each.text.startswith("{")
    between += body[at:]

    assert between.strip(" \t\r\n,[]") == ""


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=64) | st.lists(fragments, max_size=24).map(lambda each: "".join(each).encode("utf-8", "replace"))
)
def test_any_bytes_balance(body: bytes) -> None:
    """Each record is a document or a dead letter, and a document is one that is an object."""
    told = Told(Settings(version="0.1.0"))
    made = told.frame((POSTED, "json", body))
    tallies = [batch.tally for batch in told.batches]

    assert sum(tally.records for tally in tallies) == len(made) + sum(tally.dead for tally in tallies)
    assert all(isinstance(each, dict) for each in made)


HOSTILE: Final[dict[str, str]] = {
    "deeper with each line": '{"a":[{},\n' * 100_000,
    "deep lines": ('{"a":' * 2000 + "\n") * 100,
    "broken lines behind space": "{}" + "\n" * 1_000_000 + "{x\n" * 2000,
    "deep and long": '{"a":[\n' * 450 + "1," * 500_000,
    "broken lines": '{"a":1,,}\n' * 100_000,
    "all brackets": "{" * 1_000_000,
    "one long text": '{"a":"' + "x" * 1_000_000,
    "numbers": "[" + "0," * 500_000,
    "digits": '{"a":' + "9" * 1_000_000 + "}",
    "escapes": '{"a":"' + "\\" * 999_999,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_the_worst_body_is_cut_in_bounded_time(name: str) -> None:
    """A megabyte of what is hardest to cut takes a second at most; what grows with its square would take minutes."""
    began = time.process_time()
    made = list(records(HOSTILE[name]))

    assert time.process_time() - began < 10
    assert made


def test_behind_too_much_that_is_broken_comes_one_more() -> None:
    """So many broken lines are told apart; all behind them are one part, in which nothing is lost."""
    body = "{x}\n" * (BROKEN_LIMIT + 5) + '{"a":1}'
    made = list(records(body))

    assert len(made) == BROKEN_LIMIT + 1
    assert made[-1].text == "{x}\n" * 5 + '{"a":1}'


def test_broken_lines_behind_much_space_do_not_cost_a_look_at_it_each() -> None:
    """Looks at what stands before a broken line are counted as reading in vain; nothing is lost."""
    space, broken = "\n" * (1 << 20), "{x\n" * BROKEN_LIMIT
    first, *others = records("{}" + space + broken)

    assert first.text == "{}"
    assert len(others) < BROKEN_LIMIT / 5
    assert others[-1].wrong == "behind too much that is not JSON"
    assert "".join(each.text for each in others) == broken


def test_a_record_is_read_as_our_decoder_reads_it() -> None:
    """What is stepped over but is no JSON to it is refused as a record, and what stands beside is not."""
    told = Told(Settings(version="0.1.0"))
    odd: list[Any] = ['{"a":NaN}', '{"a":"\\ud800"}', '{"a":1e999}']
    refused = []
    for each in odd:
        try:
            orjson.loads(each)
        except ValueError:
            refused.append(each.encode())
    made = told.frame((POSTED, "json", "\n".join(['{"msg":"x"}', *odd, '{"msg":"y"}']).encode()))

    assert [each["message"] for each in made][:1] + [each["message"] for each in made][-1:] == ["x", "y"]
    assert [letter.payload for letter in told.batches[0].dead_letters] == [b"".join(refused)]
    assert len(refused) > 1
