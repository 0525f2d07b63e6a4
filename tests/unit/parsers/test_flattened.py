"""What nobody knows keeps its content and becomes acceptable to Elasticsearch."""

import itertools
import json

import pytest

from parsers.canonical import encode
from parsers.flattened import DEPTH_LIMIT, KEY_LIMIT, flattened, key_text, labels, plain, text_of


def test_values_that_json_knows_stay_as_they_are() -> None:
    """Text, numbers, booleans, null, lists and objects pass unchanged."""
    value = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": [1, {"g": "h"}]}

    assert value == flattened(value)


def test_a_nul_in_a_key_is_made_visible() -> None:
    """Elasticsearch refuses a flattened key that holds a NUL, so the key shows its symbol."""
    assert flattened({"a\0b": {"\0": 1}}) == {"a\N{SYMBOL FOR NULL}b": {"\N{SYMBOL FOR NULL}": 1}}


def test_what_is_nested_too_deep_becomes_json_text() -> None:
    """Beyond DEPTH_LIMIT the rest is text, and no level of nesting is lost."""
    value: dict[str, object] = {"leaf": "x"}
    for _ in range(30):
        value = {"k": value}

    bent = flattened(value)

    depth = 0
    while isinstance(bent, dict):
        bent, depth = bent["k"], depth + 1
    assert depth == DEPTH_LIMIT
    assert json.loads(bent) == json.loads(bent) != {}
    assert bent.count('{"k":') == 30 - DEPTH_LIMIT


def test_a_long_key_is_cut_and_stays_distinct() -> None:
    """Two keys that differ only behind KEY_LIMIT stay two keys of at most KEY_LIMIT characters."""
    first, second = key_text("k" * 600 + "a"), key_text("k" * 600 + "b")

    assert KEY_LIMIT == len(first) == len(second)
    assert first != second


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text", "text"),
        (b"\xff\x00", "base64:/wA="),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("bad \udcff byte", "bad \N{REPLACEMENT CHARACTER} byte"),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_values_json_lacks_become_text(value: object, expected: object) -> None:
    """Bytes, non-finite numbers and undecodable text have a stated form."""
    assert {"v": expected} == flattened({"v": value})


def test_any_depth_can_be_encoded() -> None:
    """What is nested deeper than the encoder goes is bounded, not refused."""
    value: object = "x"
    for _ in range(900):
        value = [value]

    assert b"nested deeper" in encode(plain(value))


def test_labels_with_dots_and_without_live_side_by_side() -> None:
    """`app` and `app.kubernetes.io/name` become two flat keys; equal results get a number."""
    made = labels({"app": "web", "app.kubernetes.io/name": "shop", "a.b": "1", "a_b": "2", "": "3", "n": 4})

    assert made == {
        "app": "web",
        "app_kubernetes_io/name": "shop",
        "a_b": "1",
        "a_b_2": "2",
        "_": "3",
        "n": "4",
    }


def test_any_number_of_labels_may_meet() -> None:
    """131,072 keys that all become one name are numbered; searching each number anew took a quarter of an hour."""
    made = labels({"".join(key): "v" for key in itertools.product("._", repeat=17)})

    assert len(made) == 1 << 17
    assert f"{'_' * 17}_{1 << 17}" in made


def test_text_of_tells_whether_bytes_were_replaced() -> None:
    """Undecodable bytes become U+FFFD and are reported; all else is not."""
    assert text_of("ok") == ("ok", False)
    assert text_of(b"a\xffb") == ("a\N{REPLACEMENT CHARACTER}b", True)
    assert text_of({"a": [1]}) == ('{"a":[1]}', False)
