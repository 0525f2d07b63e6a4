"""`tidewaiter dead-letters` as an operator uses it at night: what is dead, why, what to do, and trying again."""

import asyncio
import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from collector.cli import cli
from collector.commands.dead_letters_shown import GROUPS_LIMIT, Groups
from collector.data_dir import lock_data_dir
from collector.dead_letters import PIPELINE, DeadLetterFile, Letter, letter_id
from collector.replays import Answer, begin, finish, next_request, replays_folder
from pipelines.frame import Position

EPOCH = 1_700_000_000


def document(number: int) -> bytes:
    """A document as the pipeline makes it, with what a terminal must not obey."""
    stream = {"type": "logs", "dataset": "tidewaiter.container", "namespace": "default"}
    made = {"event": {"id": f"dc{number:022d}"}, "message": f"line {number} \x1b[2J\u202e", "data_stream": stream}
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def refused(number: int, code: str = "document_parsing_exception", **more: Any) -> Letter:
    """A letter of the output `elastic`."""
    position, identifier = Position(0, EPOCH, number), f"dc{number:022d}"
    made = {
        "id": f"{letter_id('elastic', position)}-{identifier}",
        "position": position,
        "time": f"2026-11-29T02:{number:02d}:00.000000000Z",
        "stage": "output",
        "code": code,
        "reason": "failed to parse field [x]\x1b[31m",
        "origin": "elastic",
        "payload": base64.b64encode(document(number)).decode(),
        "document_id": identifier,
    }
    return Letter(**{**made, **more})


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with three letters of an output, for two reasons, and one of the pipeline."""
    elastic, pipeline = DeadLetterFile(tmp_path, "elastic"), DeadLetterFile(tmp_path, PIPELINE)
    elastic.open(None)
    elastic.append([refused(1), refused(3, tries=2), refused(2, "too_large")])
    position = Position(0, EPOCH, 9)
    bad = base64.b64encode(b"\xc1\x00\x1b[2J").decode()
    identifier, time = letter_id(PIPELINE, position), "2026-11-29T03:00:00.000000000Z"
    pipeline.append([Letter(identifier, position, time, "decode", "bad_payload", "why", "docker/192.0.2.7", bad, 7)])
    return tmp_path


def tidewaiter(data_dir: Path, *arguments: str) -> Result:
    """Run a command on the data folder."""
    return CliRunner().invoke(cli, ["dead-letters", *arguments, "--data-dir", str(data_dir)], catch_exceptions=False)


def objects(result: Result) -> list[dict[str, Any]]:
    """The lines of an answer for programs."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_tells_programs_what_is_dead_by_output_and_reason(data_dir: Path) -> None:
    """Counts, oldest and newest, an example, and what to do."""
    found = objects(tidewaiter(data_dir, "list", "--json"))

    assert [(each["output"], each["reason"], each["letters"], each["records"]) for each in found] == [
        ("elastic", "document_parsing_exception", 2, 2),
        ("elastic", "too_large", 1, 1),
        ("pipeline", "bad_payload", 1, 7),
    ]
    first, _, last = found
    assert (first["oldest"], first["newest"]) == ("2026-11-29T02:01:00.000000000Z", "2026-11-29T02:03:00.000000000Z")
    assert first["tries"] == 2
    assert first["example"] == {
        "id": refused(3).id,
        "stream": "logs-tidewaiter.container-default",
        "origin": "elastic",
        "words": "failed to parse field [x]\x1b[31m",
    }
    assert "POST /logs-tidewaiter.container-default/_rollover" in first["advice"]
    assert "docker/192.0.2.7" in last["advice"]


def test_list_tells_people_the_newest_and_what_to_do(data_dir: Path) -> None:
    """Nothing that a terminal obeys comes from a record or a store."""
    shown = tidewaiter(data_dir, "list").stdout

    assert "elastic: 3 letters" in shown
    assert (
        "2 of document_parsing_exception  2026-11-29 02:01:00Z to 2026-11-29 02:03:00Z, offered up to 2 times" in shown
    )
    assert f"newest  {refused(3).id} for logs-tidewaiter.container-default" in shown
    assert "raise http.max_content_length" in shown
    assert "\x1b" not in shown


def test_list_of_nothing_says_so(tmp_path: Path) -> None:
    """With exit code 0, and no line for programs."""
    assert tidewaiter(tmp_path, "list").stdout == "No dead letters.\n"
    assert tidewaiter(tmp_path, "list", "--json").stdout == ""


