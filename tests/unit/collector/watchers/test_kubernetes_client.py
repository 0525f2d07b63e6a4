"""Lines of a watch, cut at any place."""

import pytest

from collector.watchers import kubernetes_client
from collector.watchers.kubernetes_client import Lines

SENT = b'{"a":1}\n\n{"b":"\xc3\xa4"}\r\n{"c":3}\n{"d":'


@pytest.mark.parametrize("split", range(len(SENT) + 1))
def test_lines_are_the_same_wherever_they_are_cut(split: int) -> None:
    """Two parts give what the whole gives; what is not complete is held."""
    lines = Lines()

    found = [*lines.feed(SENT[:split]), *lines.feed(SENT[split:])]

    assert [b'{"a":1}', b'{"b":"\xc3\xa4"}', b'{"c":3}'] == found


def test_lines_come_byte_by_byte() -> None:
    """However small the parts are."""
    lines = Lines()

    found = [line for place in range(len(SENT)) for line in lines.feed(SENT[place : place + 1])]

    assert [b'{"a":1}', b'{"b":"\xc3\xa4"}', b'{"c":3}'] == found


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_longer_line_than_allowed_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The lines before and behind it are there; no more of it is held than the limit."""
    monkeypatch.setattr(kubernetes_client, "LINE_LIMIT_BYTES", 20)
    sent = b"before\n" + b"x" * 21 + b"\n" + b"y" * 20 + b"\nbehind\n"
    lines = Lines()

    found = [line for place in range(0, len(sent), size) for line in lines.feed(sent[place : place + size])]

    assert [b"before", b"y" * 20, b"behind"] == found
    assert lines.passed_over == 1
