r"""Netfilter: packets that iptables, nftables, ufw and Ubiquiti's gateways log through the kernel.

    Nov 29 02:00:00 gw kernel: [12345.678901] [UFW BLOCK] IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=198.51.100.4 DST=192.0.2.80 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=54321 DF PROTO=TCP SPT=50001 DPT=22 WINDOW=64240 RES=0x00 SYN URGP=0

With or without the head of syslog and the kernel's clock. Whether a packet was denied or allowed, only the prefix can tell
that the rule's author chose: the words drop, block, reject, deny and accept, allow, pass, permit are understood. Interfaces,
flags, lengths and the packet that an ICMP error quotes are in `message`. Not read: ARP. Source: the kernel's
net/netfilter/nf_log_syslog.c.
"""

import re
from typing import Any

from parsers.format import Format
from parsers.syslog_head import HEAD_TIME, head_fields, headed
from parsers.table import Table
from parsers.values import NOTHING, address, identifier, integer, made, text

_MAC = r"(?:[\da-fA-F]{2}:){5}[\da-fA-F]{2}"
_LETTERS = {"a": ("accept", "allowed"), "d": ("drop", "denied"), "r": ("reject", "denied")}
_TYPES = dict.fromkeys(("drop", "block", "reject", "deny", "denied"), "denied") | dict.fromkeys(
    ("accept", "allow", "pass", "permit"), "allowed"
)
"""Ubiquiti's letters -> action and type of event; words of prefixes -> type of event."""

_WORD = re.compile(
    r"(?<![a-z])(drop|block|reject|deny|denied|accept|allow|pass|permit|audit|limit)(?:p?ed|ted|ing)?(?![a-z])\w{0,32}"
)


def _verdict(prefix: Any) -> tuple[str | None, str | None]:
    name = prefix.lower() if isinstance(prefix, str) else ""
    if name in _LETTERS:
        return _LETTERS[name]
    # `[UFW LIMIT BLOCK]`: the last word says what became of the packet.
    found = list(_WORD.finditer(name))
    return (found[-1][0], _TYPES.get(found[-1][1])) if found else (None, None)


def _types(prefix: Any) -> list[str]:
    denied = _verdict(prefix)[1]
    return ["connection", denied] if denied else ["connection"]


def _mac(value: Any) -> str | None:
    """Return a MAC address as ECS wants it (RFC 7042): `02-00-00-00-00-01`."""
    return value.upper().replace(":", "-") if isinstance(value, str) else None


def _transport(value: Any) -> str | None:
    name = value.lower()
    return None if name.isdigit() else {"icmpv6": "ipv6-icmp"}.get(name, name)


PACKET = Table(
    dataset="iptables.log",
    pattern=headed(
        ("kernel",),
        r"(?:\[ {0,12}\d{1,12}\.\d{6}\] ?)?"
        r"(?:\[(?P<ruleset>[^\]=]{1,64})-(?P<rule>[^\]=-]{1,32})-(?P<letter>[ADR])\] ?|(?P<prefix>[^=]{0,192}?))"
        r"IN=\S{0,32} OUT=\S{0,32} (?:PHYSIN=\S{0,32} )?(?:PHYSOUT=\S{0,32} )?"
        rf"(?:MAC=(?:(?P<to_mac>{_MAC}):(?P<from_mac>{_MAC}):[\da-fA-F:]{{5,128}}|[\da-fA-F:]{{0,255}}) |"
        rf"MACSRC=(?P<macsrc>{_MAC}) MACDST=(?P<macdst>{_MAC}) MACPROTO=[\da-f]{{4}} )?(?:VPROTO=[\da-f]{{4}} VID=\d{{1,4}} )?"
        r"(?:TUNNEL=\S{0,64} )?SRC=(?P<source>[\da-fA-F.:]{2,45}) DST=(?P<destination>[\da-fA-F.:]{2,45}) LEN=\d{1,6} "
        r"(?:TOS=|TC=)[^=]{1,8}[^\[]{0,512}?PROTO=(?P<transport>\w{1,16})"
        r"(?: SPT=(?P<source_port>\d{1,5}) DPT=(?P<destination_port>\d{1,5}))?"
        r"(?:[^\[]*? UID=(?P<uid>\d{1,10}) GID=(?P<gid>\d{1,10}))?.*",
        bare=True,
    ),
    time=HEAD_TIME,
    constants={"event.category": ["network"]},
    message=text("text"),
    fields={
        "event.type": made(_types, "letter", "prefix", kind="keyword[]"),
        "event.action": made(lambda prefix: _verdict(prefix)[0], "letter", "prefix"),
        "source.ip": address("source"),
        "source.address": text("source"),
        "source.mac": made(_mac, "from_mac", "macsrc"),
        "source.port": integer("source_port"),
        "destination.ip": address("destination"),
        "destination.address": text("destination"),
        "destination.mac": made(_mac, "to_mac", "macdst"),
        "destination.port": integer("destination_port"),
        "network.type": made(lambda source: "ipv6" if ":" in source else "ipv4", "source"),
        "network.transport": made(_transport, "transport"),
        "network.iana_number": made(lambda name: name if name.isdigit() else None, "transport"),
        "rule.name": text("ruleset", absent=NOTHING),
        "rule.id": text("rule", absent=NOTHING),
        "user.id": identifier("uid"),
        "group.id": identifier("gid"),
        **head_fields("kernel"),
    },
)


def _sniff(line: str) -> bool:
    return " SRC=" in line and " OUT=" in line and "IN=" in line


FORMAT = Format(title="Packets logged by netfilter (iptables, nftables, ufw)", tables=(PACKET,), sniff=_sniff)
