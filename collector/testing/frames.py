"""Frames made by hand: what a test of the pipeline feeds."""

from collections.abc import Sequence

from pipelines.frame import Frame, JournalIdentity, Message, Origin, Run

JOURNAL_TIME = 1_700_000_000_123_456_789
NEIGHBOURS = 3
ORIGIN = Origin("docker", "tcp", "192.0.2.7")


def frame_of(
    *runs: tuple[str, Sequence[tuple[bytes, bytes, int]]],
    sequence: int = 3,
    origins: tuple[Origin, ...] = (ORIGIN,),
) -> Frame:
    """Make a frame of runs; each is an encoding and its messages as (payload, tag, claimed).

    Origins take turns, each for a few neighbouring messages.
    """
    messages = [message for _, run in runs for message in run]
    return Frame(
        journal=JournalIdentity(0xABCDEF, "collector-1"),
        partition=0,
        epoch=1_700_000_000,
        sequence=sequence,
        journal_time=JOURNAL_TIME,
        origins=origins,
        messages=tuple(
            Message(number // NEIGHBOURS % len(origins), len(payload), tag, b"", b"", claimed)
            for number, (payload, tag, claimed) in enumerate(messages)
        ),
        runs=tuple(Run(encoding, len(run)) for encoding, run in runs),
        payload=memoryview(b"".join(payload for payload, _, _ in messages)),
    )
