"""Connections of the Forward input: what breaks one harms no other, who the peer is, limits, storms, other clients."""

import asyncio
import contextlib
import gc
import os
import random
import struct
from pathlib import Path

import msgpack
import pytest
from fluent.asyncsender import FluentSender as AsyncFluentSender
from fluent.sender import EventTime, FluentSender

from collector.wire.forward import ForwardDecoder
from tests.kit.forward_inputs import (
    TIMEOUT_S,
    acked,
    connect,
    durable_numbers,
    listening,
    packed,
    port_of,
    until,
)
from tests.kit.forward_sender import MODES, ForwardSender, Options, tcp, unix
from tests.kit.journal_moods import MoodyJournal


async def test_broken_framing_ends_one_connection_only() -> None:
    """Messages before the break are kept and acknowledged; a neighbour does not notice."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        good_reader, good_writer = await connect(forward)
        reader, writer = await connect(forward)
        writer.write(packed("before") + b"\x07" + packed("behind"))

        assert acked("before") == await asyncio.wait_for(reader.read(), TIMEOUT_S)
        good_writer.write(packed("neighbour"))
        assert acked("neighbour") == await asyncio.wait_for(good_reader.read(511), TIMEOUT_S)
        assert forward.counts.broken == {"not_an_array": 1}
        for each in (writer, good_writer):
            each.close()
    assert [entry.chunk_id for entry in journal.durable] == [b"before", b"neighbour"]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\x92\xa1t\xc6\xff\xff\xff\xff", "too_long"),
        (b'{"tag": "json"}', "json"),
        (b"\x92\xa1t\x91\xc1", "not_msgpack"),
        (b"\x93\xa1t\x90" + msgpack.packb({"chunk": "x" * 600}), "chunk_id"),
    ],
)
async def test_a_broken_stream_is_closed_and_counted(stream: bytes, code: str) -> None:
    """No answer, an end, and a count by reason."""
    async with listening(MoodyJournal()) as forward:
        reader, writer = await connect(forward)
        writer.write(stream)

        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), TIMEOUT_S) == b""
        assert {code: 1} == forward.counts.broken
        writer.close()


async def test_a_broken_connection_leaves_nothing_in_memory() -> None:
    """Each held its block until some later garbage collection: a thousand of them, a gigabyte."""
    async with listening(MoodyJournal()) as forward:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                _, writer = await connect(forward)
                writer.write(packed("before") + b"\x07")
                await until(lambda: bool(forward.counts.broken))
                writer.close()
                await until(lambda: not forward.connections)
                forward.counts.broken.clear()

            assert [each for each in gc.get_objects() if isinstance(each, ForwardDecoder)] == []
        finally:
            gc.enable()
        assert forward.blocks.receiving_bytes == 0


async def test_a_broken_payload_is_acked() -> None:
    """A payload that cannot be inflated is kept as it is, under an encoding of its own."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(b"\x93\xa1t\xc4\x03abc" + msgpack.packb({"chunk": "c", "compressed": "gzip"}))

        assert acked("c") == await asyncio.wait_for(reader.read(511), TIMEOUT_S)
        writer.close()
    assert [(entry.encoding, entry.payload) for entry in journal.durable] == [("forward-broken", b"abc")]
    assert forward.counts.broken_payloads == 1


async def test_a_nesting_bomb_is_walked_while_others_are_served() -> None:
    """Deep nesting behind much that is shallow: it becomes durable, and so does a neighbour's message meanwhile."""
    journal = MoodyJournal()
    bomb = b"\xdd\x00\x0f\x42\x41" + b"\x01" * 1_000_000 + b"\x91" * 5_000 + b"\x01"
    async with listening(journal, message_limit=2 << 20) as forward:
        good_reader, good_writer = await connect(forward)
        reader, writer = await connect(forward)
        sent = b"\x94\xa1t\x01\x81\xa1x" + bomb + msgpack.packb({"chunk": "bomb"})
        writer.write(sent)
        await until(lambda: forward.counts.bytes == len(sent))
        good_writer.write(packed("neighbour"))

        assert acked("neighbour") == await asyncio.wait_for(good_reader.read(511), TIMEOUT_S)
        assert acked("bomb") == await asyncio.wait_for(reader.read(511), TIMEOUT_S)
        for each in (writer, good_writer):
            each.close()
    assert sorted(entry.chunk_id for entry in journal.durable) == [b"bomb", b"neighbour"]
    assert forward.counts.broken == {}


async def test_empty_and_unfinished_connections() -> None:
    """Heartbeat connections of fluentd mean nothing; one that ends within a message is counted; neither is an error."""
    async with listening(MoodyJournal()) as forward:
        for stream in (b"", b"\xc0", packed("x")[:-1]):
            reader, writer = await connect(forward)
            writer.write(stream)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), TIMEOUT_S) == b""
            writer.close()
        await until(lambda: not forward.connections)

    assert (forward.counts.connections_total, forward.counts.unfinished, forward.counts.broken) == (3, 1, {})


