"""The bench's load generator, a process of its own: `python -m tests.bench.load chunks|messages …`.

It prepares its bytes, prints `ready`, waits for a line on standard input, sends, and prints one JSON object. Every ack
is compared with the chunk id it must carry, in order.

- `chunks`: the corpus as PackedForward messages over several connections, a few un-acked on each, repeated until the
  asked number of events is reached (whole messages only, so it is passed a little).
- `messages`: many senders with one message in flight each, as Docker's driver with `fluentd-request-ack` sends.
"""

import argparse
import base64
import itertools
import json
import os
import select
import socket
import sys
import threading
import time
from typing import Final

from tests.bench.corpus import CHUNK_KEY, ForwardChunk, forward_chunks, single_messages

ACK_HEAD: Final = b"\x81\xa3ack\xb8"
ACK_BYTES: Final = len(ACK_HEAD) + 24
ANSWER_TIMEOUT_S: Final = 60.0
MESSAGES: Final = 20_000
"""How many different messages the waiting senders repeat."""


_process: Final = os.urandom(8)


def chunk_id(number: int) -> bytes:
    """A chunk id of the usual shape (base64 of 16 bytes), different for each number and process.

    The same bytes under the same id from a later process would be a resend.
    """
    return base64.b64encode(_process + number.to_bytes(8, "big"))


def connect(port: int) -> socket.socket:
    """Open a connection that neither gathers small writes nor waits for ever."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Chunks:
    """Hands out the corpus' messages to the connections until enough events were given out."""

    def __init__(self, chunks: list[ForwardChunk], events: int) -> None:
        self._turns = itertools.cycle(chunks)
        self._left = events
        self._lock = threading.Lock()
        self.records = self.chunks = self.bytes = 0

    def take(self) -> tuple[ForwardChunk, bytes] | None:
        """The next message and the chunk id it shall carry; None when enough were taken."""
        with self._lock:
            if self._left <= 0:
                return None
            chunk = next(self._turns)
            self._left -= chunk.records
            self.records += chunk.records
            self.chunks += 1
            self.bytes += len(chunk.head) + 24 + len(chunk.tail)
            return chunk, chunk_id(self.chunks)


def ack_of(connection: socket.socket, expected: bytes) -> None:
    """Read the ack that must come next on a connection; raise ConnectionError when another one comes."""
    received = b""
    while len(received) < ACK_BYTES:
        part = connection.recv(ACK_BYTES - len(received))
        if not part:
            raise ConnectionError("the collector closed the connection")
        received += part
    if received != ACK_HEAD + expected:
        raise ConnectionError(f"a wrong ack: {received!r} instead of {expected!r}")


def _send_chunks(connection: socket.socket, chunks: Chunks, window: int) -> None:
    waiting: list[bytes] = []
    while (taken := chunks.take()) is not None:
        chunk, name = taken
        connection.sendall(chunk.head)
        connection.sendall(name + chunk.tail)
        waiting.append(name)
        if len(waiting) == window:
            ack_of(connection, waiting.pop(0))
    for name in waiting:
        ack_of(connection, name)


def run_chunks(options: argparse.Namespace) -> dict[str, float]:
    """Send whole messages over several connections; return what was sent and how long it took to the last ack."""
    chunks = Chunks(forward_chunks(), options.events)
    connections = [connect(options.port) for _ in range(options.connections)]
    failures: list[BaseException] = []

    def sender(connection: socket.socket) -> None:
        try:
            _send_chunks(connection, chunks, options.window)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=sender, args=(connection,)) for connection in connections]
    began = _wait_for_go()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    ended = time.monotonic()
    return {"records": chunks.records, "chunks": chunks.chunks, "bytes": chunks.bytes, "began": began, "ended": ended}


class WaitingSender:
    """A sender with one message in flight."""

    def __init__(self, connection: socket.socket, first: int) -> None:
        self.next = first
        self.lines = 0
        self._send, self._receive = connection.send, connection.recv
        self._sent = 0.0
        self._expected = b""
        self._received = b""

    def send(self, messages: list[bytes], number: int) -> None:
        """Send the next message."""
        name = chunk_id(number)
        message = messages[self.next % len(messages)] + b"\x81" + CHUNK_KEY + name
        self.next += 1
        self._expected, self._received = ACK_HEAD + name, b""
        self._sent = time.perf_counter()
        if self._send(message) < len(message):
            raise ConnectionError("the collector does not read")

    def receive(self) -> float | None:
        """Take what arrived; return the seconds from sending to the whole ack, None while it is incomplete."""
        received = self._received + self._receive(64)
        if received == self._expected:
            self.lines += 1
            return time.perf_counter() - self._sent
        if not self._expected.startswith(received) or received == self._received:
            raise ConnectionError(f"a wrong ack: {received!r} instead of {self._expected!r}")
        self._received = received
        return None


def run_messages(options: argparse.Namespace) -> dict[str, float]:
    """Let many senders each wait for every ack; return the spread of the waiting and each sender's pace."""
    messages = single_messages(MESSAGES)
    polling = select.epoll()
    connections = [connect(options.port) for _ in range(options.senders)]
    senders = {each.fileno(): WaitingSender(each, index * 97) for index, each in enumerate(connections)}
    for each in connections:
        each.settimeout(None)  # with a timeout Python would poll before each call
        polling.register(each, select.EPOLLIN)
    numbers = itertools.count(1)
    waits: list[float] = []
    began = _wait_for_go()
    for sender in senders.values():
        sender.send(messages, next(numbers))
    sending, waiting = True, len(senders)
    while waiting:
        sending = sending and time.monotonic() - began < options.seconds
        events = polling.poll(ANSWER_TIMEOUT_S)
        if not events:
            raise TimeoutError("no ack came")
        for descriptor, _ in events:
            sender = senders[descriptor]
            wait = sender.receive()
            if wait is None:
                continue
            waits.append(wait)
            if sending:
                sender.send(messages, next(numbers))
            else:
                waiting -= 1
    ended = time.monotonic()
    waits.sort()
    slowest = min(sender.lines for sender in senders.values())
    return {
        "records": len(waits),
        "began": began,
        "ended": ended,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
        "lines_per_s_per_sender": len(waits) / len(senders) / (ended - began),
        "lines_per_s_slowest": slowest / (ended - began),
    }


def _wait_for_go() -> float:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    return time.monotonic()


def main() -> None:
    """Run one load."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    chunks = kinds.add_parser("chunks")
    chunks.add_argument("--events", type=int, required=True)
    chunks.add_argument("--connections", type=int, default=8)
    chunks.add_argument("--window", type=int, default=4, help="un-acked messages per connection")
    chunks.set_defaults(run=run_chunks)
    messages = kinds.add_parser("messages")
    messages.add_argument("--senders", type=int, required=True)
    messages.add_argument("--seconds", type=float, required=True)
    messages.set_defaults(run=run_messages)
    for kind in (chunks, messages):
        kind.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(options.run(options)) + "\n")


if __name__ == "__main__":
    main()
