"""A line that the runtime cut is one document; what never becomes whole goes out as it is, and says so."""

import json
from typing import Any

import pytest

from pipelines import join
from pipelines.batch import Batch
from pipelines.frame import Frame, Origin
from pipelines.join import INCOMPLETE, LINE_BYTES_LIMIT, PIECE_BYTES, PIECES_LIMIT, TOO_LONG
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.frames import ORIGIN
from tests.kit.pieces import cri_pieces, docker_pieces, frames_of, packed, unmarked_pieces

SECOND_NS = 1_000_000_000
ID = "a" * 64


def failed(*what: object) -> None:
    """No path may fail."""
    raise AssertionError(what)


@pytest.fixture
def pipeline() -> Pipeline:
    """A pipeline that remembers nothing yet."""
    return Pipeline(Settings(version="0.1.0"), failed)


def run(pipeline: Pipeline, *frames: Frame) -> list[Batch]:
    """Run frames through it."""
    return [batch for frame in frames for batch in pipeline(frame)]


def documents(batches: list[Batch]) -> list[dict[str, Any]]:
    """Return the documents."""
    return [json.loads(each) for batch in batches for part in batch.documents for each in part.ndjson.splitlines()]


def told(document: dict[str, Any]) -> tuple[str, int, list[str]]:
    """Return what matters here: line, pieces, tags."""
    pieces = document["tidewaiter"].get("container", {}).get("pieces", 0)
    return document["message"], pieces, document.get("tags", [])


def test_a_joined_line_is_this_document(pipeline: Pipeline) -> None:
    """It has id, sequence, receipt and time of its first piece, whatever frame the last came in."""
    first, second, third = docker_pieces(b"0123456789", 4)
    frames = frames_of(
        [
            [packed({**first, "log": b"else", "source": "stderr"}), packed(first, 5)],
            [packed(second, 6)],
            [packed(third)],
        ]
    )
    batches = run(pipeline, *frames)
    made = next(each for each in documents(batches) if each["message"] == "0123456789")
    alone = documents(run(pipeline, *frames_of([[packed({"log": "x"}), packed({"log": "x"}, 5)]])))[1]

    assert made["event"] == alone["event"]
    assert made["@timestamp"] == "1970-01-01T00:00:05.000000005Z"
    assert made["tidewaiter"]["container"] == {"pieces": 3, "stream": "stdout"}
    assert "fields" not in made["tidewaiter"]
    assert [(b.tally.parked, b.tally.taken_up, b.tally.joined, b.tally.documents) for b in batches] == [
        (2, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 2, 2, 1),
    ]


def test_a_character_that_was_cut_is_whole_again(pipeline: Pipeline) -> None:
    """Pieces are joined as bytes, and only then read as text."""
    text = "grüße".encode()
    pieces = docker_pieces(text, 3)

    assert [told(each) for each in documents(run(pipeline, *frames_of([[packed(each)] for each in pieces])))] == [
        ("grüße", 3, [])
    ]


def test_streams_containers_and_senders_are_apart(pipeline: Pipeline) -> None:
    """The same partial id elsewhere is another line; also where a label claims another container's id."""
    one, two = docker_pieces(b"abcdef", 4)
    others = [
        ({**one, "log": b"ABCD", "source": "stderr"}, {**two, "log": b"EF", "source": "stderr"}),
        ({**one, "log": b"1234", "container_id": "c" * 64}, {**two, "log": b"56", "container_id": "c" * 64}),
    ]
    entries = [packed(one), *(packed(first) for first, _ in others), packed(two), *(packed(last) for _, last in others)]
    sent = frames_of([[each] for each in entries])
    elsewhere = frames_of([[packed({**one, "log": b"...."})]], origin=Origin("docker", "tcp", "192.0.2.8"))
    forged = frames_of([[packed({**one, "log": b"!!!!"}, tag=b"d" * 12)]], encoding="forward-message")
    made = documents(run(pipeline, sent[0], *elsewhere, *forged, *sent[1:]))

    assert sorted(told(each) for each in made) == [("123456", 2, []), ("ABCDEF", 2, []), ("abcdef", 2, [])]
    assert len(pipeline.state.lines) == 2


def test_a_line_without_an_end_goes_out_when_it_waited_long_enough(pipeline: Pipeline) -> None:
    """In journal time; no last piece comes for what a container wrote before it ended. Before that it waits."""
    (first,) = docker_pieces(b"abc", 4, last=False)
    others = [[packed({"log": "x"})], [], [], [], [packed({"log": "y"})]]
    batches = run(pipeline, *frames_of([[packed(first)], *others], step_ns=SECOND_NS))

    texts = [[told(each)[0] for each in documents([batch])] for batch in batches]
    assert texts == [[], ["x"], [], [], [], ["y", "abc"]]
    assert told(documents([batches[5]])[1]) == ("abc", 1, [INCOMPLETE])
    assert batches[5].tally.taken_up == 1


