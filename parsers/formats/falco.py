r"""Falco: alerts as JSON (`json_output: true`), from its standard output, a file, or posted by its `http_output`.

    {"hostname":"node1","output":"22:13:20.123456789: Warning Shell in container (user=root container=web)","output_fields":{"container.id":"3f4e5d6c7b8a","container.name":"web","evt.time":1700000000123456789,"evt.type":"execve","proc.cmdline":"sh -c id","proc.name":"sh","proc.tty":34816,"user.name":"root"},"priority":"Warning","rule":"Terminal shell in container","source":"syscall","tags":["T1059","container","mitre_execution","shell"],"time":"2023-11-14T22:13:20.123456789Z"}
    {"hostname":"node1","output":"22:13:21.000000000: Debug Falco internal: syscall event drop. 5 system calls dropped in last second.","output_fields":{"n_drops":"5"},"priority":"Debug","rule":"Falco internal: syscall event drop","source":"internal","time":"2023-11-14T22:13:21.000000000Z"}

The whole object stands under `falco`, its `output_fields` with their dotted names. `event.kind` is `event`: what makes an
alert of ours is a rule of ours, and anybody can print such a line. `event.severity` is 21, 47, 73 or 99 by the priority.
Techniques and tactics stay in `falco.tags` (`T1059`, `mitre_execution`). A message of Falco's own (source `internal`) is
an event of the host, `events_lost` where it tells of drops. The container that an alert is about is named by
`falco.output_fields.container.id`, twelve digits; see [sensors.md](sensors.md) for where it becomes `container.id`. Not
handled: Falco's plain text, fields of plugins but those below. Source: Falco's documentation, "Outputs" and "Supported
Fields".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.sensors import SEVERITIES, container, severity, text_at
from parsers.table import Table
from parsers.times import any_time
from parsers.values import Value, address, either, identifier, integer, level, made, port, text

_FIELDS: Final = "output_fields."
_NO_VALUE: Final = frozenset({"<NA>", "N/A", "<nil>"})
_TRANSPORTS: Final = frozenset({"tcp", "udp", "icmp"})


def _of(name: str, *more: str) -> Value:
    return text(*(_FIELDS + each for each in (name, *more)), absent=_NO_VALUE)


def _path(value: Any) -> str | None:
    """Return a file's path; `fd.name` is one of a connection as well (`192.0.2.7:40000->198.51.100.9:443`)."""
    return value if isinstance(value, str) and value.startswith("/") and "->" not in value else None


def _transport(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _TRANSPORTS else None


def _is_interactive(tty: Any) -> bool | None:
    return tty != 0 if type(tty) is int else None


def _is_alert(found: Mapping[str, Any]) -> bool:
    priority = found["priority"]
    return (
        isinstance(priority, str)
        and priority.lower() in SEVERITIES
        and isinstance(found["rule"], str)
        and ("output_fields" in found or "output" in found or "source" in found)
    )


_COMMON: Final[dict[str, Value]] = {
    "event.severity": severity("priority"),
    "event.provider": text("source"),
    "log.level": level("priority"),
    "rule.name": text("rule"),
}

ALERT = Table(
    dataset="falco.alerts",
    requires=("rule", "priority", "time"),
    accept=lambda found: _is_alert(found) and found.get("source") != "internal",
    whole="falco",
    time=any_time("time"),
    message=text("output", "message", "rule"),
    constants={"event.category": ["intrusion_detection"], "event.type": ["info"]},
    fields=_COMMON
    | {
        "event.action": _of("evt.type"),
        "process.name": _of("proc.name"),
        "process.command_line": _of("proc.cmdline"),
        "process.executable": _of("proc.exepath"),
        "process.pid": integer(_FIELDS + "proc.pid"),
        "process.working_directory": _of("proc.cwd"),
        "process.interactive": made(_is_interactive, _FIELDS + "proc.tty", kind="boolean"),
        "process.parent.name": _of("proc.pname"),
        "process.parent.command_line": _of("proc.pcmdline"),
        "process.parent.pid": integer(_FIELDS + "proc.ppid"),
        "user.name": either(_of("user.name"), _of("ka.user.name", "ct.user")),
        "user.id": identifier(_FIELDS + "user.uid"),
        "user.group.name": _of("group.name"),
        "user.group.id": identifier(_FIELDS + "group.gid"),
        "file.path": made(_path, _FIELDS + "fs.path.name", _FIELDS + "fd.name"),
        "source.ip": address(_FIELDS + "fd.cip", _FIELDS + "ct.srcip"),
        "source.port": port(_FIELDS + "fd.cport"),
        "destination.ip": address(_FIELDS + "fd.sip"),
        "destination.port": port(_FIELDS + "fd.sport"),
        "network.transport": made(_transport, _FIELDS + "fd.l4proto"),
        "url.original": _of("ka.uri"),
        "user_agent.original": _of("ka.useragent"),
    },
)

INTERNAL = Table(
    dataset="falco.alerts",
    requires=("rule", "priority", "time"),
    accept=_is_alert,
    whole="falco",
    time=any_time("time"),
    message=text("output", "message", "rule"),
    constants={"event.category": ["host"], "event.type": ["info"]},
    fields=_COMMON | {"event.action": made(lambda rule: "events_lost" if "drop" in rule.lower() else None, "rule")},
)


def subject(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container that an alert is about; a process outside containers has `host` for its id."""
    fields = found.get("output_fields")
    return container(
        text_at(fields, "container.id"),
        name=text_at(fields, "container.name"),
        image=text_at(fields, "container.image.repository"),
        tag=text_at(fields, "container.image.tag"),
        digest=text_at(fields, "container.image.digest"),
    )


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"rule"' in line and '"time"' in line


FORMAT = Format(
    title="Falco alerts",
    tables=(ALERT, INTERNAL),
    sniff=_sniff,
    marks=('"priority"',),
    subject=subject,
    images=("falco", "falco-no-driver"),
)
