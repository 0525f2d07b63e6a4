"""What stands in files of rules becomes the one message that the journal gets; what was built last is kept.

A file with a mistake is not taken: the rules that it held before go on, and of a file that held none those that are
sound run. For that the kept file has the texts that were sound last. It is believed only where its checksum is right,
and used only for the same texts, by the same program.
"""

import contextlib
import fcntl
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Final, NamedTuple

import blake3
import msgspec

import parsers
import pipelines.detect
from collector import __version__
from collector.config_rules import RulesConfig
from collector.durable_files import make_folder, replace_file
from collector.rule_files import RuleFilesError, RuleTexts, read_rule_files
from collector.rule_parts import Parts, compiled
from pipelines.detect.carried import encode_rules
from pipelines.detect.rule import Problem, RuleSet

FOLDER: Final = "rules"
"""In the data folder."""

KEPT: Final = "built"

PROBLEMS_LIMIT: Final = 100
"""Mistakes, and files that have some, that are told one by one."""

PROBLEM_CHARACTERS: Final = 500

_CHECKSUM_BYTES: Final = 32


class FaultyFile(msgspec.Struct, frozen=True):
    """A file of which rules did not load: how many mistakes it has, the first, and whether its rules before hold."""

    file: str
    mistakes: int
    first: str
    held: bool


class Built(msgspec.Struct, frozen=True):
    """A set as the journal gets it, how many rules it has and can match, and the files that have mistakes."""

    message: bytes
    rules: int
    active: int
    files: int
    faulty_files: int = 0
    mistakes: int = 0
    faulty: tuple[FaultyFile, ...] = ()
    problems: tuple[str, ...] = ()


class _Kept(msgspec.Struct, frozen=True):
    """`base` names what parts were compiled by and with, `key` the texts as well."""

    key: bytes
    base: bytes
    built: Built
    sound: dict[str, str] = {}
    parts: msgspec.Raw = msgspec.Raw(b"\x80")


class _Named(NamedTuple):
    base: bytes
    key: bytes


_NOTHING: Final = _Kept(b"", b"", Built(b"", 0, 0, 0))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode
_decode_parts = msgspec.msgpack.Decoder(Parts).decode


def build(options: RulesConfig, data_dir: Path) -> Built:
    """Return the set that stands in the files now, built or as it is kept.

    Raises RuleFilesError, OSError, and ValueError for a set that is too large. Blocking: of those who build with one
    data folder each waits for the others.
    """
    folder = data_dir / FOLDER
    make_folder(folder)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        texts = read_rule_files(options)
        named, kept = _names(texts), _read(folder / KEPT)
        if kept.key == named.key:
            return kept.built
        made = _built(texts, named, kept)
        content = _encode(made)
        with contextlib.suppress(OSError):  # a full disk: what is not kept is built again
            replace_file(folder / KEPT, blake3.blake3(content).digest() + content)
        return made.built
    finally:
        os.close(lock)


def loaded(options: RulesConfig) -> RuleSet:
    """Read and compile rules here and now, with all that is wrong with them and their files; nothing is kept.

    Raises RuleFilesError, also for a set that is too large.
    """
    from pipelines.detect.load import load  # pySigma is slow to import

    texts = read_rule_files(options)
    try:
        found, _, refused = _encoded(load(texts.files.items(), placeholders=texts.placeholders))
    except ValueError as error:
        raise RuleFilesError(("paths",), str(error)) from error
    return msgspec.structs.replace(found, problems=(*texts.problems, *found.problems, *refused))


