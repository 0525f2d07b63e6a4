"""A trail's record waits for its container like a line, only our own watchers say it, and none is lost."""

from pipelines.enrich.describe import CONTAINER_UNKNOWN
from pipelines.enrich.waiting import METADATA_WAIT_NS
from tests.kit.metadata import SENDER, Told, container_message, engine_message, of_engine, snapshot_message
from tests.kit.trails import CONTAINER, docker_record, of_trail

WAIT_S = METADATA_WAIT_NS // 1_000_000_000


def test_a_record_waits_until_its_container_is_known() -> None:
    """Then it goes out with its own position, described by its own Engine."""
    told = Told()

    assert told.frame(of_trail(docker_record("start"))) == []
    restarted = told.restarted()
    (made,) = restarted.frame(of_engine(engine_message()), of_engine(container_message(CONTAINER)))
    assert made["event"]["action"] == "start"
    assert made["event"]["sequence"] == 100000000
    assert made["container"]["image"]["name"] == "acme/web"
    assert made["host"]["name"] == "docker-1"


def test_a_record_waits_no_longer_than_is_stated() -> None:
    """Then it goes without what is known of its container, which is a finding."""
    told = Told()
    told.frame(of_engine(snapshot_message()), of_trail(docker_record("start"), docker_record("die")))
    made = told.pause(WAIT_S)

    assert [each["event"]["action"] for each in made] == ["start", "die"]
    assert [each["tags"] for each in made] == [[CONTAINER_UNKNOWN]] * 2


def test_records_are_told_apart_line_by_line() -> None:
    """One that is no event is a dead letter of its own bytes, and costs the others nothing."""
    told = Told()
    told.frame(of_engine(container_message(CONTAINER)))
    good = docker_record("start")
    made = told.frame(of_trail(good, b"", b'{"kind":"event"}', good))

    assert [each["event"]["action"] for each in made] == ["start", "start"]
    (letter,) = told.batches[-1].dead_letters
    assert (letter.code, letter.payload, letter.position.record) == ("bad_event", b'{"kind":"event"}', 1)


def test_nobody_else_says_what_was_done_to_a_container() -> None:
    """A record of another sender is a dead letter, whatever it holds."""
    told = Told()
    _, encoding, payload = of_trail(docker_record("start"))

    assert told.frame((SENDER, encoding, payload)) == []
    (letter,) = told.batches[-1].dead_letters
    assert letter.code == "not_internal"
