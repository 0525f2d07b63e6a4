"""Options of rules: which Sigma files run, and the lists that they name."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

COMPONENT: Final = "rules"
"""What the health of a worker calls them."""


class RulesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sigma rules that run on every document."""

    paths: Annotated[
        list[str],
        Meta(
            description="Files of rules, and folders that are read with all below them: `*.yml` and `*.yaml`, but not "
            "`*.test.yml`, nor what is hidden. Looked at once a second; what changed holds from then on."
        ),
    ] = []

    pack: Annotated[bool, Meta(description="Run the rules that come with Tidewaiter as well.")] = True

    placeholders: Annotated[
        dict[str, str],
        Meta(
            description="Files of values, one a line, by the name that rules have for them: `%NAME%` with the "
            "modifier `expand`."
        ),
    ] = {}

    @property
    def wanted(self) -> bool:
        """Whether any rules are to run."""
        return self.pack or bool(self.paths)
