"""Tests for the Forward decoder: whole messages, cut messages, framing and memory."""

import gzip
import struct
import time
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.wire.blocks import BLOCK_BYTES, Blocks
from collector.wire.forward import BrokenStream, ForwardDecoder
from collector.wire.forward_heads import TAG_LIMIT_BYTES
from collector.wire.forward_message import ForwardMessage
from collector.wire.forward_options import CHUNK_ID_LIMIT_BYTES
from tests.kit.forward_sender import MODES, Mode, Options, encode_message
from tests.kit.forward_streams import MESSAGE_LIMIT_BYTES, Decoded, decode_pieces

GOLDEN = sorted((Path(__file__).parents[3] / "golden" / "forward").glob("*.bin"))
TIME = bytes.fromhex("d7006553f100075bcd15")
ENTRY = b"\x92" + TIME + b"\x81\xa3log\xa2hi"
RECORD = b"\x82\xa3log\xa2hi\xa6source\xa6stdout"


def one(stream: bytes) -> Decoded:
    """Decode a stream of exactly one message."""
    messages, code = decode_pieces([stream])
    assert (code, len(messages)) == ("", 1)
    return messages[0]


def code_of(stream: bytes, *, limit_bytes: int = 1 << 20) -> str:
    """Return the code of what breaks a stream."""
    return decode_pieces([stream], limit_bytes=limit_bytes)[1]


def mixed_stream() -> bytes:
    """Return one stream with every mode, heartbeats, and shapes of all kinds."""
    stream = b"".join(
        encode_message(range(1) if mode == "message" else range(6), Options(mode=mode, name=mode)).encoded
        for mode in MODES
    )
    plain = b"\x94\xa2c1\xd2\x65\x53\xf1\x00" + RECORD + b"\x80"
    return stream + plain * 3 + b"\xc0\xc0" + plain[:-1] + b"\xc0" + b"\x93" + plain[1:-1] + b"\x92\xa1t\x90" + plain


