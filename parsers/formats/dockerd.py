r"""dockerd and containerd: the daemons' own log, logrus' text or JSON.

    time="2026-11-29T02:00:00.123456789Z" level=info msg="API listen on /run/docker.sock"
    Nov 29 02:00:01 host containerd[812]: time="2026-11-29T02:00:01Z" level=info msg="loading plugin" type=io.containerd.content.v1

The same text comes from many programs in Go: a line by itself is the daemons' where it holds a name that only they have
(or behind the head of syslog, which names the program); otherwise it is read as logfmt or JSON of any logger. Calls of
the API, which dockerd logs where they fail or it debugs, give method and path; where a registry refused a login, a pull
or a push, that is a failed login (`registry_login`), without the user: the daemon does not log it. Behind the head of syslog, keys other
than time, level and a sole msg stay in `message`. Source: the daemons' source.
"""

import re
from typing import Any

import msgspec

from parsers.format import Format
from parsers.logfmt import unquoted
from parsers.syslog_head import head_fields, headed
from parsers.table import Table
from parsers.times import any_time, iso
from parsers.values import Convert, Value, either, level, made, text, to_path, to_port

PROGRAMS = ("dockerd", "containerd")

_CALL = re.compile(r"(?:Calling|Handler for) ([A-Z]{3,7}) (/\S{0,4096})(?: returned error: (.*))?", re.DOTALL)


def _call(group: int, *sources: str) -> Value:
    """A part of a text about a call of dockerd's API: its method (1), its target (2), its error (3)."""

    def part(value: Any) -> str | None:
        found = _CALL.fullmatch(value) if isinstance(value, str) and value[:1] in "CH" else None
        return found[group] or None if found else None

    return made(part, *sources)


_TARGET = _call(2, "msg")
_FIELDS = {
    "log.level": level("level"),
    "error.message": either(text("error", absent={"", "<nil>"}), _call(3, "msg")),
    "http.request.method": _call(1, "msg"),
    "url.original": _TARGET,
    "url.path": made(lambda value: to_path(_TARGET.convert(value)), "msg"),
}

_REFUSAL = re.compile(
    r"(?:Handler for POST /(?:v[\d.]{1,8}/)?(?:auth|images/create|images/\S{1,512}/push)(?:\?\S{0,512})? returned error|Upload failed"
    r"|Not continuing with (?:pull|push) after error): "
    r"(.{0,1024}?(?:status: 40[13]\b|no basic auth credentials|unauthorized: |denied: |incorrect username or password).*)",
    re.DOTALL,
)
_REGISTRY_URL = re.compile(r"\bhttps?://(\[[0-9A-Fa-f:.]{2,45}\]|[^/:\s\"]{1,255})(?::(\d{1,5}))?/")


def refusal(said: Any) -> str | None:
    """Return why a registry let nobody in, of a text that says so."""
    found = _REFUSAL.fullmatch(unquoted(said)) if isinstance(said, str) and said[:1] in "HUN" else None
    return found[1] if found else None


def _registry(group: int) -> Convert:
    def convert(said: Any) -> str | None:
        found = _REGISTRY_URL.search(refusal(said) or "")
        return found[group] if found else None

    return convert


_REFUSED_BY_REGISTRY = {
    "event.category": ["authentication"],
    "event.type": ["info"],
    "event.outcome": "failure",
    "event.action": "registry_login",
}
_REGISTRY_FIELDS = {
    "event.reason": made(refusal, "msg"),
    "destination.address": made(_registry(1), "msg"),
    "destination.port": made(lambda said: to_port(_registry(2)(said)), "msg", kind="long"),
    "tidewaiter.auth.method": made(lambda said: "registry" if refusal(said) else None, "msg"),
}
"""Of a refused login, pull or push: which registry, and why. The user is not in the daemon's log."""

PAIRS = Table(
    dataset="docker.daemon",
    pairs=True,
    requires=("time", "level"),
    time=iso("time"),
    message=text("msg"),
    fields=_FIELDS,
)

JSON = msgspec.structs.replace(PAIRS, pairs=False, requires=("time", "level", "msg"), time=any_time("time"))

_REGISTRY_PAIRS, _REGISTRY_JSON = (
    msgspec.structs.replace(
        table,
        accept=lambda found: refusal(found.get("msg")) is not None,
        constants=_REFUSED_BY_REGISTRY,
        fields={**_FIELDS, **_REGISTRY_FIELDS},
    )
    for table in (PAIRS, JSON)
)

HEADED = Table(
    dataset="docker.daemon",
    pattern=headed(
        PROGRAMS,
        r'time="(?P<time>[\d:.TZ+-]{20,40})" level=(?P<level>[a-z]{4,7}) '
        r'(?P<rest>msg=(?:"(?P<msg>[^"\\]*+(?:\\.[^"\\]*+)*+)"(?=\Z)|.*))',
    ),
    time=iso("time"),
    message=either(made(unquoted, "msg"), text("rest")),
    fields={"log.level": level("level"), **head_fields("dockerd")},
)

_REGISTRY_HEADED = msgspec.structs.replace(
    HEADED,
    accept=lambda found: refusal(found.get("msg")) is not None,
    constants=_REFUSED_BY_REGISTRY,
    fields={**HEADED.fields, **_REGISTRY_FIELDS},
)

_NAMES = (
    "containerd", "=moby", "docker.sock", "Docker daemon", "dockerd", "graphdriver", "libnetwork", "snapshotter",
    "API listen on ", "Upload failed: ", "Not continuing with ", "Container failed to exit", "Loading containers: ", "Handler for ", "Calling HEAD /",
    "Calling GET /", "Calling POST /", "Calling DELETE /",
)  # fmt: skip
"""What only these daemons' lines hold."""


def _sniff(line: str) -> bool:
    if line.startswith('time="2'):
        return " level=" in line[:64] and any(name in line for name in _NAMES)
    if line.startswith("{"):
        return '"level":"' in line and '"msg":"' in line and any(name in line for name in _NAMES)
    return ' time="2' in line[:320] and ("dockerd" in line[:320] or "containerd" in line[:320])


FORMAT = Format(
    title="dockerd and containerd daemon log",
    tables=(_REGISTRY_PAIRS, PAIRS, _REGISTRY_HEADED, HEADED, _REGISTRY_JSON, JSON),
    sniff=_sniff,
    images=("docker", "containerd", "dind"),
)
