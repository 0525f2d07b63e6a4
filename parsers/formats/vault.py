r"""HashiCorp Vault and OpenBao: the audit log (JSON of the file, socket and syslog devices).

    {"time":"2026-11-29T02:00:00.123456789Z","type":"response","auth":{"display_name":"userpass-alice","metadata":{"username":"alice"},"policies":["default"]},"request":{"id":"00000000-0000-4000-8000-000000000000","operation":"update","path":"auth/userpass/login/alice","remote_address":"192.0.2.7","remote_port":51234},"error":"permission denied"}

A request's line has no outcome; its response's has: `failure` where there is an error. Vault writes secrets as HMACs, unless
the device is told `log_raw`. Paths, policies, mounts and data stay under `tidewaiter.app`. Vault's operational log is
hclog: `json` or `text`. Source: Vault's documentation, "Audit devices".
"""

from typing import Final

from parsers.format import Format
from parsers.json_keys import http_status
from parsers.table import Table
from parsers.times import iso
from parsers.values import Value, address, made, otherwise, port, text

_FIELDS: Final[dict[str, Value]] = {
    "event.action": text("request.operation"),
    "error.message": text("error"),
    "user.name": text("auth.metadata.username", "auth.display_name"),
    "user.id": text("auth.entity_id"),
    "source.address": text("request.remote_address"),
    "source.ip": address("request.remote_address"),
    "source.port": port("request.remote_port"),
    "http.request.id": text("request.id"),
    "http.response.status_code": made(http_status, "response.data.http_status_code", kind="long"),
}
_OUTCOME: Final = otherwise(made(lambda error: "failure" if error not in ("", False) else None, "error"), "success")


def _table(kind: str, fields: dict[str, Value]) -> Table:
    """Return the table of requests or responses."""
    return Table(
        dataset="hashicorp_vault.audit",
        requires=("time", "type", "request.path", "request.operation"),
        accept=lambda found: found["type"] == kind,
        time=iso("time"),
        constants={"event.category": ["authentication"], "event.type": ["info"]},
        fields=_FIELDS | fields,
    )


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"request":{' in line and '"operation":' in line


FORMAT = Format(
    title="Vault audit log",
    tables=(_table("response", {"event.outcome": _OUTCOME}), _table("request", {})),
    sniff=_sniff,
    images=("vault", "openbao"),
)
