"""Generated and hostile lines through all parsers on both paths, as many as are asked for.

    python -m tests.bench.hostile [--lines 1000000] [--seed 1]

Lines are samples of all formats and traces, whole or altered: cut, doubled, with other bytes in between, one behind the
other, and lines of one piece repeated up to 64 KiB. Each frame must give the same batches and states on both paths, as
many documents as the books say, each valid ECS, of the container that wrote it and of kind `event`: so nothing a line
holds became a document, an identity or an alert. An exception or a difference ends it with the frame's seed.

First it tells how long the worst lines of 64 KiB take under each format's reference path, in process time, the best of
three.
"""

import argparse
import itertools
import random
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgpack
from rich.console import Console

from parsers.format import Format, formats
from parsers.table import Payload
from pipelines.parse import ParserRule
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.hostile_lines import BREAKOUTS, HOSTILE_LINES
from tests.kit.paths import Paths
from tests.kit.pieces import at_time

TESTS: Final = Path(__file__).parents[1]
FRAME_LINES: Final = 500
SECOND_S: Final = 1_795_953_600
LINE_BYTES: Final = 64 << 10
LONG_ONE_OF: Final = 2_000
"""One of so many lines is one of up to LINE_BYTES."""

TOLD_EVERY: Final = 100_000

PIECES: Final = (
    *('"', "\\", "{", "[", "(", "a", "a.", "=", "a=b ", " ", "\t", "1", "9", ":", "::", ",", "-", "'", "<", "%"),
    *('\\"', '{"a":', "[[", 'a="b" ', "192.0.2.1 ", "- ", "T00:00:00Z ", "Error: ", "msg=audit(1.1:1): "),
    *("\x1b[", "\u2028", "é"),
)
"""What lines of one piece repeat."""

OWN_SAMPLES: Final = 8
"""So many of a format's samples are made long."""

CONTAINERS: Final = 24
"""Containers that write, two outputs each; every other one asks for a parser."""


def samples() -> list[str]:
    """Return the lines of all samples, and those that mean harm."""
    paths = sorted([*TESTS.glob("golden/formats/*/*.log"), *TESTS.glob("golden/traces/*.log")])
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [*lines, *HOSTILE_LINES, *BREAKOUTS]


def altered(line: str, lines: Sequence[str], chance: random.Random) -> str:
    """Return a line as nobody writes it."""
    for _ in range(chance.randint(1, 3)):
        start, end = sorted(chance.randint(0, len(line)) for _ in range(2))
        repeated = chance.choice(PIECES) * chance.randint(1, 40)
        odd = (chance.choice(BREAKOUTS), chr(chance.randint(0, 0x2FFF)), chance.choice(lines))
        between = chance.choice(["", line[start:end] * 2, repeated, *odd])
        line = (line[:start] + between + line[end:])[:LINE_BYTES]
    return line


def lines_of(lines: Sequence[str], chance: random.Random) -> Iterator[str]:
    """Yield lines without end."""
    while True:
        if chance.randrange(LONG_ONE_OF) == 0:
            yield long_line(chance.choice(lines), chance.choice(PIECES), ends=chance.random() < 0.5)
        else:
            line = chance.choice(lines)
            yield line if chance.random() < 0.4 else altered(line, lines, chance)


def long_line(line: str, piece: str, *, ends: bool) -> str:
    """Return a line of LINE_BYTES with one piece in its middle again and again; it `ends` as it did, or not."""
    middle = len(line) // 2
    end = line[middle:] if ends else ""
    repeated = piece * ((LINE_BYTES - middle - len(end)) // len(piece))
    return (line[:middle] + repeated + end)[:LINE_BYTES]


def packed(number: int, line: str) -> bytes:
    """Return a record of one of the containers."""
    names = list(formats())
    record = {"container_id": f"{number:064x}", "container_name": f"/web-{number}", "log": line}
    record["source"] = "stderr" if len(line) % 2 else "stdout"
    if number % 2:
        record["tidewaiter.parser"] = names[number * 7 % len(names)]
    entry: bytes = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", SECOND_S, len(line) % 1000)), record])
    return entry


def flood(count: int, seed: int, console: Console) -> None:
    """Let lines go through both paths, and hold these against each other."""
    settings = Settings(version="0.1.0", parsers=(ParserRule("postgresql", name="web-4"),))
    paths = Paths(settings, Schema(TESTS / "data"))
    lines = samples()
    sent = documents = 0
    while sent < count:
        chance = random.Random(f"{seed}/{sent}")
        source = lines_of(lines, chance)
        entries = [packed(chance.randrange(CONTAINERS), next(source)) for _ in range(FRAME_LINES)]
        frame = frame_of(("forward", [(b"".join(entries), b"", len(entries))]), sequence=sent)
        try:
            for document in paths.check(at_time(frame, SECOND_S * 1_000_000_000 + sent * 1_000_000)):
                documents += 1
                number = int(document["container"]["id"], 16)
                assert document["container"]["name"] == f"web-{number}"
                assert document["event"]["kind"] == "event"
                assert document["tidewaiter"]["origin"]["peer"] == "192.0.2.7"
        except BaseException:
            console.print(f"seed {seed}/{sent}")
            raise
        sent += len(entries)
        if sent % TOLD_EVERY == 0:
            console.print(f"{sent} lines")
    console.print(f"{sent} lines, {documents} documents, {paths.waiting} lines wait; no exception, no difference")


def worst_lines(console: Console) -> float:
    """Tell how long the worst of long lines take, by format; return the longest time in milliseconds."""
    longest = 0.0
    for name, each in formats().items():
        own = [line for line in samples() if each.parse(Payload(line), SECOND_S, asked=True) is not None]
        worst, which = 0.0, ""
        for line in ["", *own[:: max(len(own) // OWN_SAMPLES, 1)]]:
            for piece, ends in itertools.product(PIECES, (False, True)):
                text = long_line(line, piece, ends=ends)
                if _taken_ms(each, text) > worst and (taken := min(_taken_ms(each, text) for _ in range(3))) > worst:
                    worst, which = taken, text[:40] + " … " + piece
        longest = max(longest, worst)
        console.print(f"{name:20} {worst:8.2f} ms  {which!r}", markup=False, highlight=False, soft_wrap=True)
    return longest


def _taken_ms(each: Format, line: str) -> float:
    started = time.process_time_ns()
    each.parse(Payload(line), SECOND_S, asked=True)
    return (time.process_time_ns() - started) / 1_000_000


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000, help="how many lines go through both paths")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    console.print(f"worst line of all formats: {worst_lines(console):.2f} ms")
    flood(options.lines, options.seed, console)


if __name__ == "__main__":
    main()
