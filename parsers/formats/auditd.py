r"""Linux audit: the records of auditd's log, of its syslog plugin and of the kernel's own log.

    type=USER_LOGIN msg=audit(1700000001.000:502): pid=900 uid=0 auid=4294967295 ses=4294967295 subj=unconfined msg='op=login acct=6261642075736572 exe="/usr/sbin/sshd" hostname=? addr=203.0.113.9 terminal=ssh res=failed'
    node=web1 type=EXECVE msg=audit(1700000000.123:501): argc=3 a0="bash" a1="-c" a2=6375726C20687474703A2F2F782E6578616D706C652E6E65747C7368
    Nov 29 02:00:00 web1 kernel: audit: type=1400 audit(1795917600.123:45): apparmor="DENIED" operation="open" profile="app" name="/etc/shadow" pid=7 comm="cat"

Records of one event (system call, arguments, paths, title: they have the same serial) are one document; the type of the
first is `event.code`, and `message` has them all, line by line. Names of system calls are those of x86_64 and aarch64, or
what an enriched record says. Values are decoded from hexadecimal where their key may have it. `user` is the process's
own identity in system calls, with who once logged in as `process.entry_leader.user`; in what programs tell it is who
once logged in, and `user.effective` the account; who once logged in (`auid`), that login's number (`ses`), the rules'
keys and a container that a record names are under `tidewaiter.audit`. A socket's address is `destination`, of an accepted
connection `source`. SELinux labels and what was typed (TTY) stay in `message`. Source: audit-userspace's lib/ and auparse/.
"""

from functools import lru_cache
from typing import Any, Final

from parsers.audit_event import ANY_TYPE, HEAD_CHARACTERS, LINE_HEAD, MARK, PROGRAMS, event_fields
from parsers.format import Format
from parsers.syslog_head import head_fields, headed
from parsers.table import Table
from parsers.times import epoch
from parsers.values import NOTHING, Value, made, text

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
_AUDIT = (
    "tidewaiter.audit.session tidewaiter.audit.login.id tidewaiter.audit.login.name tidewaiter.audit.keys "
    "tidewaiter.audit.container_id"
)
_DESTINATION = "destination.address destination.ip destination.port"
_FILE = "file.path file.inode file.mode file.uid file.owner file.gid file.group"

_LISTS: Final = frozenset({"event.category", "event.type", "process.args", "tidewaiter.audit.keys"})
_NUMBERS: Final = frozenset(
    {"process.pid", "process.parent.pid", "process.args_count", "source.port", "destination.port"}
)


@lru_cache(maxsize=64)  # The fields of one record are asked for one after the other.
def _fields_of(record: str) -> dict[str, Any]:
    return event_fields(record.split("\n"))


def _field(name: str) -> Value:
    kind = (
        "keyword[]" if name in _LISTS else "long" if name in _NUMBERS else "ip" if name.endswith(".ip") else "keyword"
    )
    return made(lambda record: _fields_of(record).get(name), "record", kind=kind)


def _table(types: str, names: str, body: str = ".*") -> Table:
    """Return the table of records of these types, which have no other fields than these."""
    return Table(
        dataset="auditd.log",
        pattern=headed(
            PROGRAMS,
            rf"{LINE_HEAD}(?P<record>(?:{types}) (?:msg=)?audit\((?P<time>\d{{9,12}}\.\d{{3}}):\d{{1,20}}\):{body})",
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


_ALL = f"{_EVENT} event.reason {_PROCESS} {_COMMAND} process.title {_ACTOR} {_CALLER} {_TARGET} source.port {_DESTINATION} {_FILE} {_AUDIT}"

EVENT = _table(ANY_TYPE, _ALL, r"[^\n]*\n.*")
"""Several records, each in its line."""
CALL = _table("SYSCALL", f"{_EVENT} {_PROCESS} {_ACTOR} {_CALLER} {_AUDIT}")
ARGUMENTS = _table("EXECVE", f"event.action event.code {_COMMAND}")
PATH = _table("PATH", f"event.action event.code {_FILE} tidewaiter.audit.container_id")
PART = _table(
    "CWD|PROCTITLE|SOCKADDR|EOE",
    f"event.action event.code process.working_directory process.title {_DESTINATION} tidewaiter.audit.container_id",
)
PROGRAM = _table(
    "(?:USER|CRED|ADD|DEL|GRP|SERVICE)_[A-Z_]{1,32}",
    f"{_EVENT} {_PROCESS} {_COMMAND} {_ACTOR} {_TARGET} {_AUDIT}",
    r" (?=[^']{0,2048}msg=').*",
)
OTHER = _table(ANY_TYPE, _ALL)


def _sniff(line: str) -> bool:
    return MARK in line[:HEAD_CHARACTERS]


FORMAT: Final = Format(
    title="Linux audit records",
    tables=(EVENT, CALL, PATH, PART, ARGUMENTS, PROGRAM, OTHER),
    sniff=_sniff,
    images=("auditd",),
)
