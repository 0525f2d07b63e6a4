"""Linux audit records: their keys and values, decoded by what they are and never by how they look, and their fields.

A record is `TYPE msg=audit(SECONDS.MILLIS:SERIAL): BODY`; the body has `key=value` pairs, programs' own ones within
`msg='…'`, and behind a byte 0x1D, or a blank, names that auditd resolved under keys in capitals. Values with a blank, a
quotation mark or a byte outside 0x21 to 0x7E stand as hexadecimal digits, others in quotation marks
(`protocols/syslog-and-audit.md` section 6). The records of one event share its serial: `fields_of` takes one or
several.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from parsers.audit_about import ACCEPTED, PEER, UNSET, audit_fields, peer_fields
from parsers.audit_kinds import SYSCALL_NAMES, SYSCALLS, TYPE_NAMES, TYPES, Kind
from parsers.values import to_address, to_domain, to_integer

ABSENT: Final = frozenset({"", "?", "(null)", "(none)", "(nil)"})
ESCAPED: Final = "#035"
"""What rsyslog makes of the byte 0x1D; it counts where nothing but resolved names follows it."""

ENCODABLE: Final = frozenset(
    {
        "name", "exe", "comm", "cmd", "cwd", "path", "file", "dir", "key", "proctitle", "acct", "data", "watch",
        "device", "vm", "cgroup", "grp", "new_group", "sw", "root_dir", "ocomm",
    }
)  # fmt: skip
"""Keys whose bare values may be hexadecimal; in records of the type EXECVE also the arguments."""

ARGUMENTS_LIMIT: Final = 4096
"""Arguments of one record that are kept."""


class Record(msgspec.Struct, frozen=True):
    """One record: its type, what the kernel says, what a program says in `msg='…'`, and names that auditd resolved."""

    type: str
    said: Mapping[str, str]
    payload: Mapping[str, str]
    names: Mapping[str, str]

    def get(self, key: str) -> str | None:
        """Return a decoded value: the program's, else the kernel's."""
        return self.payload[key] if key in self.payload else self.said.get(key)


_HEAD = re.compile(r"(\S+) (?:msg=)?audit\([^)]*\): ?(.*)", re.DOTALL)
_TYPE_NUMBER = re.compile(r"(?:UNKNOWN\[)?(\d{1,5})\]?")
_PAYLOAD_END = re.compile(r"'(?=\Z| [A-Z][A-Z_0-9]{0,30}=)")
_PAIR = re.compile(
    r'(?<![^ ])([\w\[\]-]{1,64})=("[^"]*"(?= |$)|\{ [^}]{0,512} \}(?= |$)|[^ ]*(?: (?![\w\[\]-]{1,64}=)[^ ]*)*)'
)
_NAMES = re.compile(r'(?:[A-Z][A-Z_0-9-]{0,31}=(?:"[^"]*"|\{ [^}]{0,512} \}|[^ "{][^ ]*|)(?: |\Z))+')
_OLD_LOGIN = re.compile(r"\b(old|new) (auid|ses)=")
_ARGUMENT = re.compile(r"a(\d{1,5})(?:\[(\d{1,5})\])?")
_HEX = re.compile(r"(?:[0-9A-F]{2})+")
_VERDICT = re.compile(r"\bavc: {1,9}(denied|granted) ")


def record_of(text: str) -> Record:
    """Read a record, from its type on."""
    found = _HEAD.fullmatch(text)
    name, body = (found[1], found[2]) if found else (text, "")
    number = _TYPE_NUMBER.fullmatch(name)
    kind = TYPE_NAMES.get(number[1], name) if number else name
    body, mark, enriched = body.partition("\x1d")
    if not mark:
        before, mark, rest = body.rpartition(ESCAPED)
        body, enriched = (before, rest) if mark and _NAMES.fullmatch(rest) else (body, "")
    said, payload = _apart(body.rstrip())
    if kind == "LOGIN":
        said = _OLD_LOGIN.sub(lambda part: f"old-{part[2]}=" if part[1] == "old" else f"{part[2]}=", said)
    outer = _pairs(kind, said)
    if kind.endswith("AVC") and (verdict := _VERDICT.search((payload or said)[:64])):
        outer.setdefault("avc", verdict[1])
    return Record(
        type=kind,
        said={key: value for key, value in outer.items() if not key.isupper()},
        payload=_pairs(kind, payload),
        names={key: value for key, value in outer.items() if key.isupper()} | _pairs(kind, enriched),
    )


def _apart(body: str) -> tuple[str, str]:
    """Return what the kernel says of a body, and what is in `msg='…'`, which ends it but for resolved names."""
    before, found, rest = body.partition("msg='")
    end = _PAYLOAD_END.search(rest) if found else None
    return (body, "") if end is None else (before + rest[end.end() :], rest[: end.start()])


def _pairs(kind: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PAIR.finditer(text.strip()):
        key, raw = match[1], match[2].rstrip()
        if key not in found and (value := decoded(kind, key, raw)) is not None:
            found[key] = value
    return found


def decoded(kind: str, key: str, raw: str) -> str | None:
    """Return a value, or None where there is none."""
    if raw[:1] == '"':
        return raw.strip('"') or None
    if raw in ABSENT:
        return None
    if _HEX.fullmatch(raw) and (key in ENCODABLE or (kind == "EXECVE" and _ARGUMENT.fullmatch(key))):
        return bytes.fromhex(raw).decode("utf-8", "replace")
    return raw


def fields_of(records: Iterable[Record]) -> dict[str, Any]:
    """Return the fields of records that are of one event, by name; what an earlier record says stays."""
    found: dict[str, Any] = {}
    for record in records:
        for name, value in _fields(record):
            if value is not None and value != []:
                found.setdefault(name, value)
    if PEER in found:
        found |= peer_fields(found.pop(PEER), accepted=found.get("event.action") == ACCEPTED)
    return found


def _fields(record: Record) -> Iterable[tuple[str, Any]]:
    kind = _kind(record)
    yield from {
        "event.category": list(kind.category),
        "event.type": list(kind.type),
        "event.action": kind.action,
        "event.code": record.type,
        "event.outcome": _outcome(record),
        "process.pid": to_integer(record.said.get("pid")),
        "process.parent.pid": to_integer(record.said.get("ppid")),
        "process.name": record.get("comm"),
        "process.executable": record.get("exe"),
    }.items()
    yield from _users(record).items()
    yield from _source(record).items()
    yield from audit_fields(record.said, record.payload, record.names).items()
    if record.type in _OF_TYPE:
        yield from _OF_TYPE[record.type](record).items()


def _kind(record: Record) -> Kind:
    if record.type == "SYSCALL":
        return SYSCALLS.get(_syscall(record) or "", Kind("syscall", ("process",), ("info",)))
    kind = TYPES.get(record.type, Kind(record.type.lower()))
    verdict = record.get("apparmor") if record.type in ("AVC", "USER_AVC") else None
    return _APPARMOR.get(verdict, _APPARMOR["STATUS"]) if verdict else kind


_APPARMOR: Final = {
    "DENIED": Kind("violated-apparmor-policy", ("intrusion_detection",), ("denied",)),
    "ALLOWED": Kind("violated-apparmor-policy", ("intrusion_detection",), ("allowed",)),
    "STATUS": Kind("changed-apparmor-policy", ("configuration",), ("change",)),
}
"""What AppArmor's word tells; profiles loaded and the like are its STATUS."""


