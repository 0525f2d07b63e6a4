r"""HashiCorp Vault and OpenBao: the audit log (JSON of the file, socket and syslog devices).

    {"time":"2026-11-29T02:00:00.123456789Z","type":"response","auth":{"display_name":"userpass-alice","metadata":{"username":"alice"},"policies":["default"]},"request":{"id":"00000000-0000-4000-8000-000000000000","operation":"update","path":"auth/userpass/login/alice","remote_address":"192.0.2.7","remote_port":51234},"error":"permission denied"}

A request's line has no outcome; its response's has: `failure` where there is an error. Vault writes secrets as HMACs, unless
the device is told `log_raw`. Paths, policies, mounts and data stay under `tidewaiter.app`. Vault's operational log is
hclog: `json` or `text`. Source: Vault's documentation, "Audit devices".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from parsers.format import Format
from parsers.json_keys import http_status
from parsers.table import Table, at_path
from parsers.times import iso
from parsers.values import Value, address, either, made, otherwise, port, text

Accept = Callable[[Mapping[str, Any]], bool]

_LOGIN_PATH: Final = re.compile(r"auth/([\w-]{1,64})(?:/[^/]{1,128}){0,3}?/login(?:/([^/]{1,256}))?")


def login_method(path: Any) -> str | None:
    """Return the mount whose login this path is (`auth/userpass/login/alice`: userpass), else None."""
    found = _LOGIN_PATH.fullmatch(path) if isinstance(path, str) else None
    return found[1] if found else None


def login_name(path: Any) -> str | None:
    """Return the name in such a path, which is all that a refused login says of its user."""
    found = _LOGIN_PATH.fullmatch(path) if isinstance(path, str) else None
    return found[2] if found else None


_FIELDS: Final[dict[str, Value]] = {
    "event.action": text("request.operation"),
    "event.reason": text("error"),
    "error.message": text("error"),
    "user.name": either(text("auth.metadata.username", "auth.display_name"), made(login_name, "request.path")),
    "user.id": text("auth.entity_id"),
    "source.address": text("request.remote_address"),
    "source.ip": address("request.remote_address"),
    "source.port": port("request.remote_port"),
    "http.request.id": text("request.id"),
    "http.response.status_code": made(http_status, "response.data.http_status_code", kind="long"),
    "tidewaiter.auth.method": made(login_method, "request.path"),
}
_OUTCOME: Final = {
    "event.outcome": otherwise(made(lambda error: "failure" if error not in ("", False) else None, "error"), "success")
}


def _is_response(found: Mapping[str, Any]) -> bool:
    return bool(found["type"] == "response")


def _is_login(found: Mapping[str, Any]) -> bool:
    """Whether somebody got in."""
    path = at_path(found, "request.path")
    return _is_response(found) and not found.get("error") and login_method(path) is not None


def _table(accept: Accept, fields: Mapping[str, Value], kind: str = "info") -> Table:
    """Return the table of requests or responses, with their `event.type`."""
    return Table(
        dataset="hashicorp_vault.audit",
        requires=("time", "type", "request.path", "request.operation"),
        accept=accept,
        time=iso("time"),
        constants={"event.category": ["authentication"], "event.type": [kind]},
        fields={**_FIELDS, **fields},
    )


def _sniff(line: str) -> bool:
    return line[:1] == "{" and '"request":{' in line and '"operation":' in line


FORMAT = Format(
    title="Vault audit log",
    tables=(
        _table(_is_login, _OUTCOME, "start"),
        _table(_is_response, _OUTCOME),
        _table(lambda found: found["type"] == "request", {}),
    ),
    sniff=_sniff,
    images=("vault", "openbao"),
)
