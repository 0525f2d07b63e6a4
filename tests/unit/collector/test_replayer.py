"""Replays of dead letters against a server that answers as it is told: none lost, none doubled, none in silence."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from collector.dead_letters import PIPELINE, DeadLetterFile, read_letters
from collector.outputs.output import Output
from collector.replayer import STARTS_LIMIT, replay_asked
from collector.replays import (
    ANSWERS_KEPT,
    GROUPS_LIMIT,
    WAITING_LIMIT,
    Answer,
    Group,
    ReplayError,
    Request,
    Selection,
    answer_to,
    ask,
    begin,
    next_request,
    replays_folder,
)
from pipelines.frame import Position
from tests.kit.bulk_server import BulkServer, answer, bulk_server
from tests.kit.replays import context_of, document, keep, left, letter, quick_output, replayed

ERROR = {"type": "document_parsing_exception", "reason": "failed to parse"}


@pytest.fixture
async def server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    async with bulk_server() as scripted:
        yield scripted


def audit(data_dir: Path) -> list[dict[str, Any]]:
    """What was left for the audit trail."""
    return [json.loads(path.read_bytes()) for path in sorted((data_dir / "audit").glob("*.json"))]


def refusing(server: BulkServer, *ids: str) -> Any:
    """A reply that refuses these documents and stores the others."""

    async def reply(_request: web.Request, lines: list[str]) -> web.Response:
        items = []
        for action, line in zip(lines[::2], lines[1::2], strict=True):
            identifier = json.loads(action)["create"]["_id"]
            if identifier not in ids:
                server.store([action, line])
            items.append({"create": {"status": 400, "error": ERROR} if identifier in ids else {"status": 201}})
        return answer(items)

    return reply


async def test_what_is_stored_is_a_letter_no_more(server: BulkServer, tmp_path: Path) -> None:
    """Under the id that it had, in its own data stream, with event.ingested of now; an audit record tells of it."""
    keep(tmp_path, letter(1), letter(2, content=document(2, "nginx.access")), letter(3))
    found = await replayed(tmp_path, server)

    assert found.groups == [Group("elastic", "old_reason", stored=3)]
    assert (found.done, found.problems, left(tmp_path)) == (True, [], [])
    assert sorted(server.stored) == [f"dc{number:022d}" for number in (1, 2, 3)]
    assert {name.partition("/_bulk")[0] for name in server.targets} == {
        "/logs-tidewaiter.container-default",
        "/logs-nginx.access-default",
    }
    assert all("ingested" in each["event"] for each in server.stored.values())
    (record,) = audit(tmp_path)
    assert (record["action"], record["outcome"], record["details"]["stored"]) == ("replay", "success", 3)
    assert next_request(tmp_path) is None


async def test_what_the_store_has_already_is_there_once(server: BulkServer, tmp_path: Path) -> None:
    """Its id is the same, so the store answers 409: stored."""
    keep(tmp_path, letter(1), letter(2))
    server.has(f"dc{1:022d}", {"message": "as it was"})
    found = await replayed(tmp_path, server)

    assert found.groups == [Group("elastic", "old_reason", stored=2)]
    assert server.stored[f"dc{1:022d}"] == {"message": "as it was"}
    assert left(tmp_path) == []


async def test_what_is_refused_again_stays_and_its_tries_are_counted(server: BulkServer, tmp_path: Path) -> None:
    """With the newer reason; the others are stored."""
    keep(tmp_path, *map(letter, range(5)))
    for tries in (2, 3):
        server.script = [refusing(server, f"dc{3:022d}")]
        found = await replayed(tmp_path, server)
        (stays,) = left(tmp_path)

        assert found.left == 1
        assert (stays.document_id, stays.code, stays.reason) == (f"dc{3:022d}", ERROR["type"], ERROR["reason"])
        assert (stays.tries, bool(stays.tried)) == (tries, True)
    assert found.groups == [
        Group("elastic", ERROR["type"], refused=1, reason="document_parsing_exception: failed to parse")
    ]
    assert [record["outcome"] for record in audit(tmp_path)] == ["success", "failure"]


async def test_only_what_is_chosen_is_offered(server: BulkServer, tmp_path: Path) -> None:
    """By output, reason, time and ids: letter's or document's."""
    keep(tmp_path, *map(letter, range(10)), letter(20, code="too_large"))
    keep(tmp_path, letter(30, source="other"), source="other")
    for selection, numbers in (
        (Selection(sources=["other"]), [30]),
        (Selection(codes=["too_large"]), [20]),
        (Selection(since="2026-11-29T00:00:08.000000000Z", until="2026-11-29T00:00:09.000000000Z"), [8]),
        (Selection(ids=[letter(1).id, f"dc{2:022d}"]), [1, 2]),
        (Selection(sources=["nobody"]), []),
    ):
        server.stored.clear()
        await replayed(tmp_path, server, selection)
        assert [f"dc{number:022d}" for number in numbers] == sorted(server.stored)
    assert [each.position.sequence for each in left(tmp_path)] == [0, 3, 4, 5, 6, 7, 9]


async def test_a_file_of_which_nothing_is_chosen_stays_open(server: BulkServer, tmp_path: Path) -> None:
    """Else each replay, by a time or a reason, would leave one more file, and nothing puts them together."""
    keep(tmp_path, letter(1))
    files = DeadLetterFile(tmp_path, "elastic").files
    for codes in (["another"], ["old_reason"]):
        assert files == DeadLetterFile(tmp_path, "elastic").files
        await replayed(tmp_path, server, Selection(codes=codes))

    assert [] == DeadLetterFile(tmp_path, "elastic").files


async def test_a_worker_killed_in_the_middle_goes_on_without_loss_or_doubles(
    server: BulkServer, tmp_path: Path
) -> None:
    """What was stored before and not taken out yet is offered again under its id; what was done is not begun anew."""
    keep(tmp_path, *map(letter, range(6)), file_bytes=1100)
    reached = asyncio.Event()

    async def hang(_request: web.Request, lines: list[str]) -> web.Response:
        server.store(lines)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.script = [refusing(server, f"dc{1:022d}"), hang]
    request = ask(tmp_path, Selection())
    first = asyncio.create_task(replay_asked(context_of(tmp_path, server), make_output=quick_output))
    await asyncio.wait_for(reached.wait(), 10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    before = [each.position.sequence for each in left(tmp_path)]
    await replay_asked(context_of(tmp_path, server), make_output=quick_output)
    found = answer_to(tmp_path, request)

    assert (0 in before, 1 in before, before[-1]) == (False, True, 5)
    assert [(each.position.sequence, each.tries) for each in left(tmp_path)] == [(1, 2)]
    assert [f"dc{number:022d}" for number in (0, 2, 3, 4, 5)] == sorted(server.stored)
    assert (found.total("stored"), found.total("refused")) == (5, 1)
    offered = [each for ids in server.requests for each in ids]
    assert offered.count(f"dc{1:022d}") == 1


async def test_a_replay_ends_when_the_output_waits_for_long(server: BulkServer, tmp_path: Path) -> None:
    """All stay, the problem is told, and who follows the journal is not concerned."""
    keep(tmp_path, *map(letter, range(4)), file_bytes=600)
    request = ask(tmp_path, Selection())
    context = context_of(tmp_path, server)
    server.root_script = [(503, "{}")] * 1000
    await replay_asked(context, make_output=quick_output, patience_s=0.05)
    found = answer_to(tmp_path, request)

    assert found.groups == [Group("elastic", "old_reason", waiting=4)]
    assert found.problems == ["output elastic: HTTP 503"]
    assert [each.tries for each in left(tmp_path)] == [1] * 4
    assert audit(tmp_path)[0]["outcome"] == "failure"


@pytest.mark.parametrize(
    "more",
    [
        {"content": document(1) + b'\n{"create":{"_id":"forged"}}\n' + document(2)},
        {"content": document(1).replace(b',"message"', b',\n"message"')},
        {"content": b'{"a":1}'},
        {"content": document(1)[:-1]},
        {"document_id": 'x"}}\n{"create":{"_id":"y'},
        {"document_id": None},
        {"payload": "no Base64!"},
        {"stream": "logs-x/../../_all-default/_bulk"},
        {"stream": "logs-tidewaiter.container-default?pipeline=x"},
        {"stream": "logs"},
    ],
)
async def test_what_is_no_document_of_ours_is_not_sent(
    server: BulkServer, tmp_path: Path, more: dict[str, Any]
) -> None:
    """A file may hold anything: no line of it becomes a bulk action, an id or a request's address; the others go."""
    keep(tmp_path, letter(0), letter(1, **more))
    found = await replayed(tmp_path, server)

    assert found.groups == [Group("elastic", "old_reason", stored=1, unsent=1)]
    assert list(server.stored) == [f"dc{0:022d}"]
    assert [each.position.sequence for each in left(tmp_path)] == [1]


