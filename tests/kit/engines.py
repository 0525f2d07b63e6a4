"""A real Elasticsearch for tests: one node on loopback, in a folder of its own, started and killed by pid.

The start scripts lie in `tests/engines`; jars are kept between runs in the folder that TIDEWAITER_TEST_CACHE names,
else in the user's cache folder.
"""

import base64
import datetime
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import platformdirs
import trustme

from tests.kit.running import free_port

START_TIMEOUT_S: Final = 240.0
"""The first start downloads the jars."""

POLL_S: Final = 0.05

JDKS: Final = Path("/usr/lib/jvm")
"""Where Debian puts them."""

JAVA_OF_9: Final = 21
"""Elasticsearch 9 needs this version of Java or a later one."""

_JAVA_VERSION: Final = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


class EngineError(Exception):
    """The engine did not start; the text ends with its log."""


def missing() -> str:
    """Return what is not installed, empty when all is there."""
    lacking = [program for program in ("mvn", "javac", "java") if shutil.which(program) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def java_homes() -> dict[str, str]:
    """Return the JAVA_HOME for each major version of Elasticsearch that can run here, empty: the usual one."""
    found = {"8": ""}
    for home in JDKS.glob("*"):
        release = home / "release"
        version = _JAVA_VERSION.search(release.read_text()) if release.is_file() else None
        if version and int(version[1]) >= JAVA_OF_9 and (home / "bin" / "javac").is_file():
            found["9"] = str(home)
    return found


class ElasticsearchEngine:
    """A node of Elasticsearch 8.19, or 9.5; `settings` are its own, such as `indexing_pressure.memory.limit=20kb`."""

    def __init__(self, script: Path, *, settings: tuple[str, ...] = (), major: str = "8") -> None:
        cache = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
        self._work = Path(cache) / "elasticsearch"
        self._script = script
        self._settings = settings
        self._major = major
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self._data = f"path.data={self._work / f'data-{self._port}'}"
        self._headers = {"Content-Type": "application/json"}
        self._tls: ssl.SSLContext | None = None

    def another(self, *settings: str) -> "ElasticsearchEngine":
        """Return a further node with its own port and data, not started."""
        return ElasticsearchEngine(self._script, settings=settings, major=self._major)

    def start(self) -> None:
        """Start the node, on its data if it ran before, and wait until it answers; raise EngineError."""
        self._work.mkdir(parents=True, exist_ok=True)
        log = self._work / f"log-{self._port}"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._script), *self._arguments(), *self._settings],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "ES_HEAP": "512m", **self._environment()},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EngineError(log.read_text(errors="replace")[-2000:])
            time.sleep(POLL_S)

    def _arguments(self) -> list[str]:
        return [str(self._work), str(self._port), self._major, self._data]

    def _environment(self) -> dict[str, str]:
        home = java_homes()[self._major]
        return {"JAVA_HOME": home} if home else {}

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
            headers=self._headers,
        )
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
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


class OpenSearchEngine(ElasticsearchEngine):
    """A node of OpenSearch 3.8; it needs a Java that Elasticsearch 9 could run on."""

    def __init__(self, script: Path) -> None:
        super().__init__(script, major="9")
        self._work = self._work.with_name("opensearch")
        self._state = self._work / f"state-{self._port}"

    def _arguments(self) -> list[str]:
        return []

    def _environment(self) -> dict[str, str]:
        return {
            "JAVA": str(Path(java_homes()[self._major]) / "bin" / "java"),
            "HTTP_PORT": str(self._port),
            "TRANSPORT_PORT": str(free_port()),
            "JARS": str(self._work),
            "STATE": str(self._state),
            "HEAP": "512m",
        }

    def remove(self) -> None:
        """Kill the node and remove its data."""
        super().remove()
        shutil.rmtree(self._state, ignore_errors=True)


class SecuredElasticsearch(ElasticsearchEngine):
    """A node with users, API keys, privileges and HTTPS by an authority of its own (`ca_file`).

    It lies in a temporary folder: the distribution gives up root, and could not read the user's cache.
    """

    def __init__(
        self, script: Path, *, settings: tuple[str, ...] = (), not_after: datetime.datetime | None = None
    ) -> None:
        """Make the node's files; its certificate is good until `not_after`, without that long enough."""
        super().__init__(script, settings=settings)
        self._work = Path(tempfile.mkdtemp(prefix="tw-secured-"))
        self._work.chmod(0o755)
        self.password = secrets.token_urlsafe(16)
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", not_after=not_after)
        self.ca_file = self._work / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._certificate, self._key = self._work / "node.pem", self._work / "node.key"
        certificate.cert_chain_pems[0].write_to_path(self._certificate)
        certificate.private_key_pem.write_to_path(self._key)
        self.url = f"https://127.0.0.1:{self._port}"
        self._tls = ssl.create_default_context(cafile=self.ca_file)
        if not_after is not None:  # the test's own calls are not what is tested
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        self.tls = self._tls
        credentials = base64.b64encode(f"elastic:{self.password}".encode()).decode()
        self._headers["Authorization"] = f"Basic {credentials}"

    def _arguments(self) -> list[str]:
        return []

    def _environment(self) -> dict[str, str]:
        return {
            "ES_WORK": str(self._work),
            "ES_PORT": str(self._port),
            "ES_TRANSPORT_PORT": str(free_port()),
            "ES_PASSWORD": self.password,
            "ES_TLS_CERT": str(self._certificate),
            "ES_TLS_KEY": str(self._key),
        }

    def api_key(self, *privileges: str, cluster: tuple[str, ...] = ()) -> "ApiKey":
        """Make a key with these privileges on `logs-*-*`."""
        body = {"name": secrets.token_hex(4), "role_descriptors": _role(privileges, cluster)}
        made = self.call("POST", "/_security/api_key", body)
        return ApiKey(self, str(made["id"]), str(made["encoded"]))

    def remove(self) -> None:
        """Kill the node and remove its folder."""
        self.kill()
        shutil.rmtree(self._work, ignore_errors=True)


class ApiKey:
    """A key of a secured node; `encoded` is what a client sends."""

    def __init__(self, engine: SecuredElasticsearch, identifier: str, encoded: str) -> None:
        self.encoded = encoded
        self._engine = engine
        self._identifier = identifier

    def grant(self, *privileges: str) -> None:
        """Let it have these privileges, and no others."""
        self._engine.call("PUT", f"/_security/api_key/{self._identifier}", {"role_descriptors": _role(privileges, ())})

    def invalidate(self) -> None:
        """Make it worthless."""
        self._engine.call("DELETE", "/_security/api_key", {"ids": [self._identifier]})


def _role(privileges: tuple[str, ...], cluster: tuple[str, ...]) -> dict[str, Any]:
    index = {"names": ["logs-*-*"], "privileges": list(privileges)}
    return {"test": {"cluster": list(cluster), "index": [index] if privileges else []}}
