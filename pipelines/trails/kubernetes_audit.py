"""Kubernetes' trail, encoding `kubernetes-audit`: who asked an API server for what, as that posts it.

A message is the body of a POST: an EventList, of which each item is a record. Taken as well are events alone, in an
array, or one behind the other, as agents send them that read the log file. What is none of these is one dead letter; of
a list only those items are that are no events.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Final, NamedTuple

import msgspec

from parsers.kubernetes_audit import NOTHING, Event, decode_event, decode_list, decode_raw, decode_raw_list
from parsers.kubernetes_audit_document import parsed_event
from pipelines.decode.forward import Record
from pipelines.enrich import lookups
from pipelines.enrich.asked_pods import NONE, cluster_of, with_pod
from pipelines.normalize.container import Line, normalise
from pipelines.normalize.parsed import Document, parsed_document
from pipelines.settled import Settled, Waits
from pipelines.trails.json_split import records
from pipelines.trails.trail import RECORDS_LIMIT, Sent, Trail, json_lines

ENCODING: Final = "kubernetes-audit"

PROXIES_KEPT: Final = 4096
"""Of so many addresses it is remembered whether they are a proxy's."""

HEAD_BYTES: Final = 256
"""Within so much of an EventList its kind and version stand."""

OBJECTS_AT_ONCE: Final = 1 << 17
"""Braces that open in a message whose events are decoded together; of one with more, one by one. An event takes 250
bytes and has a brace at least, so together they take 32 MiB beside their texts."""

_LIST: Final = re.compile(rb'\s*\{(?=[^\[]*"kind"\s*:\s*"EventList")(?=[^\[]*"apiVersion"\s*:\s*"audit\.k8s\.io/)')
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Common(NamedTuple):
    """What all events of a message have in common: the end of their documents, and whose word is believed."""

    line: Line
    is_proxy: Callable[[str], bool]


def is_event_list(payload: memoryview) -> bool:
    """Tell whether a body of JSON begins as an EventList does, whoever posts it."""
    return _LIST.match(payload[:HEAD_BYTES]) is not None


def settle(sent: Sent) -> Iterator[Settled | Waits]:
    """Settle the events of a message."""
    common = _common(sent)
    if bytes(sent.payload).count(b"{") > OBJECTS_AT_ONCE:
        yield from _one_by_one(sent, common)
        return
    try:
        events = decode_list(sent.payload).items or ()
    except _UNREADABLE:
        yield from _one_by_one(sent, common)
        return
    for event in events:
        yield _document(sent, common, event)


def _one_by_one(sent: Sent, common: _Common) -> Iterator[Settled]:
    """Settle events of which some cannot be read, or that are in no list."""
    try:
        items = _items(sent.payload)
    except _UNREADABLE as error:
        yield sent.refused(sent.payload, "bad_audit_event", str(error))
        return
    for item, wrong in items:
        try:
            document = _document(sent, common, decode_event(item))
        except _UNREADABLE as error:
            yield sent.refused(item, "bad_audit_event", wrong or str(error))
        else:
            yield document


def _items(payload: memoryview) -> Iterator[tuple[memoryview, str]]:
    """Return the events of a message, however they are put together, with what is wrong with them, if known by now.

    Raises what decoding raises. They are made one after the other: there may be millions, of one character each.
    """
    start = bytes(payload[:1024]).lstrip()[:1]
    if start == b"[":
        return _of_array(bytes(decode_raw(payload)))
    try:
        items = bytes(decode_raw_list(payload).items)
    except msgspec.DecodeError:
        return _of_lines(payload)
    return _of_array(items) if items[:1] == b"[" else iter(()) if items in NOTHING else _of_lines(payload)


def _of_array(array: bytes) -> Iterator[tuple[memoryview, str]]:
    for cut in records(str(array, "utf-8", "surrogateescape")):
        yield memoryview(cut.text.encode("utf-8", "surrogateescape")), cut.wrong


def _of_lines(payload: memoryview) -> Iterator[tuple[memoryview, str]]:
    for count, line in enumerate(json_lines(payload), 1):
        if count > RECORDS_LIMIT or bytes(line[:1024]).lstrip()[:1] != b"{":
            raise msgspec.DecodeError("neither an EventList nor events")
    return ((line, "") for line in json_lines(payload))


def _common(sent: Sent) -> _Common:
    origin, settings, state = sent.origin, sent.settings, sent.state
    line = normalise(Record(None, {"log": ""}), frame=sent.frame, origin=origin, tag=b"", settings=settings)
    audit = settings.audits.get(origin.input, NONE)
    cluster = audit.cluster
    if not cluster and (source := cluster_of(origin, settings, state.metadata)):
        cluster = state.metadata.source(source).name
    if cluster:
        line.tail["orchestrator"] = {"cluster": {"name": cluster}}
    tables = lookups.tables_in_use(settings.lookups, state.lookups)
    lookups.add_fields(line.tail, origin, settings.fields, settings.lookups.values(), tables)
    return _Common(line, partial(is_proxy, audit.proxies))


@lru_cache(PROXIES_KEPT)
def is_proxy(proxies: tuple[str, ...], address: str) -> bool:
    """Tell whether an address is one of these, or in one of these networks."""
    found = ipaddress.ip_address(address)
    return any(found in network for network in map(_network, proxies) if network is not None)


@lru_cache(PROXIES_KEPT)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _document(sent: Sent, common: _Common, event: Event) -> Document:
    parsed = parsed_event(event, is_proxy=common.is_proxy)
    line = Line(parsed.message, None, common.line.tail, None)
    line = with_pod(parsed, line, sent.origin, sent.settings, sent.state.metadata)
    return parsed_document(line, parsed, sent.frame.journal_time, sent.settings).as_bytes()


TRAIL: Final = Trail(settle)
