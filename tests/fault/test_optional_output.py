"""An optional output that is down holds nobody up, and what it did not get is counted."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fault.books import until
from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.running import RunningCollector, free_port

pytestmark = pytest.mark.timeout(600)

LIMIT: Final = "16MiB"
MESSAGE_BYTES: Final = 512 << 10
MESSAGES: Final = 80


def rows_of(collector: RunningCollector) -> list[dict[str, Any]]:
    """Ask the command for its rows, which must balance."""
    command = collector.command("balance", "--hours", "2", "--json")
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def total(rows: list[dict[str, Any]], output: str, name: str) -> int:
    """Add up what came over TCP."""
    return sum(row[name] for row in rows if row["input"] == "docker" and row["output"] == output)


async def test_an_optional_output_that_is_down_is_skipped_and_counted(tmp_path: Path) -> None:
    """Senders send more than twice what the journal may hold; the store has it all, and the books say who has not."""
    nobody = f"http://127.0.0.1:{free_port()}"
    collector = RunningCollector(
        tmp_path,
        outputs={
            "store": {"type": "local"},
            "elastic": {"type": "elasticsearch", "urls": [nobody], "optional": True},
        },
        settings={"journal": {"limit": LIMIT}},
    )
    configuration = json.loads(collector.config_file.read_text())
    for options in configuration["inputs"].values():
        options["message_limit"] = "1MiB"
    collector.config_file.write_text(json.dumps(configuration))
    try:
        collector.start()
        await asyncio.to_thread(collector.wait_ready)
        lines = MESSAGE_BYTES >> 10
        how = Options(name="a", records_per_message=lines, line_bytes=1000, in_flight=4)
        sent = MESSAGES * lines
        await ForwardSender(tcp("127.0.0.1", collector.forward_port), how).send(sent)

        def is_settled() -> bool:
            rows = rows_of(collector)
            return total(rows, "store", "delivered") == sent and total(rows, "elastic", "skipped") > sent // 2

        await until(is_settled, "the books")
        rows = rows_of(collector)
        told = collector.log_file.read_text()
        assert collector.stop() == 0

        assert total(rows, "elastic", "delivered") == 0
        assert total(rows, "elastic", "skipped") + total(rows, "elastic", "in_flight") == sent
        assert total(rows, "store", "skipped") == total(rows, "store", "in_flight") == 0
        assert all(row["balanced"] for row in rows)
        assert '"output_skips"' in told
        assert total(rows_of(collector), "elastic", "skipped") >= total(rows, "elastic", "skipped")
    finally:
        collector.kill_all()
