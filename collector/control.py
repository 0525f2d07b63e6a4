"""The control channel between the supervisor and a child: JSON lines over an inherited socket pair.

Its end is also a sign of life: a child that reads end-of-file has lost its supervisor and exits.
"""

import asyncio
import socket
from typing import Any, Final

import msgspec

from collector.samples import Family

LINE_LIMIT_BYTES: Final = 16 << 20
"""A configuration with its rules, or the reports of all roles, on one line."""

UNREAD_LIMIT_BYTES: Final = 1 << 20
"""Reports are left out while the other end has this much unread: a later one says all that they said."""


PROCESS: Final = "process"
"""Component of a report by which a role says why it is about to end."""


class Configure(msgspec.Struct, tag="configure", frozen=True):
    """First message to a child: its part of the configuration, and whether it waits for `Go` until it begins."""

    config: dict[str, Any]
    stands_by: bool = False


class Go(msgspec.Struct, tag="go", frozen=True):
    """To a child that stands by: begin, the one before is gone."""


class Prepare(msgspec.Struct, tag="prepare", frozen=True):
    """Get ready for another configuration and change nothing yet; answered by `Answer` with what is in its way."""

    number: int
    config: dict[str, Any]


class Switch(msgspec.Struct, tag="switch", frozen=True):
    """Change to what was prepared, or forget it; answered by `Answer`. With a problem all is as it was."""

    number: int
    go: bool


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """From a child, to `Prepare` or `Switch`: problems as option and sentence."""

    number: int
    problems: list[tuple[str, str]]


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Drain and exit."""


class Report(msgspec.Struct, tag="report", frozen=True):
    """From a child, once a second and at once when its health changes.

    `health` maps a component to what is wrong with it, empty when nothing is.
    """

    role: str
    health: dict[str, str]
    metrics: list[Family]


class Reports(msgspec.Struct, tag="reports", frozen=True):
    """To the console: the newest report of every role.

    `problems` is what keeps the whole from being ready, `degraded` what is wrong beside that, both by component.
    """

    reports: list[Report]
    problems: dict[str, str]
    degraded: dict[str, str] = {}


Message = Configure | Go | Prepare | Switch | Answer | Stop | Reports | Report

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
        if self._writer.is_closing():
            return
        unread = self._writer.transport.get_write_buffer_size()
        if isinstance(message, Report | Reports) and unread > UNREAD_LIMIT_BYTES:
            return
        self._writer.write(_encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """Return the next message, None when the other end is gone or says what is no message."""
        try:
            line = await self._reader.readline()
            return _decode(line) if line.endswith(b"\n") else None
        except (ConnectionError, ValueError):
            return None

    async def close(self) -> None:
        """Send what is left, as far as the other end reads it, and hang up."""
        try:
            await self._writer.drain()
            self._writer.close()
            await self._writer.wait_closed()
        except ConnectionError:
            return