async def test_a_damaged_letter_stays_and_the_others_go(server: BulkServer, tmp_path: Path) -> None:
    """Nothing is made of it, and its bytes are kept."""
    keep(tmp_path, letter(0), letter(1), letter(2))
    path = DeadLetterFile(tmp_path, "elastic").path
    path.write_bytes(path.read_bytes().replace(b"00:00:01", b"00:00:99"))
    await replayed(tmp_path, server)
    places: list[str] = []

    assert list(read_letters(tmp_path, "elastic", damaged=places.append)) == []
    assert len(places) == 1
    assert sorted(server.stored) == [f"dc{number:022d}" for number in (0, 2)]


async def test_letters_of_an_output_that_is_no_more_can_go_to_another(server: BulkServer, tmp_path: Path) -> None:
    """Without its name they stay, and what to do is said."""
    keep(tmp_path, letter(1, source="gone"), source="gone")
    without = await replayed(tmp_path, server)
    to_store = await replayed(tmp_path, server, to="store")
    to_other = await replayed(tmp_path, server, to="other")

    assert without.problems == [
        "output gone is not in the configuration: name another by --to, of elastic, other, store"
    ]
    assert to_store.problems == ["output store: it refuses nothing, and takes no replays"]
    assert [each.groups[0].waiting for each in (without, to_store)] == [1, 1]
    assert to_other.groups == [Group("gone", "old_reason", stored=1)]
    assert list(server.stored) == [f"dc{1:022d}"]


