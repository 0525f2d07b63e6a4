"""What Elasticsearch's answer to a bulk request says of each document: pure, without waiting or sending.

A document is stored, refused for good, or to be sent again; what cannot be understood is never a success.
Elasticsearch's own words go to dead letters whole, but into the log only those that were said before a document was
looked at.
"""

import random
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

DUPLICATE: Final = "version_conflict_engine_exception"

REDIRECTED: Final = "what answers at this URL sends us elsewhere; name that address in urls if it is yours"

WHAT_TO_DO: Final = {
    **dict.fromkeys((301, 302, 303, 307, 308), REDIRECTED),
    400: "Elasticsearch refuses the requests themselves; is what answers at this URL Elasticsearch?",
    401: "Elasticsearch does not accept the credentials",
    403: "the credentials lack privileges (auto_configure and create_doc on logs-*-*), or writing is blocked",
    404: "no template makes a data stream of this name: run `tidewaiter setup elasticsearch`",
}
"""Statuses that an operator has to act on: everything waits, and is asked for again slowly."""


class Answer(msgspec.Struct):
    """What came back: a status, 0 when nothing usable did; `problem` is for the operator, without any document."""

    status: int
    body: bytes = b""
    problem: str = ""
    retry_after_s: float | None = None


class Refused(msgspec.Struct, frozen=True):
    """A document of a body that Elasticsearch will never take, with Elasticsearch's type and reason."""

    index: int
    code: str
    reason: str


class Verdict(msgspec.Struct):
    """How a body's documents settled: stored ones by batch, refused ones, and those to be sent `again`.

    `cause` is the status that `again` and `problem` come from, 0 for none.
    """

    settled: Sequence[tuple[Position, int]] = ()
    delivered: int = 0
    duplicates: int = 0
    diverted: int = 0
    refused: Sequence[Refused] = ()
    again: Body | None = None
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
        if verdict.cause in WHAT_TO_DO:
            pause_s = max(pause_s, self.refused_s)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


class _Item(msgspec.Struct):
    status: int
    error: Any = None
    failure_store: str = ""


class _Created(msgspec.Struct):
    create: _Item


class _BulkAnswer(msgspec.Struct):
    items: list[_Created]


_decode = msgspec.json.Decoder(_BulkAnswer).decode


def verdict_of(body: Body, answer: Answer) -> Verdict:
    """Read the answer to a body."""
    count = len(body)
    if answer.status == 200 and answer.body == all_stored(count):
        return Verdict(body.shares, delivered=count)
    if answer.status != 200:
        what = WHAT_TO_DO.get(answer.status, f"HTTP {answer.status}" if answer.status else "")
        problem = ": ".join(text for text in (what, answer.problem) if text)
        return Verdict(again=body, cause=answer.status, problem=problem)
    try:
        items = [item.create for item in _decode(answer.body).items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Verdict(again=body, problem="the answer cannot be read")
    if len(items) != count:
        return Verdict(again=body, problem=f"the answer speaks of {len(items)} documents, not {count}")
    return _sorted(body, items)


def _sorted(body: Body, items: list[_Item]) -> Verdict:
    verdict = Verdict()
    stored, again, refused = [], [], []
    for index, item in enumerate(items):
        if item.status in (200, 201):
            stored.append(index)
            verdict.delivered += 1
            verdict.diverted += item.failure_store == DIVERTED
        elif item.status == 409 and _reason(item.error)[0] in (DUPLICATE, ""):
            stored.append(index)
            verdict.duplicates += 1
        elif 400 <= item.status < 500 and item.status not in (401, 403, 404, 408, 409, 429):
            refused.append(Refused(index, *_reason(item.error)))
        else:
            again.append(index)
            verdict.cause = item.status
            verdict.problem = _problem(item)
    verdict.settled = shares_of(map(body.position, stored))
    verdict.refused = refused
    verdict.again = body.only(again) if again else None
    return verdict


def _problem(item: _Item) -> str:
    """Say why a document has to wait. Of server errors only the type: their reasons may quote the document."""
    kind, reason = _reason(item.error)
    said = reason if item.status < 500 and reason else kind
    what = WHAT_TO_DO.get(item.status, f"HTTP {item.status}")
    return f"{what} ({said})" if said else what


def _reason(error: Any) -> tuple[str, str]:
    """Return Elasticsearch's type and reason, with that of the cause where there is one."""
    if not isinstance(error, dict):
        return "", ""
    reasons = [error.get("reason")]
    cause = error.get("caused_by")
    if isinstance(cause, dict):
        reasons.append(cause.get("reason"))
    return str(error.get("type", ""))[:TYPE_LIMIT], "; ".join(str(each) for each in reasons if each)[:REASON_LIMIT]


def request_problem(body: bytes) -> str:
    """Return Elasticsearch's own words for an error of a whole request; empty where the answer has none."""
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return ""
    return ": ".join(text for text in _reason(error) if text)
