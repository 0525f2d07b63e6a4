"""How `tidewaiter reload` asks the collector that runs, and hears what became of it.

Unix stream socket `run/supervisor.sock` in the data folder, mode 0600: whoever may open it may also send SIGHUP. A line
of JSON asks, a line of JSON answers.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from collector.errors import UnreachableError
from collector.internal import bound_socket, short_path
from collector.reload import Outcome

ASKED_LIMIT_S: Final = 5.0
"""How long somebody who connected may take to ask."""

CONNECTION_LIMIT: Final = 8
"""Who waits at once for a reload; further ones are hung up on."""

ANSWER_LIMIT_BYTES: Final = 4 << 20
"""Of an answer: the problems of a file of 1 MiB."""

_REQUEST: Final = b'{"do":"reload"}\n'

Reload = Callable[[], Awaitable[Outcome]]


def socket_path(data_dir: Path) -> Path:
    """Return where the socket of a data folder's collector is."""
    return data_dir / "run" / "supervisor.sock"


class ReloadServer:
    """Serves who asks for a reload; belongs to the supervisor, which holds the data folder's lock."""

    def __init__(self, data_dir: Path, reload: Reload) -> None:
        self._path = socket_path(data_dir)
        self._reload = reload
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket file of a killed collector is replaced. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, sock=bound_socket(self._path))

    async def close(self) -> None:
        """Hang up on who waits, and listen no more."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= CONNECTION_LIMIT:
            writer.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError), contextlib.closing(writer):
            async with asyncio.timeout(ASKED_LIMIT_S):
                asked = await reader.readline()
            if asked == _REQUEST:
                writer.write(msgspec.json.encode(await self._reload()) + b"\n")
                await writer.drain()


def ask_for_reload(data_dir: Path, *, limit_s: float) -> Outcome:
    """Ask the collector of a data folder and wait for the outcome; raise UnreachableError. Blocking."""
    path = socket_path(data_dir)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(limit_s)
        try:
            with short_path(path) as name:
                client.connect(name)
            client.sendall(_REQUEST)
            with client.makefile("rb") as answers:
                answer = answers.readline(ANSWER_LIMIT_BYTES)
        except TimeoutError as error:
            raise UnreachableError(f"no answer within {limit_s:.0f} s; what becomes of it stands in the log") from error
        except OSError as error:
            raise UnreachableError(f"{path}: {error.strerror or error}") from error
    try:
        return msgspec.json.decode(answer, type=Outcome)
    except msgspec.DecodeError as error:
        raise UnreachableError("the collector ended before it answered; what became of it stands in the log") from error
