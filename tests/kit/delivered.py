"""What end-to-end tests of delivery share: Docker's records sent by hand, and how many stand in Elasticsearch."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import msgpack

from tests.kit.engines import ElasticsearchEngine
from tests.kit.running import RunningCollector

STREAM: Final = "logs-tidewaiter.container-default"


def set_up(collector: RunningCollector, *options: str) -> dict[str, str]:
    """Run `tidewaiter setup elasticsearch`."""
    done = subprocess.run(
        collector.command("setup", "elasticsearch", "--json", *options),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


def lines(run: str, count: int) -> list[dict[str, Any]]:
    """Docker's records of a container."""
    return [
        {"container_id": "a" * 64, "container_name": f"/{run}", "source": "stdout", "log": f"line {number}"}
        for number in range(count)
    ]


def send(collector: RunningCollector, records: list[dict[str, Any]]) -> None:
    """Send records in one PackedForward message of its own chunk id and wait for its acknowledgement."""
    chunk = os.urandom(16).hex()
    entries = b"".join(msgpack.packb([1_700_000_000 + number, each]) for number, each in enumerate(records))
    message = msgpack.packb(["test", entries, {"chunk": chunk, "size": len(records)}])
    with socket.create_connection(("127.0.0.1", collector.forward_port), timeout=20) as connection:
        connection.sendall(message)
        assert msgpack.unpackb(connection.recv(512)) == {"ack": chunk}


def stored(engine: ElasticsearchEngine, run: str) -> int:
    """How many documents of a test's own container there are; -1 while nobody can say."""
    try:
        engine.call("POST", f"/{STREAM}/_refresh")
        body = {"query": {"term": {"container.name": run}}}
        return int(engine.call("POST", f"/{STREAM}/_count", body)["count"])
    except OSError:
        return -1


def dead_letters(collector: RunningCollector) -> list[Path]:
    """The files of dead letters."""
    return list((collector.data_dir / "dead-letters").glob("*.ndjson"))


def counted(collector: RunningCollector, outcome: str) -> int:
    """How many documents had an outcome so far, by the page of metrics."""
    name = f'tidewaiter_worker_output_documents_total{{outcome="{outcome}",output="elastic"}}'
    page = collector.get("/metrics")[1]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in page.splitlines() if line.startswith(name))
