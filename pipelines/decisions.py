"""Messages that decide what documents and alerts are made, from their place in the journal on (P10)."""

from typing import Final

from pipelines import configuration
from pipelines.detect import carried
from pipelines.enrich import lookups
from pipelines.state import State

CODES: Final = {
    configuration.ENCODING: "bad_configuration",
    lookups.ENCODING: "bad_lookup",
    carried.ENCODING: "bad_rules",
}
"""By encoding the code of the letter that one becomes which says nothing."""


def take(encoding: str, payload: memoryview, state: State) -> None:
    """Take what a message of one of these encodings says; raise ValueError or RecursionError for no such."""
    if encoding == configuration.ENCODING:
        configuration.take_message(payload, state.configurations)
    elif encoding == lookups.ENCODING:
        lookups.take_message(payload, state.lookups)
    else:
        carried.take_message(payload, state.rules)