CHUNK = b"\x81\xa5chunk\xa2id"
objects = st.one_of(
    st.sampled_from(
        [b"\xa2c1", b"\xd9\x01t", b"\xc4\x01t", b"\xc0", TIME, b"\xd2\x65\x53\xf1\x00", RECORD, CHUNK, b"\x80"]
    ),
    st.sampled_from(
        [b"\xc1", b"\x91" * 2000 + b"\x01", b"\xda\x50\x00" + b"t" * 0x5000, b"\xdf", b"\x81\xa5chunk\xc0"]
    ),
    st.sampled_from([b"\x82\xa5chunk\xa1a\xa5chunk\xa1b", b"\x81\xa4size\x05", b"\xa2\xff\xfe", b"\xd9\xfft"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(objects, min_size=3, max_size=5), st.sampled_from([b"", b"\x94", b"\xc0"]))
def test_what_arrives_whole_is_judged_like_what_arrives_byte_by_byte(parts: list[bytes], behind: bytes) -> None:
    """A message of four elements has a short cut when it arrives whole; it leads to the same place."""
    stream = b"\x94" + b"".join(parts) + behind

    assert decode_pieces([stream]) == decode_pieces(bytes([byte]) for byte in stream)


def test_message_mode_of_docker_without_ack() -> None:
    """Worked example A: kept whole, nothing to acknowledge, one record claimed."""
    stream = b"\x94\xa2c1\xd2\x65\x53\xf1\x00" + RECORD + b"\x80"

    message = one(stream)

    assert Decoded("forward-message", stream, claimed=1) == message


def test_message_mode_of_docker_with_ack() -> None:
    """Worked example B: the reply is byte for byte the sheet's."""
    identifier = b"APFTZQAAAACId2ZVRDMiEQ=="
    stream = b"\x94\xa2c1" + TIME + RECORD + b"\x81\xa5chunk\xb8" + identifier

    message = one(stream)

    assert Decoded("forward-message", stream, b"", identifier, b"\x81\xa3ack\xb8" + identifier, 1) == message


def test_forward_mode_of_fluent_bit() -> None:
    """Worked example C: a map32 of options with the chunk first; the payload is the bare entries."""
    entry = b"\x92\x92" + TIME + b"\x80\x81\xa3log\xa2hi"
    options = b"\xdf\x00\x00\x00\x03\xa5chunk\xb8wjuG8UNGMPQTCSrJs/JvPA==\xa4size\x01\xadfluent_signal\x00"

    message = one(b"\x93\xa3app\x91" + entry + options)

    chunk = b"wjuG8UNGMPQTCSrJs/JvPA=="
    assert Decoded("forward", entry, b"app", chunk, b"\x81\xa3ack\xb8" + chunk, 1) == message


def test_packed_forward_of_fluentd() -> None:
    """Worked example D: binary in a str32, `compressed: text`, a chunk id that ends in a newline."""
    chunk = b"AAECAwQFBgcICQoLDA0ODw==\n"
    stream = b"\x93\xa3app\xdb\x00\x00\x00\x26" + ENTRY * 2
    stream += b"\x83\xa4size\x02\xaacompressed\xa4text\xa5chunk\xb9" + chunk

    message = one(stream)

    assert Decoded("forward", ENTRY * 2, b"app", chunk, b"\x81\xa3ack\xb9" + chunk, 2) == message


def test_compressed_packed_forward_of_two_members() -> None:
    """Worked example E: both gzip members are inflated, 38 bytes."""
    packed = gzip.compress(ENTRY) + gzip.compress(ENTRY)
    stream = b"\x93\xa3app" + msgpack.packb(packed) + b"\x82\xa4size\x02\xaacompressed\xa4gzip"

    message = one(stream)

    assert Decoded("forward", ENTRY * 2, b"app", claimed=2) == message


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_real_streams_hold_forty_records(path: Path) -> None:
    """Each recording of a real Fluent Bit gives its forty records, however it is cut."""
    stream = path.read_bytes()

    whole = decode_pieces([stream])

    entries = msgpack.Unpacker(raw=True, strict_map_key=False)
    entries.feed(b"".join(message.payload for message in whole[0]))
    assert sum(1 for _ in entries) == 40
    assert {"forward"} == {message.encoding for message in whole[0]}
    assert path.stem.startswith(("ack", "kubernetes", "fluentd")) == all(message.ack for message in whole[0])
    assert whole == decode_pieces(bytes([byte]) for byte in stream)
    for cut in range(0, len(stream), 97):
        assert whole == decode_pieces([stream[:cut], stream[cut:]])


@pytest.mark.timeout(600)  # of a loaded machine: it goes through every byte
def test_every_mode_cut_anywhere_gives_the_same_messages() -> None:
    """Whole, byte by byte, and cut at every offset: the same messages."""
    stream = mixed_stream()

    whole = decode_pieces([stream])

    assert (whole[1], len(whole[0])) == ("", 8)
    assert whole == decode_pieces(bytes([byte]) for byte in stream)
    for cut in range(len(stream)):
        assert whole == decode_pieces([stream[:cut], stream[cut:]])


@pytest.mark.parametrize("options", [b"", b"\xc0", b"\x80", b"\xde\x00\x00", b"\xdf\x00\x00\x00\x00"])
@pytest.mark.parametrize("body", [b"\x91" + ENTRY, b"\xdc\x00\x01" + ENTRY, msgpack.packb(ENTRY)])
def test_absent_nil_and_empty_options_are_the_same(options: bytes, body: bytes) -> None:
    """Options may be missing, nil, or an empty map of any width."""
    message = one((b"\x93" if options else b"\x92") + b"\xa1t" + body + options)

    assert (message.tag, message.payload, message.ack) == (b"t", ENTRY, b"")


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("first", [0xD9, 0xC4])
def test_payloads_of_every_size_class(first: int, width: int) -> None:
    """A payload may be a str or bin with a length of 8, 16 or 32 bits; a tag any str; the array 16 or 32 bits."""
    head = bytes([first + {1: 0, 2: 1, 4: 2}[width]]) + len(ENTRY).to_bytes(width, "big")
    for outer in (b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"):
        for tag in (b"\xa1t", b"\xd9\x01t", b"\xda\x00\x01t", b"\xdb\x00\x00\x00\x01t"):
            stream = outer + tag + head + ENTRY

            assert Decoded("forward", ENTRY, b"t") == one(stream)
            assert [one(stream)] == decode_pieces(bytes([byte]) for byte in stream)[0]


@pytest.mark.parametrize(
    "stamp",
    ["00", "d26553f100", "ce6553f100", "cf000000006553f100", "d3000000006553f100", "ff", "c0", "c70800" + "00" * 8],
)
def test_times_of_message_mode(stamp: str) -> None:
    """Integers of every width and sign, EventTime as ext8, nil: element 1 is a time; the worker judges it."""
    stream = b"\x93\xa1t" + bytes.fromhex(stamp) + b"\x80"

    assert Decoded("forward-message", stream, claimed=1) == one(stream)


def test_a_record_of_the_wrong_type_is_the_workers_business() -> None:
    """Message mode with a record that is no map, or with none, is a good frame."""
    for stream in (b"\x93\xa1t\x00\xa1x", b"\x92\xa1t\x00", b"\x94\xa1t\xcb" + bytes(8) + b"\x01\x80"):
        assert Decoded("forward-message", stream, claimed=1) == one(stream)


def test_broken_entries_are_not_looked_at() -> None:
    """A packed payload of garbage is a good frame."""
    assert Decoded("forward", b"\xc1\xc1", b"t") == one(b"\x92\xa1t\xc4\x02\xc1\xc1")


@pytest.mark.parametrize("compressed", ["brotli", "GZIP", "", 7])
def test_unknown_compression_is_a_broken_payload(compressed: object) -> None:
    """The message is kept as it came, under its own encoding, and acknowledged."""
    options = msgpack.packb({"compressed": compressed, "chunk": "c"})

    message = one(b"\x93\xa1t\xc4\x03abc" + options)

    assert Decoded("forward-broken", b"abc", b"t", b"c", b"\x81\xa3ack\xa1c") == message


@pytest.mark.parametrize("signal", [1, 2, 3, 99])
def test_payloads_that_are_no_logs_are_set_aside(signal: int) -> None:
    """Metrics and traces are kept under an encoding of their own and acknowledged, packed or as an array."""
    options = msgpack.packb({"fluent_signal": signal, "chunk": "c"})
    for body in (b"\xc4\x01\x80", b"\x91\x80"):
        message = one(b"\x93\xa1t" + body + options)

        assert (message.encoding, message.payload, message.ack) == ("forward-metrics", b"\x80", b"\x81\xa3ack\xa1c")


def test_compression_is_ignored_where_nothing_is_packed() -> None:
    """Forward and Message mode are never inflated."""
    options = msgpack.packb({"compressed": "gzip"})

    assert one(b"\x93\xa1t\x91" + ENTRY + options).encoding == "forward"
    assert one(b"\x94\xa1t\x00\x80" + options).encoding == "forward-message"


@pytest.mark.parametrize(
    ("options", "claimed"),
    [({"size": 7}, 7), ({"size": -1}, 2), ({"size": True}, 2), ({"size": 2**63}, 2), ({"size": "7"}, 2), ({}, 2)],
)
def test_size_is_only_a_claim(options: dict[str, object], claimed: int) -> None:
    """A size of the wrong type or beyond reason claims nothing; then Forward mode's own count stands."""
    message = one(b"\x93\xa1t\x92" + ENTRY * 2 + msgpack.packb(options))

    assert claimed == message.claimed


def test_a_chunk_id_that_is_no_string_asks_for_nothing() -> None:
    """Only a str chunk is acknowledged."""
    for chunk in (b"bin", 7, None, ["x"]):
        assert one(b"\x93\xa1t\x90" + msgpack.packb({"chunk": chunk})).ack == b""


def test_a_chunk_id_is_echoed_byte_for_byte() -> None:
    """Invalid UTF-8, an empty id and long ones come back as they are."""
    for identifier in (b"", b"\xff\xfe\x80", b"x" * 31, b"x" * 32, b"x" * 255, b"x" * 256):
        encoded = msgpack.Packer(use_bin_type=False).pack(identifier)
        message = one(b"\x93\xa1t\x90\x81\xa5chunk" + encoded)

        assert (identifier, b"\x81\xa3ack") == (message.chunk_id, message.ack[:5])
        assert identifier == msgpack.unpackb(message.ack, raw=True)[b"ack"]


def test_the_longest_chunk_id() -> None:
    """An acknowledgement of 511 bytes is sent; a chunk id that needs more is refused."""
    room = CHUNK_ID_LIMIT_BYTES
    head = b"\x93\xa1t\x90\x81\xa5chunk"

    assert len(one(head + msgpack.packb("x" * room)).ack) == 511
    assert code_of(head + msgpack.packb("x" * (room + 1))) == "chunk_id"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"{", "json"),
        (b'["tag"', "json"),
        (b"\x16\x03\x01", "tls"),
        (b"\x01", "not_an_array"),
        (b"\x80", "not_an_array"),
        (b"\xa1x", "not_an_array"),
        (b"\xc1", "not_an_array"),
        (b"\x90", "elements"),
        (b"\x91\xa1t", "elements"),
        (b"\x95\xa1t", "elements"),
        (b"\xdd\xff\xff\xff\xff", "elements"),
        (b"\x92\x01", "tag"),
        (b"\x92\xc4\x01t", "tag"),
        (b"\x92\xc0", "tag"),
        (b"\x92\x90", "tag"),
        (b"\x92\xdb\x7f\xff\xff\xff", "tag"),
        (b"\x92\xa1t\x80", "mode"),
        (b"\x92\xa1t\xdf", "mode"),
        (b"\x92\xa1t\xc3", "mode"),
        (b"\x92\xa1t\xc1", "mode"),
        (b"\x92\xa1t\xc6\xff\xff\xff\xff", "too_long"),
        (b"\x92\xa1t\xdb\x7f\xff\xff\xff", "too_long"),
        (b"\x92\xa1t\xdd\xff\xff\xff\xff", "too_long"),
        (b"\x92\xa1t\x91\xc1", "not_msgpack"),
        (b"\x94\xa1t\x00\x81\xa1x\xc1", "not_msgpack"),
        (b"\x93\xa1t\x90\x90", "options"),
        (b"\x93\xa1t\x90\x07", "options"),
        (b"\x94\xa1t\x00\x80\xa1x", "options"),
        (b"\x93\xa1t\xa0\xc3", "options"),
        (b"\x93\xa1t\xa0\x81\xa1x" + b"\x91" * 5000 + b"\xc0", "options"),
    ],
)
def test_broken_framing(stream: bytes, code: str) -> None:
    """Each kind of broken framing has its code, and does not cost the messages before it."""
    good = b"\x92\xa1t\x91" + ENTRY

    assert code == code_of(stream)
    assert code == decode_pieces(bytes([byte]) for byte in stream)[1]
    if code not in ("json", "tls"):
        assert ([Decoded("forward", ENTRY, b"t", claimed=1)], code) == decode_pieces(
            [good + stream], limit_bytes=1 << 20
        )


