r"""Tetragon: events as JSON, of its export file, the log of its `export-stdout` container, or `tetra getevents`.

    {"process_exec":{"process":{"exec_id":"bm9kZTE6MTox","pid":4711,"uid":0,"cwd":"/","binary":"/usr/bin/curl","arguments":"https://shop.example.com/ -s","flags":"execve rootcwd","start_time":"2026-11-29T02:00:00.100000000Z","auid":4294967295,"pod":{"namespace":"shop","name":"web-0","container":{"id":"containerd://3f4e5d6c7b8a","name":"web","image":{"id":"example.com/shop/web@sha256:aa","name":"example.com/shop/web:1.2"},"pid":12}},"docker":"3f4e5d6c7b8a","parent_exec_id":"bm9kZTE6MDow","tid":4711},"parent":{"exec_id":"bm9kZTE6MDow","pid":1,"uid":0,"binary":"/bin/sh"}},"node_name":"node1","time":"2026-11-29T02:00:00.100000000Z"}
    {"process_exit":{"process":{"exec_id":"bm9kZTE6MTox","pid":4711,"uid":0,"binary":"/usr/bin/curl"},"signal":"SIGKILL","time":"2026-11-29T02:00:01Z"},"node_name":"node1","time":"2026-11-29T02:00:01Z"}
    {"process_kprobe":{"process":{"exec_id":"bm9kZTE6Mjoy","pid":4712,"uid":0,"binary":"/bin/cat","arguments":"/etc/shadow"},"function_name":"security_file_permission","args":[{"file_arg":{"path":"/etc/shadow","permission":"-rw-r-----"}},{"int_arg":4}],"action":"KPROBE_ACTION_POST","policy_name":"secrets"},"node_name":"node1","time":"2026-11-29T02:00:02Z"}

The whole object stands under `tetragon`. `process.entity_id` is Tetragon's `exec_id`: the same for a process's start, its
end and all that it did. A policy's name is `rule.name`, what it watches `event.action`; files and connections are taken
from the arguments. The number that a zero would be is left out by Tetragon: an end without status and signal is exit
code 0. The container that an event is about is named by `tetragon.process_exec.process.pod.container.id` (or `docker`);
see [sensors.md](sensors.md) for where it becomes `container.id`. Lines that tell of events left out
(`rate_limit_info`) are events of the host, `events_lost`. Source: Tetragon's documentation, "Events" and "gRPC API".
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.sensors import container, date, inside, program, text_at, texts
from parsers.table import Table
from parsers.times import iso
from parsers.values import (
    Value,
    identifier,
    integer,
    made,
    of_object,
    otherwise,
    text,
    to_address,
    to_integer,
    to_port,
)

DATASET: Final = "cilium_tetragon.log"
_ARGUMENTS_LOOKED_AT: Final = 16
"""Arguments of one call; the kernel's functions have six at most."""

_FILES: Final = ("file_arg", "path_arg", "linux_binprm_arg")
_SOCKETS: Final = ("sock_arg", "skb_arg", "sockaddr_arg")
_TYPES: Final = {"network": "connection", "file": "access", "process": "info"}
_TRANSPORTS: Final = {"IPPROTO_TCP": "tcp", "IPPROTO_UDP": "udp", "IPPROTO_SCTP": "sctp", "IPPROTO_ICMP": "icmp"}
_NETWORKS: Final = {"AF_INET": "ipv4", "AF_INET6": "ipv6"}


def command_line(process: Any) -> str | None:
    """Return a process's program and arguments as Tetragon joins them: an argument with spaces is in quotes."""
    binary, arguments = text_at(process, "binary"), text_at(process, "arguments")
    return " ".join(part for part in (binary, arguments) if part) or None


def argument(arguments: Any, kinds: tuple[str, ...], *path: str) -> Any:
    """Return what the first of a call's arguments of these kinds has at a path."""
    for each in arguments[:_ARGUMENTS_LOOKED_AT] if isinstance(arguments, list) else ():
        for kind in kinds:
            found = inside(each, kind, *path)
            if found is not None:
                return found
    return None


def subject(arguments: Any) -> str:
    """Return what a call is about, as ECS's category: connections, files, else processes."""
    if argument(arguments, _SOCKETS) is not None:
        return "network"
    return "file" if argument(arguments, _FILES) is not None else "process"


def category(event: Any) -> list[str]:
    """Return the category of a call by what it is about."""
    return [subject(inside(event, "args"))]


def event_type(event: Any) -> list[str]:
    """Return ECS's types of a call."""
    return [_TYPES[subject(inside(event, "args"))]]


def file_path(arguments: Any) -> str | None:
    """Return the path of the file that a call is about."""
    found = argument(arguments, _FILES, "path")
    return found if isinstance(found, str) and found else None


def exit_code(event: Any) -> int | None:
    """Return the status of a process that ended; one that a signal ended has none."""
    return None if text_at(event, "signal") else to_integer(inside(event, "status") or 0)


def _told(what: str, event: Any) -> str | None:
    """Return an event in a sentence: what happened, to which file or address, by which command."""
    about = file_path(inside(event, "args")) or ""
    address = argument(inside(event, "args"), _SOCKETS, "daddr")
    if isinstance(address, str):
        about = f"{address}:{argument(inside(event, 'args'), _SOCKETS, 'dport') or 0}"
    command = command_line(inside(event, "process")) or ""
    return " ".join(part for part in (what, about, "by" if about and command else "", command) if part)


