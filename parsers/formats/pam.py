r"""PAM: what its modules say of logins, sessions, accounts and passwords, for any program.

    Nov 29 02:00:00 web1 sshd[812]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=alice
    <86>Nov 29 02:00:01 su[231]: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)
    Nov 29 02:00:02 web1 sshd[812]: PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=alice

The text is `MODULE(SERVICE:TYPE): TEXT`; `process.name` is the program of the head. Sessions: who opened it is `user.*`,
for whom `user.effective.*`; where nobody is named (`by (uid=0)`, a daemon) the session's user is `user.*`, and of login
that is a login. A failure's user stands at the end of the line, so that a name cannot imitate what is before it. `N more` failures are one document;
the count stays in `message`. Also `unix_chkpwd`. Texts of other modules give their head. Source: Linux-PAM's modules.
"""

from functools import partial
from typing import Final

from parsers.auth import CLOSED, FAILED, OPENED, REASON, TERMINAL, USER_NAME, auth_table, host_fields, named
from parsers.format import Format
from parsers.values import identifier

_SERVICE = r"\([^\s()]{0,128}:(?:auth|account|session|chauthtok|setcred)\)"
_LOGIN_MODULE = r"pam_[a-z0-9_]{1,64}\(login:session\): "
_MODULE = rf"pam_[a-z0-9_]{{1,64}}{_SERVICE}: "

_table = partial(auth_table, None, bare=True)

FAILURE = _table(
    rf"(?:{_MODULE}|PAM \d{{1,9}} more )(?P<reason>authentication failures?); logname=(?P<logname>\S{{0,256}}) uid=\d{{1,10}} euid=\d{{1,10}}"
    r" tty=(?P<terminal>\S{0,256}) ruser=(?P<remote>\S{0,256}) rhost=(?P<address>\S{0,256})(?: {1,2}user=(?P<user>.*)| )?",
    {**FAILED, "event.action": "authentication_failure"},
    {**REASON, **USER_NAME, **host_fields(), "source.user.name": named("remote"), **TERMINAL},
)

UNKNOWN = _table(
    rf"{_MODULE}(?P<reason>check pass; user unknown|auth could not identify password|bad username|conversation failed)"
    r"(?: for)?(?: \[(?P<user>.*)\])?",
    {**FAILED, "event.action": "authentication_error"},
    {**REASON, **USER_NAME},
)

UNMET = _table(
    rf"{_MODULE}requirement \"[^\"\r]{{1,256}}\" not met by user \"(?P<user>.{{0,512}})\"",
    {**FAILED, "event.action": "authentication_error", "event.reason": "requirement not met"},
    USER_NAME,
)

OPEN_BY = _table(
    rf"{_MODULE}session opened for user (?P<target>[^\s()]{{1,256}})(?:\(uid=(?P<target_id>\d{{1,10}})\))?"
    r" by (?P<user>[^\s()]{1,256})\(uid=(?P<user_id>\d{1,10})\)",
    {**OPENED, "event.action": "logged-on"},
    {
        **USER_NAME,
        "user.id": identifier("user_id"),
        "user.effective.name": named("target"),
        "user.effective.id": identifier("target_id"),
    },
)

OPEN_BY_ID = _table(
    rf"{_MODULE}session opened for user (?P<target>[^\s()]{{1,256}})(?:\(uid=(?P<target_id>\d{{1,10}})\))?"
    r" by \(uid=(?P<user_id>[1-9]\d{0,9})\)",
    {**OPENED, "event.action": "logged-on"},
    {
        "user.id": identifier("user_id"),
        "user.effective.name": named("target"),
        "user.effective.id": identifier("target_id"),
    },
)
"""sudo's, which names nobody but by number."""

OPEN_LOGIN = _table(
    rf"{_LOGIN_MODULE}session opened for user (?P<user>[^\s()]{{1,256}})(?:\(uid=(?P<user_id>\d{{1,10}})\))?"
    r" by (?:LOGIN)?\(uid=0\)",
    {**OPENED, "event.category": ["authentication", "session"], "event.action": "logged-on"},
    {**USER_NAME, "user.id": identifier("user_id")},
)
"""That of login is all that shadow's says of a user who is not root."""

OPEN = _table(
    rf"{_MODULE}session opened for user (?P<user>[^\s()]{{1,256}})(?:\(uid=(?P<user_id>\d{{1,10}})\))?(?: by \(uid=0\))?",
    {**OPENED, "event.action": "logged-on"},
    {**USER_NAME, "user.id": identifier("user_id")},
)

CLOSE = _table(
    rf"{_MODULE}session closed for user (?P<user>[^\s()]{{1,256}})",
    {**CLOSED, "event.action": "logged-off"},
    USER_NAME,
)

PASSWORD = _table(
    rf"{_MODULE}password changed for (?P<user>\S{{1,256}})",
    {
        "event.category": ["iam"],
        "event.type": ["user", "change"],
        "event.outcome": "success",
        "event.action": "password-changed",
    },
    {**USER_NAME, "user.target.name": named("user")},
)

ACCOUNT = _table(
    rf"{_MODULE}(?:(?P<reason>expired password|password expired) for user (?P<user>\S{{1,256}})"
    r"|account (?P<expired>\S{1,256}) has expired)(?: \([^\r]{1,200})?",
    {**FAILED, "event.action": "account_expired"},
    {**REASON, "user.name": named("user", "expired")},
)

LOCKED = _table(
    rf"{_MODULE}Consecutive login failures for user (?P<user>.{{1,512}}) account temporarily locked",
    {**FAILED, "event.action": "account-locked"},
    USER_NAME,
)

CHECKED = auth_table(
    ("unix_chkpwd",),
    r"(?P<reason>password check failed) for user \((?P<user>.{0,512})\)",
    {**FAILED, "event.action": "authentication_failure"},
    {**REASON, **USER_NAME},
)

CHECKED_NOBODY = auth_table(
    ("unix_chkpwd",),
    r"(?P<reason>check pass; user unknown|could not obtain user info)(?: \((?P<user>.{0,512})\))?",
    {**FAILED, "event.action": "authentication_error"},
    {**REASON, **USER_NAME},
)

OTHER = _table(rf"{_MODULE}.*")


def _sniff(line: str) -> bool:
    head = line[:500]
    return "pam_" in head or "PAM " in head or "unix_chkpwd" in head


FORMAT: Final = Format(
    title="PAM modules",
    tables=(
        FAILURE,
        OPEN_LOGIN,
        OPEN,
        OPEN_BY,
        OPEN_BY_ID,
        CLOSE,
        UNKNOWN,
        PASSWORD,
        ACCOUNT,
        LOCKED,
        CHECKED,
        CHECKED_NOBODY,
        UNMET,
        OTHER,
    ),
    sniff=_sniff,
    marks=("pam_", "PAM ", "unix_chkpwd"),
)
