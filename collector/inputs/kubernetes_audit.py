"""Input `kubernetes_audit`: the webhook that API servers post audit events to (`--audit-webhook-config-file`).

    inputs:
      audit: {type: kubernetes_audit, listen: "0.0.0.0:8443", tls: {certificate: …, key: …, client_ca: …}}

A body is one EventList of `audit.k8s.io/v1`; its events are the records. An API server tries five times whatever is
not answered 2xx, then drops the batch; so bodies are kept whatever they hold. It gives a batch no id, and sends it
again when an answer was lost; but its events have ids, so that the same bytes of the same client on another connection
are the same batch: it is kept once (`collector.journal.resends`). Source: `k8s.io/apiserver`, plugin/pkg/audit/webhook.
"""

from typing import Final

from collector.inputs.posted import PostedInput
from collector.journal.arrivals import AUDIT_ID
from collector.journal.entry import Buffer

AUDITED: Final = b'"auditID"'
"""What every event holds; a body without it has nothing by which it could be known again."""


SEEN_BYTES: Final = 64 << 10
"""So much of a body is looked at; its first event begins there."""


class KubernetesAuditInput(PostedInput):
    """See the module and `PostedInput`."""

    encoding = "kubernetes-audit"

    def chunk_id(self, payload: list[Buffer]) -> bytes:
        """Return what says that the bytes hold ids of their own."""
        return AUDIT_ID if AUDITED in bytes(payload[0][:SEEN_BYTES]) else b""
