"""The rule set that holds, as the journal carries it: what rules say decides alerts, so it is a frame (P10).

Whoever watches rule files compiles them and appends the set as a message of encoding `rules`, where it is not the one
that held last. It holds from the next frame on, for every output and every replay, until another does; an empty one
ends detection. The state keeps the bytes, which stand in every checkpoint, and they are decoded once.

    [1, "5d1f…", <zstd of MessagePack: [limits, [rule, …]]>]

Only rules that can match are carried. `5d1f…` is the hash of what is compressed: a set that says the same is no news.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec
import zstandard

from pipelines.detect.expression import And, Expression, Named, Not, Or
from pipelines.detect.rule import Rule, RuleSet
from pipelines.sections import Section

ENCODING: Final = "rules"

VERSION: Final = 1
"""Of the message. One of a higher version is a dead letter, and the set before it holds on."""

RULES_BYTES_LIMIT: Final = 8 << 20
"""Of a message, compressed: it stands in every checkpoint. All that SigmaHQ publishes takes 1.1 MB."""

CONTENT_BYTES_LIMIT: Final = 64 << 20
"""Of what that is decompressed to."""

DEPTH_LIMIT: Final = 100
"""Levels of a rule's condition, which is evaluated by recursion; the deepest published one has 8."""

LEVEL: Final = 6
"""Of zstd: 0.25 s for all that SigmaHQ publishes, once for each change."""

CONTENTS_KEPT: Final = 2
"""Sets that are kept decoded: that which holds, and the next one."""

_KEY: Final = ("",)


class AlertLimits(msgspec.Struct, frozen=True):
    """How many alerts a rule raises: for each group `burst` at once, then one each `every_s` seconds of journal time.

    A group is a rule, a container or else a host, and a user. A rule raises `rule_burst` at once for all its groups
    together, and gets those back within a minute. What is more is suppressed, and told with the next alert.
    """

    burst: int = 10
    every_s: float = 60.0
    rule_burst: int = 600


class _Content(msgspec.Struct, frozen=True, array_like=True):
    limits: AlertLimits
    rules: tuple[Rule, ...]


class _Message(msgspec.Struct, frozen=True, array_like=True):
    version: int
    hash: str
    content: bytes = b""


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A rule set as it stands in the journal: the hash of its content, and that compressed."""

    hash: str
    payload: bytes

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, all of which can match."""
        return _content_of(self).rules

    @property
    def limits(self) -> AlertLimits:
        """How many alerts they raise."""
        return _content_of(self).limits


RuleSets = Section[Carried]
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Message).decode
_decode_content = msgspec.msgpack.Decoder(_Content).decode


def new_rule_sets() -> RuleSets:
    """Return a state's section of the rule set that holds; empty before a journal's first one."""
    limit_bytes = RULES_BYTES_LIMIT + 1024
    return Section(Carried, limit=1, limit_bytes=limit_bytes, cost=lambda carried: len(carried.payload))


def encode_rules(rule_set: RuleSet, limits: AlertLimits | None = None) -> bytes:
    """Return the message by which a rule set begins to hold; equal sets give equal bytes.

    Raise ValueError for one that is too large, or has a rule whose condition is too deep.
    """
    rules = tuple(msgspec.structs.replace(rule, remarks=()) for rule in rule_set.rules if rule.never is None)
    _check_depth(rules)
    content = _encode(_Content(limits or AlertLimits(), rules))
    if len(content) > CONTENT_BYTES_LIMIT:
        raise ValueError(f"the rules take {len(content)} bytes, and {CONTENT_BYTES_LIMIT} go")
    compressed = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(content)
    message = _encode(_Message(VERSION, sha256(content).hexdigest(), compressed))
    if len(message) > RULES_BYTES_LIMIT:
        raise ValueError(f"the rules take {len(message)} bytes compressed, and {RULES_BYTES_LIMIT} go")
    return message


def take_message(payload: memoryview, rule_sets: RuleSets) -> None:
    """Take what a message of this encoding says; raise ValueError, msgspec.DecodeError among them, for no such.

    RecursionError as well, for content that is nested beyond all rules.
    """
    if len(payload) > RULES_BYTES_LIMIT:
        raise ValueError(f"a rule set of {len(payload)} bytes is over the limit of {RULES_BYTES_LIMIT}")
    message = _decode(payload)
    if message.version != VERSION:
        raise ValueError(f"a rule set of version {message.version}, and this program's is {VERSION}")
    carried = Carried(message.hash, message.content)
    held = rules_in(rule_sets)
    if held is not None and held.hash == carried.hash:
        return
    _content_of(carried)
    rule_sets.put(_KEY, carried)


def rules_in(rule_sets: RuleSets) -> Carried | None:
    """Return the rule set that holds; None where the journal has said nothing yet."""
    return rule_sets.get(_KEY)


@lru_cache(CONTENTS_KEPT)
def _content_of(carried: Carried) -> _Content:
    """Decompress and decode; raise ValueError where the bytes are not those that the hash is of."""
    try:
        size = zstandard.frame_content_size(carried.payload)
        if not 0 <= size <= CONTENT_BYTES_LIMIT:
            raise ValueError(f"a rule set of {size} bytes is over the limit of {CONTENT_BYTES_LIMIT}")
        encoded = zstandard.ZstdDecompressor().decompress(carried.payload, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"a rule set that cannot be decompressed: {error}") from error
    if sha256(encoded).hexdigest() != carried.hash:
        raise ValueError("a rule set that is not what its hash says")
    content = _decode_content(encoded)
    _check_depth(content.rules)
    return content


def _check_depth(rules: Iterable[Rule]) -> None:
    for rule in rules:
        waiting: list[tuple[Expression, int]] = [(variant.expression, 1) for variant in rule.variants]
        while waiting:
            item, depth = waiting.pop()
            if depth > DEPTH_LIMIT:
                raise ValueError(f"the condition of the rule {rule.title!r} has more than {DEPTH_LIMIT} levels")
            waiting.extend((each, depth + 1) for each in _below(item))


def _below(item: Expression) -> Iterator[Expression]:
    if isinstance(item, And | Or):
        yield from item.items
    elif isinstance(item, Not | Named):
        yield item.item
