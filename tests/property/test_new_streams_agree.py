"""Streams that nothing is known of yet: both paths choose their parsers by the same lines, and keep the same choices.

The chunk path looks at all lines of a message together before it knows which of them count.
"""

import random
import struct
from pathlib import Path
from typing import Final

import msgpack
import pytest

from pipelines import reference
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

SETTINGS = Settings(version="0.1.0")
GOLDEN: Final = Path(__file__).parents[1] / "golden" / "formats"
SAMPLES: Final = {
    folder.name: [line for file in sorted(folder.glob("*.log")) for line in file.read_text("utf-8").split("\n")[:-1]]
    for folder in sorted(GOLDEN.iterdir())
}
SECOND: Final = 1_795_953_600
"""The samples' day."""

FRAMES: Final = 3


def frames_of(dice: random.Random) -> list[Frame]:
    """Make frames of streams that write lines of some formats each, with plain lines between."""
    streams = [f"{dice.getrandbits(256):064x}" for _ in range(dice.choice([1, 3, 12]))]
    written = [dice.sample(sorted(SAMPLES), dice.choice([1, 2, 4, 9])) for _ in streams]
    made = []
    for sequence in range(FRAMES):
        entries = []
        for number in range(dice.choice([1, 3, 20, 150])):
            stream = dice.randrange(len(streams))
            line = dice.choice(SAMPLES[dice.choice(written[stream])]) if dice.random() < 0.9 else f"plain {number}"
            time = msgpack.ExtType(0, struct.pack(">II", SECOND + sequence, number))
            record = {"container_id": streams[stream], "container_name": "/app", "source": "stdout", "log": line}
            entries.append(msgpack.packb([time, record]))
        made.append(frame_of(("forward", [(b"".join(entries), b"app", len(entries))]), sequence=sequence))
    return made


@pytest.mark.parametrize("seed", range(24))
def test_streams_that_nothing_is_known_of_get_the_same_choices_on_both_paths(seed: int) -> None:
    """Equal batches and equal states after each frame, in whatever order a stream's formats are met."""
    path, by_chunk, plain = ChunkPath(SETTINGS), State(), State()

    for frame in frames_of(random.Random(seed)):
        assert list(path.process(frame, by_chunk)) == list(reference.process(frame, SETTINGS, plain))
        assert by_chunk.encode() == plain.encode()
