"""The chunk path of `pipelines.normalize.logins`: lines that tell of logins, found by their slabs and seen to in order.

Of slabs of other formats nothing is looked at but whether their constant part names the category; lines of logins are
rare, and cost what they cost on the reference path.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import orjson

from parsers.canonical import encode
from parsers.slabs import Filled, Slab
from pipelines.logins import Logins
from pipelines.normalize.container import Line
from pipelines.normalize.logins import (
    CATEGORY,
    FORMATS,
    OWN_CATEGORIES,
    Whereabouts,
    own_fields,
    tells,
    told,
    whereabouts,
)

_MARK = encode(CATEGORY)


class Streamed(Protocol):
    """A stream, by a line of it with the tail that all share."""

    @property
    def line(self) -> Line:
        """The line."""


def put_logins(
    slabs: Sequence[Slab],
    streams: Sequence[Streamed],
    texts: Sequence[str],
    *,
    logins: Logins,
    now_ns: int,
    silent: Collection[str],
) -> None:
    """Give lines of logins their fields, in the order of a message's lines; `texts` are these as they were parsed.

    `silent` are facts that documents are not to have.
    """
    looked_at = [slab for slab in slabs if _may_tell(slab)]
    if not looked_at:
        return
    columns = [_rows(slab) for slab in looked_at]
    turns = sorted((at, which, row) for which, slab in enumerate(looked_at) for row, at in enumerate(slab.places))
    made: list[list[bytes]] = [list(own) for _, _, own in columns]
    members, places = _Members(), _Places()
    for at, which, row in turns:
        slab, (events, fields, own) = looked_at[which], columns[which]
        event = members[events[row]]
        if not tells(slab.parser, event):
            continue
        message = texts[at] if slab.messages is None else slab.messages[row]
        its = orjson.loads(b"{%b}" % fields[row][1:])
        line = told(slab.parser, event, its, members[own[row]], message, places[streams[at]])
        found = own_fields(line, logins, now_ns, silent)
        made[which][row] = b",%b" % encode(found)[1:-1] if found else b""
    for slab, (events, fields, _), column in zip(looked_at, columns, made, strict=True):
        # Their rows stand now: columns would be put into their templates a second time.
        slab.event, slab.fields, slab.own = _one(events), _one(fields), _one(column)


class _Members(dict[bytes, dict[str, Any]]):
    """What stands in rows of `event` and of our own, of which most are alike: each is decoded once."""

    def __missing__(self, row: bytes) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(b"{%b}" % row[1:])
        self[row] = found
        return found


class _Places(dict[Streamed, Whereabouts]):
    """Where the logins of a message's streams happen."""

    def __missing__(self, stream: Streamed) -> Whereabouts:
        found = self[stream] = whereabouts(stream.line.tail)
        return found


def _one(column: list[bytes]) -> Filled:
    return Filled(b"%b", (column,)) if any(column) else Filled()


def _may_tell(slab: Slab) -> bool:
    if slab.parser in FORMATS:
        return True
    if slab.parser in OWN_CATEGORIES:
        return False
    template, columns = slab.event.template, slab.event.columns
    return _MARK in template or (template == b"%b" and any(_MARK in row for row in columns[0]))


def _rows(slab: Slab) -> tuple[list[bytes], list[bytes], list[bytes]]:
    size = len(slab.places)
    return slab.event.rows(size), slab.fields.rows(size), slab.own.rows(size)