def _syscall(record: Record) -> str | None:
    number, arch = record.said.get("syscall", ""), record.said.get("arch", "")
    return record.names.get("SYSCALL") or SYSCALL_NAMES.get(arch, {}).get(number)


_OUTCOMES: Final = {"yes": "success", "success": "success", "1": "success", "no": "failure", "failed": "failure"}


def _outcome(record: Record) -> str | None:
    if record.get("apparmor") == "DENIED" or record.said.get("avc") == "denied":
        return "failure"
    result = record.get("success") or record.get("res") or record.get("result")
    return "failure" if result == "0" else _OUTCOMES.get(result or "")


def _identity(key: str, record: Record) -> tuple[str | None, str | None]:
    """Return an id and the name that auditd found for it."""
    number = record.said.get(key)
    if number is None or number in UNSET:
        return None, None
    name = record.names.get(key.upper())
    return number, None if name in UNSET else name


_NOBODY: Final = frozenset({"?", "(unknown)", "(unknown user)", "(invalid user)"})
"""What programs write for an account that they do not know, in quotation marks."""

_OF_ACCOUNT: Final = frozenset(
    {"ADD_USER", "DEL_USER", "USER_MGMT", "USER_CHAUTHTOK", "ACCT_LOCK", "ACCT_UNLOCK", "ROLE_ASSIGN", "ROLE_REMOVE"}
)
_OF_GROUP: Final = frozenset({"ADD_GROUP", "DEL_GROUP", "GRP_MGMT", "GRP_CHAUTHTOK"})