def test_a_pause_of_the_journal_cuts_no_line(pipeline: Pipeline) -> None:
    """While the intake was down, or senders were made to wait, no piece could come."""
    first, second = docker_pieces(b"abcdef", 4)
    batches = run(
        pipeline, *frames_of([[packed(first)], [packed({"log": "x"})], [packed(second)]], step_ns=3600 * SECOND_NS)
    )

    assert [told(each) for each in documents(batches)] == [("x", 0, []), ("abcdef", 2, [])]


def test_a_frame_without_records_lets_go_as_well(pipeline: Pipeline) -> None:
    """What became due goes out with the next frame, whatever is in it."""
    (first,) = docker_pieces(b"abc", 4, last=False)
    *_, batch = run(pipeline, *frames_of([[packed(first)], [], [], [], [], []], step_ns=SECOND_NS))

    assert [told(each) for each in documents([batch])] == [("abc", 1, [INCOMPLETE])]
    assert (batch.tally.records, batch.tally.documents) == (0, 1)


def test_a_line_that_is_too_long_goes_out_in_parts(pipeline: Pipeline) -> None:
    """Nothing of it is dropped, and each part says so."""
    size = 300_000
    pieces = docker_pieces(bytes([97]) * (4 * size - 1), size)
    made = documents(run(pipeline, *frames_of([[packed_large(each)] for each in pieces])))

    assert [(len(each["message"]), *told(each)[1:]) for each in made] == [
        (3 * size, 3, [TOO_LONG]),
        (size - 1, 1, [TOO_LONG]),
    ]
    assert 3 * size < LINE_BYTES_LIMIT < 4 * size


def packed_large(record: dict[str, Any]) -> bytes:
    """Encode a record with a line of more than 64 KiB."""
    line = record["log"]
    small = packed({**record, "log": b""})
    return small.replace(b"\xa3log\xa0", b"\xa3log\xdb" + len(line).to_bytes(4, "big") + line)


def test_a_line_of_too_many_pieces_goes_out_in_parts(pipeline: Pipeline) -> None:
    """A sender cannot make a line of any number of empty pieces."""
    pieces = docker_pieces(b"a" * (PIECES_LIMIT + 1), 1)
    made = documents(run(pipeline, *frames_of([[packed(each) for each in pieces]])))

    assert [told(each)[1:] for each in made] == [(PIECES_LIMIT, [TOO_LONG]), (2, [TOO_LONG])]


def test_pieces_out_of_order_are_not_joined(pipeline: Pipeline) -> None:
    """A repeated piece, one that lacks its beginning, one behind a hole: each goes out with its line, tagged."""
    one, two, three = docker_pieces(b"abcdefghi", 4)
    made = documents(run(pipeline, *frames_of([[packed(one)], [packed(one)], [packed(three)], [packed(two)]])))

    assert [told(each) for each in made] == [
        ("abcd", 1, [INCOMPLETE]),
        ("abcd", 1, [INCOMPLETE]),
        ("i", 1, [INCOMPLETE]),
    ]
    late = documents(run(pipeline, *frames_of([[], [], [], [], [], []], step_ns=SECOND_NS)))
    assert [told(each) for each in late] == [("efgh", 1, [INCOMPLETE])]


