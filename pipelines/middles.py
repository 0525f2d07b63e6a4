"""What varies by line in documents of the chunk path: of each slab of lines one template, filled for all of them.

A document is what its position says, its *middle*, and its *tail*, which is constant for the stream and the parser's
dataset. The middle goes from the end of `event` to within `tidewaiter`:

    ",EVENT},"@timestamp":"TIME","message":MESSAGE,FIELDS,"related":{RELATED"hosts":[…]},"tidewaiter":{APP
"""

from collections.abc import Callable, Sequence
from operator import itemgetter, sub
from typing import Any

import msgspec

from parsers.canonical import encode_texts
from parsers.slabs import Filled, Slab, joined, literal
from parsers.timestamps import second_text
from pipelines.normalize.original import Original, originals
from pipelines.normalize.parsed import FAR_S


class Tail(msgspec.Struct, eq=False):
    """What all lines of a stream and a dataset share: its own hosts, each encoded, their list, and the end."""

    hosts: list[bytes]
    hosts_list: bytes
    end: bytes


Far = Callable[[int, tuple[int, int]], Tail]
"""Gives the tail of a slab's line, by its row, whose own time is too far from that of its sender."""


class Sent(msgspec.Struct):
    """Lines as columns: the times of their sender, texts as they came and as they were parsed."""

    seconds: Sequence[int]
    nanoseconds: Sequence[int]
    lines: Sequence[str]
    texts: Sequence[str]

    def of(self, places: Sequence[int]) -> "Sent":
        """Return the lines at these places, of which there is one at least."""
        if len(places) == len(self.lines):
            return self
        pick = picker(places)
        lines = pick(self.lines)
        texts = lines if self.texts is self.lines else pick(self.texts)
        return Sent(pick(self.seconds), pick(self.nanoseconds), lines, texts)


def picker(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Return what picks the values at these places, one at least: a third of what it costs one by one."""
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))


def middles(slab: Slab, event: bytes, sent: Sent, tails: list[Tail], far: Far) -> list[bytes]:
    """Return the middles of a slab's lines; `event` is what `event` holds before what a parser found.

    `tails` are those of its lines, and become those of far ones where a line's own time is.
    """
    messages = encode_texts(_messages(slab, sent))
    seconds, nanoseconds = _times(slab, sent, tails, far)
    filled = joined(
        [
            Filled(b'",' + literal(event)),
            slab.event,
            Filled(b'},"@timestamp":"%b', (list(map(second_text.__getitem__, seconds)),)),
            Filled(b'%09dZ","message":%b', (nanoseconds, messages)),  # type: ignore[arg-type]
            slab.fields,
            Filled(b',"related":{'),
            slab.related,
            _hosts(slab, tails),
            slab.rest,
            _before_commas(slab.own),
        ]
    )
    return filled.rows(len(slab.places))


def keep_originals(slab: Slab, sent: Sent, kept: Original, are_lines: Sequence[bool]) -> None:
    """Put a slab's lines as they came into `event` where that is wanted; `are_lines` says which of its records are."""
    column = originals(kept, sent.lines, _messages(slab, sent), are_lines)
    slab.event = joined([slab.event, Filled(b"%b", (column,))])


def _before_commas(own: Filled) -> Filled:
    """Return members that each stand behind a comma with one behind them instead."""
    if own.template.startswith(b","):
        return Filled(own.template[1:] + b",", own.columns)
    if not own.template:
        return own
    # What comes first may be missing, so where the commas stand differs by line.
    return Filled(b"%b", ([b"%b," % row[1:] if row else b"" for row in own.rows(0)],))


def _messages(slab: Slab, sent: Sent) -> Sequence[str]:
    if slab.messages is None:
        return sent.lines
    if sent.texts is sent.lines:
        return slab.messages
    # A message that is the whole line keeps the end that the line came with.
    rows = zip(slab.messages, sent.texts, sent.lines, strict=True)
    return [line if own == text else own for own, text, line in rows]


def _times(slab: Slab, sent: Sent, tails: list[Tail], far: Far) -> tuple[Sequence[int], Sequence[int]]:
    """Return a slab's times: each line's own, else that of its sender."""
    seconds_sent, nanoseconds_sent = sent.seconds, sent.nanoseconds
    if slab.times is None:
        return seconds_sent, nanoseconds_sent
    seconds, nanoseconds = slab.times
    apart = list(map(sub, seconds, seconds_sent))
    if all(seconds) and max(apart) <= FAR_S and min(apart) >= -FAR_S:
        return seconds, nanoseconds
    made = list(zip(seconds_sent, nanoseconds_sent, strict=True))
    for row, own in enumerate(zip(seconds, nanoseconds, strict=True)):
        if own[0] and not -FAR_S <= own[0] - seconds_sent[row] <= FAR_S:
            tails[row] = far(row, own)
        elif own[0]:
            made[row] = own
    return [second for second, _ in made], [nanosecond for _, nanosecond in made]


def _hosts(slab: Slab, tails: Sequence[Tail]) -> Filled:
    different = {tail.hosts_list for tail in set(tails)}
    if not slab.hosts and len(different) == 1:
        return Filled(literal(b'"hosts":[%b]},"tidewaiter":{' % different.pop()))
    column = [tail.hosts_list for tail in tails]
    if slab.hosts:
        rows = zip(*slab.hosts, strict=True)
        column = [
            b",".join(dict.fromkeys([*filter(None, row), *tail.hosts])) for row, tail in zip(rows, tails, strict=True)
        ]
    return Filled(b'"hosts":[%b]},"tidewaiter":{', (column,))
