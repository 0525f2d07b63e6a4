"""Fields of rules are found where our documents have them, and nowhere that a container can write to in their place."""

from typing import Any

import pytest

from pipelines.detect.tables import SOURCES
from tests.kit.rules import fires, loaded

RULE = """\
title: A rule
logsource: {%s}
detection:
  selection: {%s}
  condition: selection
"""


def test_a_label_does_not_pass_for_what_the_engine_says() -> None:
    """An Engine's attributes hold a container's labels: one named as a field of ours does not make a rule hold."""
    (rule,) = loaded(RULE % ("product: docker", "event.action: exec_start"), SOURCES).rules
    forged = {"event": {"action": "top"}, "tidewaiter": {"app": {"attributes": {"event.action": "exec_start"}}}}

    assert not fires(rule, forged, "docker.events")
    assert fires(rule, {"event": {"action": "exec_start"}}, "docker.events")


def test_an_attribute_that_is_no_field_of_ours_is_found() -> None:
    """Under its own name."""
    (rule,) = loaded(RULE % ("product: docker", "oldName: /web"), SOURCES).rules

    assert fires(rule, {"tidewaiter": {"app": {"attributes": {"oldName": "/web"}}}}, "docker.events")


def test_a_process_in_a_running_container_is_the_same_in_both_trails() -> None:
    """`product: container, service: exec` means its start, by the Engine's word and by an API server's."""
    (rule,) = loaded(RULE % ("product: container, service: exec", "CommandLine|startswith: bash"), SOURCES).rules
    start = {"event": {"category": ["process"], "type": ["start"]}, "process": {"command_line": "bash -l"}}
    end = {**start, "event": {"category": ["process"], "type": ["end"]}}

    for dataset in ("docker.events", "kubernetes.audit_logs"):
        assert fires(rule, start, dataset)
        assert not fires(rule, end, dataset)
    assert not fires(rule, start, "auditd.log")


@pytest.mark.parametrize(
    ("selection", "spec"),
    [
        ("hostPath: /", {"volumes": [{"name": "a"}, {"name": "host", "hostPath": {"path": "/"}}]}),
        (
            "capabilities: SYS_ADMIN",
            {"initContainers": [{"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        ),
        ("image: busybox", {"containers": [{"image": "nginx"}, {"image": "busybox"}]}),
    ],
)
def test_what_makes_pods_is_looked_into_as_pods_are(selection: str, spec: dict[str, Any]) -> None:
    """A deployment has a template of its pods, a cron job one of its jobs."""
    (rule,) = loaded(RULE % ("product: kubernetes, service: audit", selection), SOURCES).rules

    for made in (spec, {"template": {"spec": spec}}, {"jobTemplate": {"spec": {"template": {"spec": spec}}}}):
        assert fires(rule, {"kubernetes": {"audit": {"requestObject": {"spec": made}}}}, "kubernetes.audit_logs")
    assert not fires(rule, {"kubernetes": {"audit": {"requestObject": {"status": spec}}}}, "kubernetes.audit_logs")


@pytest.mark.parametrize(
    ("product", "dataset"),
    [("mysql", "mysql.error"), ("postgresql", "postgresql.log"), ("redis", "redis.log"), ("keycloak", "keycloak.log")],
)
def test_a_product_means_its_own_log(product: str, dataset: str) -> None:
    """Lines of that program, and no other's."""
    (rule,) = loaded(RULE % (f"product: {product}", "message|contains: refused"), SOURCES).rules
    line = {"message": "a login was refused"}

    assert fires(rule, line, dataset)
    assert not fires(rule, line, "tidewaiter.container")


@pytest.mark.parametrize(
    ("source", "dataset", "field"),
    [
        ("product: vault", "hashicorp_vault.audit", "request.path"),
        ("product: elasticsearch, service: audit", "elasticsearch.audit", "put.user.name"),
    ],
)
def test_what_a_trail_says_stands_under_its_own_names(source: str, dataset: str, field: str) -> None:
    """Fields of Vault's and Elasticsearch's audit logs that are none of ECS."""
    (rule,) = loaded(RULE % (source, f"{field}: x"), SOURCES).rules
    first, *rest = field.split(".")
    said: dict[str, Any] = {first: {rest[0]: "x"} if len(rest) == 1 else {rest[0]: {rest[1]: "x"}}}

    assert fires(rule, {"tidewaiter": {"app": said}}, dataset)
    assert not fires(rule, {"tidewaiter": {"app": {}}}, dataset)
