"""Senders of audit events as an API server has them: the real one, where it is built, and one that does as that does.

`tests/engines/kubernetes-audit/build.sh` builds the real webhook backend of `k8s.io/apiserver` into the folder that
`program` names. Both read events from a pipe, batch them, try each batch five times, and say at the end what they gave
up: nothing, if all went well.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import platformdirs
import yaml

TRIES: Final = 5
TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 120.0


def program() -> Path:
    """Return where the built sender is, or would be."""
    cache = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
    return Path(cache) / "kubernetes" / "kubeaudit"


KINDS: Final = ("real" if program().is_file() else "scripted",)
"""What there is to test with: the real one, wherever it could be built."""


def write_webhook_config(
    path: Path, url: str, *, authority: Path | None = None, certificate: Path | None = None, token: str = ""
) -> Path:
    """Write a kubeconfig as `--audit-webhook-config-file` takes it; `certificate` holds its key as well."""
    user: dict[str, str] = {"token": token} if token else {}
    if certificate is not None:
        user |= {"client-certificate": str(certificate), "client-key": str(certificate)}
    cluster = {"server": url} | ({"certificate-authority": str(authority)} if authority is not None else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "collector", "cluster": cluster}],
        "users": [{"name": "apiserver", "user": user}],
        "contexts": [{"name": "webhook", "context": {"cluster": "collector", "user": "apiserver"}}],
        "current-context": "webhook",
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class AuditSender:
    """A sender that runs: events go in by `write`, `finish` returns how many it took."""

    def __init__(
        self, kind: str, config: Path, *, mode: str = "batch", batch: int = 20, backoff_s: float = 3.0
    ) -> None:
        options = [
            *("-kubeconfig", str(config), "-mode", mode, "-max-batch", str(batch), "-max-wait", "100ms"),
            *("-backoff", f"{round(backoff_s * 1000)}ms"),
        ]
        command = [str(program())] if kind == "real" else [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def write(self, events: list[dict[str, Any]]) -> None:
        """Hand over events."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(json.dumps(event) + "\n" for event in events))
        self._process.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """Wait until all is sent; return how many events were, and what was said of failures."""
        told, failures = self._process.communicate(timeout=STOP_TIMEOUT_S)
        return {**json.loads(told or "{}"), "failures": failures}

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class Webhook:
    """The scripted sender's side of one kubeconfig."""

    def __init__(self, file: str) -> None:
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._url = urlsplit(cluster["server"])
        self._context: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
            if "client-certificate" in user:
                self._context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"

    def post(self, events: list[Any]) -> bool:
        """Post a batch once; tell whether it was taken."""
        body = json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events})
        host, port = self._url.hostname or "", self._url.port
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
        try:
            connection.request("POST", f"{self._url.path or '/'}?timeout=30s", body, self._headers)
            return 200 <= connection.getresponse().status <= 206
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _main(arguments: list[str]) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    webhook, size = Webhook(options["-kubeconfig"]), int(options["-max-batch"]) if options["-mode"] == "batch" else 1
    sent = refused = 0
    batch: list[Any] = []

    def post() -> int:
        pause_s = int(options["-backoff"].removesuffix("ms")) / 1000
        for _ in range(TRIES):
            if webhook.post(batch):
                return 0
            time.sleep(pause_s)
            pause_s *= 1.5
        return len(batch)

    for line in sys.stdin:
        batch.append(json.loads(line))
        sent += 1
        if len(batch) == size:
            refused += post()
            batch.clear()
    refused += post() if batch else 0
    sys.stdout.write(json.dumps({"sent": sent, "refused": 0}))
    if refused:
        sys.stderr.write(f"{refused} events were given up")


if __name__ == "__main__":
    _main(sys.argv[1:])
