r"""shadow's tools: accounts, groups and passwords made, changed and removed.

    Nov 29 02:00:00 web1 useradd[401]: new user: name=bob, UID=1001, GID=1001, home=/srv/home/bob, shell=/bin/bash, from=/dev/pts/0
    <86>Nov 29 02:00:01 usermod[402]: change user 'bob' UID from '1001' to '0'
    Nov 29 02:00:02 web1 gpasswd[403]: user bob added by root to group sudo

Programs: useradd, userdel, usermod, groupadd, groupdel, groupmod, groupmems, gpasswd, passwd, chpasswd, chgpasswd,
chage, chfn, chsh, newusers. The account is `user.target.*`, and `user.name` where no actor is named, as Elastic's rules
read it; what it became is `user.changes.*`. Home and shell stay in `message`. A password changed through PAM is a line
of PAM. Source: shadow's src/*.c.
"""

from typing import Any, Final

from parsers.auth import REASON, USER_NAME, auth_table, named, other_table
from parsers.format import Format
from parsers.syslog_head import sniff_head
from parsers.values import identifier, mapped

PROGRAMS: Final = (
    "useradd", "userdel", "usermod", "groupadd", "groupdel", "groupmod", "groupmems", "gpasswd", "passwd", "chpasswd",
    "chgpasswd", "chage", "chfn", "chsh", "newusers",
)  # fmt: skip


def _iam(*types: str, action: str | None, outcome: str = "success") -> dict[str, Any]:
    constants = {"event.category": ["iam"], "event.type": list(types), "event.outcome": outcome}
    return {**constants, "event.action": action} if action else constants


_NAME = r"[^\s',]{1,256}"
_ACCOUNT = {**USER_NAME, "user.target.name": named("user")}
_BY = {"user.name": named("by"), "user.target.name": named("user")}
_GROUP = {"group.name": named("group")}
_GROUP_ID = {"group.id": identifier("group_id")}

USER_ADDED = auth_table(
    PROGRAMS,
    rf"new user: name=(?P<user>{_NAME}), UID=(?P<user_id>\d{{1,10}}), GID=(?P<group_id>\d{{1,10}}), home=.*",
    _iam("user", "creation", action="user-added"),
    {
        **_ACCOUNT,
        "user.id": identifier("user_id"),
        "user.target.id": identifier("user_id"),
        "user.target.group.id": identifier("group_id"),
        **_GROUP_ID,
    },
)

USER_FAILED = auth_table(
    PROGRAMS,
    r"failed adding user '(?P<user>[^']{1,512})', (?P<reason>exit code: \d{1,3}|data deleted)",
    _iam("user", "creation", action="user-added", outcome="failure"),
    {**REASON, **_ACCOUNT},
)

USER_DELETED = auth_table(
    PROGRAMS, rf"delete user '(?P<user>{_NAME})'", _iam("user", "deletion", action="user-deleted"), _ACCOUNT
)

MEMBER_ADDED = auth_table(
    PROGRAMS,
    rf"add '(?P<user>{_NAME})' to (?:shadow )?group '(?P<group>{_NAME})'",
    _iam("user", "change", action="group-member-added"),
    {**_ACCOUNT, **_GROUP},
)

MEMBER_REMOVED = auth_table(
    PROGRAMS,
    rf"delete '(?P<user>{_NAME})' from (?:shadow )?group '(?P<group>{_NAME})'",
    _iam("user", "change", action="group-member-removed"),
    {**_ACCOUNT, **_GROUP},
)

USER_ID = auth_table(
    PROGRAMS,
    rf"change user '(?P<user>{_NAME})' (?:UID from '(?P<user_id>\d{{1,10}})' to '(?P<new_id>\d{{1,10}})'"
    r"|GID from '(?P<group_id>\d{1,10})' to '(?P<new_group>\d{1,10})')",
    _iam("user", "change", action="user-changed"),
    {
        **_ACCOUNT,
        "user.target.id": identifier("user_id"),
        "user.target.group.id": identifier("group_id"),
        "user.changes.id": identifier("new_id"),
        "user.changes.group.id": identifier("new_group"),
    },
)