async def test_the_origin_of_a_tcp_peer() -> None:
    """Input, transport, and the peer's address without its port."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        await ForwardSender(tcp("127.0.0.1", port_of(forward))).send(1)

    origin = journal.durable[0].origin
    assert (origin.input, origin.transport, origin.peer, origin.auth) == ("docker", "tcp", "127.0.0.1", "")


async def test_the_origin_of_a_mapped_address() -> None:
    """An IPv4 peer of a socket for both families is known by its IPv4 address."""
    journal = MoodyJournal()
    async with listening(journal, listen="[::]:0") as forward:
        await ForwardSender(tcp("127.0.0.1", port_of(forward))).send(1)
        await ForwardSender(tcp("::1", port_of(forward))).send(1)

    assert [entry.origin.peer for entry in journal.durable] == ["127.0.0.1", "::1"]


async def test_a_unix_socket(tmp_path: Path) -> None:
    """A Unix socket is for owner and group; its peers are known by their user id; a stale file is no obstacle."""
    path = tmp_path / "forward.sock"
    for _ in range(2):
        journal = MoodyJournal()
        async with listening(journal, listen=f"unix://{path}"):
            await ForwardSender(unix(str(path))).send(1)

            origin = journal.durable[0].origin
            assert path.stat().st_mode & 0o777 == 0o660
            assert ("unix", f"unix:uid={os.getuid()}") == (origin.transport, origin.peer)


async def test_too_many_connections() -> None:
    """Who comes beyond the limit is disconnected, and does not hurt who is there."""
    async with listening(MoodyJournal(), connection_limit=1) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        await until(lambda: len(forward.connections) == 1)
        late_reader, late_writer = await connect(forward)
        with contextlib.suppress(ConnectionResetError):
            assert await late_reader.read() == b""
        writer.write(packed("x"))

        assert acked("x") == await reader.read(511)
        assert forward.counts.connections_refused["limit"] == 1
        for each in (writer, late_writer):
            each.close()


async def test_a_storm_of_reconnects() -> None:
    """Hundreds of connections that come and go leave nothing behind."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):

        async def visit(number: int) -> None:
            _, writer = await connect(forward)
            writer.write(packed(f"{number}")[: number % 30])
            if number % 2:
                writer.transport.abort()
            else:
                writer.close()

        for start in range(0, 300, 50):
            await asyncio.gather(*(visit(number) for number in range(start, start + 50)))
        await until(lambda: forward.counts.connections_total == 300 and not forward.connections)

    await until(lambda: forward.blocks.receiving_bytes == 0)
    assert forward.counts.failures == 0


async def test_two_hundred_senders_at_once() -> None:
    """Each of many senders gets its own acknowledgements."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        connecting = tcp("127.0.0.1", port_of(forward))
        senders = [
            ForwardSender(connecting, Options(name=f"s{number}x", mode=MODES[number % 5], in_flight=1 + number % 3))
            for number in range(200)
        ]
        await asyncio.gather(*(sender.send(20) for sender in senders))

    assert all(set(range(20)) == sender.acked for sender in senders)
    assert sum(len(durable_numbers(journal, sender.options.name)) for sender in senders) == 4000


async def test_the_heartbeat_over_udp() -> None:
    """One zero byte is answered by one; nothing else is answered."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.put_nowait(data)

    async with listening(MoodyJournal()) as forward:
        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port_of(forward)))
        for datagram in (b"hello", b"", b"\0\0", b"\0"):
            transport.sendto(datagram)

        assert await asyncio.wait_for(answers.get(), TIMEOUT_S) == b"\0"
        assert answers.empty()
        transport.close()


async def test_fluent_logger_as_a_second_opinion() -> None:
    """The public client library delivers, with integer and sub-second times."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        port = port_of(forward)

        def talk() -> None:
            sender = FluentSender("app", host="127.0.0.1", port=port, nanosecond_precision=True)
            assert sender.emit("web", {"log": "one"})
            assert sender.emit_with_time("web", EventTime(1_700_000_000.5), {"log": "two"})
            sender.close()
            queued = AsyncFluentSender("app", host="127.0.0.1", port=port)
            assert queued.emit_with_time("web", 1_700_000_000, {"log": "three"})
            queued.close()

        await asyncio.to_thread(talk)
        await until(lambda: sum(entry.claimed for entry in journal.durable) == 3)

    objects = msgpack.Unpacker(raw=False)
    objects.feed(b"".join(entry.payload for entry in journal.durable))
    found = list(objects)
    assert [(it[0], it[2]["log"]) for it in found] == [("app.web", "one"), ("app.web", "two"), ("app.web", "three")]
    assert struct.unpack(">II", found[1][1].data) == (1_700_000_000, 500_000_000)


async def test_random_bytes_over_the_socket_hurt_nobody() -> None:
    """Garbage of all kinds ends its own connections; the input serves on, without a failure of its own."""
    chance = random.Random(11)
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        for _ in range(100):
            reader, writer = await connect(forward)
            stream = bytearray(packed("x") * 3 + chance.randbytes(chance.randrange(200)))
            stream[chance.randrange(len(stream))] = chance.randrange(256)
            with contextlib.suppress(ConnectionError):
                writer.write(stream)
                writer.write_eof()
                await reader.read()
            writer.close()
        await ForwardSender(tcp("127.0.0.1", port_of(forward))).send(5)

    await until(lambda: forward.blocks.receiving_bytes == 0)
    assert forward.counts.failures == 0
