"""What no file of the repository may hold, and what its papers must get right."""

import ipaddress
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BINARY = {".xz", ".bin", ".png", ".gz", ".zst"}
FROZEN = {"tests/bench/gen.py"}
"""Never changed, whatever it holds: the bench's corpus is made by it."""

REGISTRIES = ["py" + "pi.org", "pythonhost" + "ed", "crates" + ".io", "npmjs" + ".org", "repo1.ma" + "ven"]
REGISTRIES += ["maven" + ".org/maven2", "deb.deb" + "ian", "archive.ubu" + "ntu", "proxy.go" + "lang"]
"""In parts, so that this file does not name them either."""

MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:wo" + "rk|ho" + "me|ro" + "ot|Us" + r"ers)/(?!(?:alice|bob|carol)\b)\w")
"""But those of nobody: samples of what people do at hosts name their homes."""
OPEN_END = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|X" + r"XX)\b")
ADDRESS_4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
ADDRESS_6 = re.compile(  # no slices: things[6::8]
    r"(?<![\w:.])(?<![\w\])]\[)(?:[0-9a-fA-F]{1,4}:){1,7}(?::|[0-9a-fA-F]{1,4})(?::?[0-9a-fA-F]{1,4}){0,6}(?![\w:.])"
)
MAIL = re.compile(r"(?<![\\\w.+-])[\w.+-]+@([\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,})\b")
DOCUMENTATION = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "0.0.0.0/32", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
        "::/127", "2001:db8::/32", "fe80::/10",
    )
]  # fmt: skip
"""Loopback, any, one link's own, and the ranges that belong to nobody."""

CLOUDS_METADATA = {"169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"}
"""Where clouds answer their machines: the same for everybody, and what rules look for."""

WIDE_RANGES = {
    "tests/golden/search/": "searches by network need wider ones than documentation has, all its IPv4 ranges are /24",
    "tests/unit/collector/store/": "the same, against the store",
}
"""Where private and multicast addresses may stand as well, and why."""

SAME_EVERYWHERE = {"169.254." + "169.254", "169.254." + "170.2", "100.100." + "100.200", "fd00:ec2" + "::254"}
SAME_EVERYWHERE |= {"169.254." + "20.10"}
"""Where machines of clouds ask for their credentials, and where nodes of Kubernetes cache names: rules, and the page
that lists them, may name what they look for."""

LAID_OUT = {"tests/engines/elasticsearch-secured/start.sh": "lays out the product's own folders, one of them `home`"}
"""Files whose paths only look like a machine's, and why."""


def texts() -> dict[str, str]:
    """Every text file of the repository by its name, those not yet added included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = {name: ROOT / name for name in listed.stdout.splitlines() if name not in FROZEN}
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in paths.items()
        if path.is_file() and path.suffix not in BINARY
    }


TEXTS = texts()


def is_ours(name: str, address: str) -> bool:
    """Tell whether an address may stand in a file."""
    ip = ipaddress.ip_address(address)
    if address in SAME_EVERYWHERE and name.startswith(("pipelines/rules/", "deploy/rules-pack.md")):
        return True
    wide = any(name.startswith(folder) for folder in WIDE_RANGES) and (ip.is_private or ip.is_multicast)
    return wide or address in CLOUDS_METADATA or any(ip in network for network in DOCUMENTATION)


def addresses(text: str) -> Iterator[str]:
    """Whatever reads as an address."""
    for found in [*ADDRESS_4.findall(text), *ADDRESS_6.findall(text)]:
        try:
            yield str(ipaddress.ip_address(found))
        except ValueError:
            continue


def test_nothing_names_a_registry() -> None:
    """Where packages come from is the machine's matter."""
    assert [name for name, text in TEXTS.items() if any(word in text for word in REGISTRIES)] == []


def test_nothing_names_a_path_of_somebodys_machine() -> None:
    """Paths are relative, of a test's own folder, or of the systems that users have."""
    assert [name for name, text in TEXTS.items() if MACHINE_PATH.search(text) and name not in LAID_OUT] == []


def test_nothing_is_left_open() -> None:
    """What is not done is said where users read it, or is not said at all."""
    assert [name for name, text in TEXTS.items() if OPEN_END.search(text)] == []


def test_every_address_belongs_to_nobody() -> None:
    """Samples use loopback and the documentation ranges."""
    found = {
        (name, address) for name, text in TEXTS.items() for address in addresses(text) if not is_ours(name, address)
    }

    assert found == set()


def test_the_search_for_addresses_sees_them() -> None:
    """Both families, beside punctuation, and no version numbers or times."""
    text = "10.1.2" + ".3, [fd00:" + ":1]:80, version 1.2.3, 1.2.3.4.5, 12:30:45, std::vector, 300.1.1.1, all[6::8]"

    assert list(addresses(text)) == ["10.1.2" + ".3", "fd00:" + ":1"]


def test_every_mail_address_is_an_example() -> None:
    """No person's address stands in the repository."""
    hosts = {host for text in TEXTS.values() for host in MAIL.findall(text)}

    assert {host for host in hosts if not re.search(r"(^|\.)example(\.\w+)?$|\.(test|invalid)$", host)} == set()


@pytest.mark.parametrize("name", ["runtime", "development"])
def test_every_requirement_is_pinned_by_hash_and_names_no_index(name: str) -> None:
    """What is installed is what was compiled: names, versions, hashes and markers only."""
    listed = TEXTS[f"requirements/{name}.txt"].replace(" \\\n", " ").splitlines()
    whole = re.compile(r"[\w.-]+==\S+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+")

    assert len(listed) > 20
    assert [line for line in listed if not whole.fullmatch(line)] == []


def test_the_development_list_installs_the_same_runtime() -> None:
    """Tests run what users run."""
    pin = re.compile(r"^[\w.-]+==\S+", re.MULTILINE)
    runtime, development = (set(pin.findall(TEXTS[f"requirements/{name}.txt"])) for name in ("runtime", "development"))

    assert runtime - development == set()


@pytest.mark.parametrize("name", sorted(name for name in TEXTS if name.endswith(".md")))
def test_what_a_page_points_to_is_there(name: str) -> None:
    """Links lead to files, `make` targets exist, and paths of the repository in backticks do as well."""
    text, folder = TEXTS[name], (ROOT / name).parent
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    targets = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    paths = re.findall(r"`((?:collector|parsers|pipelines|tests|deploy|requirements)/[\w./-]+)`", text)

    assert [link for link in links if link and not (folder / link).exists()] == []
    assert targets - set(re.findall(r"^([a-z]+):", TEXTS["Makefile"], re.MULTILINE)) == set()
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_fragment_of_the_changelog_says_its_kind() -> None:
    """Name: number, subject, kind; content: what a user sees."""
    fragments = {name: text for name, text in TEXTS.items() if name.startswith(".changelog/")}

    assert fragments
    pattern = r"\.changelog/\d{4}-[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md"
    assert [name for name, text in fragments.items() if not re.fullmatch(pattern, name) or not text.strip()] == []
