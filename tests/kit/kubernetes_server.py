"""A real Kubernetes API server with its etcd for tests: no kubelet, no scheduler, so pods are what a test says.

`tests/engines/kubernetes/build.sh` builds it where there is a Go that can, into the folder that `program` names. The
watcher gets a service account's token and the roles of `deploy/kubernetes`, and no other right.
"""

import hashlib
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import platformdirs
import yaml

from collector.errors import TidewaiterError
from tests.kit.kubernetes_watching import HIDDEN, write_kubeconfig
from tests.kit.running import free_port, wait_until

START_LIMIT_S: Final = 60.0
NAMESPACE: Final = "tidewaiter"
PATHS: Final = {
    "Service": f"/api/v1/namespaces/{NAMESPACE}/services",
    "StatefulSet": f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets",
    "ServiceAccount": f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
MERGE: Final = "application/strategic-merge-patch+json"


class KubernetesServerError(TidewaiterError):
    """The API server did not do what was asked; the text holds what it said."""


def program() -> Path:
    """Return where the built API server is, or would be."""
    cache = os.environ.get("TIDEWAITER_TEST_CACHE") or platformdirs.user_cache_dir("tidewaiter-tests")
    return Path(cache) / "kubernetes" / "kube-apiserver"


class KubernetesServer:
    """One server in a folder of its own; its data outlive `kill` and `start`.

    `recipe` is a folder of manifests, `flags` are further ones of the API server.
    """

    def __init__(self, recipe: Path, flags: Sequence[str] = ()) -> None:
        self._flags = flags
        self._folder = Path(tempfile.mkdtemp(prefix="tw-k8s-"))
        self._recipe = recipe
        self._port = free_port()
        self._token = secrets.token_urlsafe(16)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"https://127.0.0.1:{self._port}"
        (self._folder / "tokens").write_text(f"{self._token},admin,1,system:masters\n")
        key = self._folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)

    def start(self) -> None:
        """Start, and wait until it is ready; the first time roles and namespaces are made."""
        key = str(self._folder / "sa.key")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(program()), str(self._folder), f"--secure-port={self._port}", "--bind-address=127.0.0.1"),
                    *(f"--cert-dir={self._folder / 'certs'}", f"--token-auth-file={self._folder / 'tokens'}"),
                    *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
                    *("--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"),
                    *("--service-cluster-ip-range=192.0.2.0/24", "--disable-admission-plugins=ServiceAccount"),
                    *self._flags,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_ready, timeout_s=START_LIMIT_S, what="a ready API server", poll_s=0.2)
        if not (self._folder / "made").exists():
            self._make_what_there_is()
            (self._folder / "made").touch()

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz") == b"ok"
        except OSError:
            return False

    def _make_what_there_is(self) -> None:
        for name in (NAMESPACE, "shop"):
            self.make("/api/v1/namespaces", {"metadata": {"name": name}})
        for file in ("rbac.yaml", "collector.yaml"):
            for document in yaml.safe_load_all((self._recipe / file).read_text()):
                self.make(f"{PATHS[document['kind']]}?fieldValidation=Strict", document)
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": True}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "web"}]}}
        replica_set = {
            "metadata": {"name": "web-1", "ownerReferences": [owner]},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
        self.make("/apis/apps/v1/namespaces/shop/replicasets", replica_set)

    def kubeconfig(self, folder: Path) -> str:
        """Write the kubeconfig of the service account that the roles are of; return its path."""
        asked = {"spec": {"expirationSeconds": 3600}}
        made = self.make(f"{PATHS['ServiceAccount']}/tidewaiter/token", asked)
        (folder / "token").write_text(made["status"]["token"])
        cluster = {"certificate-authority": str(self._folder / "certs" / "apiserver.crt")}
        return write_kubeconfig(folder / "kubeconfig", self.url, {"tokenFile": "token"}, cluster)

    def create_pod(self, name: str) -> str:
        """Make a running pod of the deployment `web` in the namespace `shop`; return its container's id."""
        pods = "/api/v1/namespaces/shop/pods"
        container = {"name": "app", "image": "web:1", "env": [{"name": "PASSWORD", "value": HIDDEN}]}
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "2", "controller": True}
        metadata = {"name": name, "labels": {"app": "web"}, "ownerReferences": [owner]}
        self.make(pods, {"metadata": metadata, "spec": {"nodeName": "node-1", "containers": [container]}})
        identity = hashlib.sha256(name.encode()).hexdigest()
        status = {
            "name": "app",
            "containerID": f"containerd://{identity}",
            "image": "web:1",
            "imageID": "",
            "restartCount": 0,
        }
        whole = {"status": {"phase": "Running", "containerStatuses": [{**status, "ready": True}]}}
        self.call("PATCH", f"{pods}/{name}/status", whole, MERGE)
        return identity

    def delete_pod(self, name: str) -> None:
        """Delete a pod at once."""
        self.call("DELETE", f"/api/v1/namespaces/shop/pods/{name}?gracePeriodSeconds=0")

    def make(self, path: str, content: dict[str, Any]) -> Any:
        """Create an object; return it."""
        return json.loads(self.call("POST", path, content))

    def call(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        kind: str = "application/json",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send a request as the administrator; raise OSError, or KubernetesServerError with what it said.

        `headers` are further ones, or take the place of these.
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind, **(headers or {})},
        )
        context = ssl.create_default_context(cafile=self._folder / "certs" / "apiserver.crt")
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as response:
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            if path == "/readyz":
                raise
            raise KubernetesServerError(f"{method} {path}: {error.read().decode()}") from error

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
