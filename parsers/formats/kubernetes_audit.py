r"""Kubernetes audit log: what an API server did for whom, as `--audit-log-path` writes it, one event per line.

    {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7c1f0b1e-0d1a-4b7e-9a55-0f6f6a0d0001","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets","verb":"list","user":{"username":"alice","groups":["dev"]},"sourceIPs":["203.0.113.9"],"objectRef":{"resource":"secrets","namespace":"shop","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-29T02:00:00.000000Z","stageTimestamp":"2026-11-29T02:00:00.005000Z"}

The same documents as those of the input `kubernetes_audit`. Found by itself only where no container wrote the line, as
of a file on a node that an agent reads: else any container could say what was done in a cluster. For an API server that
writes to its standard output (`--audit-log-path=-`) name it in `parsers:`; a container's label does not do. A line of a
log is read up to 1 MiB. Source: `k8s.io/apiserver`, pkg/apis/audit/v1.
"""

from collections.abc import Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.kubernetes_audit import event_of
from parsers.kubernetes_audit_document import DATASET, parsed_event
from parsers.table import Parsed, Table

_MARK: Final = '"audit.k8s.io/'


def _finish(found: Mapping[str, Any], parsed: Parsed) -> None:
    event = event_of(found)
    if event is None:
        raise AssertionError("what is no event is not accepted")
    made = parsed_event(event)
    parsed.message, parsed.event, parsed.fields, parsed.own = made.message, made.event, made.fields, made.own
    parsed.time, parsed.related, parsed.rest = made.time, made.related, made.rest


FORMAT = Format(
    title="Kubernetes audit log",
    tables=(
        Table(
            dataset=DATASET,
            requires=("auditID", "stage"),
            accept=lambda found: event_of(found) is not None,
            fields={},
            finish=_finish,
        ),
    ),
    sniff=lambda line: line[:1] == "{" and '"auditID"' in line,
    marks=(_MARK,),
    testimony=True,
)
