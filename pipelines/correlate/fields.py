"""What a match takes along of its document: the values of the fields that correlations group by or look at, as text."""

from hashlib import blake2b
from itertools import islice
from typing import Final

from pipelines.detect.predicate import View, spelled
from pipelines.detect.rule import Correlated

VALUES_LIMIT: Final = 16
"""Values of one field that count: a document with more brings its first ones."""
TEXT_LIMIT: Final = 256
"""Characters of a value; a longer one is known by its beginning and a hash of all of it."""
_HASH_BYTES: Final = 16


def fields_of(view: View, correlated: Correlated) -> dict[str, tuple[str, ...]]:
    """Return the values by field; a field is where the first path that has any says, and left out where none has."""
    found = {}
    for field, paths in correlated.fields:
        for path in paths:
            values = view.values(path)
            if values:
                found[field] = tuple(dict.fromkeys(_bounded(spelled(value)) for value in islice(values, VALUES_LIMIT)))
                break
    return found


def _bounded(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
    return f"{text[: TEXT_LIMIT - 2 * _HASH_BYTES]}{digest}"
