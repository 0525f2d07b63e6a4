"""Processes that were started in running containers: their beginning and their end are told with the same facts.

What `exec_create` and `exec_start` say, and what the Engine answers of the exec, is remembered until `exec_die`
(`pipelines.trail_state`), by the Engine's id of it; the end repeats all of it. Whose exec it is must fit twice: the
container of the event, and the one that the Engine's answer names.
"""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from parsers.docker_actions import exit_text, outcome_of_exit, shown, whole_number
from parsers.docker_event import SECOND_NS, Event, EventRecord, Exec
from parsers.facts import ROOT, Command, command_facts, is_root
from parsers.probes import ProbeRule
from pipelines.enrich.docker import Inspected
from pipelines.state import State
from pipelines.trail_state import KnownExec
from pipelines.trails.docker_said import EXEC_ID, EXIT_CODE, Attributes, Said, answer_about, date_of, message_of

START_NOT_SEEN: Final = "_start_not_seen"

DIGEST_BYTES: Final = 12

SHELL: Final = ("/bin/sh", "-c")
"""What runs a health check that is a script, where the image names no other shell."""


class Place(msgspec.Struct):
    """Where an exec was started: source, what is known of the container, its image's and its own name in documents.

    `probes` are those that the operator lists.
    """

    source: str
    inspected: Inspected | None
    image: str
    name: str
    probes: tuple[ProbeRule, ...]


def say_exec(said: Said, record: EventRecord, found: Attributes, place: Place, state: State) -> None:
    """Add what is known of the exec to what its event says."""
    event = record.event
    identifier, asked = identified(record, found)
    known, was_there = _known(record, identifier, asked, place.source, state)
    if identifier:
        said.own["exec"] = {"id": identifier}
    _leave_out(said, identifier)
    process = _process(known, record)
    if identifier:
        process = {"entity_id": entity_id(event.actor.id, identifier), **process}
    user = _user(known, place.inspected)
    if user:
        process["user"] = said.fields["user"] = user
        said.related["user"] = [user["name"]] if "name" in user else []
    _put_rights(said, known, place)
    if known.tty:
        said.event["category"] = [*said.event["category"], "session"]
    if event.name == "exec_die":
        _put_end(said, process, known, event, _exit_code(found, asked))
        if not was_there:
            said.tags.append(START_NOT_SEEN)
    elif known.started_ns and (start := date_of(known.started_ns)):
        process["start"] = start
    said.fields["process"] = process
    said.message = message_of(event, found.said, _shown(known, user)) + _ending(process, said.event)


def identified(record: EventRecord, found: Attributes) -> tuple[str, Exec | None]:
    """Return the id of an event's exec, empty where it is not proven, and what the Engine said of that very exec."""
    asked = answer_about(record)
    said = found.said.get(EXEC_ID, "")
    if said:
        return said, asked if asked is not None and asked.id == said else None
    # Forged, or not known to be the Engine's: its own answer, of an exec of this container, is its word.
    return (asked.id, asked) if asked is not None else ("", None)


def _leave_out(said: Said, identifier: str) -> None:
    """Leave out of the event's own attributes the id that stands in its field."""
    attributes = said.rest.get("attributes", {})
    if attributes.get(EXEC_ID) == identifier:
        del attributes[EXEC_ID]
        if not attributes:
            del said.rest["attributes"]


def entity_id(container: str, identifier: str) -> str:
    """Return `process.entity_id` of an exec: short, and the same in all that is told of it."""
    return blake2b(f"{container}/{identifier}".encode(), digest_size=DIGEST_BYTES).hexdigest()


def _known(
    record: EventRecord, identifier: str, asked: Exec | None, source: str, state: State
) -> tuple[KnownExec, bool]:
    """Return what is known of an exec with this event, remember it until its end, and tell whether it was known."""
    event, key = record.event, (source, identifier)
    before = state.execs.get(key) if identifier else None
    if before is not None and before.container != event.actor.id:
        before = None
    known = before or KnownExec(event.actor.id)
    if event.text:
        known = msgspec.structs.replace(known, command=_as_given(event.text, asked))
    if asked is not None and asked.process_config is not None and _is_of(asked, known.command, record):
        process = asked.process_config
        known = msgspec.structs.replace(
            known,
            words=process.words,
            tty=process.tty,
            stdin=asked.open_stdin,
            privileged=process.privileged,
            user=process.user,
            pid=asked.pid or known.pid,
            folder=asked.working_dir or process.working_dir,
            names=tuple(asked.env or process.env or ()),
        )
    if event.name == "exec_start":
        known = msgspec.structs.replace(known, started_ns=event.time)
    if event.name == "exec_die":
        if before is not None:
            state.execs.take(key)
    elif identifier and known != before:
        state.execs.put(key, known)
    return known, before is not None


def _as_given(text: str, asked: Exec | None) -> str:
    """Return a command without the space that the Engine puts behind a program that has no arguments."""
    process = asked.process_config if asked is not None else None
    return text if process is not None and process.arguments else text.removesuffix(" ")


