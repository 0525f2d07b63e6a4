"""The contract of inputs: acknowledged implies durable, in order, whatever the journal, the sender or a neighbour does.

An input joins by a generator of numbered messages and a client that resends (here: Forward, each of its modes).
"""

import asyncio
import contextlib
import os
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest
from fluent.asyncsender import FluentSender as AsyncFluentSender
from fluent.sender import EventTime, FluentSender

from collector.inputs.forward import ForwardInput
from collector.journal.entry import Entry, Receipt
from collector.testing.forward_sender import MODES, ForwardSender, Mode, Options, encode_message, tcp, unix
from collector.testing.journal_moods import Mood, MoodyJournal
from collector.wire.blocks import Blocks

TIMEOUT_S = 10
ENTRY = b"\x92\x00\x81\xa3log\xa2hi"


@asynccontextmanager
async def listening(
    journal: MoodyJournal, *, listen: str = "127.0.0.1:0", message_limit_bytes: int = 1 << 20, **limits: int
) -> AsyncIterator[ForwardInput]:
    """Run an input on a free port."""
    forward = ForwardInput(
        name="docker",
        listen=listen,
        journal=journal,
        blocks=Blocks(),
        message_limit_bytes=message_limit_bytes,
        **{"connection_limit": 1_000, **limits},
    )
    journal.on_pressure(forward.press)
    await forward.start()
    try:
        yield forward
    finally:
        await forward.drain(timeout_s=0)


def port_of(forward: ForwardInput) -> int:
    """Return the port that was chosen."""
    return int(forward.address.rpartition(":")[2])


async def connect(forward: ForwardInput) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection."""
    return await asyncio.open_connection("127.0.0.1", port_of(forward))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, which an input's own state shows and no event tells."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


def durable_numbers(journal: MoodyJournal, name: str) -> list[int]:
    """Return the numbers of a sender's records in the journal, in order."""
    payloads = b"".join(entry.payload for entry in journal.durable)
    return [int(number) for number in re.findall(rb"\b%s (\d+)" % name.encode(), payloads)]


def acked(chunk: str) -> bytes:
    """Return the acknowledgement of a chunk id."""
    return bytes(b"\x81\xa3ack" + msgpack.packb(chunk))


def packed(chunk: str) -> bytes:
    """Return a message that wants to be acknowledged."""
    return bytes(b"\x93\xa1t" + msgpack.packb(ENTRY) + msgpack.packb({"chunk": chunk}))


def reset(writer: asyncio.StreamWriter) -> None:
    """Vanish, as a killed peer does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "mood", [Mood.ACCEPTS, Mood.FAILS_NOW_AND_THEN, Mood.MIXES], ids=lambda mood: mood.name.lower()
)
async def test_what_is_acked_is_in_the_journal(mode: Mode, mood: Mood) -> None:
    """A client that resends gets every record in; nothing is acknowledged that is not durable."""
    journal = MoodyJournal(mood)
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        options = Options(mode=mode, records_per_message=7, reconnect_delay_s=0, name=mode)
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), options)

        await sender.send(150)

    assert set(range(150)) == sender.acked == set(durable_numbers(journal, mode))
    assert (mood is Mood.ACCEPTS) == (forward.counts.refused == 0)


async def test_a_journal_that_refuses_acknowledges_nothing() -> None:
    """Each refused message ends its connection; the client comes again, and is never told what is not true."""
    journal = MoodyJournal(Mood.REFUSES)
    async with listening(journal) as forward:
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), Options(reconnect_delay_s=0))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sender.send(10), 0.2)

        await until(lambda: not forward.connections)
    assert (set(), []) == (sender.acked, journal.durable)
    assert sender.connections > 1


async def test_an_ack_leaves_when_its_message_is_durable() -> None:
    """Nothing comes back before the sync; then each acknowledgement, whole, in order, across modes."""
    journal = MoodyJournal()
    journal.hold()
    messages = [
        encode_message(range(1) if mode == "message" else range(5), Options(mode=mode, name=mode)) for mode in MODES
    ]
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(b"".join(message.encoded for message in messages))
        await until(lambda: journal.pending_count == len(messages))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)

        for message in messages:
            journal.sync(1)
            reply = await asyncio.wait_for(reader.read(511), TIMEOUT_S)

            assert acked(message.chunk_id) == reply
        writer.close()


async def test_acks_keep_their_order_when_receipts_do_not() -> None:
    """A later message that is durable first waits for the earlier one."""
    journal = MoodyJournal()
    taken: list[tuple[Entry, Callable[[], None]]] = []

    def make_durable(entry: Entry, on_receipt: Callable[[], None]) -> None:
        entry.receipt = Receipt.DURABLE
        on_receipt()

    journal.submit = lambda *pair: taken.append(pair)  # type: ignore[method-assign]
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two"))
        await until(lambda: len(taken) == 2)
        make_durable(*taken[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        make_durable(*taken[0])

        assert acked("one") + acked("two") == await asyncio.wait_for(
            reader.readexactly(len(acked("one") + acked("two"))), TIMEOUT_S
        )
        writer.close()


async def test_no_chunk_no_reply() -> None:
    """A message without a chunk id is kept and never answered."""
    journal = MoodyJournal()
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(b"\x92\xa1t\x91" + ENTRY)
        writer.write_eof()

        assert await asyncio.wait_for(reader.read(), TIMEOUT_S) == b""
        writer.close()
    assert [entry.payload for entry in journal.durable] == [ENTRY]


async def test_acks_go_out_after_a_half_close() -> None:
    """A peer that has finished sending still gets every acknowledgement, then the connection ends."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward:
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two"))
        writer.write_eof()
        await until(lambda: journal.pending_count == 2)
        journal.release()

        assert acked("one") + acked("two") == await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()


