"""The books balance to the record, whatever is killed: what senders had acknowledged is what they say came in.

Containers write lines in pieces and whole, each acknowledged before the next; some messages are sent again, some hold
bytes that are no record, some claim what they do not hold. The moments are seeded.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from tests.fault.books import until
from tests.kit.pieces import docker_pieces, packed
from tests.kit.running import RunningCollector

pytestmark = pytest.mark.timeout(600)

SEED: Final = int(os.environ.get("TIDEWAITER_TEST_SEED", "20261129"))
KILLS: Final = 4
MESSAGES: Final = 400
NIL: Final = b"\xc0"


class Sent:
    """What one sender had acknowledged, and what of it came again."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def message(self, chance: random.Random, number: int) -> tuple[bytes, Counter[str]]:
        """Return the entries of a message and what they are: lines, one in pieces, a dead letter, a wrong claim."""
        lines = chance.randrange(1, 20)
        entries = [packed({"container_id": "a" * 64, "source": "stdout", "log": f"{number} {n}"}) for n in range(lines)]
        expected = Counter(messages=1, records=lines, documents=lines, claimed=lines)
        if chance.random() < 0.3:
            pieces = docker_pieces(b"x" * 50, 20, name=f"{number:064x}")
            entries += map(packed, pieces)
            expected += Counter(records=len(pieces), documents=1, joined=len(pieces) - 1, claimed=len(pieces))
        if chance.random() < 0.2:
            entries.append(NIL)
            expected += Counter(records=1, dead=1, claimed=1)
        if chance.random() < 0.2:
            expected += Counter(claimed=3, claimed_more=3)
        return b"".join(entries), expected

    def has(self, messages: int) -> bool:
        """Tell whether so many messages were acknowledged."""
        return self.counts["messages"] >= messages

    async def send(self, collector: RunningCollector) -> None:
        """Send all, each again on a new connection until it is acknowledged."""
        chance = random.Random(SEED)
        for number in range(MESSAGES):
            entries, expected = self.message(chance, number)
            option = {"chunk": f"{number:032x}", "size": expected["claimed"]}
            encoded = b"\x93" + msgpack.packb("web") + msgpack.packb(entries) + msgpack.packb(option)
            await until(partial(acknowledged, collector.forward_port, encoded), "an acknowledgement")
            self.counts += expected


def acknowledged(port: int, encoded: bytes) -> bool:
    """Send one message on a connection of its own; tell whether it was acknowledged."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(encoded)
            return connection.recv(100).startswith(b"\x81\xa3ack")
    except OSError:
        return False


def rows_of(collector: RunningCollector) -> tuple[int, list[dict[str, Any]]]:
    """Ask the command: its exit code, and its rows."""
    command = collector.command("balance", "--hours", "2", "--json")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


def total(rows: list[dict[str, Any]], name: str) -> int:
    """Add up what came by the input under test, whose rows may be of two hours."""
    return sum(row[name] for row in rows if row["input"] == "docker")


async def test_the_books_balance_to_the_record_across_kills(tmp_path: Path) -> None:
    """Received, delivered, joined, dead and wrongly claimed are what was sent; nothing is in flight in the end."""
    collector = RunningCollector(tmp_path)
    try:
        collector.start()
        await asyncio.to_thread(collector.wait_ready)
        sent, chance = Sent(), random.Random(SEED)
        sending = asyncio.create_task(sent.send(collector))
        for kill in range(1, KILLS + 1):
            await until(partial(sent.has, MESSAGES * kill // (KILLS + 1)), "messages")
            collector.kill(chance.choice(["worker", "intake"]))
        await sending

        def is_settled() -> bool:
            _, rows = rows_of(collector)
            return total(rows, "received") >= sent.counts["records"] and not total(rows, "in_flight")

        await until(is_settled, "the books")
        code, rows = rows_of(collector)
        documents = collector.query("SELECT count(*) AS n FROM logs")[0]["n"]

        assert code == 0
        assert {name: total(rows, name) for name in ("received", "delivered", "joined", "dead", "claimed_more")} == {
            "received": sent.counts["records"] + total(rows, "control"),
            "delivered": sent.counts["documents"],
            "joined": sent.counts["joined"],
            "dead": sent.counts["dead"],
            "claimed_more": sent.counts["claimed_more"],
        }
        assert total(rows, "control") == total(rows, "resends")
        assert int(documents) == sent.counts["documents"]
        assert collector.stop() == 0
    finally:
        collector.kill_all()
