"""What is committed to a store is followed, whatever its manifest looks like from outside."""

import json
import os
import time
from pathlib import Path

from collector.store.following import Following
from collector.store.lucene import translate
from collector.store.opening import Choice, committed
from tests.kit.batches import batch_of
from tests.kit.stores import opened_files

TICK_NS = 10_000_000_000
"""Far longer than one of the file system's clock: until then a manifest is looked at in any case."""


def test_two_commits_within_one_tick_of_the_clock_are_both_followed(tmp_path: Path) -> None:
    """The manifest of the second may have the number of one before, whose file is gone, and the same time."""
    files = opened_files(tmp_path)
    files.store([batch_of(0, ["old"])])
    manifest, kept = tmp_path / "store" / "manifest.json", tmp_path / "store" / "kept.json"
    following = Following(tmp_path, Choice(), translate("", now_ns=0), committed(tmp_path / "store"))
    tick_ns = time.time_ns() + TICK_NS
    os.link(manifest, kept)
    os.utime(kept, ns=(tick_ns, tick_ns))
    assert list(following.new()) == []

    files.store([batch_of(1, ["new"])])
    kept.write_bytes(manifest.read_bytes())
    os.replace(kept, manifest)
    os.utime(manifest, ns=(tick_ns, tick_ns))

    assert [json.loads(line)["message"] for lines in following.new() for line in lines] == ["new"]
    following.close()
