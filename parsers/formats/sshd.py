r"""OpenSSH's server: logins, refused and failed ones, what became of connections; also from its standard error.

    Nov 29 02:00:00 web1 sshd[812]: Accepted publickey for alice from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:abc
    <38>Nov 29 02:00:01 sshd-session[813]: Failed password for invalid user guest from 192.0.2.9 port 50023 ssh2
    Invalid user guest from 192.0.2.9 port 50023

Programs: `sshd`, and of newer releases `sshd-session` and `sshd-auth`. Lines without a head (`sshd -D -e` in a
container) are known by their texts. A user's name is chosen by the other end and may hold ` from 192.0.2.1 port 22`: the
last such address of a line is the true one. rsyslog's `message repeated N times` is one document; the count stays in
`message`. The method (`password`, `publickey`) is `tidewaiter.auth.method`, the fingerprint of a key that was shown
`tidewaiter.auth.key`. Other texts of these programs give their head and level. Source: OpenSSH's auth.c, auth2.c, packet.c, sshd.c.
"""

import re
from functools import partial
from typing import Final

from parsers.auth import FAILED, LOGIN, OPENED, OTHER_TEXT, REASON, USER_NAME, auth_table, host_fields, peer_fields
from parsers.format import Format
from parsers.values import address, either, level, made, mapped, otherwise, port, text

PROGRAMS: Final = ("sshd", "sshd-session", "sshd-auth")

_PEER = r"(?P<address>[^\s:\[\]][^\s\[\]]{0,254}|:[^\s\[\]]{1,254}) port (?P<port>\d{1,5})"
_METHOD = r"(?P<method>[\w./-]{1,64})"
_SHOWN = r"ssh2(?:: (?P<shown>.*))?"
_USER = r"(?P<user>.{0,512})"
_TRY = r"(?P<invalid>(?:invalid|illegal) user )?"
_END = r"(?: \[preauth\])?"
_LEVEL = r"(?:(?P<level>error|fatal|debug)\d?: )?"

_SSH_LOGIN = {"event.action": "ssh_login"}
_LEVEL_FIELD = {"log.level": level("level")}
_FIELDS = {**USER_NAME, **peer_fields()}
_INVALID_USER = mapped("invalid", {"invalid user ": "invalid user", "illegal user ": "invalid user"})
_UNKNOWN = {"event.reason": either(_INVALID_USER, made(lambda method: f"{method} refused", "method"))}
_FINGERPRINT = re.compile(r"(?:[\w-]{1,64} )?((?:SHA256|SHA512|SHA1|MD5):[\w+/=:]{1,128})(?: .*)?", re.DOTALL)


def fingerprint(shown: str) -> str | None:
    """Return the fingerprint of a key as sshd shows it: `ED25519 SHA256:abc`, of a certificate its own."""
    found = _FINGERPRINT.fullmatch(shown)
    return found[1] if found else None


_PROOF = {"tidewaiter.auth.method": text("method"), "tidewaiter.auth.key": made(fingerprint, "shown")}

_table = partial(auth_table, PROGRAMS, bare=True)

ACCEPTED = _table(
    rf"Accepted {_METHOD} for {_USER} from {_PEER} {_SHOWN}{_END}",
    {**LOGIN, "event.category": ["authentication", "session"], **_SSH_LOGIN},
    {**_FIELDS, **_PROOF},
)

REFUSED = _table(
    rf"Failed {_METHOD} for {_TRY}{_USER} from {_PEER} {_SHOWN}{_END}",
    {**FAILED, **_SSH_LOGIN},
    {**_UNKNOWN, **_FIELDS, **_PROOF},
)

_INVALID = {**FAILED, **_SSH_LOGIN, "event.reason": "invalid user"}

INVALID = _table(rf"Invalid user {_USER} from {_PEER}{_END}", _INVALID, _FIELDS)

INVALID_OLD = auth_table(
    PROGRAMS,
    rf"(?:Invalid|Illegal) user {_USER} from (?P<address>[^\s\[\]]{{1,255}})",
    _INVALID,
    {**USER_NAME, **host_fields()},
)
"""Before OpenSSH 7.5; without a head any application may say so."""

STEP = _table(
    rf"(?:Partial|Postponed) {_METHOD} for {_TRY}{_USER} from {_PEER} {_SHOWN}{_END}",
    {"event.category": ["authentication"], "event.type": ["info"], "event.action": "ssh_login_step"},
    {**_FIELDS, **_PROOF},
)

_WHY = (
    r"(?P<reason>(?:not )?listed in (?:Allow|Deny)(?:Users|Groups)|a group is listed in DenyGroups|not in any group"
    r"|none of user's groups are listed in AllowGroups|account is locked|shell \S{1,400} (?:does not exist|is not executable))"
)

