"""What the output tells the log of what happens again and again."""

import json

import pytest

from collector.outputs.elasticsearch_waits import TOLD_EVERY_S, Telling


def test_what_happens_with_each_body_is_told_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """With the number of documents since, each data stream by itself."""
    now_s = 0.0
    telling = Telling("elastic", lambda: now_s)
    for _ in range(100):
        telling.tell("documents_diverted", "a", 2)
        telling.tell("documents_diverted", "b", 1)
    now_s = TOLD_EVERY_S
    telling.tell("documents_diverted", "a", 2, kept_in="a::failures")
    captured = capsys.readouterr()
    told = [json.loads(line) for line in (captured.out + captured.err).splitlines()]

    assert [("a", 2), ("b", 1), ("a", 200)] == [(line["stream"], line["documents"]) for line in told]
    assert "a::failures" == told[-1]["kept_in"]
