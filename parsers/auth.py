"""What the formats of authentication share: one kind of table, and who was at the other end.

Lines of sshd, PAM, sudo, su, login and of the tools for accounts go to the dataset of Elastic's own integration, with
its values of `event.action` where it has some, so that its rules and dashboards read them. Text that a remote user
chose can imitate the rest of a line: patterns end at the line's end and are greedy on it
(`protocols/syslog-and-audit.md` section 5).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from parsers.syslog_head import HEAD_TIME, head_fields, headed
from parsers.table import Table
from parsers.values import Value, address, made, port, text, to_domain

AUTH: Final = "system.auth"
"""The dataset of authentication."""

SYSLOG: Final = "system.syslog"
"""The dataset of all else that syslog carries."""

ABSENT: Final = frozenset({"", "-", "?", "UNKNOWN", "(unknown)", "(null)"})
"""How these programs write that there is no user or host."""

NO_TERMINAL: Final = ABSENT | {"none", "unknown"}
"""The same of terminals."""

OTHER_TEXT: Final = r"(?!(?:message repeated \d{1,9} times: \[ )?(?:pam_|PAM \d))"
"""Before what a program says besides; what PAM says within it is PAM's."""

LOGIN: Final = {"event.category": ["authentication"], "event.type": ["start"], "event.outcome": "success"}
FAILED: Final = {"event.category": ["authentication"], "event.type": ["info"], "event.outcome": "failure"}
OPENED: Final = {"event.category": ["session"], "event.type": ["start"], "event.outcome": "success"}
CLOSED: Final = {"event.category": ["session"], "event.type": ["end"], "event.outcome": "success"}


def auth_table(
    programs: Iterable[str] | None,
    pattern: str,
    constants: Mapping[str, Any] | None = None,
    fields: Mapping[str, Value] | None = None,
    *,
    bare: bool = False,
    dataset: str = AUTH,
) -> Table:
    """Return the table of one text of these programs (None: of any), with or, when `bare`, also without a head."""
    names = None if programs is None else tuple(programs)
    return Table(
        dataset=dataset,
        pattern=headed(names, pattern, bare=bare),
        time=HEAD_TIME,
        message=text("text"),
        constants=constants or {},
        fields={**(fields or {}), **head_fields(names[0] if names and bare else None)},
    )


def other_table(programs: Iterable[str], *, dataset: str = AUTH) -> Table:
    """Return the table of what these programs say besides: its head alone."""
    return auth_table(programs, OTHER_TEXT + ".*", dataset=dataset)


def named(*groups: str) -> Value:
    """The first of these groups that tells something; these programs have several ways to write that there is none."""
    return text(*groups, absent=ABSENT)


USER_NAME: Final = {"user.name": named("user")}
BECAME: Final = {**USER_NAME, "user.effective.name": named("target")}
"""Who asked, and whom they became or wanted to."""

REASON: Final = {"event.reason": named("reason")}


def to_terminal(name: str) -> str:
    """Return a terminal's name as all programs write it in the end: without `/dev/`."""
    return name.removeprefix("/dev/")


TERMINAL: Final = {
    "tidewaiter.auth.terminal": made(lambda name: None if name in NO_TERMINAL else to_terminal(name), "terminal")
}


def host_fields() -> dict[str, Value]:
    """Fields of the group `address`: whom it came from, by address or by name."""
    return {
        "source.address": named("address"),
        "source.ip": address("address"),
        "source.domain": made(lambda name: None if name in ABSENT else to_domain(name), "address"),
    }


def peer_fields() -> dict[str, Value]:
    """Fields of the groups `address` and `port`."""
    return {**host_fields(), "source.port": port("port")}
