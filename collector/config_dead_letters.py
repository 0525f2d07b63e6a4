"""Options of dead letters: how much of them is kept, and where else they go."""

from typing import Annotated

import msgspec
from msgspec import Meta

from collector.config_values import SIZE

Size = Annotated[int, SIZE]


class DeadLettersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What could not be decoded or was refused for good."""

    limit: Annotated[
        Size,
        Meta(
            description="Largest size on disk of the letters of one output, or of the pipeline. When it is reached "
            "that output waits; nothing is deleted."
        ),
    ] = 1 << 30

    stream: Annotated[
        bool,
        Meta(
            description="Make a document of each letter as well, in the data stream "
            "logs-tidewaiter.dead_letters-NAMESPACE, for every output."
        ),
    ] = False