def _users(record: Record) -> dict[str, Any]:
    """Return who: of system calls the process's own identity, of what programs tell the one who once logged in."""
    login, login_name = _identity("auid", record)
    own, own_name = _identity("uid", record)
    if record.type == "LOGIN":
        old, old_name = _identity("old-auid", record)
        return {
            "user.id": old or login,
            "user.name": old_name if old else login_name,
            "user.effective.id": login,
            "user.effective.name": login_name,
        }
    if not record.payload:
        effective, effective_name = _identity("euid", record)
        group, group_name = _identity("gid", record)
        effective_group, effective_group_name = _identity("egid", record)
        return {
            "user.id": own,
            "user.name": own_name,
            "user.group.id": group,
            "user.group.name": group_name,
            "user.effective.id": effective,
            "user.effective.name": effective_name,
            "user.effective.group.id": effective_group,
            "user.effective.group.name": effective_group_name,
            "process.entry_leader.user.id": login,
            "process.entry_leader.user.name": login_name,
        }
    account, number = record.payload.get("acct"), record.payload.get("id")
    account = None if account in _NOBODY else account
    found: dict[str, Any] = {"user.id": login, "user.name": login_name}
    if record.type in _OF_ACCOUNT or record.type in _OF_GROUP:
        target = "user.target" if record.type in _OF_ACCOUNT else "group"
        name = account if record.type in _OF_ACCOUNT else account or record.payload.get("grp")
        return {
            **found,
            "user.effective.id": own,
            "user.effective.name": own_name,
            f"{target}.id": None if number in UNSET else number,
            f"{target}.name": name or record.names.get("ID"),
        }
    if account is None and number is None:
        return {**found, "user.effective.id": own, "user.effective.name": own_name}
    name = account or record.names.get("ID")
    return {
        "user.id": login,
        "user.name": login_name if login else name,
        "user.effective.id": None if number in UNSET else number,
        "user.effective.name": name,
    }


def _source(record: Record) -> dict[str, Any]:
    """Return where a program says that it came from."""
    host, address = record.payload.get("hostname"), record.payload.get("addr")
    peer = address or host
    return {
        "source.address": peer,
        "source.ip": to_address(peer),
        "source.domain": None if host is None else to_domain(host),
    }


def _execve(record: Record) -> dict[str, Any]:
    pieces: dict[int, dict[int, str]] = {}
    for key, value in record.said.items():
        if (found := _ARGUMENT.fullmatch(key)) and len(pieces) < ARGUMENTS_LIMIT:
            pieces.setdefault(int(found[1]), {})[int(found[2] or 0)] = value
    arguments = ["".join(pieces[at][part] for part in sorted(pieces[at])) for at in sorted(pieces)]
    return {
        "process.args": arguments,
        "process.args_count": to_integer(record.said.get("argc")),
        "process.command_line": " ".join(arguments) or None,
    }


def _path(record: Record) -> dict[str, Any]:
    name, mode = record.said.get("name"), record.said.get("mode", "")
    owner, owner_name = _identity("ouid", record)
    group, group_name = _identity("ogid", record)
    return {
        "file.path": name if name and name[0] == "/" else None,
        "file.inode": record.said.get("inode"),
        "file.mode": f"{int(mode, 8) & 0o7777:04o}" if re.fullmatch("[0-7]{1,9}", mode) else None,
        "file.uid": owner,
        "file.owner": owner_name,
        "file.gid": group,
        "file.group": group_name,
    }


def _command(record: Record) -> dict[str, Any]:
    command = record.payload.get("cmd")
    return {
        "process.command_line": command,
        "process.args": command.split() if command else None,
        "process.args_count": len(command.split()) if command else None,
        "process.working_directory": record.payload.get("cwd"),
    }


def _avc(record: Record) -> dict[str, Any]:
    path = record.get("path") or record.get("name")
    return {"file.path": path if path and path[0] == "/" else None}


_OF_TYPE: Final[dict[str, Callable[[Record], dict[str, Any]]]] = {
    "EXECVE": _execve,
    "PATH": _path,
    "USER_CMD": _command,
    "AVC": _avc,
    "SOCKADDR": lambda record: {PEER: record.said.get("saddr")},
    "CWD": lambda record: {"process.working_directory": record.said.get("cwd")},
    "PROCTITLE": lambda record: {"process.title": (record.said.get("proctitle") or "").replace("\0", " ") or None},
    "SERVICE_START": lambda record: {"service.name": record.payload.get("unit")},
    "SERVICE_STOP": lambda record: {"service.name": record.payload.get("unit")},
    "ANOM_ABEND": lambda record: {"event.reason": record.said.get("reason")},
}
"""Fields that only records of one type have."""
