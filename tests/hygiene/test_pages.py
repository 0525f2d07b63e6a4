"""Pages that are made from the code say what the code says now, and hand-written ones name what there is."""

import re
from pathlib import Path

from click import Context, Group

from collector.cli import cli
from parsers.describe import page
from parsers.format import formats
from pipelines import join
from pipelines.normalize import container, identity, parsed

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_page_of_formats_is_what_make_docs_makes() -> None:
    """Where this fails: `make docs`."""
    assert (DEPLOY / "formats.md").read_text(encoding="utf-8") == page(), "deploy/formats.md is old: make docs"


def test_the_page_of_formats_has_a_section_for_each() -> None:
    """In alphabetical order."""
    text = (DEPLOY / "formats.md").read_text(encoding="utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == sorted(formats())


def test_the_page_of_parsers_explains_each_tag() -> None:
    """A tag that documents can have from a line has a row."""
    modules = (container, identity, join, parsed)
    tags = {
        value
        for module in modules
        for value in vars(module).values()
        if re.fullmatch(r"(?:_[a-z0-9]+){2,}", str(value))
    }
    rows = set(re.findall(r"^\| `(_\w+)` \|", (DEPLOY / "parsers.md").read_text(encoding="utf-8"), re.MULTILINE))

    assert tags
    assert tags == rows


def test_the_page_of_parsers_shows_commands_that_exist() -> None:
    """Each command of the group is in it."""
    text = (DEPLOY / "parsers.md").read_text(encoding="utf-8")
    group = cli.get_command(Context(cli), "parsers")

    assert isinstance(group, Group)
    assert [name for name in group.commands if f"parsers {name}" not in text] == []