def test_the_place_of_broken_framing_is_told() -> None:
    """The error has the offset of the broken message in the connection, and nothing of its bytes."""
    good = b"\xc0\x92\xa1t\x91" + ENTRY
    decoder = ForwardDecoder(Blocks(), limit_bytes=MESSAGE_LIMIT_BYTES)
    stream = good + b"\x92\x07secret"
    decoder.writable()[: len(stream)] = stream

    with pytest.raises(BrokenStream) as caught:
        decoder.received(len(stream))

    assert len(good) == caught.value.offset
    assert str(caught.value) == "the tag is not a string (message at byte 24 of the connection)"


@pytest.mark.parametrize("mode", MODES)
def test_the_message_limit(mode: Mode) -> None:
    """A message of exactly the limit passes, one byte more breaks the connection, cut anywhere or not."""
    stream = encode_message(range(1), Options(mode=mode, line_bytes=2000)).encoded
    limit = max(len(stream), 3000)
    long = encode_message(range(1), Options(mode=mode, line_bytes=9000)).encoded

    assert code_of(stream, limit_bytes=limit) == ""
    if mode not in ("gzip", "zstd"):
        assert code_of(stream, limit_bytes=len(stream)) == ""
        assert code_of(stream, limit_bytes=len(stream) - 1) == "too_long"
        assert decode_pieces((bytes([byte]) for byte in long), limit_bytes=3000)[1] == "too_long"
    else:
        assert [m.encoding for m in decode_pieces([long], limit_bytes=3000)[0]] == ["forward-broken"]


