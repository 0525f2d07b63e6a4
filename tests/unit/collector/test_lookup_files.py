"""Files of lookups: taken whole, or refused with the line that is wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config import LookupConfig
from collector.lookup_files import LookupFileError, read_table
from pipelines.enrich.lookups import TABLE_BYTES_LIMIT, new_tables, take_message

CSV = "service,team,site\nshop,payments,berlin\n till , retail ,\n\n"
YAML = "shop: {team: payments, site: berlin}\ntill:\n  team: retail\n  site:\n"


def table(path: Path, text: str | bytes, *, networks: bool = False, column: str = "team") -> dict[str, object]:
    """Return what is appended of a file with this content."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    options = LookupConfig(str(path), "container.name", {column: "labels.team"}, networks)
    return dict(json.loads(read_table("teams", options)))


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.txt", CSV), ("a.yaml", YAML), ("a.YML", YAML)])
def test_both_forms_of_a_file_are_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    """Spaces around cells are none of theirs; an empty cell stays empty."""
    assert table(tmp_path / name, text) == {
        "kind": "table",
        "name": "teams",
        "columns": ["team", "site"],
        "rows": {"shop": ["payments", "berlin"], "till": ["retail", ""]},
    }


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    """With a byte order mark, Windows line ends and quoted cells."""
    found = table(tmp_path / "a.csv", '\ufeffservice,team\r\n"shop, till","a ""b"""\r\n')

    assert found["rows"] == {"shop, till": ['a "b"']}


def test_values_of_yaml_are_texts_as_they_are_written(tmp_path: Path) -> None:
    """No number, date or switch is made of them."""
    assert table(tmp_path / "a.yaml", "007: {team: 010}\non: {team: 2026-11-29}\n")["rows"] == {
        "007": ["010"],
        "on": ["2026-11-29"],
    }


def test_networks_have_one_form_and_their_lengths_are_told(tmp_path: Path) -> None:
    """The longest first; an address is a network of one."""
    found = table(tmp_path / "a.csv", "net,team\n192.0.2.0/24,a\n2001:DB8::/32,b\n192.0.2.7,c\n", networks=True)

    assert found["rows"] == {"192.0.2.0/24": ["a"], "2001:db8::/32": ["b"], "192.0.2.7/32": ["c"]}
    assert found["prefixes"] == [32, 24]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "", "a.csv: is empty"),
        ("a.csv", "service\nshop\n", "a.csv, line 1: names its columns"),
        ("a.csv", "service,team,team\n", "line 1: names its columns"),
        ("a.csv", "service,\n", "line 1: names its columns"),
        ("a.csv", "service,taem\n", "line 1: unknown column 'team'; did you mean taem?"),
        ("a.csv", "service,team\nshop\n", "line 2: has 1 cells, and there are 2 columns"),
        ("a.csv", "service,team\nshop,a\n\n,b\n", "line 4: the key is empty"),
        ("a.csv", "service,team\nshop,a\nshop,b\n", "line 3: shop stands there already, on line 2"),
        ("a.csv", 'service,team\nshop,"a\n', "is no CSV"),
        ("a.csv", 'service,team\nshop,"a\nb"\n', "line 3: a cell holds a control character"),
        ("a.csv", b"service,team\nshop,\xff\n", "line 2: is not UTF-8 text"),
        ("a.csv", f"service,team\nshop,{'x' * 1025}\n", "line 2: a cell has more than 1024 characters"),
        ("a.csv", "service,team\n" + "x" * TABLE_BYTES_LIMIT, "is larger than 1 MiB"),
        ("a.csv", "service,team\n" + "".join(f"{n},{chr(92) * 20}\n" for n in range(38_000)), "holds more than 1 MiB"),
        ("a.yaml", "", "line 1: must be a mapping"),
        ("a.yaml", "- shop\n", "line 1: must be a mapping"),
        ("a.yaml", "shop: {team: a}\ntill: b\n", "line 2: a key and its columns must stand there"),
        ("a.yaml", "shop:\n  team: [a]\n", "line 2: a column holds one text"),
        ("a.yaml", "shop: {team: a, team: b}\n", "line 1: shop has a column twice"),
        ("a.yaml", "shop: {team: a}\nshop: {team: b}\n", "line 2: shop stands there already, on line 1"),
        ("a.yaml", "shop: {team: a\n", "is no YAML"),
        ("a.yaml", "shop: \x01\n", "is no YAML"),
        ("a.yaml", "[" * 5000, "is no YAML"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_says_where(tmp_path: Path, name: str, text: str | bytes, problem: str) -> None:
    """File, line and what is wrong."""
    with pytest.raises(LookupFileError) as caught:
        table(tmp_path / name, text)

    assert problem in str(caught.value)


@pytest.mark.parametrize("key", ["shop", "192.0.2.1/24", "192.0.2.0/33", ""])
def test_a_key_that_is_no_network_says_where(tmp_path: Path, key: str) -> None:
    """Bits behind the prefix are a mistake, too."""
    with pytest.raises(LookupFileError, match="line 2"):
        table(tmp_path / "a.csv", f"net,team\n{key},a\n", networks=True)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """There is none."""
    with pytest.raises(LookupFileError, match="cannot be read: No such file"):
        read_table("teams", LookupConfig(str(tmp_path / "none.csv"), "container.name", {"a": "labels.a"}))


@given(
    st.one_of(st.text(alphabet="a,:{}[]&*\"'\n\t -\\\x00\ufeff#|>%@!é", max_size=60), st.binary(max_size=40)),
    st.booleans(),
)
def test_whatever_stands_in_a_file_is_a_table_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes, networks: bool
) -> None:
    """And what is taken the pipeline takes as well."""
    folder = tmp_path_factory.mktemp("lookup")
    for name in ("a.csv", "a.yaml"):
        try:
            table(folder / name, text, networks=networks, column="a")
        except LookupFileError:
            continue
        options = LookupConfig(str(folder / name), "container.name", {"a": "labels.team"}, networks)
        tables = new_tables()
        take_message(memoryview(read_table("teams", options)), tables)
        assert len(tables) == 1
