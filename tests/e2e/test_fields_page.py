"""The page about fields of one's own, run as it stands: rules, tables, and a table that changes."""

import asyncio
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml

from tests.kit.running import RunningCollector, wait_until

PAGE = (Path(__file__).parents[2] / "deploy" / "fields.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
WITHIN_S = 20.0
STAMP = msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, 5))


def record(message: str, **more: str) -> dict[str, Any]:
    """Return what Docker's driver sends of a line."""
    return {"container_id": "a" * 64, "container_name": "/till-1", "source": "stdout", "log": message, **more}


class Running:
    """A collector under the page's configuration, with the page's files in a folder."""

    def __init__(self, start: Callable[..., RunningCollector], folder: Path) -> None:
        configuration, owners, sites = BLOCKS
        self.owners = folder / "owners.csv"
        self.owners.write_text(owners)
        (folder / "sites.yaml").write_text(sites)
        self.collector = start(settings=yaml.safe_load(configuration.replace("/etc/tidewaiter", str(folder))))

    def document(self, message: str, **more: str) -> dict[str, Any]:
        """Send a line and return its document."""
        asyncio.run(self._send(record(message, **more)))
        query = f'message:"{message}"'
        wait_until(lambda: len(self.collector.search(query)) == 1, timeout_s=WITHIN_S, what=message, poll_s=0.2)
        (found,) = self.collector.search(query)
        return found

    async def _send(self, fields: dict[str, Any]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.collector.forward_port)
        writer.write(msgpack.packb(["t", [[STAMP, fields]], {"chunk": fields["log"]}]))
        await writer.drain()
        async with asyncio.timeout(WITHIN_S):
            await reader.read(100)
        writer.close()

    def write_owners(self, text: str, taken: Callable[[], bool]) -> None:
        """Put another table in the place of the first and wait until it is noticed."""
        fresh = self.owners.with_name("owners.new")
        fresh.write_text(text)
        os.replace(fresh, self.owners)
        wait_until(taken, timeout_s=WITHIN_S, what="the changed table", poll_s=0.2)

    def loaded(self) -> int:
        """How many tables the log speaks of."""
        return self.collector.log().count("lookup_loaded")


@pytest.mark.timeout(600)
def test_fields_of_the_page_are_on_the_documents_and_follow_the_file(
    start_collector: Callable[..., RunningCollector], tmp_path: Path
) -> None:
    """From the first line on; after a change, a mistake and a worker's death as well."""
    running = Running(start_collector, tmp_path)
    service = {"com.docker.compose.service": "till"}

    first = running.document("first", **service)

    assert first["labels"] == {"team": "retail", "owner": "Kim", "site": "here"}
    assert first["service"] == {"environment": "production"}

    shop = running.document("shop line", container_name="/shop-1", **service)
    assert shop["labels"] == {"team": "payments", "owner": "Kim", "site": "here"}
    assert (shop["service"], shop["tags"]) == ({"name": "shop", "environment": "production"}, ["critical"])

    running.write_owners("service,team,owner\ntill,finance,\n", lambda: running.loaded() == 3)
    assert running.document("second", **service)["labels"] == {"team": "finance", "site": "here"}

    running.write_owners("service,team,owner\ntill\n", lambda: "line 2: has 1 cells" in running.collector.log())
    assert running.document("third", **service)["labels"] == {"team": "finance", "site": "here"}
    status, said = running.collector.get("/health/ready")
    assert (status, "the table before holds" in said) == (200, True)

    assert running.collector.kill("worker")
    assert running.document("fourth", **service)["labels"] == {"team": "finance", "site": "here"}


@pytest.mark.timeout(600)
def test_outputs_that_come_later_make_the_same_documents(
    start_collector: Callable[..., RunningCollector], tmp_path: Path
) -> None:
    """A journal that is read again has each line under the table of its time (P10)."""
    running = Running(start_collector, tmp_path)
    service = {"com.docker.compose.service": "till"}
    running.document("first", **service)
    running.write_owners("service,team,owner\ntill,finance,\n", lambda: running.loaded() == 3)
    running.document("second", **service)
    before = running.collector.search("*")
    running.collector.stop()
    for kept in ("store", "journal/cursors"):
        (running.collector.data_dir / kept).rename(running.collector.data_dir / kept.replace("/", "-gone-"))
    running.collector.start()
    running.collector.wait_ready()
    wait_until(lambda: len(running.collector.search("*")) == 2, timeout_s=WITHIN_S, what="both lines", poll_s=0.2)

    after = running.collector.search("*")
    for document in [*before, *after]:
        document["event"].pop("ingested", None)
    assert after == before
    assert [document["labels"]["team"] for document in after] == ["retail", "finance"]
