"""Whether a stream's lines are put together: asked of its container once, until something else is known of that.

Nothing of a state: it says what asking anew would say. The operator's rules are asked as well, so it begins anew where
other settings hold. To ask takes 25 us a line, and each line of a flood may begin a trace.
"""

from typing import Final

from pipelines.enrich.metadata import Metadata
from pipelines.sections import Key

KEPT: Final = 4096
"""So many streams are remembered, and then none."""

KEY_CHARACTERS: Final = 1024
"""A stream of a longer key is asked each time."""


class Wanted:
    """Answers by stream, each with the entries of the table that it depends on, as they were."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[bool, tuple[tuple[Key, object], ...]]] = {}

    def get(self, stream: Key, metadata: Metadata) -> bool | None:
        """Return the answer, None where there is none, or where something changed that it depends on."""
        answer, entries = self._kept.get(stream, (None, ()))
        return answer if all(metadata.entry(key) is entry for key, entry in entries) else None

    def put(self, stream: Key, keys: tuple[Key, ...], metadata: Metadata, *, answer: bool) -> None:
        """Remember an answer, which depends on these entries."""
        if len(self._kept) >= KEPT:
            self._kept.clear()
        if sum(map(len, stream)) <= KEY_CHARACTERS:
            self._kept[stream] = answer, tuple((key, metadata.entry(key)) for key in keys)
