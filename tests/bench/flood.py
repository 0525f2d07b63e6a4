"""The bench's peers for the case `fairness`, each a process of its own: `python -m tests.bench.flood KIND …`.

- `quiet`: many peers, each with an address of its own, that send a line now and then and wait for its ack. Prints
  `ready`, waits for a line on standard input, then for each such line measures for a while and prints one JSON object.
- `flood`: one peer that sends as much as is taken, over several connections, until it is killed. Prints `ready` when it
  has sent something.
- `busy`: no peer at all, but a neighbour that takes about as much of cores and disk as a flood, until it is killed.
"""

import argparse
import gzip
import heapq
import itertools
import json
import os
import select
import socket
import sys
import tempfile
import threading
import time
from typing import Final

import msgpack

from tests.bench.corpus import CHUNK_KEY, forward_chunks, single_messages
from tests.bench.load import ACK_BYTES, ANSWER_TIMEOUT_S, WaitingSender, chunk_id

FLOODER: Final = "127.0.0.2"
TINY: Final = 100
"""Lines that are written at once."""

LARGE_BYTES: Final = 8 << 20
"""fluentd's largest chunk unless it is told otherwise."""

BOMB_BYTES: Final = 60 << 20
"""What a bomb inflates to: no more than an input takes."""

BUSY_BLOCK_BYTES: Final = 640 << 10
BUSY_BLOCKS: Final = 100

WINDOW_BYTES: Final = 16 << 20
"""What a connection of the flood sends without an ack."""


def connect_from(address: str, port: int) -> socket.socket:
    """Open a connection from this loopback address."""
    connection = socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S, source_address=(address, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    return connection


def run_quiet(options: argparse.Namespace) -> None:
    """Measure whenever told to."""
    messages = single_messages(1_000)
    connections = [connect_from(f"127.0.1.{number + 1}", options.port) for number in range(options.senders)]
    senders = {each.fileno(): WaitingSender(each, index) for index, each in enumerate(connections)}
    numbers = itertools.count(1)
    print("ready", flush=True)
    for _ in sys.stdin:
        waits = measured(senders, messages, numbers, options)
        waits.sort()
        print(json.dumps({f"p{part}_ms": waits[len(waits) * part // 100] * 1000 for part in (50, 99)}), flush=True)


def measured(
    senders: dict[int, WaitingSender],
    messages: list[bytes],
    numbers: "itertools.count[int]",
    options: argparse.Namespace,
) -> list[float]:
    """Let every sender send a line each `every` seconds, evenly spread; return how long each ack took."""
    polling = select.epoll()
    began = time.monotonic()
    due = [(began + index * options.every / len(senders), each) for index, each in enumerate(senders)]
    for each in senders:
        polling.register(each, select.EPOLLIN)
    waits: list[float] = []
    waiting: dict[int, float] = {}
    while due or waiting:
        now = time.monotonic()
        while due and due[0][0] <= now:
            at, each = heapq.heappop(due)
            senders[each].send(messages, next(numbers))
            waiting[each] = at
        timeout = max(due[0][0] - now, 0.0) if due else ANSWER_TIMEOUT_S
        for each, _ in polling.poll(timeout):
            wait = senders[each].receive()
            if wait is None:
                continue
            waits.append(wait)
            at = max(waiting.pop(each) + options.every, time.monotonic())
            if at - began < options.seconds:
                heapq.heappush(due, (at, each))
    return waits


def run_flood(options: argparse.Namespace) -> None:
    """Send until killed."""
    os.nice(options.nice)
    messages = MESSAGES[options.shape]()
    for _ in range(options.connections):
        connection = connect_from(FLOODER, options.port)
        threading.Thread(target=_flood, args=(connection, messages), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def _flood(connection: socket.socket, messages: list[tuple[bytes, int]]) -> None:
    acks = threading.Semaphore(max(WINDOW_BYTES // max(len(each) for each, _ in messages), 1) * messages[0][1])

    def read() -> None:
        read_bytes = 0
        while received := connection.recv(1 << 16):
            before, read_bytes = read_bytes, read_bytes + len(received)
            if count := read_bytes // ACK_BYTES - before // ACK_BYTES:
                acks.release(count)

    threading.Thread(target=read, daemon=True).start()
    for message, count in itertools.cycle(messages):
        for _ in range(count):
            acks.acquire()
        connection.sendall(message)


def _chunks() -> list[tuple[bytes, int]]:
    return [(b"".join((each.head, chunk_id(number), each.tail)), 1) for number, each in enumerate(forward_chunks())]


def _tiny() -> list[tuple[bytes, int]]:
    lines = [each + b"\x81" + CHUNK_KEY + chunk_id(number) for number, each in enumerate(single_messages(20_000))]
    return [(b"".join(lines[at : at + TINY]), TINY) for at in range(0, len(lines), TINY)]


def _large() -> list[tuple[bytes, int]]:
    tag, entries, _ = msgpack.unpackb(_chunks()[0][0])
    entries *= LARGE_BYTES // len(entries)
    return [(msgpack.packb([tag, entries, {"chunk": chunk_id(1).decode()}]), 1)]


def _gzip() -> list[tuple[bytes, int]]:
    tag, entries, _ = msgpack.unpackb(_large()[0][0])
    return [(_compressed(tag, entries), 1)]


def _bombs() -> list[tuple[bytes, int]]:
    entry = msgpack.packb([1, {"log": "a" * 1000}])
    return [(_compressed("bomb", entry * (BOMB_BYTES // len(entry))), 1)]


def _compressed(tag: str, entries: bytes) -> bytes:
    options = {"chunk": chunk_id(1).decode(), "compressed": "gzip"}
    return bytes(msgpack.packb([tag, gzip.compress(entries), options]))


def run_busy(options: argparse.Namespace) -> None:
    """Take the half of the disk's time and what is left of a core, until killed."""
    os.nice(options.nice)
    threading.Thread(target=_spin, daemon=True).start()
    with tempfile.TemporaryFile(buffering=0) as file:
        block = os.urandom(BUSY_BLOCK_BYTES)
        print("ready", flush=True)
        for number in itertools.count():
            began = time.monotonic()
            file.seek(number % BUSY_BLOCKS * BUSY_BLOCK_BYTES)
            file.write(block)
            os.fdatasync(file.fileno())
            time.sleep(time.monotonic() - began)


def _spin() -> None:
    while True:
        pass


MESSAGES: Final = {"chunks": _chunks, "tiny": _tiny, "large": _large, "gzip": _gzip, "bombs": _bombs}


def main() -> None:
    """Be one of the peers."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    quiet = kinds.add_parser("quiet")
    quiet.add_argument("--senders", type=int, default=20)
    quiet.add_argument("--every", type=float, default=0.05, help="seconds between two lines of a sender")
    quiet.add_argument("--seconds", type=float, default=4.0, help="how long to measure")
    quiet.set_defaults(run=run_quiet)
    flood = kinds.add_parser("flood")
    flood.add_argument("--shape", choices=sorted(MESSAGES), required=True)
    flood.add_argument("--connections", type=int, default=8)
    flood.set_defaults(run=run_flood)
    busy = kinds.add_parser("busy")
    busy.set_defaults(run=run_busy)
    for kind in (flood, busy):
        kind.add_argument("--nice", type=int, default=10, help="its own share of the cores is not what is measured")
    for kind in (quiet, flood):
        kind.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
