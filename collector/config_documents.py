"""Options of what documents are made of, beside what parsers find."""

from typing import Annotated

import msgspec
from msgspec import Meta

from parsers.facts import FACTS
from parsers.probes import ProbeRule
from pipelines.normalize.original import Original


def _fact(name: str) -> str:
    return f"{FACTS[name][0].upper()}{FACTS[name][1:]}."


class FactsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which facts (`tidewaiter.facts`) documents have; all, unless one is `false`."""

    exec_terminal: Annotated[bool, Meta(description=_fact("exec_terminal"))] = True

    exec_root: Annotated[bool, Meta(description=_fact("exec_root"))] = True

    exec_privileged: Annotated[bool, Meta(description=_fact("exec_privileged"))] = True

    attach: Annotated[bool, Meta(description=_fact("attach"))] = True

    copy_in: Annotated[bool, Meta(description=_fact("copy_in"))] = True

    copy_out: Annotated[bool, Meta(description=_fact("copy_out"))] = True

    commit: Annotated[bool, Meta(description=_fact("commit"))] = True

    shell_started: Annotated[bool, Meta(description=_fact("shell_started"))] = True

    package_manager: Annotated[bool, Meta(description=_fact("package_manager"))] = True

    sshd_started: Annotated[bool, Meta(description=_fact("sshd_started"))] = True

    login_after_failures: Annotated[bool, Meta(description=_fact("login_after_failures"))] = True

    login_in_container: Annotated[bool, Meta(description=_fact("login_in_container"))] = True

    probe: Annotated[bool, Meta(description=_fact("probe"))] = True

    secrets_read: Annotated[bool, Meta(description=_fact("secrets_read"))] = True

    token_issued: Annotated[bool, Meta(description=_fact("token_issued"))] = True

    rbac_changed: Annotated[bool, Meta(description=_fact("rbac_changed"))] = True

    pod_privileged: Annotated[bool, Meta(description=_fact("pod_privileged"))] = True

    pod_host_namespace: Annotated[bool, Meta(description=_fact("pod_host_namespace"))] = True

    admission_changed: Annotated[bool, Meta(description=_fact("admission_changed"))] = True

    debug_container: Annotated[bool, Meta(description=_fact("debug_container"))] = True

    node_proxy: Annotated[bool, Meta(description=_fact("node_proxy"))] = True

    port_forward: Annotated[bool, Meta(description=_fact("port_forward"))] = True

    anonymous: Annotated[bool, Meta(description=_fact("anonymous"))] = True

    impersonated: Annotated[bool, Meta(description=_fact("impersonated"))] = True

    forbidden: Annotated[bool, Meta(description=_fact("forbidden"))] = True

    @property
    def silent(self) -> tuple[str, ...]:
        """The facts that documents are not to have."""
        return tuple(name for name in FACTS if not getattr(self, name))


class DocumentsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What documents are made of, beside what parsers find."""

    original: Annotated[
        Original,
        Meta(
            description="Which documents keep their line as it came in `event.original`: `needed`: of which a "
            "terminal's colours were left out; `changed`: all whose `message` is not the line; `always`; `never`. "
            "Audit events of Kubernetes and reports of scanners have none, for they may hold secrets."
        ),
    ] = "needed"

    facts: Annotated[
        FactsConfig,
        Meta(description="Facts of acts in containers (`tidewaiter.facts`) that documents are not to have."),
    ] = FactsConfig()

    probes: Annotated[
        list[ProbeRule],
        Meta(
            description="Commands that watch over containers and are started in them again and again: marked as probes."
        ),
    ] = []
