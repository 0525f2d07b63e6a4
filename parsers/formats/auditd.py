r"""Linux audit: the records of auditd's log, of its syslog plugin and of the kernel's own log.

    type=USER_LOGIN msg=audit(1700000001.000:502): pid=900 uid=0 auid=4294967295 ses=4294967295 subj=unconfined msg='op=login acct=6261642075736572 exe="/usr/sbin/sshd" hostname=? addr=203.0.113.9 terminal=ssh res=failed'
    node=web1 type=EXECVE msg=audit(1700000000.123:501): argc=3 a0="bash" a1="-c" a2=6375726C20687474703A2F2F782E6578616D706C652E6E65747C7368
    Nov 29 02:00:00 web1 kernel: audit: type=1400 audit(1795917600.123:45): apparmor="DENIED" operation="open" profile="app" name="/etc/shadow" pid=7 comm="cat"

Each record is a document of its own: system call, arguments, paths and title of one event have the same serial in
`message` and are not joined here. The type is `event.code`. Names of system calls are those of x86_64 and aarch64, or
what an enriched record says. Values are decoded from hexadecimal where their key may have it. `user` is the process's
own identity in system calls, with who once logged in as `process.entry_leader.user`; in what programs tell it is who
once logged in, and `user.effective` the account. A socket's address (SOCKADDR), keys of rules, SELinux labels and what
was typed (TTY) stay in `message`. Source: audit-userspace's lib/ and auparse/.
"""

from functools import lru_cache
from typing import Any, Final

from parsers.audit import fields_of, record_of
from parsers.format import Format
from parsers.syslog_head import head_fields, headed
from parsers.table import Table
from parsers.times import epoch
from parsers.values import NOTHING, Value, made, text

PROGRAMS: Final = ("kernel", "audispd", "audisp-syslog", "audisp-remote", "auditd", "audit")

_EVENT = "event.action event.code event.category event.type event.outcome"
_ACTOR = "user.id user.name user.effective.id user.effective.name"
_PROCESS = "process.pid process.name process.executable"
_COMMAND = "process.args process.args_count process.command_line"
_CALLER = (
    "process.parent.pid process.entry_leader.user.id process.entry_leader.user.name user.group.id user.group.name "
    "user.effective.group.id user.effective.group.name"
)
_TARGET = (
    "user.target.id user.target.name group.id group.name source.address source.ip source.domain service.name "
    "process.working_directory"
)
_FILE = "file.path file.inode file.mode file.uid file.owner file.gid file.group"

_LISTS: Final = frozenset({"event.category", "event.type", "process.args"})
_NUMBERS: Final = frozenset({"process.pid", "process.parent.pid", "process.args_count"})


@lru_cache(maxsize=64)  # The fields of one record are asked for one after the other.
def _fields_of(record: str) -> dict[str, Any]:
    return fields_of((record_of(record),))


def _field(name: str) -> Value:
    kind = "keyword[]" if name in _LISTS else "long" if name in _NUMBERS else "ip" if name == "source.ip" else "keyword"
    return made(lambda record: _fields_of(record).get(name), "record", kind=kind)


def _table(types: str, names: str, body: str = ".*") -> Table:
    """Return the table of records of these types, which have no other fields than these."""
    return Table(
        dataset="auditd.log",
        pattern=headed(
            PROGRAMS,
            r"(?:\[ {0,12}\d{1,10}\.\d{1,9}\] )?(?:audit: )?(?:node=(?P<node>\S{1,255}) )?"
            rf"type=(?P<record>(?:{types}) (?:msg=)?audit\((?P<time>\d{{9,12}}\.\d{{3}}):\d{{1,20}}\):{body})",
            bare=True,
        ),
        time=epoch("time"),
        message=text("text"),
        fields={
            **{name: _field(name) for name in names.split()},
            **{name: value for name, value in head_fields().items() if name.startswith("log.")},
            "log.syslog.hostname": text("node", "hostname", absent=NOTHING),
        },
    )


CALL = _table("SYSCALL", f"{_EVENT} {_PROCESS} {_ACTOR} {_CALLER}")
ARGUMENTS = _table("EXECVE", f"event.action event.code {_COMMAND}")
PATH = _table("PATH", f"event.action event.code {_FILE}")
PART = _table("CWD|PROCTITLE|SOCKADDR|EOE", "event.action event.code process.working_directory process.title")
PROGRAM = _table(
    "(?:USER|CRED|ADD|DEL|GRP|SERVICE)_[A-Z_]{1,32}",
    f"{_EVENT} {_PROCESS} {_COMMAND} {_ACTOR} {_TARGET}",
    r" (?=[^']{0,2048}msg=').*",
)
OTHER = _table(
    r"[A-Z][A-Z0-9_]{1,40}|UNKNOWN\[\d{1,5}\]|\d{4}",
    f"{_EVENT} event.reason {_PROCESS} {_COMMAND} process.title {_ACTOR} {_CALLER} {_TARGET} {_FILE}",
)


def _sniff(line: str) -> bool:
    return "audit(" in line[:700]


FORMAT: Final = Format(
    title="Linux audit records", tables=(CALL, PATH, PART, ARGUMENTS, PROGRAM, OTHER), sniff=_sniff, images=("auditd",)
)
