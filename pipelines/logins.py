"""What is remembered of logins: which failed lately, and which process of sshd a connection began in.

Both are parts of `pipelines.state.State`: bounded, in the checkpoint, and a pure function of the journal. Times are
journal time, which no sender can set back or forward.
"""

from typing import Any, Final

import msgspec

from pipelines.sections import Key, Section

WINDOW_NS: Final = 3600 * 1_000_000_000
"""A failure counts for a success that comes so long behind it, an hour; each further one begins the hour anew."""

ATTEMPTS_LIMIT: Final = 32_768
"""Users, by place and source, whose failures are remembered; of more the one that failed longest ago in the place that
has most is forgotten."""

ATTEMPTS_BYTES_LIMIT: Final = 16 << 20

FAILURES_LIMIT: Final = 1_000_000
"""So far failures of one user are counted."""

PLACE_PARTS: Final = 1
"""So many parts of a key say in which place it was: what follows, a line can name as it likes."""

CONNECTION_NS: Final = 86400 * 1_000_000_000
"""A connection of sshd is known for so long behind the last line that led to it, a day."""

CONNECTIONS_LIMIT: Final = 32_768
"""Peers and processes of sshd whose connection is remembered; of more the one met longest ago in the place with
most is forgotten."""

CONNECTIONS_BYTES_LIMIT: Final = 16 << 20


class Attempts(msgspec.Struct, frozen=True, array_like=True):
    """How often somebody failed, when last, and in which session last (empty: nothing tells)."""

    failures: int
    last_ns: int
    session: str


class Leading(msgspec.Struct, frozen=True, array_like=True):
    """The process in which a connection began, by its id, and when a line last led to it."""

    pid: int
    at_ns: int


class Logins:
    """The two sections, and what is asked of them. `now_ns` is the journal time of the frame at hand."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._attempts: Section[Attempts] = Section(
            Attempts,
            limit=ATTEMPTS_LIMIT,
            limit_bytes=ATTEMPTS_BYTES_LIMIT,
            cost=lambda each: len(each.session),
            grouped=PLACE_PARTS,
            fair=True,
        )
        self._connections: Section[Leading] = Section(
            Leading,
            limit=CONNECTIONS_LIMIT,
            limit_bytes=CONNECTIONS_BYTES_LIMIT,
            cost=lambda _: 0,
            grouped=PLACE_PARTS,
            fair=True,
        )

    @property
    def sections(self) -> dict[str, Section[Any]]:
        """Return the sections by name."""
        return {"attempts": self._attempts, "connections": self._connections}

    def fail(self, key: Key, times: int, session: str, now_ns: int, *, told_before: bool) -> None:
        """Count failures. `told_before`: the first of them was told already, if any was of this session."""
        known = self._lately(key, now_ns)
        before = known.failures if known is not None else 0
        if told_before and known is not None and known.session == session:
            times -= 1
        self._attempts.put(key, Attempts(min(before + times, FAILURES_LIMIT), now_ns, session))

    def succeed(self, key: Key, now_ns: int) -> int:
        """Return how many failures stand before a success, and begin anew."""
        known = self._lately(key, now_ns)
        self._attempts.take(key)
        return known.failures if known is not None else 0

    def begin(self, host: Key, peer: str, pid: int, now_ns: int) -> None:
        """Note that a process of sshd on a host talks to a peer; whatever that process was before, it is not now."""
        self._connections.take(_of_process(host, pid))
        self._connections.put(_of_peer(host, peer), Leading(pid, now_ns))

    def fork(self, host: Key, child: int, pid: int, now_ns: int) -> None:
        """Note that a process of sshd made another for the same connection."""
        self._connections.put(_of_process(host, child), Leading(self.leading(host, "", pid, now_ns), now_ns))

    def leading(self, host: Key, peer: str, pid: int, now_ns: int) -> int:
        """Return the process in which the connection began that this process serves; `peer` is empty where unsaid."""
        known = self._connections.get(_of_peer(host, peer)) if peer else None
        if known is None or now_ns - known.at_ns > CONNECTION_NS:
            known = self._connections.get(_of_process(host, pid))
        elif known.pid != pid:
            self._connections.put(_of_process(host, pid), Leading(known.pid, now_ns))
        return known.pid if known is not None and now_ns - known.at_ns <= CONNECTION_NS else pid

    def end(self, host: Key, pid: int) -> None:
        """Forget what connection a process serves, for another may have its number next."""
        self._connections.take(_of_process(host, pid))

    def _lately(self, key: Key, now_ns: int) -> Attempts | None:
        known = self._attempts.get(key)
        return known if known is not None and now_ns - known.last_ns <= WINDOW_NS else None


def _of_peer(host: Key, peer: str) -> Key:
    return (*host, "peer", peer)


def _of_process(host: Key, pid: int) -> Key:
    return (*host, "process", str(pid))