NOT_ALLOWED = _table(
    rf"User {_USER} from (?P<address>[^\s\[\]]{{1,255}}) not allowed because {_WHY}{_END}",
    {**FAILED, **_SSH_LOGIN},
    {**REASON, **USER_NAME, **host_fields()},
)

LOCKED = _table(
    rf"User {_USER} not allowed because {_WHY}{_END}",
    {**FAILED, **_SSH_LOGIN},
    {**REASON, **USER_NAME},
)

ROOT = _table(
    rf"ROOT LOGIN REFUSED FROM {_PEER}{_END}",
    {**FAILED, **_SSH_LOGIN, "event.reason": "root login refused"},
    {"user.name": made(lambda _: "root", "address"), **peer_fields()},
)

TOO_MANY = _table(
    rf"{_LEVEL}(?P<reason>maximum authentication attempts exceeded) for {_TRY}{_USER} from {_PEER} ssh2{_END}",
    {**FAILED, **_SSH_LOGIN},
    {**REASON, **_LEVEL_FIELD, **_FIELDS},
)

ACCOUNT = _table(
    rf"{_LEVEL}Access denied for user {_USER} by (?P<reason>PAM account configuration){_END}",
    {**FAILED, **_SSH_LOGIN},
    {"event.reason": made(lambda reason: f"denied by {reason}", "reason"), **_LEVEL_FIELD, **USER_NAME},
)

PAM_SAYS = _table(
    rf"{_LEVEL}PAM: (?P<reason>[A-Z][^:]{{1,100}}?) for {_TRY}{_USER} from (?P<address>[^\s\[\]]{{1,255}}){_END}",
    {**FAILED, "event.action": "authentication_failure"},
    {**REASON, **_LEVEL_FIELD, **USER_NAME, **host_fields()},
)

_NO_SUCH_USER = mapped("invalid", {"invalid": "invalid user"})
_UNFINISHED = {**FAILED, "event.type": ["end"], "event.action": "ssh_disconnected"}

CHANGED = _table(
    rf"Disconnecting (?:authenticating|invalid) user {_USER} {_PEER}"
    rf": (?P<reason>Change of username or service not allowed): \((?P=user),.{{0,600}}",
    _UNFINISHED,
    {**REASON, **_FIELDS},
)
"""The first name stands in it twice, so the second cannot pass for the end of the line."""

UNFINISHED = _table(
    rf"(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) (?:authenticating|(?P<invalid>invalid)) user {_USER} {_PEER}"
    rf"(?:: (?P<reason>[^:\[\]]{{1,200}}?))?{_END}",
    _UNFINISHED,
    {"event.reason": otherwise(either(REASON["event.reason"], _NO_SUCH_USER), "no login before the end"), **_FIELDS},
)
"""Before the login: of keys that were refused, this is the only line at the usual level."""

DISCONNECTED = _table(
    rf"(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) (?:user (?P<user>\S{{1,256}}) )?{_PEER}"
    rf"(?:: (?P<reason>[^\r]{{1,600}}?))?{_END}",
    {"event.category": ["session"], "event.type": ["end"], "event.action": "ssh_disconnected"},
    {**REASON, **_FIELDS},
)

FAREWELL = _table(
    rf"{_LEVEL}Received disconnect from {_PEER}:\d{{1,10}}: (?P<reason>[^\r]{{0,600}}?){_END}",
    {"event.category": ["session"], "event.type": ["end"], "event.action": "ssh_disconnected"},
    {**REASON, **_LEVEL_FIELD, **peer_fields()},
)

TIMEOUT = _table(
    rf"{_LEVEL}(?P<reason>Timeout before authentication) for (?:connection from )?"
    rf"(?P<address>[^\s\[\]]{{1,255}})(?: port (?P<port>\d{{1,5}})| to [^\s\[\]]{{1,255}}, pid = \d{{1,10}})?",
    {**FAILED, "event.action": "ssh_timeout"},
    {**REASON, **_LEVEL_FIELD, **peer_fields()},
)

DROPPED = _table(
    r"(?:error: )?drop connection #\d{1,10} from \[(?P<address>[^\]\s]{1,255})\]:(?P<port>\d{1,5})"
    r" on \[(?P<own>[^\]\s]{1,255})\]:(?P<own_port>\d{1,5}) (?P<reason>[^\r]{1,600})",
    {"event.category": ["network"], "event.type": ["connection", "denied"], "event.action": "ssh_connection_dropped"},
    {**REASON, **peer_fields(), "destination.ip": address("own"), "destination.port": port("own_port")},
)