async def test_bytes_that_are_no_record_are_left(server: BulkServer, tmp_path: Path) -> None:
    """The pipeline's letters hold no document."""
    keep(tmp_path, letter(1, source=PIPELINE, document_id=None, content=b"\xc1"), source=PIPELINE)
    found = await replayed(tmp_path, server)

    assert found.groups == [Group(PIPELINE, "old_reason", unsent=1)]
    assert (len(left(tmp_path, PIPELINE)), server.requests) == (1, [])


async def test_what_ends_the_worker_again_and_again_is_given_up(server: BulkServer, tmp_path: Path) -> None:
    """A replay is tried by three workers, not for ever."""
    keep(tmp_path, letter(1))
    request = ask(tmp_path, Selection())
    for _ in range(STARTS_LIMIT):
        request = begin(tmp_path, request)
    await replay_asked(context_of(tmp_path, server), make_output=quick_output)
    found = answer_to(tmp_path, request)

    assert found.done
    assert found.problems == ["given up: the worker ended 3 times in the middle of it, see its log"]
    assert (len(left(tmp_path)), server.requests, next_request(tmp_path)) == (1, [], None)


async def test_only_one_worker_replays(server: BulkServer, tmp_path: Path) -> None:
    """While one is taking over from another, none offers what the other does."""
    keep(tmp_path, letter(1))
    reached, release = asyncio.Event(), asyncio.Event()

    async def wait(_request: web.Request, lines: list[str]) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return server.store(lines)

    server.script = [wait]
    ask(tmp_path, Selection())
    first = asyncio.create_task(replay_asked(context_of(tmp_path, server), make_output=quick_output))
    await asyncio.wait_for(reached.wait(), 10)
    await replay_asked(context_of(tmp_path, server), make_output=quick_output)
    during = len(server.requests)
    release.set()
    await first

    assert (during, len(server.requests), left(tmp_path)) == (1, 1, [])


