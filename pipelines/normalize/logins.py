"""What a login's line cannot say alone: which lines are of the same act, and that others failed before it succeeded.

Both paths ask this of lines of the formats that tell of logins (`tells`), in the order of the journal:

- `tidewaiter.session.id` is the same for all lines of one process on one host (sshd with its PAM, sudo, su, cron), for
  all processes of one connection of sshd, and for all audit records of one login (`ses`). It comes of host and process
  number, of nothing else: see `session_id`.
- `tidewaiter.facts`: `login_after_failures`, with the count in `tidewaiter.auth.failures`; in a container also
  `sshd_started` and `login_in_container`.
"""

import re
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from parsers.table import Parsed
from pipelines.logins import Logins
from pipelines.normalize.identity import is_contained
from pipelines.sections import Key

FORMATS: Final = frozenset(
    {"accounts", "auditd", "cron", "keycloak", "login", "logind", "pam", "sshd", "su", "sudo", "vault"}
)
"""Formats all of whose lines are looked at."""

CATEGORY: Final = "authentication"
"""Of lines of other formats those of this category."""

OF_SYSTEM: Final = frozenset({"auditd", "login", "pam", "sshd", "su", "sudo"})
"""Formats whose logins are into a system: of a container's, somebody is in it. Users of a service in it are not."""

OWN_CATEGORIES: Final = frozenset({"ecs_json"})
"""But for formats whose lines say themselves of which they are: an application's word about itself."""

AFTER_FAILURES: Final = "login_after_failures"
SSHD_STARTED: Final = "sshd_started"
IN_CONTAINER: Final = "login_in_container"

WHOLE_CHARACTERS: Final = 128
"""Of a longer name, user or address a short hash is remembered: whoever chooses it does not choose what it costs."""

SESSION_BYTES: Final = 8
"""Of a session's id, which has two characters for each."""

_SSHD: Final = ("sshd", "sshd-session", "sshd-auth")
_TELLING: Final = frozenset({*_SSHD, "su", "runuser", "login", "unix_chkpwd"})
"""Programs that tell of each failure themselves, or tell what PAM tells."""

_BEGINNINGS: Final = frozenset({"ssh_login", "ssh_login_step", "ssh_connection"})
"""Only the process in which a connection began tells these."""

_LAST: Final = ("Disconnected from ", "Connection closed by ", "Connection reset by ")
_LISTENING: Final = "Server listening on "
_OF_SERVER: Final = (_LISTENING, "Received signal ")
"""What sshd says that is of no connection."""

_NOTHING: Final[Mapping[str, Any]] = {}
_CHILD: Final = re.compile(r"User child is on pid (\d{1,10})")
_TRIED: Final = re.compile(r"(\d{1,4}) incorrect password attempt")
_REPEATED: Final = re.compile(r"message repeated (\d{1,9}) times: \[")


class Whereabouts(NamedTuple):
    """Where the logins of a stream's lines happen (`whereabouts`), and whether a container wrote it."""

    whose: str
    contained: bool


class Told(NamedTuple):
    """A parsed line: its parser, what that found, and what is asked of it again and again.

    `contained`: a container wrote it. `place` is where it happened, and the host that the line itself names: a file can
    hold the lines of several. `outcome` is `success`, `failure`, or what else the line says.
    """

    parser: str
    event: Mapping[str, Any]
    fields: Mapping[str, Any]
    own: Mapping[str, Any]
    message: str
    contained: bool
    place: Key
    process: Mapping[str, Any]
    program: str
    outcome: str | None
    is_login: bool


def told(
    parser: str,
    event: Mapping[str, Any],
    fields: Mapping[str, Any],
    own: Mapping[str, Any],
    message: str,
    where: Whereabouts,
) -> Told:
    """Put together what a line tells; `where` is that of its stream."""
    whose, contained = where
    claimed = fields["log"].get("syslog", _NOTHING).get("hostname", "") if "log" in fields else ""
    process = fields.get("process", _NOTHING)
    place = (whose, _bounded(claimed))
    is_login = CATEGORY in event.get("category", ())
    program, outcome = process.get("name", ""), event.get("outcome")
    return Told(parser, event, fields, own, message, contained, place, process, program, outcome, is_login)