USER_RENAMED = auth_table(
    PROGRAMS,
    rf"change (?:user name )?'(?P<user>{_NAME})' to '(?P<new_name>{_NAME})'(?: in (?:shadow )?group '(?P<group>{_NAME})')?",
    _iam("user", "change", action="user-changed"),
    {**_ACCOUNT, "user.changes.name": named("new_name"), **_GROUP},
)

PASSWORD = auth_table(
    PROGRAMS,
    rf"(?:change user '(?P<user>{_NAME})' password|password for '(?P<other>{_NAME})' changed by '(?P<by>{_NAME})'"
    rf"|(?:un)?lock user '(?P<locked>{_NAME})' password)",
    _iam("user", "change", action="password-changed"),
    {
        "user.name": named("by", "user", "locked"),
        "user.target.name": named("user", "other", "locked"),
    },
)

USER_CHANGED = auth_table(
    PROGRAMS,
    rf"(?:changed? user '(?P<user>{_NAME})' .{{1,2048}}|changed password expiry for (?P<aged>{_NAME}))",
    _iam("user", "change", action="user-changed"),
    {"user.name": named("user", "aged"), "user.target.name": named("user", "aged")},
)

GROUP_ADDED = auth_table(
    PROGRAMS,
    rf"(?:new group|group added to [^\s:]{{1,256}}): name=(?P<group>{_NAME})(?:, GID=(?P<group_id>\d{{1,10}}))?",
    _iam("group", "creation", action="group-added"),
    {**_GROUP, **_GROUP_ID},
)

GROUP_DELETED = auth_table(
    PROGRAMS,
    rf"(?:group '(?P<group>{_NAME})' removed(?: from \S{{1,256}})?"
    rf"|removed (?:shadow )?group '(?P<owned>{_NAME})'(?: owned by '{_NAME}')?)",
    _iam("group", "deletion", action="group-deleted"),
    {"group.name": named("group", "owned")},
)

GROUP_CHANGED = auth_table(
    PROGRAMS,
    r"group changed in \S{1,256} \(group (?P<group>[^\s',/]{1,256})(?:/(?P<group_id>\d{1,10}))?, [^)]{1,600}\)",
    _iam("group", "change", action="group-changed"),
    {**_GROUP, **_GROUP_ID},
)

GROUP_USER = auth_table(
    PROGRAMS,
    rf"user (?P<user>{_NAME}) (?P<what>added|removed) by (?P<by>{_NAME}) (?:to|from) group (?P<group>{_NAME})",
    _iam("user", "change", action=None),
    {
        "event.action": mapped("what", {"added": "group-user-added", "removed": "group-user-removed"}),
        **_BY,
        **_GROUP,
    },
)

GROUP_SET = auth_table(
    PROGRAMS,
    rf"(?:(?:members|administrators) of group (?P<group>{_NAME}) set by (?P<by>{_NAME}) to .{{0,4096}}"
    rf"|password of group (?P<locked>{_NAME}) (?:changed|removed) by (?P<who>{_NAME}))",
    _iam("group", "change", action="group-changed"),
    {"user.name": named("by", "who"), "group.name": named("group", "locked")},
)

OTHER = other_table(PROGRAMS)


def _sniff(line: str) -> bool:
    head = line[:400]
    return sniff_head(line, PROGRAMS) and ("user" in head or "group" in head or "passwd" in head or " ch" in head)


FORMAT: Final = Format(
    title="Accounts, groups and passwords (shadow)",
    tables=(
        USER_ADDED, USER_FAILED, USER_DELETED, MEMBER_ADDED, MEMBER_REMOVED, USER_ID, USER_RENAMED, PASSWORD,
        USER_CHANGED, GROUP_ADDED, GROUP_DELETED, GROUP_CHANGED, GROUP_USER, GROUP_SET, OTHER,
    ),
    sniff=_sniff,
)  # fmt: skip
