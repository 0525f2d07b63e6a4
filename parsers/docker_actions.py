"""What each thing that a Docker Engine tells of is in ECS: category, type, outcome, facts and a plain sentence.

Source: `protocols/docker-events.md` sections 1.2 and 1.5. What an Engine says that is not in these tables keeps its own
action, and is told generically.
"""

import json
from typing import Final, NamedTuple

from parsers.docker_event import CONTAINER

SUCCESS: Final = "success"
FAILURE: Final = "failure"
UNKNOWN: Final = "unknown"

SHOWN_LIMIT: Final = 200
"""Characters of a text that stand in a sentence; the whole is in its field."""

_NAMES: Final = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
SIGNALS: Final = {str(number): f"SIG{name}" for number, name in enumerate(_NAMES.split(), 1)}
"""Names of Linux's signals by their numbers (signal(7), x86 and ARM)."""

ASKED_TO_END: Final = {130: "SIGINT", 137: "SIGKILL", 143: "SIGTERM"}
"""Exit codes of what was told to end: by Ctrl-C, by `docker stop`, or for want of memory. Not known to be a failure."""


class Act(NamedTuple):
    """What an action is. In the sentence stand `{name}`, what it is about, and attributes of the Engine."""

    category: tuple[str, ...]
    type: tuple[str, ...]
    says: str
    outcome: str = SUCCESS
    facts: tuple[str, ...] = ()


_CONFIGURATION: Final = ("configuration",)
_PROCESS: Final = ("process",)
_FILE: Final = ("file",)
_SESSION: Final = ("session",)
_CREATION: Final = ("creation",)
_DELETION: Final = ("deletion",)
_CHANGE: Final = ("change",)
_ACCESS: Final = ("access",)
_INFO: Final = ("info",)
_START: Final = ("start",)
_END: Final = ("end",)

ACTS: Final[dict[str, dict[str, Act]]] = {
    CONTAINER: {
        "create": Act(_CONFIGURATION, _CREATION, "Container {name} was created"),
        "start": Act(_PROCESS, _START, "Container {name} was started"),
        "restart": Act(_PROCESS, _CHANGE, "Container {name} was restarted"),
        "stop": Act(_PROCESS, _CHANGE, "Container {name} was stopped"),
        "pause": Act(_PROCESS, _CHANGE, "Container {name} was paused"),
        "unpause": Act(_PROCESS, _CHANGE, "Container {name} goes on after a pause"),
        "destroy": Act(_CONFIGURATION, _DELETION, "Container {name} was removed"),
        "die": Act(_PROCESS, _END, "Container {name} ended", UNKNOWN),
        "kill": Act(_PROCESS, _CHANGE, "Container {name} was sent signal {signal}"),
        "oom": Act(_PROCESS, _INFO, "In container {name} a process was ended for want of memory", FAILURE),
        "exec_create": Act(_PROCESS, _INFO, "In container {name} {command} was made ready to run"),
        "exec_start": Act(_PROCESS, _START, "In container {name} {command} was started"),
        "exec_die": Act(_PROCESS, _END, "In container {name} {command} ended", UNKNOWN),
        "exec_detach": Act(_PROCESS, _INFO, "In container {name} {command} was detached from"),
        "attach": Act(_SESSION, _START, "Somebody attached to container {name}", facts=("attach",)),
        "detach": Act(_SESSION, _END, "Somebody detached from container {name}"),
        "resize": Act(_SESSION, _INFO, "The terminal of container {name} has now {height} lines of {width} columns"),
        "top": Act(_PROCESS, _ACCESS, "The processes of container {name} were listed"),
        "archive-path": Act(_FILE, _ACCESS, "Files were copied out of container {name}", facts=("copy_out",)),
        "copy": Act(_FILE, _ACCESS, "Files were copied out of container {name}", facts=("copy_out",)),
        "extract-to-dir": Act(_FILE, _CREATION, "Files were copied into container {name}", facts=("copy_in",)),
        "export": Act(_FILE, _ACCESS, "All files of container {name} were exported", facts=("copy_out",)),
        "commit": Act(
            _CONFIGURATION, _CREATION, "Container {name} was made into image {imageRef} {imageID}", facts=("commit",)
        ),
        "rename": Act(_CONFIGURATION, _CHANGE, "Container {oldName} is called {name} now"),
        "update": Act(_CONFIGURATION, _CHANGE, "Limits or the restart policy of container {name} were changed"),
        "health_status": Act(_PROCESS, _INFO, "Container {name} is {text}", UNKNOWN),
        "checkpoint": Act(_PROCESS, _INFO, "Of container {name} a checkpoint was made"),
        "prune": Act(_CONFIGURATION, _DELETION, "Stopped containers were removed, {reclaimed} bytes"),
    },
    "image": {
        "create": Act(_CONFIGURATION, _CREATION, "Image {name} was made"),
        "build": Act(_CONFIGURATION, _CREATION, "Image {name} was built"),
        "pull": Act(_CONFIGURATION, _CREATION, "Image {name} was pulled from its registry"),
        "push": Act(_CONFIGURATION, _ACCESS, "Image {name} was pushed to its registry"),
        "tag": Act(_CONFIGURATION, _CHANGE, "Image {id} is called {name} now"),
        "untag": Act(_CONFIGURATION, _CHANGE, "Image {id} lost a name"),
        "delete": Act(_CONFIGURATION, _DELETION, "Image {name} was removed"),
        "load": Act(_CONFIGURATION, _CREATION, "Image {name} was loaded from a file"),
        "import": Act(_CONFIGURATION, _CREATION, "Image {name} was made from an archive"),
        "save": Act(_CONFIGURATION, _ACCESS, "Image {name} was saved to a file"),
        "prune": Act(_CONFIGURATION, _DELETION, "Unused images were removed, {reclaimed} bytes"),
    },
    "network": {
        "create": Act(_CONFIGURATION, _CREATION, "Network {name} was created"),
        "connect": Act(_CONFIGURATION, _CHANGE, "Container {container} was connected to network {name}"),
        "disconnect": Act(_CONFIGURATION, _CHANGE, "Container {container} was taken off network {name}"),
        "destroy": Act(_CONFIGURATION, _DELETION, "Network {name} was removed"),
        "remove": Act(_CONFIGURATION, _DELETION, "Network {name} was removed"),
        "update": Act(_CONFIGURATION, _CHANGE, "Network {name} was changed"),
        "prune": Act(_CONFIGURATION, _DELETION, "Unused networks were removed"),
    },
    "volume": {
        "create": Act(_CONFIGURATION, _CREATION, "Volume {id} was created"),
        "mount": Act(_CONFIGURATION, _ACCESS, "Volume {id} was mounted in container {container} at {destination}"),
        "unmount": Act(_CONFIGURATION, _INFO, "Volume {id} was unmounted from container {container}"),
        "destroy": Act(_CONFIGURATION, _DELETION, "Volume {id} was removed"),
        "prune": Act(_CONFIGURATION, _DELETION, "Unused volumes were removed, {reclaimed} bytes"),
    },
    "daemon": {"reload": Act(_CONFIGURATION, _CHANGE, "The Engine {name} read its configuration again")},
}