def _process(at: str, field: str = "process") -> dict[str, Value]:
    """Return the fields of a process that stands at a path."""
    return {
        f"{field}.entity_id": text(f"{at}.exec_id"),
        f"{field}.pid": integer(f"{at}.pid"),
        f"{field}.executable": text(f"{at}.binary"),
        f"{field}.name": program(f"{at}.binary"),
        f"{field}.command_line": of_object(command_line, at),
        f"{field}.working_directory": text(f"{at}.cwd"),
        f"{field}.start": date(f"{at}.start_time"),
    }


def _table(kind: str, *, more: dict[str, Value], constants: dict[str, Any], message: Value) -> Table:
    """Return the table of one kind of event."""
    at = f"{kind}.process"
    return Table(
        dataset=DATASET,
        requires=(f"{at}.binary",),
        whole="tetragon",
        time=iso("time"),
        message=message,
        constants=constants,
        fields={
            **_process(at),
            **_process(f"{kind}.parent", "process.parent"),
            "process.thread.id": integer(f"{at}.tid"),
            "process.thread.capabilities.effective": texts(f"{at}.cap.effective"),
            "user.id": identifier(f"{at}.uid"),
            **more,
        },
    )


def _socket(kind: str, name: str, convert: Any, fits: str = "keyword") -> Value:
    return made(lambda arguments: convert(argument(arguments, _SOCKETS, name)), f"{kind}.args", kind=fits)


def _call(kind: str, *actions: str) -> Table:
    """Return the table of events of tracing policies."""
    constant = kind.removeprefix("process_")
    return _table(
        kind,
        more={
            "event.category": of_object(category, kind, kind="keyword[]"),
            "event.type": of_object(event_type, kind, kind="keyword[]"),
            "event.action": otherwise(text(*(f"{kind}.{name}" for name in actions)), constant),
            "rule.name": text(f"{kind}.policy_name"),
            "rule.description": text(f"{kind}.message"),
            "file.path": made(file_path, f"{kind}.args"),
            "source.ip": _socket(kind, "saddr", to_address, "ip"),
            "source.port": _socket(kind, "sport", to_port, "long"),
            "destination.ip": _socket(kind, "daddr", to_address, "ip"),
            "destination.port": _socket(kind, "dport", to_port, "long"),
            "network.transport": _socket(kind, "protocol", _named(_TRANSPORTS)),
            "network.type": _socket(kind, "family", _named(_NETWORKS)),
        },
        constants={},
        message=of_object(lambda event: _told(_first(event, actions) or constant, event), kind),
    )


def _first(event: Any, names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := text_at(event, name))), "")


def _named(names: dict[str, str]) -> Any:
    return lambda value: names.get(value) if isinstance(value, str) else None


EXEC = _table(
    "process_exec",
    more={},
    constants={"event.category": ["process"], "event.type": ["start"], "event.action": "exec"},
    message=of_object(lambda event: _told("exec", event), "process_exec"),
)
EXIT = _table(
    "process_exit",
    more={"process.exit_code": of_object(exit_code, "process_exit", kind="long"), "process.end": date("time")},
    constants={"event.category": ["process"], "event.type": ["end"], "event.action": "exit"},
    message=of_object(lambda event: _told(f"exit {text_at(event, 'signal')}".strip(), event), "process_exit"),
)
LOADER = _table(
    "process_loader",
    more={"file.path": text("process_loader.path")},
    constants={"event.category": ["library"], "event.type": ["start"], "event.action": "loader"},
    message=of_object(lambda event: _told(f"load {text_at(event, 'path')}".strip(), event), "process_loader"),
)
LOST = Table(
    dataset=DATASET,
    requires=("rate_limit_info", "time"),
    whole="tetragon",
    time=iso("time"),
    constants={
        "event.category": ["host"],
        "event.type": ["info"],
        "event.action": "events_lost",
        "event.reason": "rate limit",
    },
    fields={},
)


def container_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container that an event is about; `docker` is the beginning of its id where no pod is known."""
    process = next((inside(each, "process") for name, each in found.items() if name.startswith("process_")), None)
    about = inside(process, "pod", "container")
    name, colon, tag = text_at(about, "image", "name").rpartition(":")
    return container(
        text_at(about, "id").rpartition("//")[2] or text_at(process, "docker"),
        name=text_at(about, "name"),
        image=name if colon and "/" not in tag else text_at(about, "image", "name"),
        tag=tag if colon and "/" not in tag else "",
        digest=text_at(about, "image", "id").rpartition("@")[2],
    )


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"time"' in line


FORMAT = Format(
    title="Tetragon events",
    tables=(
        EXEC,
        EXIT,
        _call("process_kprobe", "function_name"),
        _call("process_tracepoint", "event"),
        _call("process_uprobe", "symbol", "path"),
        _call("process_lsm", "function_name"),
        LOADER,
        LOST,
    ),
    sniff=_sniff,
    marks=('"exec_id"', '"rate_limit_info"'),
    subject=container_of,
)
