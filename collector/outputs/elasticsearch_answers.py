"""What Elasticsearch's answer to a bulk request says of each document: pure, without waiting or sending.

A document is stored, refused for good, or to be sent again; what cannot be understood is never a success.
Elasticsearch's own words go to dead letters whole, but into the log only those that were said before a document was
looked at.
"""

import random
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from collector.outputs.bulk import Body, all_stored, shares_of
from pipelines.frame import Position

TYPE_LIMIT: Final = 100
REASON_LIMIT: Final = 1000
"""Characters kept of Elasticsearch's type of an error and of its reason."""

DIVERTED: Final = "used"
"""What `failure_store` says of a document that was stored there, not in its data stream (servers 9.1 and later)."""

NEARLY_ALL_REFUSED: Final = -1
"""Stands for a status where refused documents wait because nearly all of their stream are refused."""

BLOCKED: Final = "cluster_block_exception"
"""Type of an error where an index, or the cluster, does not take anything, whatever its status."""

UNAUTHORIZED: Final = "security_exception"

PRIVILEGES: Final = (
    ("indices:admin/auto_create", "auto_configure"),
    ("indices:admin/mapping/auto_put", "auto_configure"),
    ("indices:data/write/", "create_doc"),
    ("indices:admin/refresh", "maintenance"),
    ("indices:data/read/", "read"),
    ("indices:", "view_index_metadata"),
    ("cluster:monitor/", "monitor"),
)
"""The least privilege for an action, by the beginning of its name."""

_ACTION: Final = re.compile(r"\b((?:indices|cluster):[a-z_/]+)")
_INDICES: Final = re.compile(r"\bon indices \[([^\]]{1,200})\]")

DUPLICATE: Final = "version_conflict_engine_exception"

REDIRECTED: Final = "what answers at this URL sends us elsewhere; name that address in urls if it is yours"

WHAT_TO_DO: Final = {
    **dict.fromkeys((301, 302, 303, 307, 308), REDIRECTED),
    400: "Elasticsearch refuses the requests themselves; is what answers at this URL Elasticsearch?",
    401: "Elasticsearch does not accept the credentials",
    403: "the credentials lack a privilege (the collector needs auto_configure and create_doc on logs-*-*)",
    404: "no template makes a data stream of this name: run `tidewaiter setup elasticsearch`",
}
"""Statuses that an operator has to act on: everything waits, and is asked for again slowly."""


Shares = Sequence[tuple[Position, int]]
"""Numbers of documents by the position of their batch."""


class Answer(msgspec.Struct):
    """What came back: a status, 0 when nothing usable did; `problem` is for the operator, without any document."""

    status: int
    body: bytes = b""
    problem: str = ""
    retry_after_s: float | None = None
    timed_out: bool = False
    unknown: bool = False
    """Whether what was sent may have arrived all the same."""


class Refused(msgspec.Struct, frozen=True):
    """A document of a body that Elasticsearch will never take, with Elasticsearch's type and reason."""

    index: int
    code: str
    reason: str


class Verdict(msgspec.Struct):
    """How a body's documents settled: `stored` now, `found` there already, `refused`, or to be sent `again`.

    Those that settled are counted by batch; `diverted` are part of `stored`, `pressed` counts those of `again` that
    Elasticsearch has no room for at the moment. `stored_in` has places of stored ones by index, where that was asked
    for. `unknown`: some of `again` may be stored all the same. `cause` is the status that `again` and `problem` come
    from, 0 for none.
    """

    stored: Shares = ()
    found: Shares = ()
    diverted: Shares = ()
    pressed: int = 0
    stored_in: dict[str, list[int]] = {}
    refused: Sequence[Refused] = ()
    again: Body | None = None
    unknown: bool = False
    cause: int = 0
    problem: str = ""


class Pace(msgspec.Struct, frozen=True):
    """How long the output waits before it sends again, and for whom; in seconds."""

    first_s: float = 0.1
    longest_s: float = 30.0
    refused_s: float = 5.0
    """At least this where an operator has to act."""
    unreachable_s: float = 3.0
    """At most this where nobody answers: asking costs little, and a node that is back is found at once."""
    answer_s: float = 60.0
    """How long a request may take."""
    stop_s: float = 3.0
    """How long requests in flight may take at a stop; what is unsettled then is sent again from the cursor."""

    def pause_s(self, tries: int, verdict: Verdict, retry_after_s: float | None) -> float:
        """Return how long to wait after `tries` answers without any progress, jittered."""
        if retry_after_s is not None:
            return min(max(retry_after_s, self.first_s), self.longest_s)
        longest_s = self.unreachable_s if not verdict.cause else self.longest_s
        pause_s = min(self.first_s * 2.0 ** min(tries, 20), longest_s)
        if verdict.cause in WHAT_TO_DO or verdict.cause == NEARLY_ALL_REFUSED:
            pause_s = max(pause_s, self.refused_s)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


