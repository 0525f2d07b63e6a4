"""What a line of each format costs on both paths, from its text to encoded parts of its document.

The lines are the golden ones, those that the format takes, again and again with other numbers; they come as a stream of
that format brings them, 2,000 at once. The plain path goes line by line.
"""

import random
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rich.table import Table

from parsers.columns import parse_lines
from parsers.format import Format, formats
from parsers.slabs import Slab, several
from parsers.table import Payload

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "formats"
LINES: Final = 2000
PASSES: Final = 5
NOW_S: Final = 1795953600
NUMBER: Final = re.compile(r"(?<![\d.:,-])\d{4,}(?![\d.:,-])")
ASKED: Final = 2.0
"""So many times cheaper the chunk path is to be."""


def format_costs() -> dict[str, float]:
    """Microseconds per line of each format on both paths, lowest of some passes."""
    found: dict[str, float] = {}
    for name, fmt in formats().items():
        lines = lines_of(name, fmt)
        found[f"{name}_plain_us"] = _lowest_us(partial(_plain, fmt, lines))
        found[f"{name}_chunk_us"] = _lowest_us(partial(_by_chunk, name, lines))
    return found


def lines_of(name: str, fmt: Format) -> list[str]:
    """Make LINES lines of a format."""
    dice = random.Random(name)
    golden = [line for file in sorted((GOLDEN / name).glob("*.log")) for line in file.read_text().splitlines()]
    taken = [line for line in golden if fmt.parse(Payload(line), NOW_S) is not None]
    made: list[str] = []
    while len(made) < LINES:
        line = dice.choice(taken)
        other = NUMBER.sub(lambda found: str(dice.randrange(10 ** (len(found[0]) - 1), 10 ** len(found[0]))), line)
        made.append(other if fmt.parse(Payload(other), NOW_S) is not None else line)
    return made


def formats_table(figures: dict[str, float]) -> Table:
    """The costs, dearest chunk path first."""
    table = Table(title="A line of each format, µs: plain path, chunk path")
    for heading in ("format", "plain", "chunk", "times"):
        table.add_column(heading, justify="left" if heading == "format" else "right")
    names = [name.removesuffix("_chunk_us") for name in figures if name.endswith("_chunk_us")]
    for name in sorted(names, key=lambda name: -figures[f"{name}_chunk_us"]):
        plain, chunk = figures[f"{name}_plain_us"], figures[f"{name}_chunk_us"]
        style = "" if plain / chunk >= ASKED else "bold"
        table.add_row(name, f"{plain:.1f}", f"{chunk:.1f}", f"{plain / chunk:.1f}", style=style)
    return table


def _plain(fmt: Format, lines: Sequence[str]) -> None:
    parsed = [fmt.parse(Payload(line), NOW_S) for line in lines]
    _finish(several("", {at: each for at, each in enumerate(parsed) if each is not None}))


def _by_chunk(name: str, lines: Sequence[str]) -> None:
    objects = [at for at, line in enumerate(lines) if line.startswith("{")]
    others = [at for at, line in enumerate(lines) if not line.startswith("{")]
    for places, are_objects in ((objects, True), (others, False)):
        if places:
            made, _ = parse_lines(name, lines, places, NOW_S, objects=are_objects)
            _finish(made)


def _finish(made: Sequence[Slab]) -> None:
    for slab in made:
        for part in (slab.event, slab.fields, slab.related, slab.rest):
            part.rows(len(slab.places))


def _lowest_us(work: Callable[[], None]) -> float:
    times = []
    work()
    for _ in range(PASSES):
        began = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - began)
    return min(times) / 1000 / LINES
