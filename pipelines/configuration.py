"""From where in the journal which configuration holds: it decides every byte of a document, so it is a frame (P10).

The intake appends it as a message of encoding `configuration` before anything else comes, where it is not the one that
held last, and at each reload. It holds from the next frame on, for every output and for every replay, however far
behind: a frame becomes the same documents whoever reads it, and whenever.

    {"hash": "5d1f…", "settings": {"namespace": "default", …}}

`hash` is that of the whole configuration; `settings` are what documents are made under (`pipelines.settings`), which
hold no secret. The program's own version is none of them.
"""

from typing import Final

import msgspec

from pipelines.sections import Section
from pipelines.settings import Settings

ENCODING: Final = "configuration"

SETTINGS_BYTES_LIMIT: Final = 4 << 20
"""Of a message: it stands in every checkpoint."""

_KEY: Final = ("",)


class Recorded(msgspec.Struct, frozen=True, array_like=True):
    """The configuration that holds: the hash of the whole, and the settings as they stand in the journal."""

    hash: str
    settings: bytes


class _Message(msgspec.Struct, frozen=True):
    hash: str
    settings: msgspec.Raw


Configurations = Section[Recorded]
_decode = msgspec.json.Decoder(_Message).decode
_decode_settings = msgspec.json.Decoder(Settings).decode


def new_configurations() -> Configurations:
    """Return a state's section of the configuration that holds; empty before a journal's first one."""
    limit_bytes = SETTINGS_BYTES_LIMIT + 1024
    return Section(Recorded, limit=1, limit_bytes=limit_bytes, cost=lambda recorded: len(recorded.settings))


def encode_settings(settings: Settings) -> bytes:
    """Return settings as the journal holds them; equal settings give equal bytes."""
    return msgspec.json.encode(msgspec.structs.replace(settings, version=""))


def configuration_message(configuration_hash: str, settings: bytes) -> bytes:
    """Return the message by which a configuration begins to hold; raise ValueError for one that is too large."""
    message = msgspec.json.encode(_Message(configuration_hash, msgspec.Raw(settings)))
    if len(message) > SETTINGS_BYTES_LIMIT:
        raise ValueError(f"what documents are made under takes {len(message)} bytes, and {SETTINGS_BYTES_LIMIT} go")
    return message


def take_message(payload: memoryview, configurations: Configurations) -> None:
    """Take what a message of this encoding says; raise ValueError, msgspec.DecodeError among them, for no such."""
    if len(payload) > SETTINGS_BYTES_LIMIT:
        raise ValueError(f"a configuration of {len(payload)} bytes is over the limit of {SETTINGS_BYTES_LIMIT}")
    message = _decode(payload)
    settings = bytes(message.settings)
    _decode_settings(settings)
    configurations.put(_KEY, Recorded(message.hash, settings))


def recorded_in(configurations: Configurations) -> Recorded | None:
    """Return the configuration that holds; None where the journal has said nothing yet."""
    return configurations.get(_KEY)


def settings_of(recorded: Recorded, *, version: str) -> Settings:
    """Return the settings that documents are made under, by this program; raise msgspec.DecodeError."""
    return msgspec.structs.replace(_decode_settings(recorded.settings), version=version)
