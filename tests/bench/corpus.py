"""The frozen corpus and yardstick: made once into `.cache/bench`, checked against SHA256SUMS, cut into messages."""

import hashlib
import lzma
import subprocess
import sys
import time
import zlib
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgpack

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parent.parent / ".cache" / "bench"
CHUNK_KEY: Final = b"\xa5chunk\xb8"
CHUNK_ID_BYTES: Final = 24
YARDSTICK_DOCUMENTS: Final = 8192
YARDSTICK_SLICE_BYTES: Final = 4 << 20
OPTION_BYTES: Final = 128
"""The options of a PackedForward message lie within its last bytes; they are decoded from a copy of these."""


class ForwardChunk(NamedTuple):
    """One PackedForward message with room for a chunk id of its own between `head` and `tail`."""

    head: memoryview
    tail: bytes
    records: int


def _checksums() -> dict[str, str]:
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _checked(name: str, content: bytes) -> bytes:
    if hashlib.sha256(content).hexdigest() != _checksums()[name]:
        raise SystemExit(f"{name} is not the frozen one: its checksum differs from SHA256SUMS")
    return content


def corpus(name: str) -> bytes:
    """Return one file of the corpus (`pf.bin`, `msg.bin`), making the corpus first where it is missing."""
    file = FOLDER / name
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(HERE / "gen.py"), str(FOLDER)], check=True, stdout=subprocess.DEVNULL)
    return _checked(name, file.read_bytes())


def forward_chunks() -> list[ForwardChunk]:
    """Cut `pf.bin` into its messages."""
    whole = corpus("pf.bin")
    view = memoryview(whole)
    unpacker = msgpack.Unpacker(raw=True, max_buffer_size=len(whole))
    unpacker.feed(whole)
    chunks, start = [], 0
    while start < len(whole):
        unpacker.skip()
        end = unpacker.tell()
        id_at = whole.rindex(CHUNK_KEY, max(start, end - OPTION_BYTES), end) + len(CHUNK_KEY)
        options = msgpack.unpackb(b"\x82" + whole[id_at - len(CHUNK_KEY) : end])
        chunks.append(ForwardChunk(view[start:id_at], whole[id_at + CHUNK_ID_BYTES : end], options["size"]))
        start = end
    return chunks


def single_messages(count: int) -> list[bytes]:
    """The first messages of `msg.bin`, each without its (empty) options."""
    whole = corpus("msg.bin")
    unpacker = msgpack.Unpacker(raw=True, max_buffer_size=len(whole))
    unpacker.feed(whole)
    messages, start = [], 0
    for _ in range(count):
        unpacker.skip()
        end = unpacker.tell()
        messages.append(whole[start : end - 1])
        start = end
    return messages


def yardstick_body() -> bytes:
    """The frozen `_bulk` body of 8,192 documents."""
    return _checked("yardstick.ndjson", lzma.decompress((HERE / "yardstick.ndjson.xz").read_bytes()))


def yardstick_us(body: bytes, *, passes: int = 9) -> float:
    """One yardstick in microseconds: CPU time of zlib level 1 over the body in slices, per document; a median."""
    slices = [body[at : at + YARDSTICK_SLICE_BYTES] for at in range(0, len(body), YARDSTICK_SLICE_BYTES)]
    times = []
    for _ in range(passes):
        began = time.process_time_ns()
        for part in slices:
            zlib.compress(part, 1)
        times.append(time.process_time_ns() - began)
    return median(times) / 1000 / YARDSTICK_DOCUMENTS
