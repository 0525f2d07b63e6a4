"""Local stores made by hand: what a test of searching reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collector.store.files import StoreFiles
from collector.store.sealing import seal
from pipelines.batch import Batch, DataStream, Documents, Tally
from pipelines.frame import Ids, Position
from tests.kit.batches import STREAM

EVER_S = 1e12
LAST_NS = 10**19
"""Journal time at which every open file is old."""

SIZE_BYTES = 1 << 30


def batch_of_lines(sequence: int, lines: Sequence[bytes], *, stream: DataStream = STREAM, time_ns: int = 0) -> Batch:
    """Make a batch of encoded documents, each with its newline."""
    ids = Ids(b"dc%017d" % sequence, [b"%05d" % index for index in range(len(lines))])
    documents = Documents.of_lines(stream, lines, ids)
    here = Position(0, 1, sequence)
    tally = Tally(len(lines), len(lines), len(lines), 0, 0)
    return Batch(here, here._replace(sequence=sequence + 1), time_ns, (documents,), (), tally, documents.size_bytes)


def opened_files(data_dir: Path, *, retention_s: float = EVER_S, limit_bytes: int = SIZE_BYTES) -> StoreFiles:
    """Open the store of a data folder for writing."""
    files = StoreFiles(data_dir / "store", retention_s=retention_s, limit_bytes=limit_bytes)
    files.open(None)
    return files


def store_lines(data_dir: Path, lines: Sequence[bytes]) -> None:
    """Make a store that holds these encoded documents, each with its newline."""
    files = opened_files(data_dir)
    files.store([batch_of_lines(0, lines)])
    files.close()


def seal_all(data_dir: Path) -> None:
    """Close every file of a store that nobody writes, and make it Parquet."""
    files = opened_files(data_dir)
    files.commit(LAST_NS)
    seal_closed(files)
    files.close()


def seal_closed(files: StoreFiles) -> None:
    """Make every closed file Parquet."""
    for sealing in files.to_seal():
        file = sealing.file
        odd = seal(sealing.source, sealing.target, length_bytes=file.length, largest_bytes=file.largest)
        files.take_sealed(sealing, odd=odd)


def store_documents(data_dir: Path, documents: Sequence[dict[str, Any]]) -> None:
    """Make a store that holds these documents."""
    store_lines(
        data_dir, [json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for each in documents]
    )
