"""The recipes of `deploy/sensors.md`: what sensors and scanners post is found, through a whole collector."""

import gzip
import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kit.running import RunningCollector, free_port, wait_until

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "formats"

pytestmark = pytest.mark.timeout(600)


def post(port: int, path: str, body: bytes, **headers: str) -> int:
    """Post a body as curl does with `--data-binary`; return the answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def golden(name: str) -> list[str]:
    """The first lines of a format's samples."""
    (path,) = (GOLDEN / name).glob("*.log")
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def found(collector: RunningCollector, query: str, count: int) -> list[dict[str, Any]]:
    """Wait for as many documents and return them."""
    wait_until(lambda: len(collector.search(query)) >= count, timeout_s=60, what=f"{count} documents of {query}")
    return collector.search(query)


def test_what_is_posted_is_found(start_collector: Callable[..., RunningCollector]) -> None:
    """An alert, events one a line, a report over many lines and one that is compressed: each in its data stream."""
    port = free_port()
    inputs = {"sensors": {"type": "http", "listen": f"127.0.0.1:{port}"}}
    collector = start_collector(settings={"inputs": inputs})
    report = json.dumps(json.loads(golden("trivy")[0]), indent=2).encode()
    packed = gzip.compress(golden("grype")[0].encode())
    statuses = [
        post(port, "/falco", golden("falco")[0].encode()),
        post(port, "/tetragon", "\n".join(golden("tetragon")[:5]).encode()),
        post(port, "/trivy", report),
        post(port, "/grype", packed, **{"Content-Encoding": "gzip"}),
    ]

    assert statuses == [200] * 4
    (alert,) = found(collector, "event.dataset:falco.alerts", 1)
    assert alert["rule"]["name"] == "Terminal shell in container"
    assert alert["container"]["name"] == "web"
    assert alert["tidewaiter"]["tag"] == "falco"
    assert len(found(collector, "event.dataset:cilium_tetragon.log", 5)) == 5
    vulnerable = found(collector, "event.dataset:trivy.report AND vulnerability.severity:critical", 1)
    assert [each["package"]["name"] for each in vulnerable] == ["liby"]
    assert len(found(collector, "event.dataset:trivy.report", 4)) == 4
    (whole,) = found(collector, "tidewaiter.report.findings:>1 AND event.dataset:grype.report", 1)
    assert whole["message"] == "Grype scanned example.com/shop/web:1.2: 2 findings (1 critical, 1 high)"
    assert len(found(collector, "event.action:vulnerability_found", 5)) == 5
