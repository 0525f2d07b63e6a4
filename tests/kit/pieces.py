"""Lines as container runtimes cut them: what a test of joining sends."""

import struct
from collections.abc import Sequence
from typing import Any

import msgpack

from pipelines.frame import Frame, Origin
from tests.kit.frames import JOURNAL_TIME, ORIGIN, frame_of

CONTAINERS = ("a" * 64, "b" * 64)


def docker_pieces(
    line: bytes,
    size: int,
    *,
    container: str = CONTAINERS[0],
    stream: str = "stdout",
    name: str = "p1",
    last: bool = True,
) -> list[dict[str, Any]]:
    """Cut a line as Docker's `fluentd` driver does, after `size` bytes; without `last` its end is still to come.

    A line that fits is one record without marks. One whose length is a multiple of `size` ends with an empty piece.
    """
    record = {"container_id": container, "container_name": "/web", "source": stream}
    if len(line) < size and last:
        return [{**record, "log": line}]
    cut = [line[at : at + size] for at in range(0, len(line) + 1, size)]
    return [
        {
            **record,
            "log": piece,
            "partial_message": "true",
            "partial_id": name,
            "partial_ordinal": str(ordinal),
            "partial_last": "true" if last and ordinal == len(cut) else "false",
        }
        for ordinal, piece in enumerate(cut, 1)
    ]


def unmarked_pieces(line: bytes, size: int, *, container: str, stream: str) -> list[dict[str, Any]]:
    """Cut a line as Engines did that say nothing of it: the end of a line is what is shorter."""
    record = {"container_id": container, "container_name": "/web", "source": stream}
    return [{**record, "log": line[at : at + size]} for at in range(0, len(line) + 1, size)]


def cri_pieces(line: bytes, size: int, *, container: str, stream: str) -> list[dict[str, Any]]:
    """Cut a line as containerd does, and read it as Fluent Bit's `cri` parser does, with its `kubernetes` filter."""
    cut = [line[at : at + size] for at in range(0, max(len(line), 1), size)]
    pod = {"pod_name": "web-0", "docker_id": container}
    return [
        {"stream": stream, "logtag": "F" if at == len(cut) else "P:x", "message": piece, "kubernetes": pod}
        for at, piece in enumerate(cut, 1)
    ]


def packed(record: dict[str, Any], second: int = 1_700_000_000, *, tag: bytes | None = None) -> bytes:
    """Encode a Forward entry, or with a `tag` a Message-mode object; bytes are sent as text, as Docker does."""
    fields = b"".join(_text(key.encode()) + _value(value) for key, value in record.items())
    elements = b"\xd7\x00" + struct.pack(">II", second, 5) + bytes([0x80 | len(record)]) + fields
    return b"\x92" + elements if tag is None else b"\x93" + _text(tag) + elements


def frames_of(
    frames: Sequence[Sequence[bytes]], *, encoding: str = "forward", step_ns: int = 1_000_000, origin: Origin = ORIGIN
) -> list[Frame]:
    """Make frames that follow one another, `step_ns` of journal time apart, of one message for each entry."""
    made = []
    for number, entries in enumerate(frames):
        frame = frame_of((encoding, [(entry, b"", 1) for entry in entries]), sequence=number, origins=(origin,))
        made.append(at_time(frame, JOURNAL_TIME + number * step_ns))
    return made


def at_time(frame: Frame, journal_time: int) -> Frame:
    """Return the frame with another journal time."""
    return Frame(
        frame.journal,
        frame.partition,
        frame.epoch,
        frame.sequence,
        journal_time,
        frame.origins,
        frame.messages,
        frame.runs,
        frame.payload,
    )


def _text(text: bytes) -> bytes:
    if len(text) < 32:
        return bytes([0xA0 | len(text)]) + text
    return b"\xda" + struct.pack(">H", len(text)) + text


def _value(value: Any) -> bytes:
    packed_value: bytes = msgpack.packb(value)
    return _text(value) if isinstance(value, bytes) else packed_value
