"""What a real API server tells by the recipe of `deploy/kubernetes-audit`: who did what, as documents say it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.test_kubernetes_audit import Files
from tests.kit import kubernetes_server
from tests.kit.audit_senders import write_webhook_config
from tests.kit.ecs import Schema
from tests.kit.kubernetes_server import KubernetesServer, KubernetesServerError
from tests.kit.running import RunningCollector, free_port, wait_until

pytestmark = pytest.mark.timeout(600)

TESTS: Final = Path(__file__).parents[1]
DEPLOY: Final = TESTS.parent / "deploy"
SCHEMA: Final = Schema(TESTS / "data")
TOLD_WITHIN_S: Final = 60.0
SECRET: Final = "c2VjcmV0LW9mLXRlc3Q="

StartCollector = Callable[..., RunningCollector]

EXPECTED: Final = {
    "create secrets shop/database: 201": ([], "person"),
    "get secrets shop/database: 200": (["secrets_read"], "person"),
    "create serviceaccounts/token shop/default: 201": (["token_issued"], "person"),
    "create clusterrolebindings everything: 201": (["rbac_changed"], "person"),
    "create pods shop/privileged: 201": (["pod_privileged", "pod_host_namespace"], "person"),
    "create validatingwebhookconfigurations nothing: 201": (["admission_changed"], "person"),
}
"""What the administrator does, as the sentences behind the name, with facts and kind of account."""


def act(server: KubernetesServer) -> None:
    """Do what is to be told."""
    shop = "/api/v1/namespaces/shop"
    server.make(f"{shop}/secrets", {"metadata": {"name": "database"}, "data": {"password": SECRET}})
    server.call("GET", f"{shop}/secrets/database")
    server.make(f"{shop}/serviceaccounts", {"metadata": {"name": "default"}})
    server.make(f"{shop}/serviceaccounts/default/token", {"spec": {"expirationSeconds": 3600}})
    rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "shop"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    server.make(rbac, {"metadata": {"name": "everything"}, "subjects": [subject], "roleRef": role})
    container = {"name": "app", "image": "web:1", "securityContext": {"privileged": True}}
    server.make(
        f"{shop}/pods", {"metadata": {"name": "privileged"}, "spec": {"containers": [container], "hostPID": True}}
    )
    webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    server.make(webhooks, {"metadata": {"name": "nothing"}, "webhooks": []})
    for path, headers in (
        (f"{shop}/pods/privileged/exec?command=sh&command=-c&command=id+-u&container=app&tty=true&stdin=true", {}),
        (f"{shop}/secrets", {"Authorization": "Bearer wrong"}),
        (f"{shop}/secrets", {"Impersonate-User": "mallory"}),
    ):
        with pytest.raises(KubernetesServerError):
            server.call("POST" if "exec" in path else "GET", path, headers=headers)


def found_by(documents: list[dict[str, Any]], sentence: str) -> dict[str, Any]:
    """Return the document whose message this is, of the request's end."""
    (found,) = [
        each for each in documents if each["message"] == sentence and each["event"]["code"] != "RequestReceived"
    ]
    return found


def check_recipe() -> dict[str, Any]:
    """Return the recipe's policy; its webhook names files on the API server's machine and our port."""
    policy: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes-audit" / "policy.yaml").read_text(encoding="utf-8"))
    webhook = yaml.safe_load((DEPLOY / "kubernetes-audit" / "webhook.yaml").read_text(encoding="utf-8"))
    assert "https://tidewaiter.example:8443/k8s/audit" == webhook["clusters"][0]["cluster"]["server"]
    assert {"client-certificate", "client-key"} == set(webhook["users"][0]["user"])
    return policy


def told_by(collector: RunningCollector, server: KubernetesServer) -> list[dict[str, Any]]:
    """Let an API server do what is to be told, and return the documents once the last of it is one."""

    def documents() -> list[dict[str, Any]]:
        return collector.search("event.dataset: kubernetes.audit_logs", "--limit", "100000")

    try:
        server.start()
        act(server)
        wait_until(
            lambda: any("as mallory list secrets" in each["message"] for each in documents()),
            timeout_s=TOLD_WITHIN_S,
            what="the last act",
            poll_s=0.5,
        )
        return documents()
    finally:
        server.remove()


def test_a_real_api_server_tells_who_did_what(start_collector: StartCollector, tmp_path: Path) -> None:
    """Each act is a document with its facts, a refusal an attempt to log in, and no secret leaves the cluster."""
    policy = check_recipe()
    if not kubernetes_server.program().is_file():
        # Nothing more can be shown without an API server: the sender alone is shown by `test_kubernetes_audit`.
        assert {"RequestReceived"} == set(policy["omitStages"])
        return
    files, port = Files(tmp_path), free_port()
    tls = {**files.tls, "client_ca": str(files.authority)}
    audit = {"type": "kubernetes_audit", "listen": f"127.0.0.1:{port}", "tls": tls, "cluster": "prod"}
    collector = start_collector(settings={"inputs": {"audit": audit}})
    url = f"https://127.0.0.1:{port}/k8s/audit"
    config = write_webhook_config(tmp_path / "webhook", url, authority=files.authority, certificate=files.client)
    flags = (
        f"--audit-policy-file={DEPLOY / 'kubernetes-audit' / 'policy.yaml'}",
        f"--audit-webhook-config-file={config}",
        *("--audit-webhook-batch-max-wait=1s", "--allow-privileged=true"),
    )

    told = told_by(collector, KubernetesServer(DEPLOY / "kubernetes", flags))

    for sentence, (facts, actor) in EXPECTED.items():
        made = found_by(told, f"admin {sentence}")
        assert (facts, actor) == (made["tidewaiter"].get("facts", []), made["tidewaiter"]["actor"])
        assert ("success", "prod") == (made["event"]["outcome"], made["orchestrator"]["cluster"]["name"])
    check_refusals_and_exec(told)
    assert [] == [problem for each in told for problem in SCHEMA.problems(each)]
    assert not any(SECRET.encode() in path.read_bytes() for path in collector.data_dir.rglob("*") if path.is_file())


def check_refusals_and_exec(told: list[dict[str, Any]]) -> None:
    """See that refusals are attempts to log in, and that the exec says its command."""
    refused = [each for each in told if each["http"].get("response", {}).get("status_code") in (401, 403)]
    assert {401, 403} <= {each["http"]["response"]["status_code"] for each in refused}
    attempts = [each for each in refused if each["tidewaiter"]["actor"] != "system"]
    assert all("authentication" in each["event"]["category"] for each in attempts)
    entered = [each for each in told if each.get("process")]
    assert 1 == len({each["process"]["entity_id"] for each in entered})
    for each in entered:
        assert ["sh", "-c", "id -u"] == each["process"]["args"]
        assert ({"tty": True, "stdin": True}, "app") == (each["tidewaiter"]["exec"], each["container"]["name"])