def test_lines_that_have_no_room_go_out_as_they_are(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; one that is larger than all room at once."""
    monkeypatch.setattr(pipeline.state.lines, "_limit", 1)
    one, other = docker_pieces(b"abcdef", 4, name="1"), docker_pieces(b"ABCDEF", 4, name="2")
    batches = run(pipeline, *frames_of([[packed(one[0]), packed(other[0])], [packed(other[1])]]))

    assert [told(each) for each in documents(batches)] == [("abcd", 1, [INCOMPLETE]), ("ABCDEF", 2, [])]
    monkeypatch.setattr(pipeline.state.lines, "_limit_bytes", 1)
    batches = run(pipeline, *frames_of([[packed(one[0])]]))
    assert [told(each) for each in documents(batches)] == [("abcd", 1, [INCOMPLETE])]
    assert (batches[0].tally.parked, batches[0].tally.taken_up) == (1, 1)


@pytest.mark.parametrize(
    "marks",
    [
        {"partial_message": "yes"},
        {"partial_id": None},
        {"partial_ordinal": "-1"},
        {"partial_ordinal": "1" * 10},
        {"partial_ordinal": "²"},
        {"partial_last": "maybe"},
        {"log": 5},
        {"source": None},
    ],
)
def test_what_is_not_marked_as_a_piece_is_a_line(pipeline: Pipeline, marks: dict[str, Any]) -> None:
    """Marks that Docker does not make join nothing, and nothing waits."""
    (first,) = docker_pieces(b"abc", 4, last=False)
    (batch,) = run(pipeline, *frames_of([[packed({**first, **marks})]]))

    assert (batch.tally.documents, batch.tally.parked) == (1, 0)
    assert not pipeline.state.is_open


def test_cri_lines_are_joined_by_their_tags(pipeline: Pipeline) -> None:
    """P goes on, F ends; each piece has a time of its own, and the line has that of its first. An F alone is a line."""
    pieces = cri_pieces(b"0123456789", 4, container=ID, stream="stderr")
    other = cri_pieces(b"alone", 9, container=ID, stream="stdout")
    entries = [packed(pieces[0], 5), packed(other[0]), packed(pieces[1], 6), packed(pieces[2], 7), packed(other[0])]
    made = documents(run(pipeline, *frames_of([[each] for each in entries])))

    assert [told(each) for each in made] == [("alone", 0, []), ("0123456789", 3, []), ("alone", 0, [])]
    assert made[1]["@timestamp"] == "1970-01-01T00:00:05.000000005Z"
    assert "fields" not in made[1]["tidewaiter"]
    assert made[1]["container"]["id"] == ID


def test_an_unmarked_line_is_known_by_its_length(pipeline: Pipeline) -> None:
    """Exactly 16,384 bytes without a newline: the next record of the stream goes on, also an empty one."""
    long, exact = b"a" * 40_000, b"b" * PIECE_BYTES
    sent = [unmarked_pieces(line, PIECE_BYTES, container=ID, stream="stdout") for line in (long, b"c", exact, b"d")]
    made = documents(run(pipeline, *frames_of([[packed(each) for line in sent for each in line]])))

    assert [(len(each["message"]), *told(each)[1:]) for each in made] == [
        (1, 0, []),
        (1, 0, []),
        (40_000, 3, []),
        (PIECE_BYTES, 2, []),
    ]


def test_length_is_counted_in_bytes_and_a_newline_ends(pipeline: Pipeline) -> None:
    """What Fluent Bit reads from `json-file` keeps its newline; what is shorter or longer is a line."""
    lines = ["ü" * (PIECE_BYTES // 2 - 1), "ü" * PIECE_BYTES, "x" * (PIECE_BYTES - 1) + "\n", "x" * (PIECE_BYTES + 1)]
    record = {"container_id": ID, "container_name": "/web", "source": "stdout"}
    (batch,) = run(pipeline, *frames_of([[packed_large({**record, "log": line.encode()}) for line in lines]]))

    assert (batch.tally.documents, batch.tally.parked) == (4, 0)
    (batch,) = run(pipeline, *frames_of([[packed({**record, "log": ("ü" * (PIECE_BYTES // 2)).encode()})]]))
    assert (batch.tally.documents, batch.tally.parked) == (0, 1)


@pytest.mark.parametrize(
    "record",
    [
        {"stream": "stdout", "_p": "P", "log": "x", "kubernetes": {"pod_name": "p", "docker_id": "a" * 64}},
        {"stream": "stdout", "_p": "P", "logtag": "P", "log": "x", "container_id": "a" * 64},
        {"stream": "stdout", "logtag": "F:P", "log": "x", "container_id": "a" * 64},
        {"stream": "other", "logtag": "P", "log": "x", "container_id": "a" * 64},
        {"stream": "stdout", "logtag": "P", "log": "x"},
        {"stream": "stdout", "logtag": "P", "log": 5, "container_id": "a" * 64},
        {"log": "x" * PIECE_BYTES},
        {"container_id": 5, "source": "stdout", "log": "x" * PIECE_BYTES},
    ],
)
def test_what_was_joined_or_cannot_be_told_apart_is_a_line(pipeline: Pipeline, record: dict[str, Any]) -> None:
    """Fluent Bit's multiline parser leaves `_p` on the whole; without container and stream nothing is joined."""
    (batch,) = run(pipeline, *frames_of([[packed(record)]]))

    assert (batch.tally.documents, batch.tally.parked) == (1, 0)


def test_the_container_may_be_known_by_the_tag_alone(pipeline: Pipeline) -> None:
    """Fluent Bit's tag names the file of the container; another container's records end nothing."""
    first, second = ({"stream": "stdout", "logtag": tag, "log": text} for tag, text in (("P", "one "), ("F", "two")))
    tags = [b"kube.web_shop_app-%b.log" % (letter * 64) for letter in (b"a", b"b", b"a")]
    entries = [packed(each, tag=tag) for each, tag in zip((first, second, second), tags, strict=True)]
    made = documents(run(pipeline, *frames_of([[each] for each in entries], encoding="forward-message")))

    assert [told(each) for each in made] == [("two", 0, []), ("one two", 2, [])]


def test_the_wait_is_measured_from_the_newest_piece(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that goes on being written is not cut for its age."""
    monkeypatch.setattr(join, "WAIT_NS", 3 * SECOND_NS // 2)
    pieces = docker_pieces(b"abcdefghijkl", 4)
    made = documents(run(pipeline, *frames_of([[packed(each)] for each in pieces], step_ns=SECOND_NS)))

    assert [told(each) for each in made] == [("abcdefghijkl", 4, [])]
    assert {each["tidewaiter"]["origin"]["peer"] for each in made} == {ORIGIN.peer}
