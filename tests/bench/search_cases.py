"""The bench's case of the local store: documents of the corpus spread over a day, sealed, and searched.

The pipeline makes the documents; each message's are given another time, so that a day has them all. A search opens the
store anew each time, as the command does; the first is cold only for our process, the system has the files in memory.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgpack
import msgspec
import orjson

from collector.store.files import StoreFiles
from collector.store.lucene import translate
from collector.store.opening import Choice
from collector.store.reader import open_store
from parsers.timestamps import rfc3339
from pipelines.batch import Batch, Documents
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.bench.collectors import Figures
from tests.bench.corpus import CHUNK_KEY, forward_chunks
from tests.kit.frames import frame_of
from tests.kit.stores import LAST_NS, opened_files, seal_closed

DAY_S: Final = 86_400
BEGIN_S: Final = 1_795_392_000
HOUR: Final = 12
TRIES: Final = 5
ID_BYTES: Final = 24
INSTANT: Final = re.compile(rb'"@timestamp":"[^"]{19}')


def search(options: argparse.Namespace) -> Figures:
    """Make the store, seal it, search it."""
    with tempfile.TemporaryDirectory(prefix="tidewaiter-bench-") as folder:
        files = opened_files(Path(folder), limit_bytes=1 << 40)
        lines_bytes = _filled(files, options.events)
        figures = {"events": float(files.manifest.documents), "search_lines_mb": lines_bytes / 1e6}
        began_s = time.process_time()
        files.commit(LAST_NS)
        seal_closed(files)
        figures["search_seal_us"] = (time.process_time() - began_s) / files.manifest.documents * 1e6
        figures["search_sealed_mb"] = files.manifest.bytes / 1e6
        files.close()
        return figures | _searched(Path(folder))


def _searched(folder: Path) -> Figures:
    begin_ns = (BEGIN_S + HOUR * 3600) * 10**9
    hour = Choice(since=rfc3339(begin_ns), until=rfc3339(begin_ns + 3600 * 10**9))
    with open_store(folder, hour) as store:
        container = orjson.loads(next(iter(store.search(translate("_exists_:container.id", now_ns=0), limit=1))))
    named = f"container.id:{container['container']['id']}"
    figures: Figures = {}
    for name, query, choice in (
        ("container_hour", named, hour),
        ("container_day", named, Choice()),
        ("text", "message:timeout", Choice()),
        ("newest", "", Choice()),
    ):
        walls, cpus = [], []
        for _ in range(TRIES):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            with open_store(folder, choice) as store:
                found = sum(1 for _ in store.search(translate(query, now_ns=0), limit=100))
            walls.append((time.perf_counter() - wall_s) * 1000)
            cpus.append((time.process_time() - cpu_s) * 1000)
        if not found:
            raise SystemExit(f"{query} finds nothing")
        figures |= {f"{name}_first_ms": walls[0], f"{name}_ms": min(walls), f"{name}_cpu_ms": min(cpus)}
    return figures


def _filled(files: StoreFiles, documents: int) -> int:
    """Put so many documents into the store; return the bytes of their lines."""
    chunks = [(_entries(chunk.head, chunk.tail), chunk.records) for chunk in forward_chunks()]
    mean = sum(records for _, records in chunks) / len(chunks)
    step_s = DAY_S / (documents / mean + 1)
    pipeline = Pipeline(Settings(version="0"), _failed)
    number = size_bytes = 0
    while files.manifest.documents < documents:
        entries, records = chunks[number % len(chunks)]
        frame = frame_of(("forward", [(entries, b"docker.host", records)]), sequence=number)
        for batch in pipeline(frame):
            moved = _moved(batch, int(BEGIN_S + number * step_s))
            size_bytes += moved.size_bytes
            files.store([moved])
        number += 1
    return size_bytes


def _entries(head: memoryview, tail: bytes) -> bytes:
    """Return a message's records, as a frame has them."""
    message = bytes(head) + bytes(ID_BYTES) + tail
    assert CHUNK_KEY in message
    entries: bytes = msgpack.unpackb(message, raw=True)[1]
    return entries


def _moved(batch: Batch, second: int) -> Batch:
    """Give all documents of a batch this second."""
    instant = b'"@timestamp":"' + rfc3339(second * 10**9)[:19].encode()
    moved = [
        Documents.of_lines(each.stream, INSTANT.sub(instant, each.ndjson).splitlines(keepends=True), each.ids)
        for each in batch.documents
    ]
    return msgspec.structs.replace(batch, documents=tuple(moved))


def _failed(*told: object) -> None:
    raise SystemExit(f"the pipeline failed: {told}")


def rows() -> Iterator[tuple[str, str, str]]:
    """Rows of the report: title, figure, what is asked."""
    yield "documents of a day as lines; sealed", "{search_lines_mb:,.0f}; {search_sealed_mb:,.0f} MB", ""
    yield "sealing, CPU per document", "{search_seal_us:.1f} µs", ""
    for name, title, asked in (
        ("container_hour", "by container and an hour", "300 ms"),
        ("container_day", "by container, the newest 100", ""),
        ("text", "by a word of the message, the newest 100", ""),
        ("newest", "the newest 100 of all", ""),
    ):
        figure = f"{{{name}_first_ms:.0f}}, {{{name}_ms:.0f}} ms ({{{name}_cpu_ms:.0f}} ms CPU)"
        yield f"search of {{events:,.0f}} {title}: first, best", figure, asked
