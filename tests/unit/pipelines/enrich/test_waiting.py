"""A line waits for what is known of its container, not long, and none is lost: tags say what was not known."""

from collections.abc import Iterator

import pytest

from pipelines import state
from pipelines.enrich import metadata
from pipelines.enrich.describe import CONTAINER_UNKNOWN, METADATA_MISSING
from pipelines.enrich.engines import Engine
from pipelines.enrich.metadata import GONE_KEPT_NS
from pipelines.enrich.waiting import METADATA_WAIT_NS
from pipelines.frame import Origin
from pipelines.settings import Settings
from tests.kit.metadata import (
    CLUSTER,
    ENGINE_ORIGIN,
    SENDER,
    Told,
    away_message,
    container_message,
    engine_message,
    gone_message,
    line_of,
    of_cluster,
    of_engine,
    snapshot_message,
    uids_message,
)
from tests.kit.pieces import docker_pieces, packed

ID = "a" * 64
OTHER = "b" * 64
SECOND_NS = 1_000_000_000
WAIT_S = METADATA_WAIT_NS // SECOND_NS


def test_a_line_is_told_what_came_before_it_in_its_frame() -> None:
    """Its document holds what its Engine said, and nothing waits."""
    told = Told()
    (made,) = told.frame(of_engine(engine_message()), of_engine(container_message(ID)), line_of(ID))

    assert made["container"]["image"]["name"] == "acme/web"
    assert "tags" not in made
    assert not told.pipeline.state.is_open


def test_a_line_before_its_metadata_waits_and_keeps_its_position() -> None:
    """It goes out with the message by which its container is known, before lines that come behind, and is counted."""
    told = Told()
    first = told.frame(line_of(ID, "first"), line_of(OTHER, "other"), line_of(ID, "second"))
    assert told.pipeline.state.is_open
    then = told.frame(of_engine(container_message(ID)), line_of(ID, "third"))

    assert first == []
    assert [each["message"] for each in then] == ["third", "first", "second"]
    assert {each["container"]["image"]["name"] for each in then} == {"acme/web"}
    assert then[1]["event"]["sequence"] == 100000000
    tallies = [
        (each.tally.parked, each.tally.taken_up, each.tally.documents, each.tally.control) for each in told.batches
    ]
    assert tallies == [(3, 0, 0, 0), (0, 2, 3, 1)]


def test_a_line_waits_no_longer_than_is_stated() -> None:
    """Then it goes without, tagged; those behind it do not wait, until the container is known."""
    told = Told()
    told.frame(line_of(ID, "first"))

    assert told.pause(WAIT_S - 1) == []
    (first,) = told.pause(1)
    (second,) = told.frame(line_of(ID, "second"))
    (third,) = told.frame(of_engine(container_message(ID)), line_of(ID, "third"))
    assert [each.get("tags") for each in (first, second, third)] == [[METADATA_MISSING], [METADATA_MISSING], None]
    assert first["container"] == {"id": ID, "name": "web"}


def test_a_container_that_its_engine_does_not_know_is_a_finding() -> None:
    """Where the Engine has said all that it knows; whoever sends this speaks for a container that is not there."""
    told = Told()
    told.frame(of_engine(engine_message()), of_engine(snapshot_message()), line_of(ID))
    (made,) = told.pause(WAIT_S)

    assert made["tags"] == [CONTAINER_UNKNOWN]


def test_an_engine_whose_list_is_not_whole_here_knows_more_than_we_do() -> None:
    """A container that it listed and of which nothing was told is none that it does not know."""
    told = Told()
    told.frame(of_engine(snapshot_message(OTHER)), line_of(ID))
    (made,) = told.pause(WAIT_S)

    assert made["tags"] == [METADATA_MISSING]


def test_who_is_asked_about_a_part_only_accuses_nobody() -> None:
    """A cluster of which some namespaces are read knows nothing of other pods."""
    told = Told(Settings(version="0", engines=(Engine(CLUSTER, (), "kubernetes", part=True),)))
    record = {"stream": "stdout", "log": "x", "kubernetes": {"pod_name": "p", "docker_id": ID}}
    told.frame(of_cluster(uids_message()), (SENDER, "forward", packed(record)))
    (made,) = told.pause(WAIT_S)

    assert made["tags"] == [METADATA_MISSING]


