"""The sentence that an alert is: what was found, who did what, from where, in which container and on which host.

    Shell in a container: root in container web of pod shop/web-1 on node-1: sh -c id

Its parts are texts that whoever is watched may have chosen, so each is one line and bounded.
"""

from collections.abc import Mapping
from typing import Any, Final

from pipelines.detect.rule import Rule

MESSAGE_LIMIT: Final = 1_000
"""Characters of the sentence, and of what an alert keeps of the source's message."""

NAME_LIMIT: Final = 80
"""Characters of the name of somebody or something in it."""

ACT_LIMIT: Final = 200
"""Characters of a command or a request in it."""

ID_SHOWN: Final = 12
"""Characters of a container's id."""

_QUOTES: Final = "\"'"


def title_of(rule: Rule, source: Mapping[str, Any]) -> str:
    """Return the sentence for a rule that holds on a document."""
    words = [*_who(source), *_where(source)]
    act = _act(source)
    parts = [shortened(rule.title, MESSAGE_LIMIT // 2), " ".join(words), shortened(act, ACT_LIMIT)]
    return shortened(": ".join(part for part in parts if part), MESSAGE_LIMIT)


def shortened(text: str, limit: int) -> str:
    """Return a text on one line, cut to a limit."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text[: limit + 1])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _who(source: Mapping[str, Any]) -> list[str]:
    words = []
    user, effective = _name(source, "user", "name"), _name(source, "user", "effective", "name")
    if user or effective:
        words.append(user or effective)
    if effective and user and effective != user:
        words.append(f"as {effective}")
    address = _name(source, "source", "ip") or _name(source, "source", "address")
    if address:
        words.append(f"from {address}")
    return words


def _where(source: Mapping[str, Any]) -> list[str]:
    words = []
    container = _name(source, "container", "name") or _name(source, "container", "id")[:ID_SHOWN]
    resource = _name(source, "orchestrator", "resource", "type")
    namespace, named = _name(source, "orchestrator", "namespace"), _name(source, "orchestrator", "resource", "name")
    if container:
        words.append(f"in container {container}")
    if resource and (namespace or named):
        name = "/".join(filter(None, (namespace, named)))
        is_its_own = container and resource in ("pod", "pods")
        words.append(f"of pod {name}" if is_its_own else f"on {resource} {name}")
    if host := _name(source, "host", "name"):
        words.append(f"on {host}")
    return words


def _act(source: Mapping[str, Any]) -> str:
    """Return the command, the request or the file that it is about."""
    command = _text(source, "process", "command_line", limit=ACT_LIMIT) or _text(source, "process", "executable")
    if command:
        return command
    request = (
        _text(source, "http", "request", "method"),
        _text(source, "url", "original", limit=ACT_LIMIT) or _text(source, "url", "path", limit=ACT_LIMIT),
    )
    return " ".join(filter(None, request)) or _text(source, "file", "path", limit=ACT_LIMIT)


def _name(source: Mapping[str, Any], *path: str) -> str:
    """Return a name within a document, in quotation marks where it could else say who and where by itself."""
    name = _text(source, *path)
    is_one_word = not any(each.isspace() or each in _QUOTES for each in name)
    return name if is_one_word else '"{}"'.format(name.replace('"', "'"))


def _text(source: Mapping[str, Any], *path: str, limit: int = NAME_LIMIT) -> str:
    """Return a text within a document, empty where there is none."""
    here: Any = source
    for name in path:
        if not isinstance(here, Mapping):
            return ""
        here = here.get(name)
    return shortened(here, limit) if isinstance(here, str) else ""
