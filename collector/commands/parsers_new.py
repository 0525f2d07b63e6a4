"""`tidewaiter parsers new`: the skeleton of a parser, with the samples that its tests go by."""

import re
from pathlib import Path
from typing import Final

import click

from parsers.format import formats

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
NO_PARSERS_NAME: Final = "none"

MODULE: Final = '''\
r"""NAME: what writes it, and what its lines are.

    NAME 2026-11-29T02:00:00.123Z warn 192.0.2.7: cart is slow

What becomes of which part, and what is not read. Source: where its form is described.
"""

from parsers.format import Format
from parsers.table import Table
from parsers.times import iso
from parsers.values import NOTHING, address, level, text

LINE = Table(
    dataset="NAME.log",
    pattern=r"NAME (?P<time>\\d{4}-\\S{10,30}) (?P<level>[a-z]{4,8}) (?P<client>[\\da-fA-F.:]{2,45}|-): (?P<text>.+)",
    time=iso("time"),
    constants={"event.category": ["process"], "event.type": ["info"]},
    message=text("text"),
    fields={
        "log.level": level("level"),
        "source.address": text("client", absent=NOTHING),
        "source.ip": address("client"),
    },
)


def _sniff(line: str) -> bool:
    return line.startswith("NAME ")


FORMAT = Format(title="NAME", tables=(LINE,), sniff=_sniff, images=("NAME",))
'''

SAMPLES: Final = """\
NAME 2026-11-29T02:00:00.123Z warn 192.0.2.7: cart is slow
NAME 2026-11-29T02:00:01Z info 2001:db8::7: cart saved
NAME 2026-11-29T02:00:02Z error -: nobody asked
NAME 2026-11-29T02:00:03Z info 192.0.2.7: a "quoted" name
NAME 2026-11-29T02:00:04Z info 192.0.2.7: : colons : in it:
NAME 2026-11-29T02:00:05+01:00 debug 192.0.2.7: an hour before
NAME 2026-02-30T02:00:06Z info 192.0.2.7: a day that no calendar has
NAME says something else, and stays plain
"""

NEXT: Final = """\
Next: put real lines (without real names and addresses) into the samples, odd ones too, eight at least; mend the table.
What a table says: parsers/table.py; what values there are: parsers/values.py; times: parsers/times.py.
  tidewaiter parsers try {name} < {samples}
  pytest tests/unit/parsers/test_formats.py -k {name}
    names all that is wrong of the table: fields, types, categories, groups, patterns that are not linear
  pytest tests/golden/test_formats.py -k {name} --golden=write, then read what was written beside the samples
  pytest tests/golden tests/unit/parsers tests/property/test_formats_agree.py
  make docs"""


@click.command(name="new", short_help="Begin a parser, in a checkout of the source.")
@click.argument("name")
@click.option(
    "--checkout",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Folder of the source; else this folder.",
)
def new(*, name: str, checkout: Path) -> None:
    """Write a parser NAME that works, and samples of its lines, to begin with.

    The name is what labels and rules will say. Writes `parsers/formats/NAME.py` and
    `tests/golden/formats/NAME/NAME.log`; exit code 2, and nothing written, where that is no checkout or the name is
    taken.
    """
    if not NAME.fullmatch(name) or name == NO_PARSERS_NAME:
        raise click.UsageError("a parser's name is 1 to 40 of a-z, 0-9 and _, beginning with a letter; not `none`")
    module = checkout / "parsers" / "formats" / f"{name}.py"
    samples = checkout / "tests" / "golden" / "formats" / name / f"{name}.log"
    for folder in (module.parent, samples.parent.parent):
        if not folder.is_dir():
            raise click.UsageError(f"there is no {folder}: name a checkout of Tidewaiter's source by --checkout")
    if name in formats() or module.exists() or samples.parent.exists():
        raise click.UsageError(f"there is a parser {name!r} already")
    samples.parent.mkdir()
    samples.write_text(SAMPLES.replace("NAME", name), encoding="utf-8")
    module.write_text(MODULE.replace("NAME", name), encoding="utf-8")
    click.echo(f"{module}\n{samples}\n\n{NEXT.format(name=name, samples=samples)}")
