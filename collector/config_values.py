"""How single values are written in the configuration file: durations, sizes, addresses, URLs, peers.

A `Unit` stands in a type's annotation (`Annotated[int, SIZE]`). Its `read` takes the text of the file and returns the
value that the program keeps, or raises ValueError: with a reason, or with none where the example says it all.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

UNIX: Final = "unix://"

UNIX_PATH_LIMIT_BYTES: Final = 107
"""Longest path of a Unix socket that the kernel takes."""

PORT_LIMIT: Final = 0xFFFF

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_duration = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_size = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB|TiB)")
_address = re.compile(r"(?:\[(?P<six>[^\]]*:[^\]]*)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})")
_unix_peer = re.compile(r"unix:uid=[0-9]{1,10}")
_Ip = TypeVar("_Ip", bound=ipaddress.IPv4Address | ipaddress.IPv6Address)
_EVERY_HOST: Final = ("", "::")


class Unit(NamedTuple):
    """One way of writing a value: its name and an example for messages, and what reads it.

    `pattern` is what every text of it matches (empty: nothing is said), `write` what is read back as a value; None for
    one that cannot be written.
    """

    name: str
    example: str
    read: Callable[[str], Any]
    pattern: str = ""
    write: Callable[[Any], str | None] = str

    @property
    def examples(self) -> list[str]:
        """The texts of the example, one by one."""
        return [each.strip('"') for each in re.split(r", | or ", self.example)]


class Address(NamedTuple):
    """Where something listens: hosts as the kernel compares them and a port, or the path of a Unix socket."""

    hosts: frozenset[str]
    port: int
    path: str = ""

    def collides(self, other: "Address") -> bool:
        """Tell whether both cannot be listened on at once. Port 0 is any free one, so it never collides."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        return bool(self.hosts & other.hosts) or _takes(self.hosts, other.hosts) or _takes(other.hosts, self.hosts)

    def is_private(self) -> bool:
        """Tell whether only this machine reaches it."""
        return bool(self.path) or all(map(_is_loopback, self.hosts))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _takes(hosts: frozenset[str], others: frozenset[str]) -> bool:
    if not hosts.isdisjoint(_EVERY_HOST):
        return True
    return "0.0.0.0" in hosts and any(":" not in host for host in others)  # noqa: S104 - compared, not bound


def split_listen(listen: str) -> tuple[str, int] | Path:
    """Read `host:port`, `[v6]:port` (without its brackets) or `unix:///path`; raise ValueError."""
    if listen.startswith(UNIX):
        return _socket_path(listen.removeprefix(UNIX))
    found = _address.fullmatch(listen)
    if found is None:
        raise ValueError
    if int(found["port"]) > PORT_LIMIT:
        raise ValueError(f"a port is at most {PORT_LIMIT}")
    return found["six"] or found["host"], int(found["port"])


def address_of(listen: str) -> Address:
    """Read what `split_listen` reads, as the kernel compares it; raise ValueError."""
    where = split_listen(listen)
    if isinstance(where, Path):
        return Address(frozenset(), 0, os.path.normpath(where))
    host, port = where[0].lower(), where[1]
    if host == "localhost":
        return Address(frozenset({"127.0.0.1", "::1"}), port)
    if ":" in host:
        host = str(_ip(host, ipaddress.IPv6Address))
    elif host and re.fullmatch(r"[0-9.]+", host):
        host = str(_ip(host, ipaddress.IPv4Address))
    return Address(frozenset({host}), port)


def address_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return a peer's address as documents and `hosts` have it: one mapped into IPv6 is written as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _ip(text: str, kind: Callable[[str], _Ip]) -> _Ip:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text} is no address") from None


def _socket_path(path: str) -> Path:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("a Unix socket needs an absolute path")
    if len(os.fsencode(path)) > UNIX_PATH_LIMIT_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {UNIX_PATH_LIMIT_BYTES} bytes")
    return Path(path)


def read_duration(text: str) -> float:
    """Return seconds; raise ValueError."""
    found = _duration.fullmatch(text)
    if found is None:
        raise ValueError
    if float(found[1]) <= 0:
        raise ValueError("it must be more than 0")
    return float(found[1]) * _SECONDS[found[2]]


def read_size(text: str) -> int:
    """Return bytes; raise ValueError."""
    found = _size.fullmatch(text)
    if found is None:
        raise ValueError
    if int(found[1]) == 0:
        raise ValueError("it must be more than 0")
    return int(found[1]) * _BYTES[found[2]]


def duration_written(seconds: float) -> str | None:
    """Return seconds as the file has them, in the largest unit that says them exactly; None for none at all."""
    for unit, factor in reversed(_SECONDS.items()):
        count = round(seconds / factor, 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return None


def size_written(count: int) -> str | None:
    """Return bytes as the file has them, in the largest unit that says them exactly; None for none at all."""
    for unit, factor in reversed(_BYTES.items()):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return None


def size_text(count: float) -> str:
    """Return a number of bytes for people, with a unit that `read_size` knows."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _read_listen(text: str) -> str:
    address_of(text)
    return text


def _read_listen_tcp(text: str) -> str:
    if address_of(text).path:
        raise ValueError("a Unix socket is not possible here")
    return text


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError
    if "@" in parts.netloc:
        raise ValueError("no user and password in it: use username and password, or api_key")
    if parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError("only scheme, host, port and path")
    return text.rstrip("/")


def _read_peer(text: str) -> str:
    if _unix_peer.fullmatch(text):
        return text
    return address_text(_ip(text, ipaddress.ip_address))


def _read_peer_range(text: str) -> str:
    if text == "unix" or _unix_peer.fullmatch(text):
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(str(error).replace(repr(text), "it")) from None


def _read_engine_url(text: str) -> str:
    if text.startswith(UNIX):
        _socket_path(text.removeprefix(UNIX))
        return text
    address = address_of(text.removeprefix("tcp://"))
    if not text.startswith("tcp://") or address.path or address.port == 0 or "" in address.hosts:
        raise ValueError
    return text


DURATION: Final = Unit("duration", "30s, 5m, 12h or 7d", read_duration, _duration.pattern, duration_written)
SIZE: Final = Unit("size", "64KiB, 512MiB or 10GiB", read_size, _size.pattern, size_written)
LISTEN: Final = Unit(
    "listen address",
    '"127.0.0.1:24224", "[::1]:24224" or "unix:///run/forward.sock"',
    _read_listen,
    ".*:[0-9]{1,5}|unix:///.+",
)
LISTEN_TCP: Final = Unit("listen address", '"127.0.0.1:8686" or "[::1]:8686"', _read_listen_tcp, ".*:[0-9]{1,5}")
URL: Final = Unit("URL", '"https://es.example:9200"', _read_url, "https?://.+")
PEER: Final = Unit("peer", '"192.0.2.7", "2001:db8::7" or "unix:uid=0"', _read_peer)
PEER_RANGE: Final = Unit("peer", '"192.0.2.7", "192.0.2.0/24", "2001:db8::/64" or "unix"', _read_peer_range)
ENGINE_URL: Final = Unit(
    "URL", '"unix:///var/run/docker.sock" or "tcp://engine.example:2376"', _read_engine_url, "(?:unix|tcp)://.+"
)