def _is_of(asked: Exec, command: str, record: EventRecord) -> bool:
    """Tell whether what the Engine answered is of this command, as far as both are whole."""
    if not record.has_whole_command or not command or asked.process_config is None:
        return True
    return " ".join(asked.process_config.words) == command


def _process(known: KnownExec, record: EventRecord) -> dict[str, Any]:
    """Return `process.*`; arguments are never guessed from a command's text."""
    made: dict[str, Any] = {}
    if known.command or known.words:
        made["command_line"] = known.command or " ".join(known.words or ())
    if known.words:
        made["args"] = list(known.words)
        if record.has_whole_command:
            made["args_count"] = len(known.words)
        if known.words[0].startswith("/"):
            made["executable"] = known.words[0]
        name = known.words[0].rpartition("/")[2]
        made |= {"name": name} if name else {}
    if known.pid > 0:
        made["pid"] = known.pid
    if known.tty is not None:
        made["interactive"] = known.tty
    if known.folder:
        made["working_directory"] = known.folder
    if known.names:
        made["env_vars"] = list(known.names)
    return made


def _user(known: KnownExec, inspected: Inspected | None) -> dict[str, str]:
    """Return who the process runs as, inside; nothing where that is not known."""
    user = known.user
    if user == "":
        user = _user_of(inspected)
    if user is None:
        return {}
    if is_root(user):
        return {"id": ROOT[1], "name": ROOT[2]}
    name = user.partition(":")[0]
    return {"id": name} if name.isascii() and name.isdigit() else {"name": name}


def _user_of(inspected: Inspected | None) -> str | None:
    """Return the user of a container, empty for its image's; None where it could not be asked for."""
    if inspected is None or inspected.container.host_config is None:
        return None
    return inspected.container.config.user


def _put_rights(said: Said, known: KnownExec, place: Place) -> None:
    """Say what the Engine says of terminal, input and rights, and the facts that follow."""
    own = said.own.setdefault("exec", {})
    for name, value in (("tty", known.tty), ("stdin", known.stdin), ("privileged", known.privileged)):
        if value is not None:
            own[name] = value
    words = known.words if known.words is not None else tuple(known.command.split(" "))
    command = Command(
        words=words,
        tty=known.tty or False,
        privileged=known.privileged or False,
        user=known.user or "",
        container_user=_user_of(place.inspected),
    )
    said.facts += command_facts(command)
    probe = probe_of(known, place)
    if probe:
        own["probe"] = probe
        said.facts.append("probe")
        said.event["reason"] = "health check" if probe == "healthcheck" else "listed probe"
    if not own:
        del said.own["exec"]


def probe_of(known: KnownExec, place: Place) -> str:
    """Tell whether a machine started it, by all that the Engine says of it; empty: not known to be one."""
    if known.words is None or known.tty or known.stdin or known.privileged:
        return ""
    inspected = place.inspected
    if (
        inspected is not None
        and known.user == inspected.container.config.user
        and known.words == healthcheck_words(inspected)
    ):
        return "healthcheck"
    return "listed" if any(rule.fits(known.words, place.image, place.name) for rule in place.probes) else ""


def healthcheck_words(inspected: Inspected) -> tuple[str, ...]:
    """Return the command of a container's own check as the Engine runs it; nothing where it has none."""
    check = inspected.container.config.healthcheck
    match (check.test or []) if check is not None else []:
        case ["CMD", *words]:
            return tuple(words)
        case ["CMD-SHELL", script, *_]:
            return (*(inspected.container.config.shell or SHELL), script)
    return ()


def _exit_code(found: Attributes, asked: Exec | None) -> int | None:
    """Return how it ended by the Engine's answer, else by an attribute that is its own."""
    if asked is not None and not asked.running and asked.exit_code is not None:
        return asked.exit_code
    return whole_number(found.said.get(EXIT_CODE))


def _put_end(said: Said, process: dict[str, Any], known: KnownExec, event: Event, code: int | None) -> None:
    """Say how and when it ended, and how long it ran."""
    if code is not None:
        process["exit_code"] = code
        said.event["outcome"] = outcome_of_exit(code)
    end, start = date_of(event.time), date_of(known.started_ns)
    if end:
        process["end"] = said.event["end"] = end
    if start:
        process["start"] = said.event["start"] = start
        if event.time >= known.started_ns:
            said.event["duration"] = event.time - known.started_ns


def _shown(known: KnownExec, user: dict[str, str]) -> str:
    """Return a command as it stands in the sentence."""
    command = shown(known.command) if known.command else "a process"
    who = user.get("name") or user.get("id")
    return f"{command}{f' as {shown(who)}' if who else ''}{' with a terminal' if known.tty else ''}"


def _ending(process: dict[str, Any], event: dict[str, Any]) -> str:
    code, duration = process.get("exit_code"), event.get("duration")
    after = f" after {duration / SECOND_NS:.3f} s" if duration is not None else ""
    return f"{after}{f': {exit_text(code)}' if code is not None else ''}"
