"""Tables of the operator: parts of the journal that hold from their place on, asked once a stream."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import pytest

from pipelines import reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.enrich.lookups import (
    TABLE_BYTES_LIMIT,
    TABLES_LIMIT,
    Lookup,
    NamesMessage,
    TableMessage,
    encode_message,
    new_tables,
    take_message,
    why_not_matched,
)
from pipelines.enrich.static import FieldRule
from pipelines.frame import Frame, Origin
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.frames import frame_of

STAMP = msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, 5))
ORIGIN = Origin("docker", "tcp", "192.0.2.7")
TEAMS = {"teams": Lookup("container.name", {"team": "labels.team", "owner": "labels.owner"})}


def table(
    name: str, rows: Mapping[str, Sequence[str]], *, columns: str = "team owner", prefixes: Sequence[int] = ()
) -> bytes:
    """Encode what is appended of a file."""
    made = {key: tuple(row) for key, row in rows.items()}
    return encode_message(TableMessage(name, tuple(columns.split()), made, tuple(prefixes)))


def line(name: str = "shop", **more: str) -> bytes:
    """Encode a container's line as Docker's driver does."""
    record = {"container_id": "a" * 64, "container_name": f"/{name}", "source": "stdout", "log": "x", **more}
    return bytes(msgpack.packb([STAMP, record]))


def frame(*messages: bytes, sequence: int = 1, origin: Origin = ORIGIN) -> Frame:
    """Make a frame of lines and tables, in this order."""
    runs = [("lookup" if each[:1] == b"{" else "forward", [(each, b"", 1)]) for each in messages]
    return frame_of(*runs, sequence=sequence, origins=(origin,))


class Paths:
    """Both paths over frames that follow one another."""

    def __init__(self, lookups: dict[str, Lookup], *rules: FieldRule) -> None:
        self.settings = Settings(version="0.1.0", fields=rules, lookups=lookups)
        self.state = State()
        self._fast = State()
        self._chunk = ChunkPath(self.settings)

    def batch(self, frame: Frame) -> Batch:
        """Return the batch of a frame, which is the same by both paths."""
        self.state.mark()
        self._fast.mark()
        (plain,) = reference.process(frame, self.settings, self.state)
        (fast,) = self._chunk.process(frame, self._fast)

        assert plain == fast
        assert self.state.encode() == self._fast.encode()
        return plain

    def labels(self, frame: Frame) -> list[dict[str, Any] | None]:
        """Return the labels of each document of a frame."""
        texts = [text for part in self.batch(frame).documents for text in part.ndjson.splitlines()]
        return [json.loads(text).get("labels") for text in texts]


def test_rows_hold_from_their_place_in_the_journal_on() -> None:
    """A line before the table goes without; one behind it in the same frame has its fields; a new table replaces it."""
    paths = Paths(TEAMS)
    first, second = table("teams", {"shop": ("payments", "")}), table("teams", {"shop": ("finance", "Kim")})

    assert paths.labels(frame(line(), first, line(), line("other"))) == [None, {"team": "payments"}, None]
    assert paths.labels(frame(line(), second, line(), sequence=2)) == [
        {"team": "payments"},
        {"team": "finance", "owner": "Kim"},
    ]
    assert paths.labels(frame(line(), sequence=3)) == [{"team": "finance", "owner": "Kim"}]


def test_a_table_is_a_record_that_is_settled_by_being_read() -> None:
    """The books count it as control."""
    tally = Paths(TEAMS).batch(frame(table("teams", {"shop": ("a", "b")}), line())).tally

    assert (tally.records, tally.control, tally.documents, tally.dead) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"{}",
        b'{"kind":"table","name":"teams"}',
        b'{"kind":"table","name":"teams","columns":["a"],"rows":{"k":["1","2"]}}',
        b'{"kind":"table","name":"teams","columns":["a"],"rows":{"k":["1"]},"prefixes":[129]}',
        b'{"kind":"table","name":"teams","columns":["a"],"rows":{"k":["\xff"]}}',
        b'{"kind":"names","names":"teams"}',
        b'{"kind":"table","name":"teams","columns":[],"rows":{}}' + b" " * TABLE_BYTES_LIMIT,
    ],
)
def test_what_is_no_table_is_a_dead_letter_and_the_one_before_holds(payload: bytes) -> None:
    """With its reason."""
    paths = Paths(TEAMS)
    paths.batch(frame(table("teams", {"shop": ("payments", "")})))
    batch = paths.batch(frame(payload, line(), sequence=2))

    assert [letter.code for letter in batch.dead_letters] == ["bad_lookup"]
    assert paths.labels(frame(line(), sequence=3)) == [{"team": "payments"}]


def test_a_table_that_is_not_configured_any_more_is_forgotten() -> None:
    """All that are not named are."""
    paths = Paths(TEAMS)
    paths.batch(frame(table("teams", {"shop": ("a", "b")}), table("sites", {"x": ("c", "d")})))
    paths.batch(frame(encode_message(NamesMessage(("sites",))), sequence=2))

    assert [key for key, _ in paths.state.lookups.items()] == [("sites",)]
    assert paths.labels(frame(line(), sequence=3)) == [None]


def test_tables_are_part_of_checkpoints_under_any_configuration() -> None:
    """A worker that starts again knows them."""
    paths = Paths(TEAMS)
    paths.batch(frame(table("teams", {"shop": ("payments", "")})))
    state = State()
    state.load(paths.state.encode(), settings_changed=True)
    (batch,) = reference.process(frame(line(), sequence=2), paths.settings, state)

    assert b'"labels":{"team":"payments"}' in batch.documents[0].ndjson


def test_what_a_frame_said_of_tables_can_be_undone() -> None:
    """So a frame that is tried again finds what was there before it."""
    paths = Paths(TEAMS)
    paths.batch(frame(table("teams", {"shop": ("payments", "")})))
    before = paths.state.encode()
    paths.state.mark()
    list(reference.process(frame(table("teams", {"shop": ("x", "y")}), sequence=2), paths.settings, paths.state))
    paths.state.undo()

    assert paths.state.encode() == before


def test_tables_are_bounded() -> None:
    """The one that was put first makes room."""
    tables = new_tables()
    for number in range(TABLES_LIMIT + 1):
        take_message(memoryview(table(f"t{number}", {"k": ("a", "b")})), tables)

    assert [key for key, _ in tables.items()] == [(f"t{number}",) for number in range(1, TABLES_LIMIT + 1)]


def test_the_same_table_again_is_no_news() -> None:
    """It stays in its place: the collector appends each table at its start."""
    tables = new_tables()
    for name in ("a", "b", "a"):
        take_message(memoryview(table(name, {"k": ("x", "y")})), tables)

    assert [key for key, _ in tables.items()] == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("match", "key"),
    [
        ("container.name", "shop"),
        ("container.id", "a" * 64),
        ("container.labels.com_docker_compose_service", "web"),
        ("host.name", "192.0.2.7"),
        ("tidewaiter.origin.peer", "192.0.2.7"),
        ("tidewaiter.origin.input", "docker"),
        ("tidewaiter.container.stream", "stdout"),
        ("service.name", "till"),
    ],
)
def test_a_table_is_asked_with_what_all_lines_of_a_stream_share(match: str, key: str) -> None:
    """Also with what a rule has set before."""
    assert why_not_matched(match) == ""
    paths = Paths({"t": Lookup(match, {"team": "labels.team"})}, FieldRule({"service.name": "till"}))
    paths.batch(frame(table("t", {key: ("payments",), "": ("nobody",)}, columns="team")))

    assert paths.labels(frame(line(**{"com.docker.compose.service": "web"}), sequence=2)) == [{"team": "payments"}]


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("source.ip", "differs from line to line"),
        ("message", "differs from line to line"),
        ("container.nam", "no document has; did you mean container.name?"),
        ("container.labels.com.docker.compose.service", "container.labels.com_docker_compose_service"),
        ("container.image", "is no text"),
    ],
)
def test_a_field_that_no_table_can_match_says_why(field: str, part: str) -> None:
    """`check` shows it."""
    assert part in why_not_matched(field)


@pytest.mark.parametrize(
    ("peer", "site"),
    [
        ("192.0.2.7", "desk"),
        ("192.0.2.8", "berlin"),
        ("198.51.100.1", None),
        ("2001:db8::1", "six"),
        ("unix:uid=0", None),
    ],
)
def test_the_narrowest_network_that_an_address_is_in_counts(peer: str, site: str | None) -> None:
    """Addresses are networks of one; a peer without an address is in none."""
    rows = {"192.0.2.0/24": ("berlin",), "192.0.2.7/32": ("desk",), "2001:db8::/32": ("six",)}
    paths = Paths({"sites": Lookup("tidewaiter.origin.peer", {"site": "labels.site"})})
    paths.batch(frame(table("sites", rows, columns="site", prefixes=(32, 24))))

    found = paths.labels(frame(line(), sequence=2, origin=Origin("docker", "tcp", peer)))
    assert found == [{"site": site} if site else None]


def test_what_was_said_first_holds() -> None:
    """Rules come before tables, and tables in the order of the configuration; tags of all come together."""
    rule = FieldRule({"labels.team": "rule", "tags": "rule"})
    one = Lookup("container.name", {"team": "labels.team", "owner": "labels.owner", "tag": "tags"})
    paths = Paths({"one": one, "two": one}, rule)
    columns = "team owner tag other"
    paths.batch(frame(table("one", {"shop": ("1", "1", "1", "1")}, columns=columns)))
    paths.batch(frame(table("two", {"shop": ("2", "2", "2", "2")}, columns=columns), sequence=2))
    (part,) = paths.batch(frame(line(), sequence=3)).documents
    made = json.loads(part.ndjson)

    assert made["labels"] == {"team": "rule", "owner": "1"}
    assert made["tags"] == ["rule", "1", "2"]
