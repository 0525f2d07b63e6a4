"""A folder of rules that tests write and change."""

from pathlib import Path

from collector.config_rules import RulesConfig
from pipelines.decisions import take
from pipelines.detect.carried import ENCODING, rules_in
from pipelines.state import State

RULE = """title: {title}
id: 6d1f2a00-0000-4000-8000-{number:012}
level: high
logsource: {{category: application}}
detection:
  words: ['{word}']
  condition: words
"""

BROKEN = "title: Broken\nlogsource: {category: application}\ndetection: {words: [x], condition: nothing}\n"


def rule(number: int, word: str, title: str = "") -> str:
    """Return a rule of this number that fires where a document holds the word."""
    return RULE.format(title=title or f"Word {word}", number=number, word=word)


def options(folder: Path, **more: object) -> RulesConfig:
    """Return options for one folder, without our own rules."""
    return RulesConfig(paths=[str(folder)], pack=False, **more)  # type: ignore[arg-type]


def titles_in(message: bytes) -> list[str]:
    """Return the titles of the rules that a message carries."""
    state = State()
    take(ENCODING, memoryview(message), state)
    carried = rules_in(state.rules)
    assert carried is not None
    return [each.title for each in carried.rules]
