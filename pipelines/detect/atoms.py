"""Atoms of single tests: pieces of a document's bytes of which one is there whenever the test passes.

A value stands in canonical JSON behind its key, or in a list behind `[` or `,`; texts in quotation marks, numbers and
booleans bare. What is short or usual is looked for with what stands around it, so that `get` is not found in `target`.
"""

import re
from collections.abc import Iterable
from typing import Final

from parsers.canonical import encode
from pipelines.detect.expression import Boolean, FieldTest, Number, Regex, Text
from pipelines.detect.frequent import COMMON, weight_of
from pipelines.detect.predicate import spelled
from pipelines.detect.regex_literals import required
from pipelines.detect.text import fold

Atom = bytes
Clause = frozenset[Atom]

LENGTH_LIMIT: Final = 64
"""Bytes of an atom; of a longer literal the first ones are enough."""
LEAST: Final = 3
"""Bytes of an atom; shorter ones are nearly everywhere."""
QUOTED_LEAST: Final = 2
"""Bytes of one that has a quotation mark: within texts there is none without a backslash."""
SHORT: Final = 10
"""Bytes of an atom below which what stands around it is looked for as well."""
EXACT_LIMIT: Final = 10**15
"""Whole numbers below have the same digits in JSON, whether they are integers or floats."""

_NUMERIC: Final = frozenset("0123456789+-.eE")
_ASCII: Final = re.compile(r"[\x00-\x7f]+")
_WORDS: Final = ("true", "false")
_IN_LIST: Final = (b"[", b",")


def key_of(path: str) -> bytes:
    """Return the end of a path's last key and its colon, as far as it is the same however keys with dots are cut."""
    return encode(path.rpartition(".")[2])[1:] + b":"


def keyword_clauses(test: Text | Regex | Number) -> list[Clause]:
    """Return the clauses of a keyword, which may stand anywhere."""
    if isinstance(test, Regex):
        return _regex_clauses(test)
    parts = test.parts if isinstance(test, Text) else (spelled(test.value),)
    runs = (run for part in parts if isinstance(part, str) for run in _ASCII.findall(part))
    return _kept(frozenset((_encoded(run),)) for run in runs)


def field_clauses(item: FieldTest) -> list[Clause]:
    """Return the clauses of a field's test; none where nothing is sure."""
    test = item.test
    if isinstance(test, Text):
        return _kept(_text_clauses(item, test))
    if isinstance(test, Regex):
        return _regex_clauses(test)
    if isinstance(test, Number):
        if not float(test.value).is_integer() or abs(test.value) >= EXACT_LIMIT:
            return []
        return _kept([_whole(item.paths, spelled(test.value)) | _whole_number(item.paths, int(test.value))])
    if isinstance(test, Boolean):
        word = spelled(test.value)
        return _kept([_whole(item.paths, word) | _bare(item.paths, word.encode())])
    return []


def _regex_clauses(test: Regex) -> list[Clause]:
    return _kept(frozenset(map(_encoded, one)) for one in required(test.pattern, test.flags))


def _text_clauses(item: FieldTest, test: Text) -> list[Clause]:
    parts = test.parts
    bare = _may_be_bare(test)
    if not parts or (len(parts) == 1 and isinstance(parts[0], str) and parts[0].isascii()):
        text = "".join(part for part in parts if isinstance(part, str))
        return [_whole(item.paths, text) | (_bare(item.paths, _encoded(text)) if bare else frozenset())]
    made = []
    last = len(parts) - 1
    for place, part in enumerate(parts):
        if isinstance(part, int):
            continue
        runs = _ASCII.findall(part)
        for number, run in enumerate(runs):
            atom = _encoded(run)
            if not bare and place == last and number == len(runs) - 1 and part[-1].isascii():
                atom += b'"'
            if not bare and place == 0 and number == 0 and part[0].isascii():
                made.append(_beginning(item.paths, atom))
            else:
                made.append(frozenset((atom,)))
    return made


def _may_be_bare(test: Text) -> bool:
    """Whether the pattern could match a number or a boolean: each of its texts is of their characters."""
    texts = [part for part in test.parts if isinstance(part, str)]
    numeric = all(set(text) <= _NUMERIC for text in texts)
    return bool(texts) and (numeric or all(any(fold(text) in word for word in _WORDS) for text in texts))


def _before(paths: Iterable[str]) -> tuple[bytes, ...]:
    """Return what stands before a value at one of the paths."""
    return (*(key_of(path) for path in paths), *_IN_LIST)


def _beginning(paths: Iterable[str], atom: Atom) -> Clause:
    """Return how a text begins that begins so."""
    begins = b'"' + atom
    if len(begins) >= SHORT and weight_of(begins) < COMMON:
        return frozenset((begins,))
    return frozenset(before + begins for before in _before(paths))


def _whole(paths: Iterable[str], text: str) -> Clause:
    """Return how a text stands that is just this one."""
    atom = b'"' + _encoded(text) + b'"'
    if len(atom) >= SHORT and weight_of(atom) < COMMON:
        return frozenset((atom,))
    return _bare(paths, atom)


def _bare(paths: Iterable[str], atom: Atom) -> Clause:
    """Return how a value stands that is spelled so, with what is before and behind it."""
    of_keys = {key_of(path) + atom + behind for path in paths for behind in (b",", b"}")}
    return frozenset(of_keys | {before + atom + behind for before in _IN_LIST for behind in (b",", b"]")})


def _whole_number(paths: Iterable[str], value: int) -> Clause:
    """Return how a number stands that equals a whole one: as an integer or a float; zero also with its sign."""
    spellings = (b"0", b"-0") if value == 0 else (b"%d" % value,)
    floats = {before + digits + b".0" for before in _before(paths) for digits in spellings}
    return frozenset(floats.union(*(_bare(paths, digits) for digits in spellings)))


def _encoded(text: str) -> bytes:
    """Return a text as it stands within a string of JSON, folded."""
    return encode(fold(text))[1:-1]


def _kept(clauses: Iterable[Clause]) -> list[Clause]:
    """Return clauses all of whose atoms are long enough, these cut to their limit and in lower case."""
    return [
        frozenset(atom[:LENGTH_LIMIT].lower() for atom in clause)
        for clause in clauses
        if all(len(atom) >= (QUOTED_LEAST if b'"' in atom else LEAST) for atom in clause)
    ]