def test_a_folder_that_is_not_there_is_not_taken_for_empty(tmp_path: Path) -> None:
    """A typing error in the folder's name is no good news."""
    result = CliRunner().invoke(cli, ["dead-letters", "list", "--data-dir", str(tmp_path / "none")])

    assert result.exit_code != 0
    assert "there is no such data folder" in str(result.exception)


def test_damage_is_named_with_its_place_and_harms_no_other(data_dir: Path) -> None:
    """Exit code 1; the other letters are listed and shown."""
    path = DeadLetterFile(data_dir, "elastic").path
    path.write_bytes(path.read_bytes().replace(b"02:03", b"02:33"))
    listed, shown = tidewaiter(data_dir, "list", "--json"), tidewaiter(data_dir, "show", "--json")

    assert (listed.exit_code, shown.exit_code) == (1, 1)
    assert objects(listed)[-1] == {"damaged": f"{path}:2: damaged"}
    assert [each["position"]["sequence"] for each in objects(shown)] == [1, 2, 9]
    assert f"{path}:2: damaged, and passed over" in tidewaiter(data_dir, "list").stderr


def test_show_has_all_that_is_known_of_a_letter(data_dir: Path) -> None:
    """Found by its id or its document's; the document as it was made, or the bytes."""
    by_id = objects(tidewaiter(data_dir, "show", refused(3).id, "--json"))
    by_document = objects(tidewaiter(data_dir, "show", f"dc{3:022d}", "--json"))
    (bad,) = objects(tidewaiter(data_dir, "show", "--output", PIPELINE, "--json"))

    assert by_id == by_document
    assert by_id == [
        {
            "id": refused(3).id,
            "output": "elastic",
            "stream": "logs-tidewaiter.container-default",
            "reason": "document_parsing_exception",
            "words": "failed to parse field [x]\x1b[31m",
            "time": "2026-11-29T02:03:00.000000000Z",
            "tries": 2,
            "tried": "",
            "stage": "output",
            "origin": "elastic",
            "position": {"partition": 0, "epoch": EPOCH, "sequence": 3, "record": 0},
            "records": 1,
            "document_id": f"dc{3:022d}",
            "document": json.loads(document(3)),
        }
    ]
    assert base64.b64decode(bad["payload"]) == b"\xc1\x00\x1b[2J"
    assert bad["document_id"] is None


def test_show_tells_people_without_obeying_records(data_dir: Path) -> None:
    """Documents indented, bytes escaped; the newest last, so many as are asked for."""
    shown = tidewaiter(data_dir, "show", "--limit", "2").stdout

    assert [refused(number).id in shown for number in (1, 2, 3)] == [False, False, True]
    assert shown.index(refused(3).id) < shown.index("pipeline-0-")
    assert r"\xc1\x00\x1b[2J" in shown
    assert "7 records" in shown
    assert not set(shown) & {"\x1b", "\u202e"}


def test_raw_bytes_are_those_of_the_record(data_dir: Path) -> None:
    """To be sent again, or looked at by other programs."""
    result = tidewaiter(data_dir, "show", "--output", PIPELINE, "--raw")

    assert result.stdout_bytes == b"\xc1\x00\x1b[2J"
    assert tidewaiter(data_dir, "show", refused(1).id, "--raw").stdout_bytes == document(1) + b"\n"


def test_a_letter_that_is_not_there_is_a_problem(data_dir: Path) -> None:
    """The others are shown."""
    result = tidewaiter(data_dir, "show", "nothing", refused(1).id, "--json")

    assert (result.exit_code, len(objects(result))) == (1, 1)
    assert "no dead letter 'nothing'" in result.stderr


def test_letters_are_chosen_by_reason_and_time(data_dir: Path) -> None:
    """As for `replay`; a time that is none is said to be none."""
    by_reason = objects(tidewaiter(data_dir, "show", "--reason", "too_large", "--json"))
    by_time = objects(
        tidewaiter(data_dir, "show", "--since", "2026-11-29T02:02:00Z", "--until", "2026-11-29T03:00:00Z", "--json")
    )

    assert [each["position"]["sequence"] for each in by_reason] == [2]
    assert sorted(each["position"]["sequence"] for each in by_time) == [2, 3]
    assert tidewaiter(data_dir, "list", "--since", "yesterday").exit_code == 2
    assert "there are some of: elastic, pipeline" in tidewaiter(data_dir, "list", "--output", "elstic").stderr


