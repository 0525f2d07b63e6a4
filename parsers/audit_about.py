"""What Linux audit records say beside who and what: the login they belong to, the rules' keys, a peer, a container.

`auid` and `ses` are set once, at the login, and stay through su and sudo (`protocols/syslog-and-audit.md` section 6.2):
they tell who sits behind a root shell. A socket's address is the kernel's `struct sockaddr` in hexadecimal.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

UNSET: Final = frozenset({"4294967295", "-1", "unset"})
"""Ids that say that there is none."""

PEER: Final = "peer"
"""Stands for a socket's address among an event's fields, until the system call tells whose it is."""

ACCEPTED: Final = "accepted-connection-from"
"""`event.action` of system calls of which the address is where the connection came from."""

KEYS_LIMIT: Final = 64
"""Keys of one record that are kept."""

CONTAINER_TEXT_LIMIT: Final = 4096
"""Characters of a value in which a container's id is looked for: as long as a path can be (Linux, `PATH_MAX`)."""

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){4,128}")
_NAMED: Final = re.compile(
    r"(?:docker|moby|containers|crio|cri-containerd|libpod|k8s\.io|containerd)[-/:]([0-9a-f]{64})(?![0-9a-f])"
)
_RUNTIME: Final = re.compile(r"(?:containerd-shim\S{0,64}|runc|crun) ")
_STARTED: Final = re.compile(r"(?:--?id |create |start |exec )([0-9a-f]{64})(?![0-9a-f])")
_CONTAINER_KEYS: Final = ("cgroup", "unit", "path", "name", "cwd", "proctitle", "exe")


def audit_fields(said: Mapping[str, str], payload: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields under `tidewaiter.audit` of one record."""
    login = said.get("auid")
    session = said.get("ses")
    key = said.get("key")
    name = names.get("AUID")
    return {
        "tidewaiter.audit.session": None if session in UNSET else session,
        "tidewaiter.audit.login.id": None if login in UNSET else login,
        "tidewaiter.audit.login.name": None if login is None or login in UNSET or name in UNSET else name,
        "tidewaiter.audit.keys": key.split("\x01")[:KEYS_LIMIT] if key else None,
        "tidewaiter.audit.container_id": _container(said, payload),
    }


def _container(said: Mapping[str, str], payload: Mapping[str, str]) -> str | None:
    for key in _CONTAINER_KEYS:
        for value in (payload.get(key), said.get(key)):
            found = _container_in(value[:CONTAINER_TEXT_LIMIT].replace("\0", " ")) if value else None
            if found:
                return found
    return None


def _container_in(text: str) -> str | None:
    """Return the id that stands in an engine's name or path, else the one behind the first runtime's command."""
    found = _NAMED.search(text)
    if found is None and (runtime := _RUNTIME.search(text)):
        found = _STARTED.search(text, runtime.end())
    return found[1] if found else None


def peer_fields(address: str, *, accepted: bool) -> dict[str, Any]:
    """Return the fields of a socket's address: of where a connection came from (`accepted`), else of where it goes."""
    host, port = socket_address(address)
    side = "source" if accepted else "destination"
    return {f"{side}.address": host, f"{side}.ip": host, f"{side}.port": port} if host else {}


def socket_address(address: str) -> tuple[str | None, int | None]:
    """Return host and port of a `struct sockaddr` of IPv4 or IPv6; of others and of what is cut none."""
    if not _HEX.fullmatch(address):
        return None, None
    raw = bytes.fromhex(address)
    family, port = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:4], "big")
    if family == 2 and len(raw) >= 8:
        return str(ipaddress.IPv4Address(raw[4:8])), port
    if family == 10 and len(raw) >= 24:
        return str(ipaddress.IPv6Address(raw[8:24])), port
    return None, None
