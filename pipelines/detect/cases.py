"""The file of a rule's tests: `NAME.test.yml` beside `NAME.yml`; its cases say which lines make alerts, and which none.

    rule: 6d1f3c1e-3f0a-4d0e-9d0a-5d1f7b8c9a10   # id or name; where the file has one rule it may be left out
    cases:
      - name: a shell by docker exec
        input: docker_events
        lines:
          - '{"Type":"container","Action":"exec_create: sh", …}'
        expect: 1
      - name: a health check does not
        lines: […]
        expect: none

Everything is read from what YAML has made of it, so each problem has its line; an unknown key is refused with the
nearest known one.
"""

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import msgspec
import orjson
from msgspec import Meta

from pipelines.detect.documents import Document, Path, read
from pipelines.detect.rule import Place, Problem

START: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)
"""Journal time at which a case begins that says nothing else."""

OFFSET_LIMIT_S: Final = 366 * 24 * 3600
"""Seconds that a line may lie behind its case's start."""
REPEAT_LIMIT: Final = 100_000
"""How often one line of a case may stand for itself."""

Input = Literal["forward", "file", "docker_events", "kubernetes_audit", "http"]
INPUTS: Final = get_args(Input)
Stream = Literal["stdout", "stderr"]
STREAMS: Final = get_args(Stream)


class Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sender of a container's lines says of the container."""

    name: Annotated[str, Meta(description="The container's name.")] = "test"
    image: Annotated[str, Meta(description="Its image, e.g. nginx:1.27.")] = ""
    labels: Annotated[dict[str, str], Meta(description="Its labels.")] = {}
    id: Annotated[str, Meta(description="Its id, 64 hexadecimal digits.")] = "0123456789abcdef" * 4
    namespace: Annotated[str, Meta(description="Its namespace in Kubernetes; then `name` is the pod's.")] = ""
    stream: Annotated[Stream, Meta(description="Where it writes the lines.")] = "stdout"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert, or several that are alike."""

    fields: Annotated[
        dict[str, Any],
        Meta(description="Fields by their dotted names: of the alert, else of the document that it is about."),
    ] = {}
    count: Annotated[int, Meta(ge=1, description="How many such alerts.")] = 1


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines, and the alerts that they make."""

    name: Annotated[str, Meta(min_length=1, description="What is shown, in the words of a fact.")]
    lines: Annotated[
        str | list[str | dict[str, Any]],
        Meta(
            description="Raw lines as they come. `@+N ` before one: N seconds of journal time behind the case's start, "
            "else one second behind the line before. `{repeat: N}` behind that: so often, a second apart. "
            "A mapping is a record as its sender posts it."
        ),
    ]
    expect: Annotated[
        Literal["none"] | Annotated[int, Meta(ge=0)] | list[Expected],
        Meta(description="How many alerts: a number, `none`, or a list with what each of them has."),
    ]
    input: Annotated[
        Input,
        Meta(
            description="Where the lines come from: `forward`, a container's lines; `file`, lines of a host's log "
            "file; `docker_events`, events of a Docker Engine; `kubernetes_audit`, audit events; `http`, posted JSON."
        ),
    ] = "forward"
    container: Annotated[
        Container | None, Meta(description="The container whose lines they are; of `forward` alone.")
    ] = None
    tag: Annotated[str, Meta(description="The tag of Forward messages; else as Docker's driver makes it.")] = ""
    rule: Annotated[
        str | list[str] | None,
        Meta(description="Id or name of the rule, or several, whose alerts count; else as the file says."),
    ] = None
    start: Annotated[datetime, Meta(tz=True, description="Journal time at which it begins.")] = START


class TestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tests of the rules of the file beside it."""

    __test__ = False  # pytest collects classes of such names.

    cases: Annotated[list[Case], Meta(min_length=1, description="Both what the rule is for, and what it must not be.")]
    rule: Annotated[
        str | list[str] | None,
        Meta(description="Id or name of the rule, or several; may be left out where the file beside it has one rule."),
    ] = None


class Line(NamedTuple):
    """One line of a case: seconds behind the start, and what comes then."""

    offset_s: int
    content: str | dict[str, Any]


class Placed(NamedTuple):
    """A case, and where it stands."""

    case: Case
    place: Place
    rules: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def expected(self) -> int:
        """How many alerts it expects."""
        wanted = self.case.expect
        if isinstance(wanted, list):
            return sum(each.count for each in wanted)
        return 0 if wanted == "none" else wanted


_OFFSET: Final = re.compile(r"@\+(\d{1,9})(?: +\{repeat: *(\d{1,6})\})?(?: |$)")
_WHERE: Final = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def read_cases(file: str, text: str) -> tuple[list[Placed], list[Problem]]:
    """Return the cases of a test file, and what is wrong with it; of a file with a problem no case is run."""
    problems: list[Problem] = []
    cases: list[Placed] = []
    for number, document in enumerate(read(file, text)):
        if isinstance(document, Problem):
            problems.append(document)
        elif number:
            problems.append(document.problem("a test file is one document: leave out the `---`"))
        else:
            cases = _cases(document, problems)
    if not cases and not problems:
        problems.append(Problem(Place(file), "no cases: a test file begins with `cases:`"))
    return cases, problems


def _cases(document: Document, problems: list[Problem]) -> list[Placed]:
    unknown = list(_unknown(document, document.content, (), TestFile))
    if unknown:
        problems.extend(unknown)
        return []
    try:
        made = msgspec.convert(document.content, TestFile)
    except msgspec.ValidationError as error:
        problems.append(_problem(document, str(error)))
        return []
    placed = []
    seen: set[str] = set()
    for number, case in enumerate(made.cases):
        path = ("cases", number)
        if case.name in seen:
            problems.append(document.problem(f"two cases have the name {case.name!r}", (*path, "name")))
        seen.add(case.name)
        if case.container is not None and case.input != "forward":
            why = f"lines of the input {case.input} are no container's: what they say of one stands in them"
            problems.append(document.problem(why, (*path, "container")))
        lines = tuple(_lines(document, case, (*path, "lines"), problems))
        if not case.lines:
            problems.append(document.problem("a case needs a line", (*path, "lines")))
        placed.append(Placed(case, document.place(path), _names(case.rule) or _names(made.rule), lines))
    return placed


def _names(rule: str | list[str] | None) -> tuple[str, ...]:
    return () if rule is None else (rule,) if isinstance(rule, str) else tuple(rule)


def _lines(document: Document, case: Case, path: Path, problems: list[Problem]) -> Iterator[Line]:
    offset = -1
    listed = case.lines.removesuffix("\n").split("\n") if isinstance(case.lines, str) else case.lines
    for number, content in enumerate(listed):
        place = (*path, number)
        repeat = 1
        offset += 1
        if isinstance(content, str):
            content = content.removesuffix("\n")
            said = _OFFSET.match(content)
            if said is None and content.startswith("@+"):
                problems.append(document.problem("a line begins with `@+N `, N in whole seconds", place))
            if said is not None:
                offset, repeat, content = int(said[1]), int(said[2] or 1), content[said.end() :]
        elif (why := _unpostable(content)) is not None:
            problems.append(document.problem(why, place))
            continue
        if offset + repeat > OFFSET_LIMIT_S or repeat > REPEAT_LIMIT:
            why = f"a line lies up to {OFFSET_LIMIT_S} seconds behind the start, and repeats up to {REPEAT_LIMIT} times"
            problems.append(document.problem(why, place))
            continue
        for _ in range(repeat):
            yield Line(offset, content)
            offset += 1
        offset -= 1


def _unpostable(record: dict[str, Any]) -> str | None:
    try:
        orjson.dumps(record)
    except TypeError as error:
        return f"a record that cannot be posted: {error}"
    return None


def _unknown(document: Document, content: Any, path: Path, kind: type[msgspec.Struct]) -> Iterator[Problem]:
    """Yield all keys that no struct has, each with the one that was probably meant."""
    if not isinstance(content, dict):
        return
    hints = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in content.items():
        here = (*path, key)
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(hints))}"
            yield document.problem(f"unknown key {str(key)!r}; {hint}", here)
            continue
        below = _STRUCTS.get((kind, key))
        if below is not None:
            for step, each in enumerate(value) if isinstance(value, list) else ((None, value),):
                yield from _unknown(document, each, here if step is None else (*here, step), below)


_STRUCTS: Final[dict[tuple[type[msgspec.Struct], str], type[msgspec.Struct]]] = {
    (TestFile, "cases"): Case,
    (Case, "container"): Container,
    (Case, "expect"): Expected,
}


_KINDS: Final = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "a mapping", "null": "nothing", "datetime": "a time",
}  # fmt: skip
"""Types, as msgspec calls them, in the words of our messages."""
_TYPE: Final = re.compile(r"`([^`]+)`")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_NOT_ONE: Final = re.compile(r"[Ii]nvalid enum value '(.*)'", re.DOTALL)


def _problem(document: Document, said: str) -> Problem:
    """Return what msgspec says, at its place."""
    found = _WHERE.fullmatch(said)
    text, where = (found[1], found[2] or "") if found is not None else (said, "")
    path: list[str | int] = []
    for key, number in _STEP.findall(where):
        if number == "...":
            break
        path.append(int(number) if number else key)
    wrong, missing = _NOT_ONE.fullmatch(text), _MISSING.fullmatch(text)
    if wrong is not None:
        text = _choice(wrong[1], path)
    if missing is not None:
        text = f"{missing[1]} is required"
    text = _TYPE.sub(lambda kinds: " or ".join(_KINDS.get(kind, kind) for kind in kinds[1].split(" | ")), text)
    about = f"{path[-1]}: " if path and isinstance(path[-1], str) else ""
    return document.problem(f"{about}{text[:1].lower()}{text[1:]}", path)


def _choice(given: str, path: list[str | int]) -> str:
    key = path[-1] if path else ""
    known = {"input": INPUTS, "stream": STREAMS}.get(str(key), ("none",))
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"unknown value {given!r}; {hint}"