def test_a_long_tag_is_refused_before_it_arrives() -> None:
    """A tag beyond its limit is refused by its head."""
    assert code_of(b"\x93\xdb" + (TAG_LIMIT_BYTES + 1).to_bytes(4, "big")) == "tag"


def test_endless_options_are_refused() -> None:
    """Options have a limit of their own, in whatever pieces they come."""
    options = b"\x81\xa1x\xc6\x00\x80\x00\x00" + bytes(0x800000)

    assert decode_pieces([b"\x93\xa1t\xa0", options], limit_bytes=1 << 26)[1] == "options"


def test_a_nesting_bomb_in_an_entry_is_delimited() -> None:
    """However deep a record nests, the frame is good; deciding about it is the worker's business."""
    bomb = b"\x92\x00\x81\xa1x" + b"\x91" * 50_000 + b"\xc0"
    behind = b"\x92\xa1t\x91" + ENTRY
    stream = b"\x92\xa1t\x92" + ENTRY + bomb + b"\x94\xa1t\x00" + bomb[2:] + b"\x80" + behind

    whole = decode_pieces([stream])

    assert whole[1] == ""
    assert [ENTRY + bomb, b"\x94\xa1t\x00" + bomb[2:] + b"\x80", ENTRY] == [m.payload for m in whole[0]]
    assert whole == decode_pieces(stream[at : at + 999] for at in range(0, len(stream), 999))