async def test_messages_of_a_peer_that_has_gone_are_kept() -> None:
    """What had arrived whole becomes durable even if nobody is there to be told."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward:
        _, writer = await connect(forward)
        writer.write(packed("one"))
        await until(lambda: journal.pending_count == 1)
        reset(writer)
        await until(lambda: all(connection._transport is None for connection in forward.connections))
        journal.release()
        await until(lambda: not forward.connections)

    assert [entry.payload for entry in journal.durable] == [ENTRY]


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


async def test_many_in_flight_are_held_back_at_the_limit() -> None:
    """A sender that does not wait has to, once too much of it is unacknowledged; nothing is lost by it."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal, unacked_limit_bytes=20_000) as forward, asyncio.timeout(TIMEOUT_S):
        options = Options(in_flight=10_000, line_bytes=1000, records_per_message=1)
        sender = ForwardSender(tcp("127.0.0.1", port_of(forward)), options)
        sending = asyncio.create_task(sender.send(3000))
        await until(lambda: any(not connection._reading for connection in forward.connections))
        pending = journal.pending_count
        journal.release()
        await sending

    assert pending < 20
    assert list(range(3000)) == durable_numbers(journal, "sender")


async def test_pressure_of_the_journal_stops_reading() -> None:
    """While the journal asks to wait nothing is read; then everything is."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        await until(lambda: len(forward.connections) == 1)
        journal.press(pressed=True)
        writer.write(packed("one"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.appended.wait(), 0.05)
        journal.press(pressed=False)

        assert acked("one") == await reader.read(511)
        writer.close()


async def test_a_peer_that_never_reads_is_not_read_from() -> None:
    """Acknowledgements that nobody fetches stop the reading, and a neighbour goes on."""
    journal = MoodyJournal()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        _, writer = await connect(forward)
        flood = packed("x" * 400) * 1000

        async def pour() -> None:
            while True:
                writer.write(flood)
                await writer.drain()

        pouring = asyncio.create_task(pour())
        await until(lambda: any(connection._write_paused for connection in forward.connections))

        await ForwardSender(tcp("127.0.0.1", port_of(forward))).send(10)
        pouring.cancel()
        writer.transport.abort()


async def test_a_drain_answers_what_is_in_hand() -> None:
    """Draining reads no more, waits for receipts, sends the acknowledgements, and closes."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("one") + packed("two")[:-2])
        await until(lambda: journal.pending_count == 1)
        draining = asyncio.create_task(forward.drain())
        await until(lambda: forward._server is None)
        journal.release()
        await draining

        assert acked("one") == await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await connect(forward)
        writer.close()


async def test_a_drain_ends_in_time() -> None:
    """A journal that never answers does not hold up the stop."""
    journal = MoodyJournal()
    journal.hold()
    async with listening(journal) as forward, asyncio.timeout(TIMEOUT_S):
        reader, writer = await connect(forward)
        writer.write(packed("one"))
        await until(lambda: journal.pending_count == 1)

        await forward.drain(timeout_s=0.05)

        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


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
        assert forward.counts.connections_refused == 1
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
