"""Texts of one field held against those of another, however many a document has."""

import itertools

import pytest

from pipelines.detect.text import CONTAINED_LIMIT, TooManyTextsError, any_same

TEXTS = ("", "a", "b", "ab", "ba", "aba", "bab", "\u00e9a")
SETS = [set(chosen) for count in range(4) for chosen in itertools.combinations(TEXTS, count)]


def plain(value: str, other: str, *, starts: bool, ends: bool) -> bool:
    """Return what is said of one value and one other."""
    if starts and ends:
        return other in value
    if starts:
        return value.startswith(other)
    return value.endswith(other) if ends else value == other


@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_any_is_any_of_all_pairs(*, starts: bool, ends: bool) -> None:
    """Equal, at the beginning, at the end, within: what comparing each with each gives."""
    for values, others in itertools.product(SETS, SETS):
        expected = any(plain(value, other, starts=starts, ends=ends) for value in values for other in others)

        assert expected == any_same(values, others, starts=starts, ends=ends)


class Counted(str):
    """A text that counts how often it is compared or cut."""

    __slots__ = ()
    asked = 0

    def __eq__(self, other: object) -> bool:
        Counted.asked += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __getitem__(self, key: object) -> str:
        Counted.asked += 1
        return str.__getitem__(self, key)  # type: ignore[index]


@pytest.mark.parametrize(("starts", "ends"), [(False, False), (True, False), (False, True)])
def test_many_texts_are_not_compared_each_with_each(*, starts: bool, ends: bool) -> None:
    """A sender who writes two long lists costs their lengths, not the product."""
    values = {Counted(f"{number:05}x{number:05}") for number in range(5000)}
    others = {f"y{number}" for number in range(5000)}
    Counted.asked = 0

    assert not any_same(values, others, starts=starts, ends=ends)
    assert Counted.asked < 10 * len(values)


def test_too_many_texts_to_look_for_are_told() -> None:
    """Within others there is no short way: beyond the limit it fails, so that it is not taken for a no."""
    others = {str(number) for number in range(1 << 10)}

    with pytest.raises(TooManyTextsError, match="1024 texts are too many"):
        any_same({"x" * (CONTAINED_LIMIT >> 10), "y"}, others, starts=True, ends=True)
    assert any_same({"x" * (CONTAINED_LIMIT >> 11), "0"}, others, starts=True, ends=True)