GENERIC: Final = {
    "create": _CREATION,
    "install": _CREATION,
    "pull": _CREATION,
    "remove": _DELETION,
    "delete": _DELETION,
    "destroy": _DELETION,
    "prune": _DELETION,
    "update": _CHANGE,
    "upgrade": _CHANGE,
    "enable": _CHANGE,
    "disable": _CHANGE,
    "set": _CHANGE,
    "reload": _CHANGE,
}
"""What actions mean of any other type: plugins, builders, services, nodes, secrets, configs, and what is not known."""


def act_of(kind: str, action: str) -> Act:
    """Return what an action is, which has no text any more."""
    found = ACTS.get(kind, {}).get(action)
    if found is not None:
        return found
    of_any = GENERIC.get(action)
    says = f"The Engine told of {shown(action, braces=True)} of {shown(kind, braces=True)} {{name}}"
    return Act(_CONFIGURATION, of_any, says) if of_any else Act((), _INFO, says, UNKNOWN)


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(act: Act, known: dict[str, str]) -> str:
    """Return what happened, in one plain sentence; what is not known is a question mark."""
    return act.says.format_map(_Known(known))


def shown(text: str, *, braces: bool = False) -> str:
    """Return a text that somebody chose, as it stands in a sentence: quoted where it is not one plain word."""
    cut = text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…"
    if not cut or not all(character.isalnum() or character in "._-/:@+" for character in cut):
        cut = json.dumps(cut, ensure_ascii=False)
    return cut.replace("{", "{{").replace("}", "}}") if braces else cut


def signal_name(signal: str) -> str:
    """Return a signal's name, for an Engine says its number."""
    return SIGNALS.get(signal, signal)


def outcome_of_exit(code: int) -> str:
    """Return the outcome of a process by its exit code: what was asked to end may have done what it was to."""
    if code == 0:
        return SUCCESS
    return UNKNOWN if code in ASKED_TO_END else FAILURE


def exit_text(code: int) -> str:
    """Return an exit code as it stands in a sentence."""
    return f"exit code {code}{f' ({ASKED_TO_END[code]})' if code in ASKED_TO_END else ''}"


def whole_number(text: str | None) -> int | None:
    """Return what an attribute has as digits, None for what is no number of 64 bits."""
    if text is None or not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 19:
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None
