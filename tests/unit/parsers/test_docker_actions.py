"""What each action of an Engine is, in ECS's own pairs of category and type, and how it reads."""

import json
from pathlib import Path

import pytest

from parsers.docker_actions import ACTS, GENERIC, act_of, outcome_of_exit, sentence, shown, whole_number
from parsers.docker_event import OWN_ATTRIBUTES
from parsers.facts import FACTS

TAXONOMY = json.loads((Path(__file__).parents[2] / "data" / "event_taxonomy.json").read_text(encoding="utf-8"))
ALL = [(kind, action) for kind, acts in ACTS.items() for action in acts] + [("plugin", action) for action in GENERIC]


@pytest.mark.parametrize(("kind", "action"), ALL)
def test_an_action_has_a_type_that_its_category_allows(kind: str, action: str) -> None:
    """By ECS's table, and an outcome and facts that there are."""
    act = act_of(kind, action)

    assert act.category
    for category in act.category:
        assert set(act.type) <= set(TAXONOMY["expected_event_types"][category])
    assert act.outcome in TAXONOMY["event.outcome"]
    assert set(act.facts) <= set(FACTS)


def test_an_action_that_is_not_known_is_told_generically() -> None:
    """By its own name, without a category."""
    act = act_of("tea pot", "bo{i}l")

    assert (act.category, act.type, act.outcome) == ((), ("info",), "unknown")
    assert sentence(act, {"name": "x"}) == 'The Engine told of "bo{i}l" of "tea pot" x'


def test_every_action_with_attributes_of_its_own_is_one_of_a_container() -> None:
    """Both tables name the same."""
    assert set(OWN_ATTRIBUTES) <= set(ACTS["container"])


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, "success"), (1, "failure"), (126, "failure"), (130, "unknown"), (137, "unknown"), (143, "unknown")],
)
def test_what_was_told_to_end_has_not_failed(code: int, outcome: str) -> None:
    """Ctrl-C and `docker stop` are no crash, and 137 is not known to be want of memory."""
    assert outcome_of_exit(code) == outcome


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web-1", "web-1"),
        ("a b", '"a b"'),
        ('"', '"\\""'),
        ("a\nContainer x was removed", '"a\\nContainer x was removed"'),
        ("", '""'),
        ("x" * 300, f'"{"x" * 200}…"'),
    ],
)
def test_a_text_that_somebody_chose_ends_where_it_is_shown_to(text: str, said: str) -> None:
    """It cannot go on with the sentence, nor fill it."""
    assert shown(text) == said


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-1", -1),
        ("137", 137),
        ("", None),
        ("-", None),
        ("1.0", None),
        ("²", None),
        ("9" * 19, None),
        ("9" * 40, None),
        (None, None),
    ],
)
def test_a_number_is_one_of_64_bits(text: str | None, number: int | None) -> None:
    """What is none is not guessed."""
    assert whole_number(text) == number