class _Item(msgspec.Struct):
    status: int
    error: Any = None
    failure_store: str = ""
    index: str = msgspec.field(name="_index", default="")


class _Created(msgspec.Struct):
    create: _Item


class _BulkAnswer(msgspec.Struct):
    items: list[_Created]


_decode = msgspec.json.Decoder(_BulkAnswer).decode


def verdict_of(body: Body, answer: Answer) -> Verdict:
    """Read the answer to a body."""
    count = len(body)
    if answer.status == 200 and answer.body == all_stored(count):
        return Verdict(body.shares)
    if answer.status != 200:
        problem = answer.problem
        if answer.status:
            problem = _problem(answer.status, *request_error(answer.body))
        pressed = count * (answer.status == 429)
        return Verdict(again=body, cause=answer.status, problem=problem, pressed=pressed, unknown=answer.unknown)
    try:
        items = [item.create for item in _decode(answer.body).items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Verdict(again=body, problem="the answer cannot be read", unknown=True)
    if len(items) != count:
        problem = f"the answer speaks of {len(items)} documents, not {count}"
        return Verdict(again=body, problem=problem, unknown=True)
    return _sorted(body, items)


def _sorted(body: Body, items: list[_Item]) -> Verdict:
    verdict = Verdict()
    stored, found, diverted, again, refused = [], [], [], [], []
    for index, item in enumerate(items):
        if item.status in (200, 201):
            stored.append(index)
            if item.failure_store == DIVERTED:
                diverted.append(index)
            elif item.index:
                verdict.stored_in.setdefault(item.index, []).append(index)
        elif item.status == 409 and _reason(item.error)[0] in (DUPLICATE, ""):
            found.append(index)
        elif 400 <= item.status < 500 and item.status not in (401, 403, 404, 408, 409, 429):
            refused.append(Refused(index, *_reason(item.error)))
        else:
            kind, reason = _reason(item.error)
            again.append(index)
            verdict.pressed += item.status == 429 and kind != BLOCKED
            # A block is for an operator to lift, also the one of a full disk, which answers 429.
            verdict.cause = 403 if kind == BLOCKED else item.status
            verdict.problem = _problem(item.status, kind, reason)
    verdict.stored = shares_of(map(body.position, stored))
    verdict.found = shares_of(map(body.position, found))
    verdict.diverted = shares_of(map(body.position, diverted))
    verdict.refused = refused
    verdict.again = body.only(again) if again else None
    return verdict


def _problem(status: int, kind: str, reason: str) -> str:
    """Say why documents have to wait. Of server errors only the type: their reasons may quote a document."""
    said = reason if reason and (status < 500 or kind == BLOCKED) else kind
    what = WHAT_TO_DO.get(status, f"HTTP {status}")
    if kind == BLOCKED:
        what = "writing is blocked; it goes on when the block is lifted"
    elif kind == UNAUTHORIZED and status == 403:
        what = missing_privilege(reason) or what
    return f"{what} ({said})" if said else what


def missing_privilege(reason: str) -> str:
    """Say which privilege a refusal is about; empty where the reason does not name an action."""
    action = _ACTION.search(reason)
    if action is None:
        return ""
    name = next((name for start, name in PRIVILEGES if action[1].startswith(start)), action[1])
    indices = _INDICES.search(reason)
    where = f" on {indices[1]}" if indices is not None else ""
    return f"the credentials lack the privilege {name}{where}; the collector needs auto_configure and create_doc"


def _reason(error: Any) -> tuple[str, str]:
    """Return Elasticsearch's type and reason, with that of the cause where there is one."""
    if not isinstance(error, dict):
        return "", ""
    reasons = [error.get("reason")]
    cause = error.get("caused_by")
    if isinstance(cause, dict):
        reasons.append(cause.get("reason"))
    return str(error.get("type", ""))[:TYPE_LIMIT], "; ".join(str(each) for each in reasons if each)[:REASON_LIMIT]


def request_error(body: bytes) -> tuple[str, str]:
    """Return Elasticsearch's type and reason for an error of a whole request; empty where the answer has none."""
    try:
        return _reason(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return "", ""
