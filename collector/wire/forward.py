"""The Fluent Forward protocol (v1 with the v1.5 additions) without I/O: bytes in, messages out.

Operations: `writable()` gives memory to read into, `received(count)` returns the messages that became whole.

Goals: constant Python work and no copy for a PackedForward message whatever its size; linear time for every message
however it is cut; no more memory than the message limit and twice what has arrived. Entries are not decoded here:
one that is malformed is the worker's business, only what delimits messages is checked.

Plan: array head, tag and the head of element 1 are read by hand and tell the mode. A packed payload is jumped over;
entries, records and options are walked by `element_walk`. Runs of Message-mode objects without options, which Docker
sends one per line, are walked in one loop.
"""

import re
from typing import Final

import msgspec

from collector.wire.blocks import BLOCK_BYTES, Block, Blocks, PeerBlocks
from collector.wire.element_walk import ElementWalk
from collector.wire.errors import WireError
from collector.wire.forward_heads import (
    FORWARD,
    IMPOSSIBLE,
    MESSAGE,
    MODES,
    OPTIONS_LIMIT_BYTES,
    PACKED,
    TAG_LIMIT_BYTES,
    array_head,
    raw_head,
    run_of_messages,
    whole_message,
)
from collector.wire.forward_message import ForwardMessage
from collector.wire.forward_options import (
    CHUNK_ID_LIMIT_BYTES,
    NO_OPTIONS,
    Options,
    acknowledgement,
    decode_options,
)

HANDOVER_SHARE: Final = 4
"""A block is handed on when messages fill at least this part of it (one in four); less is copied, so that a few bytes
never hold much memory."""

SLACK_BYTES: Final = 4 << 10
"""Room for head and options behind a payload of known length."""

MESSAGES_AT_ONCE: Final = 32
"""How many messages one call returns: what follows costs the journal and the acknowledgement as well."""

READ_LIMIT_BYTES: Final = 256 << 10
"""What is read at once at most, so that walking over it takes a few milliseconds at worst."""

_OUT_OF_MEMORY: Final = "memory", "unfinished messages take too much memory, of this peer or of all"
_heartbeats: Final = re.compile(rb"\xc0+")


class BrokenStream(WireError):
    """The framing broke; `messages` are those that were whole before, received like any other."""

    def __init__(self, code: str, reason: str, messages: list[ForwardMessage], offset: int) -> None:
        self.messages = messages
        super().__init__(code, reason, offset)


class _Open(msgspec.Struct):
    """A message whose head has been read. Offsets count from its first byte; `elements` is the array's length."""

    mode: int
    elements: int
    tag_at: int
    tag_end: int
    body_at: int
    body_end: int
    walk: ElementWalk


class _Found(msgspec.Struct):
    """A whole message in the block: where it begins and ends, where its payload does, and what its options say."""

    begin: int
    end: int
    payload_at: int
    payload_end: int
    encoding: str
    tag: bytes
    claimed: int
    options: Options
    compressed: str = ""


