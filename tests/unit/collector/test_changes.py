"""What differs between two configurations, in words that an operator can compare with the file."""

import pytest

from collector.changes import changes, configuration_hash, unchangeable
from collector.config_file import Loaded, parse

FILE = """\
name: collector
data_dir: /data
inputs: {docker: {type: forward, listen: "127.0.0.1:24224"}}
outputs: {store: {type: local}}
"""
BEFORE = parse(FILE, "a file")


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (FILE, []),
        (FILE + "namespace: prod\n", ["namespace changed"]),
        (FILE.replace("docker:", "other:"), ["inputs.docker removed", "inputs.other added"]),
        (FILE.replace("local", "local, retention: 7d, limit: 1GiB"), ["outputs.store changed (retention, limit)"]),
        (FILE.replace("forward,", "http,"), ["inputs.docker changed (type)"]),
        (FILE.replace("local", "elasticsearch, urls: ['https://es.example']"), ["outputs.store changed (type)"]),
    ],
)
def test_each_change_is_told_with_its_place(after: str, told: list[str]) -> None:
    """Named sections by their names, with the options that differ; nothing of what stayed."""
    assert told == changes(BEFORE, parse(after, "a file"))


def test_the_order_of_tables_is_a_change() -> None:
    """What is said first of a field holds, so it decides documents."""
    tables = (
        "a: {file: /a.csv, match: container.name, add: {x: tags}}",
        "b: {file: /b.csv, match: host.name, add: {x: tags}}",
    )
    one, other = (parse(f"{FILE}lookups: {{{', '.join(each)}}}", "a file") for each in (tables, tables[::-1]))

    assert ["lookups changed in their order"] == changes(one, other)
    assert configuration_hash(one) != configuration_hash(other)


def test_a_hash_names_what_a_configuration_says() -> None:
    """However it is written; another one has another."""
    written_otherwise = FILE.replace("{type: local}", "{type: local, retention: 720h}") + "# a comment\n"

    assert configuration_hash(BEFORE) == configuration_hash(parse(written_otherwise, "a file"))
    assert configuration_hash(BEFORE) != configuration_hash(parse(FILE + "namespace: prod\n", "a file"))
    assert 32 == len(configuration_hash(BEFORE))


def test_what_cannot_change_is_told_with_its_reason() -> None:
    """Both at once."""
    after = parse(FILE.replace("name: collector", "name: other").replace("/data", "/elsewhere"), "a file")

    assert ["data_dir", "name"] == [problem.path for problem in unchangeable(BEFORE, Loaded(after, "a file", []))]
    assert [] == unchangeable(BEFORE, Loaded(BEFORE, "a file", []))