def test_a_record_of_a_hundred_thousand_keys() -> None:
    """Many keys cost nothing but their bytes; among options they are read over."""
    keys = {f"k{number}": number for number in range(100_000)}
    stream = msgpack.packb(["t", [[1, keys]], {"chunk": "c"}])
    options: dict[object, object] = {**dict.fromkeys(range(10_000), 0), "chunk": "c"}

    assert one(stream).chunk_id == b"c"
    assert one(msgpack.packb(["t", [], options])).chunk_id == b"c"


def test_options_with_keys_that_no_dict_takes() -> None:
    """Arrays, maps, nil and floats as keys are read over; of equal keys the last counts."""
    options = b"\x86\x91\x01\x01\x81\x01\x01\x01\xc0\x01\xcb" + bytes(8) + b"\x01\xa5chunk\xa1a\xa5chunk\xa1b"

    assert one(b"\x93\xa1t\x90" + options).chunk_id == b"b"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_random_bytes_only_ever_break_the_framing(stream: bytes, piece: int) -> None:
    """Any bytes give messages or a WireError, the same for every cut, and hold no more memory than a block."""
    blocks = Blocks()

    whole = decode_pieces([stream], blocks=blocks, limit_bytes=4096)

    assert whole == decode_pieces((stream[at : at + piece] for at in range(0, len(stream), piece)), limit_bytes=4096)
    assert blocks.receiving_bytes == 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_real_streams_only_ever_break_the_framing(data: st.DataObject) -> None:
    """A real stream with bytes changed, cut out or put in does no more harm, and every cut agrees."""
    stream = bytearray(data.draw(st.sampled_from([*(path.read_bytes() for path in GOLDEN), mixed_stream()])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        stream = stream or bytearray(b"\xc0")
    piece = data.draw(st.integers(1, 4000))

    whole = decode_pieces([bytes(stream)], limit_bytes=1 << 16)

    pieces = (bytes(stream[at : at + piece]) for at in range(0, len(stream), piece))
    assert whole == decode_pieces(pieces, limit_bytes=1 << 16)


def seconds_in_pieces(entries: int, piece: int) -> float:
    """Return the best time of three for decoding one Forward-mode message in pieces."""
    stream = b"\x93\xa1t\xdd" + struct.pack(">I", entries) + (b"\x92" + TIME + RECORD) * entries + b"\x80"
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        messages, _ = decode_pieces(stream[at : at + piece] for at in range(0, len(stream), piece))
        times.append(time.perf_counter() - begun)
        assert entries == messages[0].claimed
    return min(times)


def test_a_trickling_message_costs_linear_time() -> None:
    """Eight times the bytes in pieces of 64 cost about eight times as much, not sixty-four."""
    assert seconds_in_pieces(16_000, 64) < 24 * seconds_in_pieces(2_000, 64)


def receive(decoder: ForwardDecoder, stream: bytes) -> list[tuple[ForwardMessage, bytes | memoryview]]:
    """Feed a stream and return views of the payloads, still held."""
    payloads: list[tuple[ForwardMessage, bytes | memoryview]] = []
    view = memoryview(stream)
    while view:
        room = decoder.writable()
        count = min(len(room), len(view))
        room[:count], view = view[:count], view[count:]
        payloads += [(message, message.payload[0]) for message in decoder.received(count)]
    return payloads


def test_a_payload_stays_as_it_is_until_released() -> None:
    """What is read later never lands in memory that a message still holds."""
    blocks = Blocks()
    decoder = ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES)
    bodies = [bytes([number]) * 700_000 for number in range(8)]
    stream = b"".join(b"\x92\xa1t" + msgpack.packb(body) for body in bodies)

    held = receive(decoder, stream)

    assert bodies == [bytes(payload) for _, payload in held]


def test_a_large_payload_is_not_copied_and_its_block_is_used_again() -> None:
    """A message that fills its block is handed on in it; released, the block serves the next reader."""
    blocks = Blocks()
    decoder = ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES)
    block = decoder._block = blocks.take()

    held = receive(decoder, b"\x92\xa1t" + msgpack.packb(bytes(800_000)))
    message, payload = held[0]

    assert isinstance(payload, memoryview)
    assert (block, block.view.obj) == (message.block, payload.obj)
    assert blocks.receiving_bytes == 0
    message.release()
    assert block is blocks.take()