SESSION = _table(
    rf"(?:Starting session: .{{1,4096}}|(?P<closed>Close) session:) (?:for|user) (?P<user>\S{{1,256}}) from {_PEER} id \d{{1,9}}",
    {"event.category": ["session"]},
    {
        "event.type": otherwise(mapped("closed", {"Close": ["end"]}, kind="keyword[]"), ["start"]),
        "event.action": otherwise(mapped("closed", {"Close": "ssh_session_closed"}), "ssh_session_opened"),
        **_FIELDS,
    },
)

SUBSYSTEM = _table(
    r"subsystem request for \S{1,256} by user (?P<user>\S{1,256})",
    {**OPENED, "event.action": "ssh_subsystem"},
    USER_NAME,
)

CONNECTION = _table(
    rf"{_LEVEL}(?:Connection from|Did not receive identification string from|Unable to negotiate with"
    r"|(?:banner exchange|ssh_dispatch_run_fatal): Connection from|Bad protocol version identification '.{0,600}' from)"
    rf" {_PEER}(?: on (?P<own>[^\s\[\]]{{1,255}}) port (?P<own_port>\d{{1,5}}))?(?:: (?P<reason>[^\r]{{1,600}}?)| rdomain [^\r]{{0,99}})?{_END}",
    {"event.category": ["network"], "event.type": ["connection"], "event.action": "ssh_connection"},
    {
        **REASON,
        **_LEVEL_FIELD,
        **peer_fields(),
        "destination.ip": address("own"),
        "destination.port": port("own_port"),
    },
)

CONNECTION_OLD = auth_table(
    PROGRAMS,
    rf"{_LEVEL}(?:(?:Received disconnect|Did not receive identification string) from|Connection (?:closed|reset) by|Address|reverse mapping checking getaddrinfo for"
    r" \S{1,255}) \[?(?P<address>[^\s\[\]:][^\s\[\]]{0,254}?)\]?(?:: \d{1,10}: (?P<reason>[^\r]{1,600}?)| maps to [^\r]{1,600}"
    rf"| failed[^\r]{{0,200}})?{_END}",
    {"event.category": ["network"], "event.type": ["connection"], "event.action": "ssh_connection"},
    {**REASON, **_LEVEL_FIELD, **host_fields()},
)
"""What older releases say without a port, and what they and newer ones say of a name that does not fit the address."""

SERVER = _table(
    rf"{_LEVEL}(?:Server listening on [^\s\[\]]{{1,255}} port \d{{1,5}}\.|User child is on pid \d{{1,10}}"
    r"|Received signal \d{1,3}; terminating\.|(?:kex_exchange_identification|srclimit_penalise): [^\r]{1,600}?|Bad packet length \d{1,10}\.|send_error: write: [^\r]{1,200}?|Protocol major versions differ: \d{1,9} vs\. \d{1,9}|Could not get shadow information for \S{1,256}|lastlog_openseek: [^\r]{1,200}?|syslogin_perform_logout: [^\r]{1,200}?"
    rf"|(?:beginning|exited) MaxStartups throttling[^\r]{{0,200}}?|Accepted (?:key|certificate) \S{{1,99}} [^\r]{{1,600}}?){_END}",
    {},
    _LEVEL_FIELD,
)

OTHER = auth_table(PROGRAMS, rf"{OTHER_TEXT}{_LEVEL}.*", {}, _LEVEL_FIELD)


def _sniff(line: str) -> bool:
    return "sshd" in line[:400] or line.startswith(_TEXTS)


_TEXTS: Final = (
    "Accepted ", "Failed ", "Invalid user ", "Partial ", "Postponed ", "User ", "ROOT LOGIN REFUSED", "PAM: ",
    "maximum authentication ", "error: ", "fatal: ", "Connection ", "Disconnect", "Received ", "Timeout before ",
    "drop connection #", "Starting session: ", "Close session: ", "subsystem request for ", "Did not receive ident",
    "Unable to negotiate with ", "banner exchange: ", "ssh_dispatch_run_fatal: ", "kex_exchange_identification: ",
    "Bad protocol version ", "Bad packet length ", "srclimit_penalise: ", "Could not get shadow ", "User child is ",
    "send_error: ", "Protocol major versions ", "Server listening on ", "beginning MaxStartups", "exited MaxStartups", "message repeated ",
)  # fmt: skip
"""How its texts begin where nothing stands before them."""

FORMAT = Format(
    title="OpenSSH server",
    tables=(
        ACCEPTED, REFUSED, INVALID, INVALID_OLD, STEP, CHANGED, UNFINISHED, DISCONNECTED, FAREWELL, TOO_MANY,
        NOT_ALLOWED, LOCKED, ACCOUNT, ROOT, PAM_SAYS, TIMEOUT, DROPPED, CONNECTION, CONNECTION_OLD, SESSION, SUBSYSTEM, SERVER,
        OTHER,
    ),
    sniff=_sniff,
    images=("sshd", "openssh-server"),
)  # fmt: skip
