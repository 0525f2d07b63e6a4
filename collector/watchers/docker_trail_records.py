"""Records of the trail of a Docker Engine: every event as the Engine said it, and gaps. Pure.

Messages of the encoding `docker-event`: JSON objects, one a line, each a record; `engine` is the input's name.

    {"kind":"event", "engine":…, "event":{…}, "exec":{…}?}
    {"kind":"gap", "engine":…, "why":…, "after_ns":N, "before_ns":N, "appeared":[…]?, "gone":[…]?, "changed":[…]?}

`event` is the Engine's object without the keys in which older APIs say the same again. `exec` is what the Engine knows
of an exec, as far as an allow-list lets it pass: the command with its arguments apart, user, terminal, process id, exit
code. Of an environment only names pass. What is too long is cut: `cut` names it, `lengths` says how long it was, in
characters of a text and items of a list. A record is shorter than 2 MiB.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from collector.watchers.docker_reduce import Taken, flag, members, names, number, text
from collector.watchers.docker_stream import Lost, line_key

ENCODING: Final = "docker-event"

LINE_LIMIT_BYTES: Final = 16 << 20
"""Longest event that is read: of a command line with 2 MiB, the most that Linux starts, each byte may take six."""

ACTION_LIMIT_BYTES: Final = 704 << 10
"""Of an action, which holds the command line of an exec, encoded."""

ARGUMENTS_LIMIT_BYTES: Final = 704 << 10
"""Of the arguments of an exec, encoded."""

ATTRIBUTES_LIMIT_BYTES: Final = 256 << 10
ATTRIBUTES_LIMIT: Final = 1_024
VALUE_LIMIT_BYTES: Final = 32 << 10
NAME_LIMIT: Final = 256
"""Of an event's attributes, labels among them: all encoded, how many, one value encoded, characters of a name."""

TEXT_LIMIT_BYTES: Final = 4 << 10
"""Of the other texts of an event, encoded."""

OTHER_LIMIT_BYTES: Final = 32 << 10
"""Of what an API to come says beside, and of the names of an environment, encoded."""

KEY_BYTES: Final = 6
"""Of the digest by which an event is known again among those that the Engine remembers, which are few hundred."""

FORGED: Final = "execID"
"""The attribute that names an exec, and the label that forges it."""

LATEST_NS: Final = (1 << 63) - 1

_REPEATED: Final = frozenset({"status", "id", "from"})
"""What APIs below 1.52 say again of the action, the actor and its image."""

_FIRST: Final = (
    *("image", "name", "execID", "exitCode", "signal", "oldName", "execDuration"),
    *("container", "destination", "driver", "type", "read/write"),
)
"""Attributes that no number of labels pushes out."""


class TrailEvent(msgspec.Struct, frozen=True):
    """One event. `content` is it as JSON; `key` its digest; `time_ns` is 0 where it has no time.

    `execution` is the id of the exec that it names, which can be asked for; a label may forge that. `command` is the
    digest of an exec's command, empty where the event does not say it.
    """

    content: bytes
    key: bytes
    time_ns: int
    type: str
    cause: str
    container: str
    execution: str
    command: bytes
    attributes: Mapping[str, str]
    cuts: Mapping[str, int]

    @property
    def is_of_exec(self) -> bool:
        """Tell whether it is about an exec, whose id it names or not."""
        return self.type == "container" and self.cause.startswith("exec_")


class Execution(msgspec.Struct, frozen=True):
    """What is taken over of an Engine's answer about an exec: what a record says of it.

    `content` is all but the process, which is JSON: decoded, many short arguments take ten times the room. `cuts` are
    those of the record, `command` is the digest of the command, `size_bytes` what it takes encoded.
    """

    content: Mapping[str, Any]
    process: bytes
    cuts: Mapping[str, int]
    command: bytes
    size_bytes: int

    def standing(self) -> "Execution":
        """Return what holds at the exec's other events as well."""
        return msgspec.structs.replace(self, content=standing(self.content))