def test_what_is_forgotten_for_want_of_room_is_not_unknown_to_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is bounded; what does not fit was told all the same, so nobody is accused."""
    monkeypatch.setattr(metadata, "OBJECTS_LIMIT", 1)
    told = Told()
    ids = [f"{number:064x}"[::-1] for number in range(1, 4)]
    told.frame(of_engine(snapshot_message()), *(of_engine(container_message(each)) for each in ids))
    told.frame(line_of(ids[0]))
    (made,) = told.pause(WAIT_S)

    assert len(told.pipeline.state.metadata.objects) == 1
    assert made["tags"] == [METADATA_MISSING]


def test_an_engine_that_is_away_is_not_waited_for() -> None:
    """Lines that wait go out, others do not wait, and what is known is used."""
    told = Told()
    told.frame(of_engine(container_message(OTHER)), of_engine(snapshot_message(OTHER)), line_of(ID))
    (waited,) = told.frame(of_engine(away_message()))
    unknown, known = told.frame(line_of(ID, "x"), line_of(OTHER))

    assert waited["tags"] == [METADATA_MISSING]
    assert unknown["tags"] == [METADATA_MISSING]
    assert known["container"]["runtime"] == "docker"


def test_what_is_known_of_a_removed_container_is_kept_for_a_while() -> None:
    """Its last lines come late; much later it is as unknown as any other."""
    told = Told()
    told.frame(of_engine(container_message(ID)), of_engine(snapshot_message(ID)))
    told.frame(of_engine(gone_message(ID)))
    told.pause(GONE_KEPT_NS // SECOND_NS - 1)
    (soon,) = told.frame(line_of(ID, "soon"))
    told.pause(1)
    late = [*told.frame(line_of(ID, "late")), *told.pause(WAIT_S)]

    assert soon["container"]["image"]["name"] == "acme/web"
    assert [each["tags"] for each in late] == [[CONTAINER_UNKNOWN]]


def test_a_list_lets_go_of_what_it_does_not_name() -> None:
    """What was removed while nobody listened is not known for ever."""
    told = Told()
    told.frame(
        of_engine(container_message(ID)), of_engine(container_message(OTHER)), of_engine(snapshot_message(OTHER))
    )

    assert list(told.pipeline.state.metadata.names(ENGINE_ORIGIN.input, "container")) == [OTHER[:12]]
    assert len(told.pipeline.state.metadata.gone) == 1


def test_senders_without_an_engine_wait_for_nothing() -> None:
    """Neither do records without a container; their documents are as if there were no Engine anywhere."""
    elsewhere = Origin("docker", "tcp", "192.0.2.99")
    told, without = Told(), Told(Settings(version="0.1.0"))

    assert told.frame(line_of(ID, sender=elsewhere)) == without.frame(line_of(ID, sender=elsewhere))
    assert told.frame(line_of(ID, container_id=None)) == without.frame(line_of(ID, container_id=None))
    assert not told.pipeline.state.is_open


def test_where_there_is_no_room_those_that_wait_longest_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines of their container, in order, and a quarter of all at once."""
    monkeypatch.setattr(state, "WAITING_LIMIT", 8)
    told = Told()
    lines = [line_of(f"{number:064d}"[::-1], str(number)) for number in range(8)]
    told.frame(*lines, lines[0])
    tallies = told.batches[-1].tally

    assert (tallies.parked, tallies.taken_up, tallies.documents) == (9, 4, 4)
    assert len(told.pipeline.state.waiting) == 5


def test_a_line_in_pieces_waits_when_it_is_whole() -> None:
    """All of its pieces are parked until its container is known, and it is one document with all that is known."""
    told = Told()
    first, second = (packed(each) for each in docker_pieces(b"abcdef", 4, container=ID))
    told.frame((SENDER, "forward", first))
    told.frame((SENDER, "forward", second))
    (made,) = told.frame(of_engine(container_message(ID)))
    tallies = [(each.tally.parked, each.tally.taken_up, each.tally.joined) for each in told.batches]

    assert (made["message"], made["tidewaiter"]["container"]["pieces"]) == ("abcdef", 2)
    assert made["container"]["runtime"] == "docker"
    assert tallies == [(1, 0, 0), (1, 0, 0), (0, 2, 1)]


def test_what_waits_and_what_is_known_outlive_a_restart() -> None:
    """A pipeline that begins with another's state goes on as that would have."""
    told = Told()
    told.frame(of_engine(container_message(OTHER)), line_of(ID, "first"))
    restored = told.restarted()

    for messages in ((), (of_engine(container_message(ID)), line_of(OTHER, "second"))):
        assert restored.frame(*messages) == told.frame(*messages)
        assert restored.pipeline.state.encode() == told.pipeline.state.encode()


def test_a_message_about_one_container_costs_no_look_at_the_lines_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each went through all lines that wait: thousands of lines times thousands of messages."""
    told = Told()
    told.frame(*(line_of(f"{number:064x}") for number in range(8)), line_of(ID, "mine"))
    waiting = told.pipeline.state.waiting
    assert len(waiting) == 9
    looked_at: list[str] = []
    items = waiting.items

    def counted() -> Iterator[tuple[tuple[str, ...], state.OpenLine]]:
        for key, value in items():
            looked_at.append(key[1])
            yield key, value

    monkeypatch.setattr(waiting, "items", counted)
    made = told.frame(of_engine(container_message(OTHER)), of_engine(container_message(ID)))

    assert [each["message"] for each in made] == ["mine"]
    assert len(looked_at) == 1  # the one that waits longest, whether it has waited long enough