async def test_a_request_that_cannot_be_read_is_answered(server: BulkServer, tmp_path: Path) -> None:
    """It harms no other."""
    keep(tmp_path, letter(1))
    request = ask(tmp_path, Selection())
    broken = Request(f"{1:020}-1", "", 0, Selection())
    (replays_folder(tmp_path) / f"{broken.id}.json").write_bytes(b"{")
    await replay_asked(context_of(tmp_path, server), make_output=quick_output)

    assert answer_to(tmp_path, broken).problems == ["what was asked for cannot be read"]
    assert answer_to(tmp_path, request).total("stored") == 1


async def test_an_output_that_fails_leaves_its_letters(server: BulkServer, tmp_path: Path) -> None:
    """A certificate that cannot be read, say: told as the problem; the worker goes on."""
    keep(tmp_path, letter(1))

    def broken(*_: Any) -> Output:
        class Broken:
            def resume(self, cursor: Position | None) -> Position | None:
                return cursor

            async def run(self, _source: Any) -> None:
                raise PermissionError(13, "Permission denied", "/run/secrets/es")

        return Broken()

    request = ask(tmp_path, Selection())
    await replay_asked(context_of(tmp_path, server), make_output=broken)

    assert answer_to(tmp_path, request).problems == ["output elastic: /run/secrets/es: Permission denied"]
    assert answer_to(tmp_path, request).groups == [Group("elastic", "old_reason", waiting=1)]
    assert len(left(tmp_path)) == 1


@contextmanager
def failing_take_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that has no room for a file written anew."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterFile, "take_out", full)
        yield


async def test_on_a_full_disk_what_was_stored_is_offered_again(
    server: BulkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letters stay, the problem is told; the next replay finds them stored, and takes them out."""
    keep(tmp_path, letter(1), letter(2))
    with failing_take_out(monkeypatch):
        first = await replayed(tmp_path, server)
    second = await replayed(tmp_path, server)

    assert first.problems == [
        "output elastic: what was stored stays a letter, for elastic.000001.ndjson cannot be written anew: "
        "No space left on device"
    ]
    assert (second.total("stored"), left(tmp_path), len(server.stored)) == (2, [], 2)


async def test_many_letters_go_in_portions(server: BulkServer, tmp_path: Path) -> None:
    """No request and no memory grows with their number."""
    file = DeadLetterFile(tmp_path, "elastic")
    file.open(None)
    file.append([letter(number, content=document(number).ljust(1000)) for number in range(12_000)])
    server.script = [refusing(server, f"dc{7:022d}")]
    found = await replayed(tmp_path, server)

    assert (found.total("stored"), found.total("refused")) == (11_999, 1)
    assert [each.position.sequence for each in left(tmp_path)] == [7]
    assert max(map(len, server.requests)) <= 5_000


async def test_a_store_that_refuses_all_of_them_is_asked_once(server: BulkServer, tmp_path: Path) -> None:
    """New documents wait until such a stream is mended; letters are kept anyway, so who asked is told at once."""
    file = DeadLetterFile(tmp_path, "elastic")
    file.open(None)
    file.append([letter(number) for number in range(3_000)])
    server.script = [refusing(server, *(f"dc{number:022d}" for number in range(3_000)))] * 20
    found = await replayed(tmp_path, server)

    assert (found.total("refused"), found.left, found.problems) == (3_000, 3_000, [])
    assert {each.tries for each in left(tmp_path)} == {2}


def test_replays_that_wait_are_bounded(tmp_path: Path) -> None:
    """Nobody takes them up: the next is refused."""
    for _ in range(WAITING_LIMIT):
        ask(tmp_path, Selection())

    with pytest.raises(ReplayError, match="100 replays wait already"):
        ask(tmp_path, Selection())


async def test_answers_that_nobody_fetches_are_bounded(server: BulkServer, tmp_path: Path) -> None:
    """The newest stay."""
    for _ in range(ANSWERS_KEPT + 5):
        await replayed(tmp_path, server)

    assert len(list(replays_folder(tmp_path).glob("*.answer"))) == ANSWERS_KEPT


def test_reasons_that_are_told_apart_are_bounded() -> None:
    """A store that invents types of errors fills no memory."""
    found = Answer("x")
    for number in range(2 * GROUPS_LIMIT):
        found.count("elastic", f"type{number}", "refused")

    assert len(found.groups) <= GROUPS_LIMIT + 1
    assert found.total("refused") == 2 * GROUPS_LIMIT