def read_event(line: bytes) -> TrailEvent | Lost:
    """Read one line of the stream; what is no object is lost."""
    try:
        event = msgspec.json.decode(line.lstrip(b"\x1e"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Lost("malformed", line_key(line))
    if not isinstance(event, dict):
        return Lost("malformed", line_key(line))
    cuts: dict[str, int] = {}
    type_, action, time_ns = _text(event.get("Type")), _text(event.get("Action")), _time_of(event)
    actor = event.get("Actor")
    identity = _text(actor.get("ID")) if isinstance(actor, dict) else ""
    attributes = _attributes(actor.get("Attributes") if isinstance(actor, dict) else None)
    cause, _, command = action.partition(": ")
    cause = cause.partition(":")[0]
    return TrailEvent(
        content=msgspec.json.encode(_bounded_event(event, cuts)),
        key=_key((time_ns, type_, action, identity, attributes)),
        time_ns=time_ns,
        type=type_,
        cause=cause,
        container=identity if type_ == "container" else "",
        execution=attributes.get(FORGED, "") if is_identity(attributes.get(FORGED)) else "",
        command=_digest(command) if command else b"",
        attributes={name: attributes[name] for name in ("image", "name") if name in attributes},
        cuts=cuts,
    )


def event_record(engine: str, event: TrailEvent, execution: Execution | None) -> bytes:
    """Return the record of an event, with what is known of its exec."""
    record: dict[str, Any] = {"kind": "event", "engine": engine, "event": msgspec.Raw(event.content)}
    cuts = dict(event.cuts)
    if execution is not None:
        process = {"ProcessConfig": msgspec.Raw(execution.process)} if execution.process else {}
        record["exec"] = {**execution.content, **process}
        cuts.update(execution.cuts)
    return _encoded(record, cuts)


def gap_record(
    engine: str, why: str, span_ns: tuple[int, int], differences: Mapping[str, list[Any]], lengths: dict[str, int]
) -> bytes:
    """Return the record of a gap, between two times; `lengths` are those of lists that were cut."""
    after_ns, before_ns = span_ns
    record = {"kind": "gap", "engine": engine, "why": why, "after_ns": after_ns, "before_ns": before_ns, **differences}
    return _encoded(record, lengths)


def read_execution(answer: Mapping[str, Any]) -> Execution:
    """Take over what records say of an answer to `GET /exec/{id}/json`, which may be much longer than that."""
    cuts: dict[str, int] = {}
    content = reduced_execution(answer, cuts)
    of_process = content.pop("ProcessConfig", None)
    process = msgspec.json.encode(of_process) if of_process is not None else b""
    size_bytes = len(process) + len(msgspec.json.encode(content))
    return Execution(content, process, cuts, command_digest(answer.get("ProcessConfig")), size_bytes)


def reduced_execution(answer: Mapping[str, Any], cuts: dict[str, int]) -> dict[str, Any]:
    """Return what is taken over of `GET /exec/{id}/json`; `cuts` gets what was cut."""
    cut: set[str] = set()
    taken: dict[str, Any] = _EXECUTION(answer, "exec", cut)
    arguments = taken.get("ProcessConfig", {}).get("arguments")
    if arguments is not None and len(msgspec.json.encode(arguments)) > ARGUMENTS_LIMIT_BYTES:
        cuts["exec.ProcessConfig.arguments"] = len(arguments)
        taken["ProcessConfig"]["arguments"] = _bounded_texts(arguments, ARGUMENTS_LIMIT_BYTES)
    cuts.update({name: len(_at(answer, name.split(".")[1:])) for name in cut})
    for place, parent in (("exec.Env", taken), ("exec.ProcessConfig.Env", taken.get("ProcessConfig", {}))):
        variables = parent.get("Env")
        if variables is not None and len(msgspec.json.encode(variables)) > OTHER_LIMIT_BYTES // 2:
            cuts[place] = len(variables)
            del parent["Env"]
    return taken


def is_identity(value: Any) -> bool:
    """Tell whether this is the id of a container or an exec: it becomes part of a path."""
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def command_digest(process: Any) -> bytes:
    """Return the digest of the command in an Engine's answer, as its events write it."""
    arguments = process.get("arguments") if isinstance(process, dict) else None
    if not isinstance(process, dict):
        return b""
    words = [each for each in arguments if isinstance(each, str)] if isinstance(arguments, list) else []
    return _digest(f"{_text(process.get('entrypoint'))} {' '.join(words)}")


def standing(execution: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what is known of an exec at one event what holds at its other events as well."""
    held = {name: value for name, value in execution.items() if name not in ("Running", "ExitCode", "Pid")}
    return held | ({"Pid": execution["Pid"]} if execution.get("Pid") else {})


def _whole_texts(value: Any, _key: str, _cuts: set[str]) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return [item for item in value if isinstance(item, str)]


_PROCESS: Final = {
    "entrypoint": text,
    "arguments": _whole_texts,
    "tty": flag,
    "user": text,
    "privileged": flag,
    "WorkingDir": text,
    "Env": names,
}
_EXECUTION: Final[Taken] = members(
    {
        "ID": text,
        "Running": flag,
        "ExitCode": number,
        "Pid": number,
        "ContainerID": text,
        "OpenStdin": flag,
        "OpenStdout": flag,
        "OpenStderr": flag,
        "DetachKeys": text,
        "WorkingDir": text,
        "Env": names,
        "ProcessConfig": members(_PROCESS),
    }
)


def _bounded_event(event: dict[str, Any], cuts: dict[str, int]) -> dict[str, Any]:
    """Return the event with all in its bounds, known keys first."""
    bounded: dict[str, Any] = {}
    for name, limit_bytes in (("Type", TEXT_LIMIT_BYTES), ("Action", ACTION_LIMIT_BYTES), ("scope", TEXT_LIMIT_BYTES)):
        if name in event:
            bounded[name] = _bounded(event[name], limit_bytes, name, cuts)
    if isinstance(event.get("Actor"), dict):
        bounded["Actor"] = _bounded_actor(event["Actor"], cuts)
    bounded |= {name: event[name] for name in ("time", "timeNano") if isinstance(event.get(name), int | float)}
    left_bytes = OTHER_LIMIT_BYTES
    for name in sorted(event.keys() - bounded.keys() - _REPEATED):
        size_bytes = len(msgspec.json.encode({name: event[name]}))
        left_bytes -= size_bytes
        if left_bytes < 0:
            cuts[name[:NAME_LIMIT]] = size_bytes
            break
        bounded[name] = event[name]
    return bounded


def _bounded_actor(actor: dict[str, Any], cuts: dict[str, int]) -> dict[str, Any]:
    bounded = {"ID": _bounded(actor["ID"], TEXT_LIMIT_BYTES, "Actor.ID", cuts)} if "ID" in actor else {}
    attributes = actor.get("Attributes")
    if isinstance(attributes, dict):
        bounded["Attributes"] = _bounded_attributes(attributes, cuts)
    return bounded


def _bounded_attributes(attributes: dict[str, Any], cuts: dict[str, int]) -> dict[str, Any]:
    """Return those that fit: a key that is too long is left out, for cut it could be another's."""
    bounded: dict[str, Any] = {}
    left_bytes = ATTRIBUTES_LIMIT_BYTES
    is_first = set(_FIRST)
    for name in sorted(attributes, key=lambda each: (each not in is_first, each)):
        if len(name) > NAME_LIMIT or len(bounded) == ATTRIBUTES_LIMIT:
            cuts["Actor.Attributes"] = len(attributes)
            continue
        here: dict[str, int] = {}
        value = _bounded(attributes[name], VALUE_LIMIT_BYTES, f"Actor.Attributes.{name}", here)
        # The name of one that is cut stands in the record thrice.
        left_bytes -= len(msgspec.json.encode(({name: value}, [*here], here)))
        if left_bytes < 0:
            cuts["Actor.Attributes"] = len(attributes)
            break
        bounded[name] = value
        cuts.update(here)
    return bounded


def _bounded(value: Any, limit_bytes: int, name: str, cuts: dict[str, int]) -> Any:
    """Return a text cut to its limit; another value, where it is too long, is left empty."""
    encoded = msgspec.json.encode(value)
    if len(encoded) <= limit_bytes:
        return value
    cuts[name] = len(value) if isinstance(value, str | list | dict) else len(encoded)
    return _beginning(value, limit_bytes) if isinstance(value, str) else None


def _beginning(value: str, limit_bytes: int) -> str:
    """Return as much of a text as fits, encoded."""
    count = min(len(value), limit_bytes)
    while (size_bytes := len(msgspec.json.encode(value[:count]))) > limit_bytes:
        count = min(count - 1, count * limit_bytes // size_bytes)
    return value[:count]


def _bounded_texts(values: list[str], limit_bytes: int) -> list[str]:
    """Return the first that fit, and the beginning of the one that does not."""
    bounded = []
    left_bytes = limit_bytes - len("[]")
    for value in values:
        size_bytes = len(msgspec.json.encode(value)) + len(",")
        if size_bytes > left_bytes:
            bounded.append(_beginning(value, max(left_bytes, len('"",'))))
            break
        left_bytes -= size_bytes
        bounded.append(value)
    return bounded


def _encoded(record: Mapping[str, Any], cuts: Mapping[str, int]) -> bytes:
    """Return a record as one line without its end."""
    if not cuts:
        return msgspec.json.encode(record)
    return msgspec.json.encode({**record, "cut": sorted(cuts), "lengths": dict(sorted(cuts.items()))})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time_of(event: Mapping[str, Any]) -> int:
    """Return when it happened, in nanoseconds; 0 where nothing says it."""
    for name, unit_ns in (("timeNano", 1), ("time", 1_000_000_000)):
        value = event.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value * unit_ns <= LATEST_NS:
            return value * unit_ns
    return 0


def _attributes(value: Any) -> dict[str, str]:
    return {name: item for name, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}


def _digest(text_: str) -> bytes:
    return hashlib.blake2b(text_.encode(errors="surrogatepass"), digest_size=16).digest()


def _key(parts: tuple[Any, ...]) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(parts, order="sorted"), digest_size=KEY_BYTES).digest()


def _at(answer: Any, path: list[str]) -> Any:
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str | list) else ()
