"""Posts Kubernetes audit events as an API server does: `python -m tests.bench.audit_load --events N --port P`.

It prepares its bodies, prints `ready`, waits for a line on standard input, posts, and prints one JSON object. Batches
of 400 events, 1.9 kB in the mean, over several connections, each answered before the next; no two events have one id.
"""

import argparse
import http.client
import itertools
import json
import sys
import threading
import time
from typing import Any, Final

BATCH: Final = 400
CONNECTIONS: Final = 4
BATCHES: Final = 8
"""How many different batches take turns."""

MARK: Final = b"00000000"
"""Stands in every event's id for the number of the batch."""

ANSWER_TIMEOUT_S: Final = 60.0
AGENTS: Final = ("kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc", "kubelet/v1.31.0 (linux/amd64) kubernetes/9edcffc")
WORDS: Final = ("shop", "data", "web", "cart", "stock", "mail", "search", "login")


def _about(number: int, resource: str, group: str = "", subresource: str = "") -> dict[str, str]:
    namespace = WORDS[number % len(WORDS)]
    told = {"resource": resource, "namespace": namespace, "name": f"{WORDS[number * 3 % 7]}-{number % 97}"}
    more = {"apiGroup": group, "subresource": subresource}
    return told | {name: value for name, value in more.items() if value} | {"apiVersion": "v1"}


def _event(number: int, verb: str, about: dict[str, str], **more: Any) -> dict[str, Any]:
    uri = f"/api/v1/namespaces/{about['namespace']}/{about['resource']}/{about['name']}"
    person = {"username": f"user-{number % 37}", "groups": ["dev", "system:authenticated"]}
    account = {
        "username": f"system:serviceaccount:{about['namespace']}:{WORDS[number % 5]}",
        "uid": f"6f0c1c1e-9d1a-4b7e-9a55-{number % 4096:012d}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{about['namespace']}", "system:authenticated"],
        "extra": {
            "authentication.kubernetes.io/pod-name": [f"{about['name']}-7d9f"],
            "authentication.kubernetes.io/credential-id": [f"JTI=6f0c1c1e-9d1a-4b7e-{number % 4096:012d}"],
        },
    }
    reason = 'RBAC: allowed by RoleBinding "dev/shop" of ClusterRole "edit" to Group "dev"'
    time_s = f"2026-11-29T02:{number // 60 % 60:02d}:{number % 60:02d}"
    return {
        "level": "Metadata",
        "auditID": f"{MARK.decode()}-0d1a-4b7e-9a55-{number:012d}",
        "stage": "ResponseComplete",
        "requestURI": uri,
        "verb": verb,
        "user": account if number % 3 else person,
        "sourceIPs": [f"192.0.2.{number % 250 + 1}"],
        "userAgent": AGENTS[number % 2],
        "objectRef": about,
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": f"{time_s}.{number * 7919 % 10**6:06d}Z",
        "stageTimestamp": f"{time_s}.{(number * 7919 + 4211) % 10**6:06d}Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": reason},
        **more,
    }


def _pod(number: int, containers: int) -> dict[str, Any]:
    name = f"{WORDS[number % 8]}-{number % 97}"
    resources = {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
    mounts = [{"name": f"config-{at}", "mountPath": f"/etc/app/{at}", "readOnly": True} for at in range(3)]
    each = [
        {
            "name": f"{name}-{at}",
            "image": f"registry.example/{name}:1.{number % 40}",
            "env": [{"name": f"OPTION_{at}", "value": f"value-{number % 11}-{at}"} for at in range(8)],
            "resources": resources,
            "volumeMounts": mounts,
            "terminationMessagePath": "/dev/termination-log",
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        for at in range(containers)
    ]
    spec = {"containers": each, "restartPolicy": "Always", "serviceAccountName": name, "securityContext": {}}
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": name, "tier": WORDS[number % 3]}}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def event(number: int) -> dict[str, Any]:
    """Return an event: of 20, ten of reads, four of writes, three with an object, two with two, and one of an exec."""
    turn = number % 20
    if turn < 10:
        return _event(
            number, ("get", "list", "watch")[number % 3], _about(number, ("configmaps", "pods", "secrets")[turn % 3])
        )
    if turn < 14:
        return _event(number, "patch", _about(number, "deployments", "apps"))
    if turn < 17:
        return _event(number, "create", _about(number, "pods"), level="Request", requestObject=_pod(number, 3))
    if turn < 19:
        pod = _pod(number, 3)
        bodies = {
            "requestObject": pod,
            "responseObject": {**pod, "status": {"phase": "Pending", "qosClass": "Burstable"}},
        }
        return _event(number, "update", _about(number, "pods"), level="RequestResponse", **bodies)
    about = _about(number, "pods", subresource="exec")
    query = "command=sh&command=-c&command=id+-u&container=app&tty=true"
    uri = f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}/exec?{query}"
    started = {"stage": "ResponseStarted", "requestURI": uri, "responseStatus": {"metadata": {}, "code": 101}}
    return _event(number, "create", about, **started)


def batch(first: int) -> bytes:
    """Return the body of a batch that begins with this event."""
    items = [event(number) for number in range(first, first + BATCH)]
    content = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items}
    return json.dumps(content, separators=(",", ":")).encode()


def _post(port: int, bodies: list[bytes], numbers: "itertools.count[int]", last: int, failures: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    while (number := next(numbers)) < last:
        body = bodies[number % len(bodies)].replace(MARK, b"%08x" % (number + 1))
        connection.request("POST", "/?timeout=30s", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            failures.append(f"answered {answer.status}")
            return
    connection.close()


def main() -> None:
    """Prepare, wait for the word, post, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    bodies = [batch(number * BATCH) for number in range(BATCHES)]
    batches = -(-options.events // BATCH)
    numbers, failures = itertools.count(), list[str]()
    arguments = (options.port, bodies, numbers, batches, failures)
    posting = [threading.Thread(target=_post, args=arguments) for _ in range(CONNECTIONS)]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join()
    if failures:
        raise SystemExit(failures[0])
    mean_bytes = sum(map(len, bodies)) / (len(bodies) * BATCH)
    told = {"records": batches * BATCH, "began": began, "ended": time.monotonic(), "mean_bytes": mean_bytes}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
