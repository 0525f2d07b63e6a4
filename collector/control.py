"""The control channel between the supervisor and a child: JSON lines over an inherited socket pair.

Its end is also a sign of life: a child that reads end-of-file has lost its supervisor and exits.
"""

import asyncio
import socket
from typing import Any, Final

import msgspec

LINE_LIMIT_BYTES: Final = 16 << 20
"""A configuration with its rules, or the reports of all roles, on one line."""


class Configure(msgspec.Struct, tag="configure", frozen=True):
    """First message to a child: its part of the configuration."""

    config: dict[str, Any]


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Drain and exit."""


class Reports(msgspec.Struct, tag="reports", frozen=True):
    """To the console: the newest report of every role, and what keeps the whole from being ready."""

    reports: list["Report"]
    problems: dict[str, str]


class Report(msgspec.Struct, tag="report", frozen=True):
    """From a child, once a second and when its health changes.

    `health` maps a component to what is wrong with it, empty when nothing is. `metrics` are samples as
    `collector.telemetry` makes them.
    """

    role: str
    health: dict[str, str]
    metrics: list[Any]


Message = Configure | Stop | Reports | Report

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class Channel:
    """One end of a control channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """Take over a connected socket."""
        end.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_LIMIT_BYTES)
        return cls(reader, writer)

    def send(self, message: Message) -> None:
        """Send without waiting; what a dead peer does not read is gone with it."""
        if not self._writer.is_closing():
            self._writer.write(_encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """Return the next message, None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return _decode(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
