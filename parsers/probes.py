"""Commands that watch over containers: started in them again and again by a machine, not by a person.

Which the Engine starts as a container's own health check, the Engine says; others the operator lists. They are told by
the whole command, argument by argument, and only where the Engine says that nobody could type to it.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final

import msgspec
from msgspec import Meta

ANY_REST: Final = "**"
"""As the last of a rule's arguments: whatever else there is."""


class ProbeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that is a probe in the containers whose image and name match."""

    command: Annotated[
        list[str],
        Meta(
            description="Globs, one for each argument, the program first; a last `**` stands for any further ones.",
            min_length=1,
        ),
    ]

    image: Annotated[
        str, Meta(description="Glob of the image's name as `container.image.name` has it: with its registry, no tag.")
    ] = "*"

    name: Annotated[str, Meta(description="Glob of the container's name, `container.name`.")] = "*"

    def fits(self, words: Sequence[str], image: str, name: str) -> bool:
        """Tell whether a command in a container of this image and name is this probe."""
        globs = self.command
        if globs[-1] == ANY_REST:
            globs, words = globs[:-1], words[: len(globs) - 1]
        return (
            len(globs) == len(words)
            and fnmatchcase(image, self.image)
            and fnmatchcase(name, self.name)
            and all(map(fnmatchcase, words, globs))
        )
