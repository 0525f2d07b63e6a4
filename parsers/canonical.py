"""The one canonical JSON encoding of every document: both paths and every splice go through here.

Key order is the order of insertion; escapes are minimal (RFC 8259 section 7: quotation mark, backslash, controls);
no white space; never a raw newline. Text that is not valid Unicode cannot be encoded: `clean_text` comes first.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

encode_text: Final = msgspec.json.Encoder().encode
"""Encodes one text as `encode` would (see `encode_texts`)."""


def encode(value: Any) -> bytes:
    """Encode dicts with text keys, lists, text, 64-bit integers, finite floats, booleans and None."""
    return orjson.dumps(value)


def encode_texts(texts: Sequence[str]) -> list[bytes]:
    """Encode many texts, each as `encode` would.

    msgspec writes the very same form of a text (`tests/unit/parsers/test_canonical.py` holds it to that) and makes the
    single values without going through one large one: 0.15 us per line of the bench's corpus, against 0.25.
    """
    return list(map(encode_text, texts))


def clean_text(text: str) -> tuple[str, bool]:
    """Return the text with every byte that was not UTF-8 as U+FFFD, and whether any was.

    `text` was decoded with the error handler `surrogateescape`, so undecodable bytes are lone surrogates.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), True
    return text, False
