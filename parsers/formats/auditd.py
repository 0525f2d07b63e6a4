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

_FIELDS: Final = {
    "keyword[]": "event.category event.type process.args",
    "keyword": (
        "event.action event.code event.outcome event.reason user.id user.name user.group.id user.group.name "
        "user.effective.id user.effective.name user.effective.group.id user.effective.group.name user.target.id "
        "user.target.name group.id group.name source.address source.domain process.name process.executable "
        "process.command_line process.title process.working_directory process.entry_leader.user.id "
        "process.entry_leader.user.name file.path file.inode file.mode file.uid file.owner file.gid file.group "
        "service.name"
    ),
    "long": "process.pid process.parent.pid process.args_count",
    "ip": "source.ip",
}


@lru_cache(maxsize=64)
def _fields_of(record: str) -> dict[str, Any]:
    return fields_of((record_of(record),))


def _field(name: str, kind: str) -> Value:
    return made(lambda record: _fields_of(record).get(name), "record", kind=kind)


RECORD = Table(
    dataset="auditd.log",
    pattern=headed(
        PROGRAMS,
        r"(?:\[ {0,12}\d{1,10}\.\d{1,9}\] )?(?:audit: )?(?:node=(?P<node>\S{1,255}) )?"
        r"type=(?P<record>(?:[A-Z][A-Z0-9_]{1,40}|UNKNOWN\[\d{1,5}\]|\d{4}) "
        r"(?:msg=)?audit\((?P<time>\d{9,12}\.\d{3}):\d{1,20}\):.*)",
        bare=True,
    ),
    time=epoch("time"),
    message=text("text"),
    fields={
        **{name: _field(name, kind) for kind, names in _FIELDS.items() for name in names.split()},
        **{name: value for name, value in head_fields().items() if name.startswith("log.")},
        "log.syslog.hostname": text("node", "hostname", absent=NOTHING),
    },
)


def _sniff(line: str) -> bool:
    return "audit(" in line[:700]


FORMAT: Final = Format(title="Linux audit records", tables=(RECORD,), sniff=_sniff, images=("auditd",))
