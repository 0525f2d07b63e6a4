"""Rule sets as the journal carries them, for tests of what is made of documents."""

import textwrap
from collections.abc import Iterable

from pipelines.detect.carried import AlertLimits, encode_rules
from pipelines.detect.load import load
from pipelines.detect.rule import RuleSet
from pipelines.frame import Frame
from tests.kit.frames import frame_of

SHELL = """
    title: A shell speaks
    id: 11111111-1111-4111-8111-111111111111
    description: Says what a shell says.
    author: A. Author, B. Author
    license: DRL-1.1
    date: 2026-11-01
    references: [https://docs.example/shell]
    falsepositives: [Shells]
    tags: [attack.execution, attack.t1059.004, attack.g0001]
    logsource: {category: application}
    detection: {words: [uid=0, sh -c], condition: words}
    level: high
"""
ANY = """
    title: Anything at all
    id: 22222222-2222-4222-8222-222222222222
    logsource: {product: linux}
    detection: {any: {container.id|exists: true}, condition: any}
    level: low
"""
LOGIN = """
    title: A login that failed
    name: login_failed
    id: 33333333-3333-4333-8333-333333333333
    logsource: {product: linux, service: sshd}
    detection: {failed: {event.outcome: failure}, condition: failed}
"""


def rule_set(*rules: str) -> RuleSet:
    """Load rules for our own documents; each is one without a mistake."""
    texts = [(f"{number}.yml", textwrap.dedent(rule)) for number, rule in enumerate(rules)]
    made = load(texts)
    assert [str(problem) for problem in made.problems] == []
    return made


def rules_message(*rules: str, limits: AlertLimits | None = None) -> bytes:
    """Return the message by which these rules begin to hold."""
    return encode_rules(rule_set(*rules), limits)


def rules_frame(messages: Iterable[bytes], sequence: int = 1) -> Frame:
    """Return a frame of such messages."""
    return frame_of(("rules", [(each, b"", 1) for each in messages]), sequence=sequence)