def tells(parser: str, event: Mapping[str, Any]) -> bool:
    """Whether a line that this parser took is looked at."""
    return parser in FORMATS or (parser not in OWN_CATEGORIES and CATEGORY in event.get("category", ()))


def with_logins(
    parser: str,
    parsed: Parsed,
    tail: Mapping[str, Any],
    logins: Logins,
    now_ns: int,
    silent: Collection[str],
    *,
    posted: bool = False,
) -> Parsed:
    """Return what a parser found with what is known of its login; `tail` and `posted` as with `whereabouts`."""
    if not tells(parser, parsed.event):
        return parsed
    where = whereabouts(tail, posted=posted)
    line = told(parser, parsed.event, parsed.fields, parsed.own, parsed.message, where)
    return msgspec.structs.replace(parsed, own=own_fields(line, logins, now_ns, silent))


def own_fields(line: Told, logins: Logins, now_ns: int, silent: Collection[str]) -> dict[str, Any]:
    """Return the members of `tidewaiter` that a line has of its own, those of its parser among them.

    `silent` are facts that documents are not to have.
    """
    own = dict(line.own)
    session = _session(line, logins, now_ns)
    if session:
        own["session"] = {"id": session}
    facts = []
    succeeded = line.outcome == "success" and _succeeded(line)
    failures = _failures_before(line, session, logins, now_ns, succeeded=succeeded)
    if failures:
        own["auth"] = {**own.get("auth", {}), "failures": failures}
        facts.append(AFTER_FAILURES)
    if line.contained:
        if line.parser == "sshd" and line.message.startswith(_LISTENING):
            facts.append(SSHD_STARTED)
        if succeeded and line.parser in OF_SYSTEM:
            facts.append(IN_CONTAINER)
        facts = [fact for fact in facts if fact not in silent]
    elif facts and AFTER_FAILURES in silent:
        facts = []
    if facts:
        own["facts"] = [*own.get("facts", ()), *facts]
    return {name: own[name] for name in sorted(own)} if len(own) > 1 else own


def session_id(place: Key, kind: str, number: str) -> str:
    """Return the short name of a session: `kind` is `process`, by its number, or `audit`, by that of auditd's session.

    Position and content of lines decide nothing, so a search for it finds the same after a replay or through another
    collector. Numbers of processes come again: with a time beside it, it is one session.
    """
    whole = "\0".join((*place, kind, number))
    return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=SESSION_BYTES).hexdigest()


def whereabouts(tail: Mapping[str, Any], *, posted: bool = False) -> Whereabouts:
    """Return where the logins of a stream happen; `tail` is that of its documents, `posted` what came as an object."""
    whose, contained = _poster(tail) if posted else _whose(tail)
    return Whereabouts(_bounded(whose), contained)


def _whose(tail: Mapping[str, Any]) -> tuple[str, bool]:
    """Return where a line's logins happen, and whether a container wrote it.

    That is the container by its id, else by its host, pod and name, else by its host and tag; the host alone only for a
    line that no container wrote, so that none has a say in its host's logins (P5). All but the host begin with a byte
    that no host's name begins with.
    """
    host, own, container = tail["host"]["name"], tail["tidewaiter"], tail.get("container", {})
    if container.get("id"):
        return _joined(container["id"]), True
    tag = own.get("tag", "")
    orchestrator = tail.get("orchestrator", {})
    if container or orchestrator:
        pod = orchestrator.get("resource", {}).get("name", "")
        return _joined(host, orchestrator.get("namespace", ""), pod, container.get("name", ""), tag), True
    return (_joined(host, tag), True) if is_contained(tail) else (host, False)


