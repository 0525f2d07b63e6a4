"""Frames made by hand, and what an operator says about them: what a test of the pipeline feeds."""

from collections.abc import Sequence

from pipelines.enrich.lookups import Lookup
from pipelines.enrich.static import FieldRule
from pipelines.frame import INTERNAL, Frame, JournalIdentity, Message, Origin, Run
from pipelines.reference import INTERNAL_ENCODINGS

JOURNAL_TIME = 1_700_000_000_123_456_789
NEIGHBOURS = 3
ORIGIN = Origin("docker", "tcp", "192.0.2.7")
OWN_ORIGIN = Origin("tidewaiter", INTERNAL, "kit")

FIELDS = (
    FieldRule({"service.name": "shop", "tags": ["a", "b"]}, name="web*"),
    FieldRule({"service.name": "other", "service.environment": "prod", "labels.a": "b"}, peer="192.0.2.0/24"),
    FieldRule({"organization.name": "Acme", "service.node.roles": "x"}, input="s*"),
)
LOOKUPS = {
    "names": Lookup("container.name", {"team": "labels.team", "service": "service.name", "type": "service.type"}),
    "peers": Lookup("tidewaiter.origin.peer", {"site": "labels.site", "tag": "tags"}),
    "services": Lookup("service.name", {"team": "labels.team", "id": "organization.id"}),
}
"""What the operator sets on documents, and looks up for them."""


def frame_of(
    *runs: tuple[str, Sequence[tuple[bytes, bytes, int]]],
    sequence: int = 3,
    origins: tuple[Origin, ...] = (ORIGIN,),
) -> Frame:
    """Make a frame of runs; each is an encoding and its messages as (payload, tag, claimed).

    Origins take turns, each for a few neighbouring messages; what only the collector itself says is of one of its own.
    """
    messages = [(encoding, message) for encoding, run in runs for message in run]
    own = [encoding in INTERNAL_ENCODINGS for encoding, _ in messages]
    turns = len(origins)
    if any(own) and all(origin.transport != INTERNAL for origin in origins):
        origins = (*origins, OWN_ORIGIN)
    else:
        own = [False] * len(own)
    return Frame(
        journal=JournalIdentity(0xABCDEF, "collector-1"),
        partition=0,
        epoch=1_700_000_000,
        sequence=sequence,
        journal_time=JOURNAL_TIME,
        origins=origins,
        messages=tuple(
            Message(turns if own[number] else number // NEIGHBOURS % turns, len(payload), tag, b"", b"", claimed)
            for number, (_, (payload, tag, claimed)) in enumerate(messages)
        ),
        runs=tuple(Run(encoding, len(run)) for encoding, run in runs),
        payload=memoryview(b"".join(payload for _, (payload, _, _) in messages)),
    )


def whole_message(entry: bytes, name: bytes, option: bytes) -> bytes:
    """Make a Message-mode object of an entry."""
    return (b"\x94" if option else b"\x93") + bytes([0xA0 | len(name[:31])]) + name[:31] + entry[1:] + option
