"""Shape of what nobody knows: values for one Elasticsearch `flattened` field, and labels for an object of keywords.

Elasticsearch refuses a whole document for a flattened field that is nested deeper than MAPPING_DEPTH_LIMIT, whose key
holds a NUL, or whose key path and value exceed a Lucene term (32,766 bytes). So those are bent here, visibly; nothing
is dropped. The template maps such fields with `depth_limit` MAPPING_DEPTH_LIMIT and `ignore_above` VALUE_LIMIT.
"""

import base64
import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from parsers.canonical import clean_text, encode

MAPPING_DEPTH_LIMIT: Final = 20
"""`depth_limit` of the flattened mapping, Elasticsearch's default."""

DEPTH_LIMIT: Final = 16
"""Objects and lists nested deeper than this are kept as JSON text; some room below the mapping's limit."""

KEY_LIMIT: Final = 512
"""Characters of one key; a longer one keeps its beginning and gets a hash of the whole."""

KEY_DIGEST_BYTES: Final = 8

VALUE_LIMIT: Final = 4096
"""`ignore_above` of the flattened mapping: longer text is stored but not indexed."""

JSON_DEPTH_LIMIT: Final = 200
"""What is nested deeper than this, counted from the root, is kept as a note of its kind only."""


def flattened(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `value` that a flattened field accepts."""
    return {key_text(key): bent(item, 1) for key, item in value.items()}


def key_text(key: object) -> str:
    """Make a usable key of any decoded MessagePack value."""
    text = key if isinstance(key, str) else str(_scalar(key))
    text = clean_text(text)[0].replace("\0", "\N{SYMBOL FOR NULL}")
    if len(text) > KEY_LIMIT:
        digest = blake2b(text.encode(), digest_size=KEY_DIGEST_BYTES).hexdigest()
        text = f"{text[: KEY_LIMIT - 1 - len(digest)]}~{digest}"
    return text


def plain(value: Any, depth: int = 0) -> Any:
    """Return `value` with only what JSON has: text keys, valid text, finite numbers."""
    if depth > JSON_DEPTH_LIMIT:
        return f"nested deeper than {JSON_DEPTH_LIMIT}"
    if isinstance(value, dict):
        return {key_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    return _scalar(value)


def text_of(value: Any) -> tuple[str, bool]:
    """Return any decoded value as text, and whether bytes of it were not UTF-8."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bytes):
        return clean_text(value.decode("utf-8", "surrogateescape"))
    return encode(plain(value)).decode(), False


def labels(value: Mapping[str, Any]) -> dict[str, str]:
    """Make labels dot-safe: `app` and `app.kubernetes.io/name` cannot both live under one object.

    Dots become underscores, as Elastic's agents do. Where two keys meet, the later in sorted order gets `_2`, `_3`, …;
    values become text; an empty key becomes `_`.
    """
    made: dict[str, str] = {}
    counts: dict[str, int] = {}
    for key in sorted(value, key=key_text):
        base = key_text(key).replace(".", "_").strip() or "_"
        # Each search begins where the last for this name ended: a sender can make any number of keys meet.
        name, count = base, counts.get(base, 1)
        while name in made:
            count += 1
            name = f"{base}_{count}"
        counts[base] = count
        made[name] = text_of(value[key])[0]
    return made


def bent(value: Any, depth: int) -> Any:
    """Return a copy of a value that a flattened field accepts, `depth` objects or lists below the field."""
    if isinstance(value, dict):
        if depth >= DEPTH_LIMIT:
            return encode(plain(value)).decode()
        return {key_text(key): bent(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        if depth >= DEPTH_LIMIT:
            return encode(plain(value)).decode()
        return [bent(item, depth + 1) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)[0]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"base64:{base64.b64encode(value).decode()}"
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