def _poster(tail: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the same of what was posted: its sender has a say in what came so, and in no host's or container's logins.

    A container that it is about is the sender's word.
    """
    own, about = tail["tidewaiter"], tail.get("container", {})
    sender = ("posted", tail["host"]["name"], own["origin"]["input"], own.get("tag", ""))
    return _joined(*sender, about.get("id", "")), bool(about)


def _joined(*parts: str) -> str:
    """Join names so that none can pass for several."""
    return "".join(f"\0{len(part)}:{part}" for part in parts)


def _bounded(text: str) -> str:
    """Return a text, or if that is long what stands for it."""
    if len(text) <= WHOLE_CHARACTERS:
        return text
    return "\0" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _session(line: Told, logins: Logins, now_ns: int) -> str:
    audited = line.own.get("audit", {}).get("session")
    if audited is not None:
        return session_id(line.place, "audit", audited)
    pid = line.process.get("pid")
    if line.parser == "auditd" or pid is None or line.message.startswith(_OF_SERVER):
        return ""
    if line.program in _SSHD:
        pid = _leading(line, pid, logins, now_ns)
    return session_id(line.place, "process", str(pid))


def _leading(line: Told, pid: int, logins: Logins, now_ns: int) -> int:
    """Return the process in which the connection of a line of sshd began."""
    source, action = line.fields.get("source", {}), line.event.get("action")
    peer = _bounded(f"{source.get('address')} {source['port']}") if "port" in source else ""
    if peer and action in _BEGINNINGS:
        logins.begin(line.place, peer, pid, now_ns)
        return pid
    found = logins.leading(line.place, peer, pid, now_ns)
    if child := _CHILD.search(line.message):
        logins.fork(line.place, int(child[1]), pid, now_ns)
    if line.message.startswith(_LAST):
        logins.end(line.place, pid)
    return found


def _failures_before(line: Told, session: str, logins: Logins, now_ns: int, *, succeeded: bool) -> int:
    """Count a failure; of a success return how many stand before it."""
    if succeeded:
        return logins.succeed(_attempts_key(line), now_ns)
    if line.outcome == "failure" and line.is_login:
        times, told_before = _times(line)
        key = _attempts_key(line)
        if times and any(key[-3:]):
            logins.fail(key, times, session, now_ns, told_before=told_before)
    return 0


def _succeeded(line: Told) -> bool:
    """Whether a line of this outcome says that somebody got in."""
    if line.parser == "sudo":
        return line.event.get("action") == "sudo"
    if line.parser == "auditd":
        return line.event.get("code") == "USER_LOGIN"
    return line.is_login and "start" in line.event.get("type", ())


def _times(line: Told) -> tuple[int, bool]:
    """Return how many failures a line tells of, and whether another line of the same session may have told the first.

    A password that sudo refuses is told by PAM once, whatever follows, and by sudo itself only when the user gave up:
    then with their number. Other refusals of sudo are no attempts to get in.
    """
    repeated = _REPEATED.match(line.message)
    times = int(repeated[1]) if repeated else 1
    match line.parser:
        case "sshd":
            return times, line.own.get("auth", {}).get("method", "none") == "none"
        case "sudo":
            tried = _TRIED.match(line.event.get("reason", ""))
            return int(tried[1]) if tried else 0, True
        case "pam":
            return 0 if line.program in _TELLING else times, False
        case "auditd":
            return times if line.event.get("code") == "USER_LOGIN" else 0, False
    return times, False


def _attempts_key(line: Told) -> Key:
    """Return whose attempts they are: which user's, to become whom, from where.

    auditd tells of all a second time, and sudo asks for the user's own password, whoever it is to become.
    """
    user, source = line.fields.get("user", {}), line.fields.get("source", {})
    kind = "auditd" if line.parser == "auditd" else "sudo" if line.program == "sudo" else ""
    target = "" if kind == "sudo" else user.get("effective", {}).get("name", "")
    whose = (user.get("name", ""), target, source.get("ip") or source.get("address", ""))
    return (*line.place, kind, *map(_bounded, whose))