def test_a_small_payload_holds_no_block() -> None:
    """A few bytes are copied, so that many small messages in flight do not hold a MiB each."""
    message, payload = receive(ForwardDecoder(Blocks(), limit_bytes=MESSAGE_LIMIT_BYTES), b"\x92\xa1t\xa1x")[0]

    assert (None, bytes) == (message.block, type(payload))


def test_an_idle_connection_holds_no_memory() -> None:
    """Between messages a decoder holds no block."""
    blocks = Blocks()
    decoder = ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES)

    receive(decoder, b"\x92\xa1t\xa1x")

    assert (decoder.unfinished_bytes, blocks.receiving_bytes) == (0, 0)


def test_a_lying_length_takes_no_memory() -> None:
    """A payload declared as 60 MiB of which three bytes come costs one block; of which more comes, four times that."""
    blocks = Blocks()
    decoder = ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES)

    receive(decoder, b"\x92\xa1t\xc6\x03\xc0\x00\x00abc")

    assert blocks.receiving_bytes == BLOCK_BYTES
    receive(decoder, bytes(BLOCK_BYTES))
    assert blocks.receiving_bytes == 4 * BLOCK_BYTES


def test_many_unfinished_messages_take_little_memory_each() -> None:
    """With many connections in the middle of a message, each holds what it has and not a block."""
    blocks = Blocks()
    decoders = [ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES) for _ in range(1000)]

    for decoder in decoders:
        receive(decoder, b"\x92\xa1t\xc6\x00\x01\x00\x00" + b"x" * 3000)

    assert blocks.receiving_bytes < 80 * BLOCK_BYTES


def test_unfinished_messages_share_a_limit() -> None:
    """Who needs memory beyond the limit of all connections is disconnected, the others go on."""
    blocks = Blocks(receive_limit_bytes=8 << 20)
    hog, small = (
        ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES),
        ForwardDecoder(blocks, limit_bytes=MESSAGE_LIMIT_BYTES),
    )

    with pytest.raises(BrokenStream, match="take too much memory") as caught:
        receive(hog, b"\x92\xa1t\xc6\x03\x00\x00\x00" + bytes(20 << 20))

    assert caught.value.code == "memory"
    assert blocks.receiving_bytes == 0
    assert len(receive(small, b"\x92\xa1t\xa1x")) == 1
