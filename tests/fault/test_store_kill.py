"""kill -9 of a real process that writes the local store, at any moment: nothing settled is lost, nothing is doubled."""

import json
import random
import selectors
import subprocess
import sys
from pathlib import Path

import pytest

from collector.store.lucene import translate
from collector.store.reader import open_store

WRITER = Path(__file__).with_name("store_writer.py")
ROUNDS = 10
SEED = 20261123
TIMEOUT_S = 60


def kill_within(data_dir: Path, chance: random.Random) -> int:
    """Run a writer, kill it at a random moment, return the last batch it settled (-1: none)."""
    with subprocess.Popen([sys.executable, "-P", str(WRITER), str(data_dir)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        wanted = chance.choice([0, 1, 1, 2])
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(writer.stdout, selectors.EVENT_READ)
            while output.count(b"\n") < wanted:
                assert selector.select(TIMEOUT_S)
                output += writer.stdout.read1(65536)  # type: ignore[attr-defined]
            selector.select(chance.uniform(0.0, 0.3))
        writer.kill()
        output += writer.stdout.read()
    settled = output.split(b"\n")[:-1]
    return int(settled[-1]) if settled else -1


def stored(data_dir: Path) -> list[tuple[int, int]]:
    """(batch, index) of every document, as a search gives them."""
    with open_store(data_dir) as store:
        messages = [json.loads(document)["message"] for document in store.search(translate("", now_ns=0))]
    return [(int(batch), int(index)) for batch, index, _ in (message.split(" ") for message in messages)]


@pytest.mark.timeout(600)
def test_kill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """After each of ten kills a search finds whole batches, no gap, no repetition, and all that was settled."""
    chance = random.Random(SEED)
    settled = -1
    for _ in range(ROUNDS):
        settled = max(settled, kill_within(tmp_path, chance))
        if settled < 0:
            continue
        found = stored(tmp_path)
        last = found[-1][0]

        assert last >= settled
        assert found == [(batch, index) for batch in range(last + 1) for index in range(3)]
    assert settled > 0
