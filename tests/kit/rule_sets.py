"""Rule sets for tests: those of our own, made at random, and SigmaHQ's where they are.

SigmaHQ's rules are looked for as `sigmahq-rules.tar.xz` in the tests' cache, or where TIDEWAITER_TEST_SIGMA_RULES says.
They are no part of the repository (Detection Rule License 1.1).
"""

import os
import random
import tarfile
from functools import cache
from pathlib import Path

import platformdirs

from pipelines.detect.expression import (
    MANY,
    ONE,
    And,
    Boolean,
    Compare,
    Exists,
    Expression,
    FieldTest,
    KeywordTest,
    Network,
    Not,
    Null,
    Number,
    Or,
    Regex,
    SameAs,
    Test,
    Text,
    folded,
)
from pipelines.detect.load import load
from pipelines.detect.rule import LogSource, Place, Rule, RuleSet, Variant, Where
from pipelines.detect.sources import OpenSources, Sources

ARCHIVE_LIMIT = 64 << 20
"""Bytes of the largest file of an archive that is read."""

FIELDS = ("a", "b.c", "message", "process.args.1", "d.e.f", "status")
TEXTS = (
    "kill", "Kernel32", "ss", "/ss", "404", "4", "true", "tr", "e", "-1", "1e5", '"', '\\"', "\\", "C:\\Windows\\",
    "a b", "\n", "\t", "\x00x", "\u00e9t\u00e9", "na\u00efve-path", "\u212a", "\u017fudo", "\U0001f600", "x" * 100,
    "</x>", "${jndi:ldap", "%2e%2e/", "", "null", "{", "event", "message",
)  # fmt: skip
PATTERNS = (
    ("ki+ll", "i"), (r"\bkernel\d\d", "i"), ("^(a|b)+404$", ""), ("a|b", ""), (r"C:\\Win.*\\", ""), (r"x{3,}y?z", ""),
    (r"(?i)sudo -[sk]", ""), ("\u00e9t.", ""), (r"[^\]]abc\.d", "s"), (r"a{,3}bcd", ""), (r"ab?cdef+g", "m"),
)  # fmt: skip


def archive() -> Path | None:
    """Return where SigmaHQ's rules are."""
    cache_folder = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
    path = Path(os.environ.get("TIDEWAITER_TEST_SIGMA_RULES") or Path(cache_folder) / "sigmahq-rules.tar.xz")
    return path if path.is_file() else None


@cache
def published_files() -> tuple[tuple[str, str], ...]:
    """Return SigmaHQ's rule files, as names and texts."""
    path = archive()
    assert path is not None
    with tarfile.open(path) as files:
        members = [each for each in files if each.isfile() and each.name.endswith(".yml") and each.size < ARCHIVE_LIMIT]
        read = ((each.name, files.extractfile(each)) for each in members)
        return tuple((name, content.read().decode()) for name, content in read if content is not None)


@cache
def published(sources: Sources | None = None) -> RuleSet:
    """Return SigmaHQ's rules, by default for documents that have the rules' own fields."""
    return load(published_files(), sources or OpenSources())


def random_rules(seed: int, count: int) -> list[Rule]:
    """Return rules made at random of texts that are hard: escapes, folding, numbers that look like texts."""
    chooser = random.Random(seed)
    return [
        Rule(
            key=str(number),
            title=str(number),
            place=Place("random"),
            log_source=LogSource("test"),
            variants=(Variant("any", Where(), folded(_expression(chooser, 3))),),
        )
        for number in range(count)
    ]


def _expression(chooser: random.Random, depth: int) -> Expression:
    kind = chooser.random()
    if depth and kind < 0.6:
        items = tuple(_expression(chooser, depth - 1) for _ in range(chooser.randint(2, 3)))
        return And(items) if kind < 0.35 else Or(items)
    if depth and kind < 0.7:
        return Not(_expression(chooser, depth - 1))
    if kind > 0.93:
        test = chooser.choice((_text(chooser), Regex(*chooser.choice(PATTERNS)), Number(404)))
        return KeywordTest(test) if test != Text(()) else KeywordTest(Number(4))
    return FieldTest("f", tuple(chooser.sample(FIELDS, chooser.randint(1, 2))), _test(chooser))


def _text(chooser: random.Random) -> Text:
    parts: list[str | int] = [chooser.choice(TEXTS)]
    for _ in range(chooser.choice((0, 0, 1, 2))):
        parts += [chooser.choice((MANY, ONE)), chooser.choice(TEXTS)]
    shape = chooser.random()
    parts = [*([MANY] if shape < 0.5 else []), *parts, *([MANY] if 0.25 < shape < 0.75 else [])]
    return Text(tuple(part for part in parts if part != ""), cased=chooser.random() < 0.15)


def _test(chooser: random.Random) -> Test:
    if chooser.random() < 0.6:
        return _text(chooser)
    made: Test = chooser.choice(
        (
            Number(chooser.choice((404, -1, 100000, 1.5, 10**15, 10**16, 0))),
            Boolean(chooser.random() < 0.5),
            Null(),
            Exists(chooser.random() < 0.5),
            Regex(*chooser.choice(PATTERNS)),
            Network("192.0.2.0/24"),
            Compare("gte", 400),
            SameAs("a", ("a",), starts=chooser.random() < 0.5),
        )
    )
    return made
