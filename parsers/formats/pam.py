r"""PAM: what its modules say of logins, sessions, accounts and passwords, for any program.

    Nov 29 02:00:00 web1 sshd[812]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=alice
    <86>Nov 29 02:00:01 su[231]: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)
    Nov 29 02:00:02 web1 sshd[812]: PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=alice

The text is `MODULE(SERVICE:TYPE): TEXT`; `process.name` is the program of the head. Sessions: who opened it is `user.*`,
for whom `user.effective.*`; where nobody is named (`by (uid=0)`, a daemon) the session's user is `user.*`. A failure's
user stands at the end of the line, so that a name cannot imitate what is before it. `N more` failures are one document;
the count stays in `message`. Also `unix_chkpwd`. Texts of other modules give their head. Source: Linux-PAM's modules.
"""

from typing import Final

from parsers.auth import ABSENT, CLOSED, FAILED, OPENED, auth_table, host_fields
from parsers.format import Format
from parsers.values import identifier, text

_SERVICE = r"\([^\s()]{0,128}:(?:auth|account|session|chauthtok|setcred)\)"
_MODULE = rf"pam_[a-z0-9_]{{1,64}}{_SERVICE}: "
_USER_NAME = {"user.name": text("user", absent=ABSENT)}

FAILURE = auth_table(
    None,
    rf"(?:{_MODULE}|PAM \d{{1,9}} more )authentication failures?; logname=(?P<logname>\S{{0,256}}) uid=\d{{1,10}} euid=\d{{1,10}}"
    r" tty=\S{0,256} ruser=(?P<remote>\S{0,256}) rhost=(?P<address>\S{0,256})(?: {1,2}user=(?P<user>.*)| )?",
    {**FAILED, "event.action": "authentication_failure"},
    {**_USER_NAME, **host_fields(), "source.user.name": text("remote", absent=ABSENT)},
    bare=True,
)

UNKNOWN = auth_table(
    None,
    rf"{_MODULE}(?P<reason>check pass; user unknown|auth could not identify password|bad username|conversation failed)"
    r"(?: for)?(?: \[(?P<user>.*)\])?",
    {**FAILED, "event.action": "authentication_error"},
    {"event.reason": text("reason", absent=ABSENT), **_USER_NAME},
    bare=True,
)

UNMET = auth_table(
    None,
    rf"{_MODULE}requirement \"[^\"\r]{{1,256}}\" not met by user \"(?P<user>.{{0,512}})\"",
    {**FAILED, "event.action": "authentication_error", "event.reason": "requirement not met"},
    _USER_NAME,
    bare=True,
)

OPEN_BY = auth_table(
    None,
    rf"{_MODULE}session opened for user (?P<target>[^\s()]{{1,256}})(?:\(uid=(?P<target_id>\d{{1,10}})\))?"
    r" by (?P<user>[^\s()]{1,256})\(uid=(?P<user_id>\d{1,10})\)",
    {**OPENED, "event.action": "logged-on"},
    {
        **_USER_NAME,
        "user.id": identifier("user_id"),
        "user.effective.name": text("target", absent=ABSENT),
        "user.effective.id": identifier("target_id"),
    },
    bare=True,
)

OPEN = auth_table(
    None,
    rf"{_MODULE}session opened for user (?P<user>[^\s()]{{1,256}})(?:\(uid=(?P<user_id>\d{{1,10}})\))?(?: by \(uid=\d{{1,10}}\))?",
    {**OPENED, "event.action": "logged-on"},
    {**_USER_NAME, "user.id": identifier("user_id")},
    bare=True,
)

CLOSE = auth_table(
    None,
    rf"{_MODULE}session closed for user (?P<user>[^\s()]{{1,256}})",
    {**CLOSED, "event.action": "logged-off"},
    _USER_NAME,
    bare=True,
)

PASSWORD = auth_table(
    None,
    rf"{_MODULE}password changed for (?P<user>\S{{1,256}})",
    {
        "event.category": ["iam"],
        "event.type": ["user", "change"],
        "event.outcome": "success",
        "event.action": "password-changed",
    },
    {**_USER_NAME, "user.target.name": text("user", absent=ABSENT)},
    bare=True,
)

ACCOUNT = auth_table(
    None,
    rf"{_MODULE}(?:(?P<reason>expired password|password expired) for user (?P<user>\S{{1,256}})"
    r"|account (?P<expired>\S{1,256}) has expired)(?: \([^\r]{1,200})?",
    {**FAILED, "event.action": "account_expired"},
    {"event.reason": text("reason", absent=ABSENT), "user.name": text("user", "expired", absent=ABSENT)},
    bare=True,
)

LOCKED = auth_table(
    None,
    rf"{_MODULE}Consecutive login failures for user (?P<user>.{{1,512}}) account temporarily locked",
    {**FAILED, "event.action": "account-locked"},
    _USER_NAME,
    bare=True,
)

CHECKED = auth_table(
    ("unix_chkpwd",),
    r"password check failed for user \((?P<user>.{0,512})\)",
    {**FAILED, "event.action": "authentication_failure"},
    _USER_NAME,
)

OTHER = auth_table(None, rf"{_MODULE}.*", bare=True)


def _sniff(line: str) -> bool:
    head = line[:500]
    return "pam_" in head or "PAM " in head or "unix_chkpwd" in head


FORMAT: Final = Format(
    title="PAM modules",
    tables=(FAILURE, OPEN, OPEN_BY, CLOSE, UNKNOWN, PASSWORD, ACCOUNT, LOCKED, CHECKED, UNMET, OTHER),
    sniff=_sniff,
)
