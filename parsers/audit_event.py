"""Which Linux audit records are of one event, and which of them ends it.

Source: `protocols/syslog-and-audit.md` section 6.4.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from parsers.audit import Record, fields_of, record_of
from parsers.audit_kinds import TYPE_NAMES
from parsers.syslog_head import headed

PROGRAMS: Final = ("kernel", "audispd", "audisp-syslog", "audisp-remote", "auditd", "audit")
"""Who writes audit records behind a syslog head."""

MARK: Final = "audit("
"""What every record has in its head."""

HEAD_CHARACTERS: Final = 700
"""It stands within so many."""

LINE_HEAD: Final = r"(?:\[ {0,12}\d{1,10}\.\d{1,9}\] )?(?:audit: )?(?:node=(?P<node>\S{1,255}) )?type="
"""What may stand before a record's type, behind a syslog head."""

ANY_TYPE: Final = r"[A-Z][A-Z0-9_]{1,40}|UNKNOWN\[\d{1,5}\]|\d{4}"
"""A record's type: its name, or its number where it has none or the kernel itself writes."""

STAMP: Final = r"audit\((?P<time>\d{9,12}\.\d{3}):(?P<serial>\d{1,20})\):"

END: Final = "EOE"

ENDS: Final = frozenset({END, "PROCTITLE"})
"""The last record of an event; auditd leaves END out of its files."""

MANY: Final = frozenset(
    {
        "SYSCALL", "PATH", "IPC", "SOCKETCALL", "CONFIG_CHANGE", "SOCKADDR", "CWD", "EXECVE", "IPC_SET_PERM", "MQ_OPEN",
        "MQ_SENDRECV", "MQ_NOTIFY", "MQ_GETSETATTR", "KERNEL_OTHER", "FD_PAIR", "OBJ_PID", "TTY", "EOE", "BPRM_FCAPS",
        "CAPSET", "MMAP", "NETFILTER_PKT", "NETFILTER_CFG", "SECCOMP", "PROCTITLE", "FEATURE_CHANGE", "REPLACE",
        "KERN_MODULE", "FANOTIFY", "TIME_INJOFFSET", "TIME_ADJNTPVAL", "BPF", "EVENT_LISTENER", "URINGOP", "OPENAT2",
        "DM_CTRL", "DM_EVENT", "AVC", "SELINUX_ERR", "AVC_PATH", "MAC_POLICY_LOAD", "MAC_STATUS", "MAC_CONFIG_CHANGE",
        "LANDLOCK_ACCESS", "LANDLOCK_DOMAIN", "APPARMOR", "ANOM_PROMISCUOUS", "ANOM_ABEND", "ANOM_LINK", "ANOM_CREAT",
        "INTEGRITY_DATA", "INTEGRITY_METADATA", "INTEGRITY_STATUS", "INTEGRITY_HASH", "INTEGRITY_PCR", "INTEGRITY_RULE",
        "LOGIN", "CONTAINER_ID",
    }
)  # fmt: skip
"""Types of records that may have company: the kernel's, by names. What programs and daemons tell stands alone."""

MANY_NUMBERS: Final = range(1300, 2000)
"""The same of types that have no name."""

_RECORD: Final = re.compile(
    headed(
        PROGRAMS,
        rf"{LINE_HEAD}(?P<record>(?P<type>{ANY_TYPE}) (?:msg=)?{STAMP}(?P<body>.*))",
        bare=True,
    ),
    re.DOTALL | re.ASCII,
).fullmatch


class AuditRecord(NamedTuple):
    """A line that is an audit record: what its event is known by, its type by name, and the record itself.

    `text` begins with the type, as `parsers.audit.record_of` reads it; `empty` tells that it says nothing beside it.
    """

    event: str
    type: str
    text: str
    empty: bool

    @property
    def has_company(self) -> bool:
        """Whether further records of the same event may come."""
        number = re.fullmatch(r"(?:UNKNOWN\[)?(\d{1,5})\]?", self.type)
        return int(number[1]) in MANY_NUMBERS if number else self.type in MANY


def audit_record(line: str) -> AuditRecord | None:
    """Read a line's head, or return None where it is no audit record; nothing that a program says can pass for one."""
    if MARK not in line[:HEAD_CHARACTERS]:
        return None
    found = _RECORD(line)
    if found is None or found["repeated"]:
        return None
    number = found["type"].removeprefix("UNKNOWN[").removesuffix("]")
    return AuditRecord(
        event=f"{found['node'] or ''} {found['time']} {found['serial']}",
        type=TYPE_NAMES.get(number, found["type"]),
        text=found["record"],
        empty=not found["body"].strip(),
    )


def event_fields(lines: Sequence[str]) -> dict[str, Any]:
    """Return the ECS fields of an event's records: the first line from its type on, the others as they came.

    Arguments that take several records are put together; of paths that of a folder counts last, for it is the place of
    what the event is about.
    """
    others = [record for record in map(audit_record, lines[1:]) if record is not None]
    records = [record_of(lines[0]), *(record_of(other.text) for other in others)]
    if len(records) == 1:
        return fields_of(records)
    arguments = [record for record in records if record.type == "EXECVE"]
    if len(arguments) > 1:
        said = {key: value for record in reversed(arguments) for key, value in record.said.items()}
        joined = Record("EXECVE", said, {}, arguments[0].names)
        records = [joined if record is arguments[0] else record for record in records if record not in arguments[1:]]
    return fields_of(sorted(records, key=_is_parent))


def _is_parent(record: Record) -> bool:
    return record.type == "PATH" and record.said.get("nametype") == "PARENT"