def test_replay_wants_to_be_told_which(data_dir: Path) -> None:
    """A slip offers no million letters."""
    result = tidewaiter(data_dir, "replay")

    assert result.exit_code == 2
    assert "say which" in result.stderr


def test_dry_run_only_says_what_would_be_offered(data_dir: Path) -> None:
    """By output and reason; nothing is asked for."""
    result = tidewaiter(data_dir, "replay", "--all", "--dry-run")

    assert result.stdout.splitlines() == [
        "2 of elastic: document_parsing_exception: would be offered to elastic",
        "1 of elastic: too_large: would be offered to elastic",
        "1 of pipeline: bad_payload: stay, for they hold no document",
    ]
    assert not replays_folder(data_dir).exists()
    assert objects(tidewaiter(data_dir, "replay", "--all", "--dry-run", "--json"))[0]["to"] == "elastic"


def test_without_a_collector_nothing_is_asked_for(data_dir: Path) -> None:
    """It has the outputs' keys, this command has none."""
    result = CliRunner().invoke(cli, ["dead-letters", "replay", "--all", "--data-dir", str(data_dir)])

    assert "start it, for it has the outputs' keys" in str(result.exception)
    assert not replays_folder(data_dir).exists()


def test_an_output_to_offer_them_to_must_be_there(data_dir: Path) -> None:
    """Those that are, are named."""
    result = tidewaiter(data_dir, "replay", "--all", "--to", "elstic")

    assert result.exit_code == 2
    assert "there is: store" in result.stderr


@contextmanager
def worker(data_dir: Path, answer: Answer) -> Iterator[list[Any]]:
    """A collector whose worker answers the first replay; hands out what was asked for."""
    asked: list[Any] = []
    lock = asyncio.run(lock_data_dir(data_dir))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.wait(0.01):
            if (request := next_request(data_dir)) is not None:
                asked.append(begin(data_dir, request))
                answer.id = request.id
                finish(data_dir, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        stopped.set()
        thread.join()
        os.close(lock)


def test_replay_says_what_became_of_each_group(data_dir: Path) -> None:
    """And leaves no answer behind; exit code 1 while some stay."""
    answer = Answer("")
    for outcome in ("stored", "stored", "refused"):
        answer.count("elastic", "document_parsing_exception", outcome).reason = "illegal_argument_exception: limit\x1b"
    answer.count(PIPELINE, "bad_payload", "unsent")
    answer.tell("output elastic: HTTP 503")
    with worker(data_dir, answer) as asked:
        people = tidewaiter(data_dir, "replay", "--all")
        programs = tidewaiter(data_dir, "replay", "--output", "elastic", "--reason", "too_large", "--json")

    assert people.stdout.splitlines() == [
        "elastic: document_parsing_exception: 2 stored, 1 refused again",
        r"    illegal_argument_exception: limit\x1b",
        "pipeline: bad_payload: 1 without a document that could be offered",
        "not all: output elastic: HTTP 503",
        "2 stored, 2 stay dead letters",
    ]
    assert (people.exit_code, programs.exit_code) == (1, 1)
    assert objects(programs)[0] == {
        "output": "elastic",
        "reason": "document_parsing_exception",
        "words": "illegal_argument_exception: limit\x1b",
        "stored": 2,
        "refused": 1,
        "waiting": 0,
        "unsent": 0,
    }
    assert objects(programs)[-1] == {"problem": "output elastic: HTTP 503"}
    assert [(list(each.selection.sources), list(each.selection.codes)) for each in asked] == [
        ([], []),
        (["elastic"], ["too_large"]),
    ]
    assert list(replays_folder(data_dir).iterdir()) == []


def test_replay_of_all_that_is_stored_is_a_success(data_dir: Path) -> None:
    """Exit code 0, and one line that says so."""
    answer = Answer("")
    answer.count("elastic", "too_large", "stored")
    with worker(data_dir, answer):
        result = tidewaiter(data_dir, "replay", f"dc{2:022d}")

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "All are stored: 1.")


def test_reasons_that_are_listed_apart_are_bounded() -> None:
    """A store that invents types of errors fills no memory."""
    groups = Groups()
    for number in range(GROUPS_LIMIT + 10):
        groups.add("elastic", refused(1, f"type{number}"))

    assert len(list(groups)) == GROUPS_LIMIT + 1
    assert sum(group.letters for group in groups) == GROUPS_LIMIT + 10
