"""A real Elasticsearch for tests: one node on loopback, in a folder of its own, started and killed by pid.

The start script lies in `tests/engines`; jars are kept between runs in the folder that TIDEWAITER_TEST_CACHE names,
else in the user's cache folder.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import platformdirs

from collector.testing.running import free_port

START_TIMEOUT_S: Final = 240.0
"""The first start downloads the jars."""

POLL_S: Final = 0.05


class EngineError(Exception):
    """The engine did not start; the text ends with its log."""


def missing() -> str:
    """Return what is not installed, empty when all is there."""
    lacking = [program for program in ("mvn", "javac", "java") if shutil.which(program) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


class ElasticsearchEngine:
    """A node of Elasticsearch 8.19; `settings` are its own, such as `indexing_pressure.memory.limit=20kb`."""

    def __init__(self, script: Path, *, settings: tuple[str, ...] = ()) -> None:
        cache = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
        self._work = Path(cache) / "elasticsearch"
        self._script = script
        self._settings = settings
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self._data = f"path.data={self._work / f'data-{self._port}'}"

    def another(self, *settings: str) -> "ElasticsearchEngine":
        """Return a further node with its own port and data, not started."""
        return ElasticsearchEngine(self._script, settings=settings)

    def start(self) -> None:
        """Start the node, on its data if it ran before, and wait until it answers; raise EngineError."""
        self._work.mkdir(parents=True, exist_ok=True)
        log = self._work / f"log-{self._port}"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._script), str(self._work), str(self._port), "8", self._data, *self._settings],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "ES_HEAP": "512m"},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EngineError(log.read_text(errors="replace")[-2000:])
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            return bool(self.call("GET", "/_cluster/health")["number_of_nodes"])
        except (OSError, urllib.error.URLError):
            return False

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return the decoded answer; raise OSError."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def count(self, stream: str) -> int:
        """Return the number of documents of a data stream that a search sees now."""
        self.call("POST", f"/{stream}/_refresh")
        return int(self.call("GET", f"/{stream}/_count")["count"])

    def kill(self) -> None:
        """End the node at once, as a crash would."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Kill the node and remove its data."""
        self.kill()
        shutil.rmtree(self._work / f"data-{self._port}", ignore_errors=True)
        (self._work / f"log-{self._port}").unlink(missing_ok=True)