def _built(texts: RuleTexts, named: _Named, kept: _Kept) -> _Kept:
    before = _decode_parts(kept.parts) if kept.base == named.base else {}
    places = {file: place for place, file in enumerate(sorted({*texts.files, *kept.sound}))}
    # What was sound comes first: of two rules with one id it is the one that runs already.
    sound = {file: text for file, text in texts.files.items() if kept.sound.get(file) == text}
    texts = texts._replace(files={**sound, **texts.files})
    found, parts = compiled(texts.files, texts.placeholders, before)
    problems = [problem for problem in (*texts.problems, *found.problems) if problem.fatal]
    failed = _by_file(problems)
    held = {file: text for file, text in kept.sound.items() if _is_of(file, failed) and text != texts.files.get(file)}
    if held:
        found, _ = compiled({**texts.files, **held}, texts.placeholders, parts)
        # Beside what changed elsewhere the text of before may have become wrong; then it is not what holds.
        held = {file: text for file, text in held.items() if file not in _by_file(found.problems)}
    rules = tuple(sorted(found.rules, key=lambda rule: places[rule.place.file]))
    found, message, refused = _encoded(msgspec.structs.replace(found, rules=rules))
    problems += refused
    failed = _by_file(problems)
    sound = {file: text for file, text in texts.files.items() if file not in failed}
    built = _told(found, message, problems, held, files=len(texts.files))
    return _Kept(named.key, named.base, built, {**sound, **held}, msgspec.Raw(_encode(parts)))


def _is_of(file: str, failed: Container[str]) -> bool:
    """Whether a file is one of those that failed, or below a folder that did."""
    return file in failed or any(str(folder) in failed for folder in PurePath(file).parents)


def _encoded(found: RuleSet) -> tuple[RuleSet, bytes, list[Problem]]:
    """Return a set, its message, and the rules that cannot be in it; raise ValueError where it is too large."""
    try:
        return found, encode_rules(found), []
    except ValueError:
        refused = list(_refused(found))
        if not refused:
            raise
        places = {problem.place for problem in refused}
        found = msgspec.structs.replace(found, rules=tuple(rule for rule in found.rules if rule.place not in places))
        return found, encode_rules(found), refused


def _refused(found: RuleSet) -> Iterator[Problem]:
    for rule in found.rules:
        try:
            encode_rules(RuleSet((rule,)))
        except ValueError as error:
            yield Problem(rule.place, str(error))


def _told(found: RuleSet, message: bytes, problems: list[Problem], held: Mapping[str, str], *, files: int) -> Built:
    failed = _by_file(problems)
    return Built(
        message,
        rules=len(found.rules),
        active=sum(rule.never is None for rule in found.rules),
        files=files,
        faulty_files=len(failed),
        mistakes=len(problems),
        faulty=tuple(
            FaultyFile(file, len(each), _short(each[0]), file in held)
            for file, each in list(failed.items())[:PROBLEMS_LIMIT]
        ),
        problems=tuple(_short(problem) for problem in problems[:PROBLEMS_LIMIT]),
    )


def _by_file(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return the mistakes of each file."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.fatal:
            found.setdefault(problem.place.file, []).append(problem)
    return found


def _short(problem: Problem) -> str:
    said = str(problem)
    return said if len(said) <= PROBLEM_CHARACTERS else f"{said[:PROBLEM_CHARACTERS]}…"


def _read(path: Path) -> _Kept:
    """Return what is kept and can be used."""
    try:
        content = path.read_bytes()
        if blake3.blake3(content[_CHECKSUM_BYTES:]).digest() != content[:_CHECKSUM_BYTES]:
            return _NOTHING
        return _decode(content[_CHECKSUM_BYTES:])
    except (OSError, msgspec.DecodeError):
        return _NOTHING


def _names(texts: RuleTexts) -> _Named:
    """Return what names these texts, built by this program, and the same without the texts of rules."""
    base = [__version__, version("pysigma"), version("pyyaml"), *_program()]
    base += [part for name, values in texts.placeholders.items() for part in ("values", name, *values)]
    rules = [part for name, text in texts.files.items() for part in ("file", name, text)]
    return _Named(_hash(base), _hash([*base, *rules, *map(str, texts.problems)]))


def _hash(said: Iterable[str]) -> bytes:
    named = blake3.blake3()
    for each in said:
        content = each.encode("utf-8", "surrogateescape")
        named.update(b"%d:" % len(content) + content)
    return named.digest()


def _program() -> Iterator[str]:
    """Yield the texts of the modules that decide what rules become: of one version there are many while it is made."""
    for package, pattern in ((pipelines.detect, "*.py"), (parsers, "*.py"), (parsers, "data/*.json")):
        for path in sorted(Path(package.__path__[0]).glob(pattern)):
            yield path.read_text(encoding="utf-8")