class ForwardDecoder:
    """Decodes one connection, whose messages have at most `limit_bytes`.

    `behind` says that there is more to do with what has arrived: call `received(0)`, once others have been served. Not
    to be used after it raised, or after `close()`.
    """

    def __init__(self, blocks: Blocks | PeerBlocks, *, limit_bytes: int) -> None:
        self._blocks = blocks
        self._limit = limit_bytes
        self._block: Block | None = None
        self._begin = 0
        self._end = 0
        self._passed = 0
        self._open: _Open | None = None
        self._lent = False
        self.behind = False

    @property
    def unfinished_bytes(self) -> int:
        """How much of a message has arrived that is not whole yet."""
        return self._end - self._begin

    def writable(self) -> memoryview:
        """Return memory to read into, never empty; valid until the next call of any method, of any decoder."""
        free = self._block.view[self._end :] if self._block is not None else self._blocks.offered()
        return free[:READ_LIMIT_BYTES]

    def received(self, count: int) -> list[ForwardMessage]:
        """Take note of `count` bytes written into `writable()`; return the messages that became whole, in order.

        The work per call is bounded: see `behind`. Raises BrokenStream when the bytes behind the messages cannot be
        delimited.
        """
        if self._block is None and count:
            self._block = self._blocks.take()  # no sooner: many connections only hear that there is no more
        if self._block is None:
            return []
        self._end += count
        alone = self._alone(self._block)
        if alone is not None:
            return [alone]
        found: list[_Found] = []
        # What broke it is kept as text: an error kept would keep this frame, the frame the error, and both a block of
        # memory, until some later garbage collection.
        broken: tuple[str, str] | None = None
        try:
            self._find(self._block.view, found)
        except WireError as error:
            broken = error.code, error.reason
        messages = self._handed_on(found)
        if broken is None:
            try:
                self._make_room()
            except WireError as error:
                broken = error.code, error.reason
        if broken is not None:
            offset = self._passed
            self.close()
            raise BrokenStream(*broken, messages, offset)
        stopped = len(found) == MESSAGES_AT_ONCE or (self._open is not None and self._open.walk.behind)
        self.behind = stopped and self._begin < self._end
        return messages

    def _alone(self, block: Block) -> ForwardMessage | None:
        """Return the message that is all there is, if it is one of those that senders wait with; else None."""
        size = self._end
        if self._begin or self._open is not None or size * HANDOVER_SHARE >= len(block.view) or size > self._limit:
            return None
        window = block.view[:size]
        chunk_id = whole_message(window)
        if chunk_id is None or len(chunk_id) > CHUNK_ID_LIMIT_BYTES:
            return None
        payload = (bytes(window),)
        self._passed += size
        self._begin = size
        self._move(None)
        return ForwardMessage("forward-message", payload, b"", chunk_id, acknowledgement(chunk_id), 1, size)

    def close(self) -> None:
        """Give the memory back. What is unfinished is gone; messages that were returned keep theirs."""
        if self._block is not None:
            self._blocks.received(self._block)
            self._block.release()
            self._block = None
        self._begin = self._end = 0
        self._open = None
        self.behind = False

    def _find(self, view: memoryview, found: list[_Found]) -> None:
        while self._begin < self._end and len(found) < MESSAGES_AT_ONCE:
            window = view[self._begin : self._end]
            if self._open is None and window[0] == 0xC0:
                beats = _heartbeats.match(window)
                self._pass(beats.end() if beats else 1)
                continue
            message = self._next(window)
            if message is None:
                if len(window) > self._limit:
                    raise WireError("too_long", f"a message of more than {self._limit} bytes")
                return
            self._open = None
            self._pass(message.end - message.begin)
            if message.encoding == "forward-message" and not message.options.ack:
                message.claimed += self._run(view, message)
                if found and _joins(found[-1], message):
                    found[-1].end = found[-1].payload_end = message.end
                    found[-1].claimed += message.claimed
                    continue
            found.append(message)

    def _next(self, window: memoryview) -> _Found | None:
        """Return the message that `window` begins with; None while it is not whole."""
        if self._open is None:
            self._open = self._opened(window)
        if self._open is None or not self._walked(self._open, window):
            return None
        return self._finished(self._open, window)

    def _pass(self, count: int) -> None:
        self._begin += count
        self._passed += count

    def _opened(self, window: memoryview) -> _Open | None:
        """Read the head of a message up to the head of element 1; None while it is incomplete."""
        size = len(window)
        elements, at = self._outer(window)
        if not at or at >= size:
            return None
        tag = raw_head(window, at)
        if tag is None or window[at] in (0xC4, 0xC5, 0xC6):
            raise WireError("tag", "the tag is not a string")
        tag_at, tag_end = tag
        if tag_end - tag_at > TAG_LIMIT_BYTES:
            raise WireError("tag", f"a tag of more than {TAG_LIMIT_BYTES} bytes")
        if not tag_at or tag_end >= size:
            return None
        mode = MODES[window[tag_end]]
        if mode == IMPOSSIBLE:
            raise WireError("mode", "element 1 is neither time nor entries")
        if mode == MESSAGE:
            return _Open(mode, elements, tag_at, tag_end, tag_end, 0, ElementWalk(tag_end, elements - 1))
        if mode == FORWARD:
            entries = array_head(window, tag_end)
            if entries is None:
                return None
            count, body_at = entries
            if count > self._limit:
                raise WireError("too_long", f"a message of more than {self._limit} bytes")
            return _Open(mode, elements, tag_at, tag_end, body_at, count, ElementWalk(tag_end, elements - 1))
        payload = raw_head(window, tag_end)
        if payload is None or not payload[0]:
            return None
        body_at, body_end = payload
        if body_end > self._limit:
            raise WireError("too_long", f"a message of more than {self._limit} bytes")
        return _Open(mode, elements, tag_at, tag_end, body_at, body_end, ElementWalk(body_end, elements - 2))

    def _outer(self, window: memoryview) -> tuple[int, int]:
        """Return the number of elements and the offset of the first; offset 0 while the head is incomplete."""
        first = window[0]
        if not (0x90 <= first <= 0x9F or first in (0xDC, 0xDD)):
            raise self._not_an_array(first)
        head = array_head(window, 0)
        if head is None:
            return 0, 0
        if not 2 <= head[0] <= 4:
            raise WireError("elements", "a message has two to four elements")
        return head

    def _not_an_array(self, first: int) -> WireError:
        if not self._passed and first in b"{[":
            return WireError("json", "the sender speaks JSON; only MessagePack is supported")
        if not self._passed and first == 0x16:
            return WireError("tls", "the sender speaks TLS; this input does not")
        return WireError("not_an_array", "a message is an array")

    def _walked(self, opened: _Open, window: memoryview) -> bool:
        """Return whether the whole message is there."""
        if opened.mode == PACKED and len(window) < opened.body_end:
            return False
        whole = opened.walk.advance(window)
        options_at = _options_at(opened)
        if options_at:
            end = opened.walk.ends[-1] if whole else len(window)
            if end - options_at > OPTIONS_LIMIT_BYTES:
                raise WireError("options", f"options of more than {OPTIONS_LIMIT_BYTES} bytes")
        return whole

    def _finished(self, opened: _Open, window: memoryview) -> _Found:
        ends = opened.walk.ends
        end = ends[-1] if ends else opened.body_end
        if end > self._limit:
            raise WireError("too_long", f"a message of more than {self._limit} bytes")
        options_at = _options_at(opened)
        options = decode_options(window[options_at : _options_end(opened)]) if options_at else NO_OPTIONS
        begin = self._begin
        if opened.mode == MESSAGE:
            return _Found(begin, begin + end, begin, begin + end, "forward-message", b"", 1, options)
        tag = bytes(window[opened.tag_at : opened.tag_end])
        encoding = "forward-metrics" if options.signal else "forward"
        claimed, payload_end = options.size, opened.body_end
        if opened.mode == FORWARD:
            claimed, payload_end = opened.body_end if claimed < 0 else claimed, ends[0]
        compressed = options.compressed if opened.mode == PACKED else ""
        payload_at, payload_end = begin + opened.body_at, begin + payload_end
        return _Found(begin, begin + end, payload_at, payload_end, encoding, tag, claimed, options, compressed)

    def _run(self, view: memoryview, message: _Found) -> int:
        """Extend `message` by the whole Message-mode objects without options behind it; return how many."""
        end, count = run_of_messages(view, self._begin, self._end, self._limit)
        message.end = message.payload_end = end
        self._pass(end - self._begin)
        return count

    def _handed_on(self, found: list[_Found]) -> list[ForwardMessage]:
        block = self._block
        if not found or block is None:
            return []
        held = sum(message.payload_end - message.payload_at for message in found) * HANDOVER_SHARE >= len(block.view)
        messages = []
        for message in found:
            payload: bytes | memoryview = block.view[message.payload_at : message.payload_end]
            options = message.options
            messages.append(
                ForwardMessage(
                    message.encoding,
                    (payload if held else bytes(payload),),
                    message.tag,
                    options.chunk_id,
                    options.ack,
                    message.claimed,
                    message.end - message.begin,
                    message.compressed,
                    block if held else None,
                )
            )
        if held:
            block.holders += len(found)
            self._lent = True
        return messages

    def _move(self, target: Block | None) -> None:
        """Move what is unfinished to `target` and let go of the block; None: nothing is unfinished."""
        block, unfinished = self._block, self._end - self._begin
        if block is None:
            return
        if target is not None:
            target.view[:unfinished] = block.view[self._begin : self._end]
        self._blocks.received(block)
        block.release()
        self._block, self._begin, self._end = target, 0, unfinished

    def _make_room(self) -> None:
        """See to it that `writable()` has room, and that many connections do not hold much memory for little."""
        block, unfinished = self._block, self._end - self._begin
        lent, self._lent = self._lent, False
        if block is None:
            return
        size = len(block.view)
        if not unfinished:
            self._move(None)
        elif lent:
            self._move(self._sized(max(BLOCK_BYTES, self._grown(unfinished))))
        elif self._begin and (size - self._end) * 2 < size:
            block.view[:unfinished] = block.view[self._begin : self._end]
            self._begin, self._end = 0, unfinished
        elif self._end == size:
            self._move(self._sized(self._grown(size)))
        elif size == BLOCK_BYTES and not self._blocks.generous:
            self._make_frugal(unfinished)

    def _make_frugal(self, unfinished: int) -> None:
        if unfinished * 2 <= BLOCK_BYTES:
            self._move(self._sized(2 * unfinished))
        elif self._blocks.exhausted:
            raise WireError(*_OUT_OF_MEMORY)

    def _grown(self, size: int) -> int:
        """Return the size to grow to from `size`: double it, or up to four times if the message is known to be long."""
        wanted = self._open.body_end + SLACK_BYTES if self._open and self._open.mode == PACKED else 0
        return min(max(2 * size, wanted), 4 * size, self._limit + SLACK_BYTES)

    def _sized(self, size_bytes: int) -> Block:
        block = self._blocks.take_sized(size_bytes)
        if block is None:
            raise WireError(*_OUT_OF_MEMORY)
        return block


def _joins(last: _Found, message: _Found) -> bool:
    return last.encoding == "forward-message" and not last.options.ack and last.end == message.begin


def _options_at(opened: _Open) -> int:
    """Return where the options element begins, 0 when there is none or that is not known yet."""
    ends = opened.walk.ends
    if opened.mode == PACKED:
        return opened.body_end if opened.elements > 2 else 0
    place = 1 if opened.mode == MESSAGE else 0
    return ends[place] if opened.elements > place + 2 and len(ends) > place else 0


def _options_end(opened: _Open) -> int:
    return opened.walk.ends[{PACKED: 0, FORWARD: 1, MESSAGE: 2}[opened.mode]]
