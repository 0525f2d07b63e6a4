"""The trail of an Engine: every event once and in order, with its exec, across connections, lives and refusals."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from collector import telemetry
from collector.config_watchers import DockerEventsInputConfig
from collector.internal import InternalServer
from collector.journal.entry import Receipt
from collector.producer import JournalProducer, RejectedError
from collector.watchers import docker_client, docker_trail_waiting
from collector.watchers.docker_trail import follow as follow_trail
from collector.watchers.docker_trail_seam import TrailCursor, decoded_cursor, first_cursor
from collector.watchers.docker_trail_session import COMPARE_S, MEASURE_S, RECORDS_LIMIT_BYTES
from tests.kit.docker_stub import FIRST_EVENT_NS, MEMORY_EVENTS, EngineStub, hanging, identity_of
from tests.kit.memory_journal import MemoryJournal
from tests.kit.watching import KeptMessages

Follow = Callable[..., Any]


def actions(kept: KeptMessages) -> list[str]:
    """What was told: actions of events, and why there is a gap."""
    return [each["event"]["Action"] if each["kind"] == "event" else f"gap: {each['why']}" for each in kept.messages]


async def test_every_event_is_told_as_it_was_said(engine: EngineStub, follow: Follow) -> None:
    """Of whatever type, also one that nobody knows; under the input's name."""
    kept = follow().kept
    await engine.wait_streams()
    events = [
        engine.event("attach", "web"),
        engine.event("rename", "web", oldName="/old") | {"scope": "local"},
        engine.event("mount", "data") | {"Type": "volume"},
        engine.event("reload", "d") | {"Type": "daemon"},
        engine.event("think", "x") | {"Type": "mind", "New": {"deep": ["er"]}},
    ]
    await engine.send(*events)
    await kept.wait("event", 5)

    assert [{"kind": "event", "engine": "engine", "event": event} for event in events] == kept.messages
    assert {"": "trail of input engine"} == {reason: component for component, reason in kept.health.items()}


@pytest.mark.parametrize("told", range(5))
async def test_a_new_life_goes_on_behind_the_last_that_is_in_the_journal(
    engine: EngineStub, follow: Follow, told: int
) -> None:
    """Wherever the former was killed: what was said before, while nobody listened, and later is there once."""
    events = [engine.event(action, "web") for action in ("create", "start", "die", "destroy")]
    former = follow()
    await engine.wait_streams()
    for event in events[:told]:
        await engine.send(event)
    await former.kept.until(lambda: len(former.kept.messages) == told)
    await former.end()
    await engine.cut()
    await engine.send(*events[told:])
    ours = follow(cursor=await former.kept.cursor())
    await engine.wait_streams()
    await engine.emit("rename", "web")
    await ours.kept.until(lambda: "rename" in actions(ours.kept))

    assert ["create", "start", "die", "destroy", "rename"] == actions(former.kept) + actions(ours.kept)


async def test_a_connection_that_is_cut_costs_nothing(engine: EngineStub, follow: Follow) -> None:
    """What happened meanwhile is told, and nothing twice; the trail is not called ill for it."""
    kept = follow().kept
    for number in range(3):
        await engine.wait_streams()
        await engine.emit("start", f"web-{number}")
        await kept.wait("event", 2 * number + 1)
        await engine.cut()
        await engine.emit("die", f"web-{number}")
        await kept.wait("event", 2 * number + 2)

    assert ["start", "die"] * 3 == actions(kept)
    assert {""} == set(kept.told)


class SlowJournal(KeptMessages):
    """Takes the first message only when it is let."""

    def __init__(self) -> None:
        super().__init__(b'{"since_ns":1}')
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def append_all(self, messages: Any) -> None:
        """Keep messages."""
        self.asked.set()
        await self.let.wait()
        await super().append_all(messages)


async def test_long_events_with_long_execs_make_no_message_that_the_journal_cannot_take(
    engine: EngineStub, follow: Follow
) -> None:
    """Counted are records, with their execs: 64 of them may have 80 MiB."""
    kept = SlowJournal()
    follow(producer=kept)
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.asked.wait()
    long = "x" * 200_000
    for number in range(6):
        engine.execution(str(number), "web", "echo", long)
        await engine.emit_exec(str(number), "exec_start", command=f"echo {long}")
    await engine.wait_asked(f"/exec/{identity_of('5')}/json")
    kept.let.set()
    await kept.wait("event", 7)

    assert [identity_of(str(number)) for number in range(6)] == [each["exec"]["ID"] for each in kept.messages[1:]]
    assert max(map(len, kept.payloads)) <= RECORDS_LIMIT_BYTES


class ChoosyJournal(KeptMessages):
    """Never takes a message with a certain word."""

    def __init__(self) -> None:
        super().__init__(b'{"since_ns":1}')
        self.refused = asyncio.Event()

    async def append_all(self, messages: Any) -> None:
        """Keep messages."""
        if any(b"unbearable" in payload for payload, _ in messages):
            self.refused.set()
            raise RejectedError("the journal does not take it")
        await super().append_all(messages)


async def test_a_message_that_the_journal_never_takes_leaves_a_gap(engine: EngineStub, follow: Follow) -> None:
    """With the span of its events; the trail goes on behind it."""
    kept = ChoosyJournal()
    follow(producer=kept)
    await engine.wait_streams()
    first, lost, last = (engine.event(action, "web") for action in ("start", "unbearable", "die"))
    await engine.send(first)
    await kept.wait("event")
    await engine.send(lost)
    await kept.refused.wait()
    await engine.send(last)
    await kept.wait("event", 2)

    assert ["start", "gap: rejected", "die"] == actions(kept)
    assert (first["timeNano"], lost["timeNano"]) == tuple(kept.messages[1][name] for name in ("after_ns", "before_ns"))


async def test_the_lag_rises_while_the_journal_takes_nothing_and_nothing_comes(
    engine: EngineStub, follow: Follow
) -> None:
    """Also of events in hand; it falls when all is told."""
    lag = telemetry.WATCHER_TRAIL_LAG.labels(input="engine")
    kept = SlowJournal()
    watched = follow(producer=kept)
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.asked.wait()
    found = [0.0]
    for measured in (1, 2):
        while watched.pauses.asked.count(MEASURE_S) <= measured:
            watched.pauses.release()
            await asyncio.sleep(0)
        found.append(lag._value.get())
    kept.let.set()
    await kept.wait("event")
    while lag._value.get():  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)

    assert sorted(set(found)) == found


async def test_an_append_under_way_when_a_connection_is_lost_is_not_made_twice(
    engine: EngineStub, follow: Follow
) -> None:
    """The next connection begins behind it."""
    kept = SlowJournal()
    follow(producer=kept)
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.asked.wait()
    await engine.cut()
    kept.let.set()
    await engine.wait_streams()
    await engine.emit("die", "web")
    await kept.until(lambda: "die" in actions(kept))

    assert ["start", "die"] == actions(kept)


async def test_a_first_start_keeps_from_when_on_it_follows(engine: EngineStub, follow: Follow) -> None:
    """Though nothing happened: what happens until a next life is told then. Older events are nobody's."""
    await engine.send(engine.event("old", "web") | {"timeNano": FIRST_EVENT_NS - 60_000_000_000})
    started_ns = engine.now_ns
    watched = follow(cursor=b"")
    await engine.wait_streams()
    await watched.kept.until(lambda: bool(watched.kept.cursors))
    await watched.end()
    await engine.emit("start", "web")
    ours = follow(cursor=await watched.kept.cursor())
    await ours.kept.wait("event")

    assert first_cursor(started_ns) == decoded_cursor(await watched.kept.cursor())
    assert ([], ["start"]) == (actions(watched.kept), actions(ours.kept))


async def test_an_engine_that_restarted_leaves_one_gap(engine: EngineStub, follow: Follow) -> None:
    """With its span and the containers that came and went; also where we end just behind it."""
    engine.add("stays")
    goes = engine.add("goes")
    watched = follow()
    await engine.wait_streams()
    await engine.emit("start", "goes")
    await watched.kept.wait("event")
    last_ns = watched.kept.messages[-1]["event"]["timeNano"]
    await engine.stop()
    del engine.containers[goes]
    comes = engine.add("comes")
    await engine.start()
    gap = await watched.kept.wait("gap")
    await engine.wait_streams()
    await watched.end()
    ours = follow(cursor=await watched.kept.cursor())
    await engine.wait_streams()
    await engine.emit("die", "stays")
    await ours.kept.wait("event")

    assert ["start", "gap: engine_restarted"] == actions(watched.kept)
    assert (last_ns, last_ns) == (gap["after_ns"], gap["before_ns"])
    assert [{"id": comes, "name": "comes", "image": "acme/bb:1.2"}] == gap["appeared"]
    assert ([goes], []) == ([each["id"] for each in gap["gone"]], gap["changed"])
    assert ["die"] == actions(ours.kept)


async def test_more_than_an_engine_remembers_leaves_one_gap(engine: EngineStub, follow: Follow) -> None:
    """Told before what is remembered; with what was known of containers in our former life."""
    watched = follow()
    await engine.wait_streams()
    await engine.emit("start", "web")
    await watched.kept.wait("event")
    await watched.containers.until(lambda: bool(watched.containers.cursors))
    await watched.end()
    comes = engine.add("comes")
    events = [engine.event("kill", "web") for _ in range(MEMORY_EVENTS + 1)]
    await engine.send(*events)
    ours = follow(cursor=await watched.kept.cursor(), known=await watched.containers.cursor())
    await ours.kept.wait("event", MEMORY_EVENTS)

    assert ["gap: memory_exceeded", *["kill"] * MEMORY_EVENTS] == actions(ours.kept)
    gap = ours.kept.messages[0]
    assert events[1]["timeNano"] == gap["before_ns"]
    assert [comes] == [each["id"] for each in gap["appeared"]]


async def test_a_gap_of_which_nothing_was_known_before_names_no_containers(engine: EngineStub, follow: Follow) -> None:
    """Rather than to say that none came and none went."""
    engine.add("web")
    kept = follow(cursor=TrailCursor(time_ns=5, keys=b"nobody" * 3).encoded()).kept
    gap = await kept.wait("gap")

    assert {"kind", "engine", "why", "after_ns", "before_ns"} == gap.keys()


@pytest.mark.parametrize("line", [b'{"Type":\n', b"[]\n"])
async def test_events_that_cannot_be_read_leave_one_gap(engine: EngineStub, follow: Follow, line: bytes) -> None:
    """In their place; those behind it are told, and of many gaps few lists are made."""
    watched = follow()
    kept = watched.kept
    await engine.wait_streams()
    first, last = engine.event("start", "web"), engine.event("die", "web")
    await engine.send(first, line, line, last, line)
    await kept.wait("gap", 2)

    assert ["start", "gap: unreadable", "die", "gap: unreadable"] == actions(kept)
    assert (first["timeNano"], last["timeNano"]) == tuple(kept.messages[1][name] for name in ("after_ns", "before_ns"))
    assert COMPARE_S in watched.pauses.asked


async def test_an_unreadable_event_that_was_told_is_not_told_again_at_each_connection(
    engine: EngineStub, follow: Follow
) -> None:
    """The Engine remembers it like any other, and an event behind it was told."""
    kept = follow().kept
    await engine.wait_streams()
    first, last = engine.event("start", "web"), engine.event("die", "web")
    await engine.send(first, b"[]\n", last)
    engine._stored.insert(1, (first["timeNano"], b"[]\n"))
    await kept.wait("event", 2)
    await engine.cut()
    await engine.wait_streams()
    await engine.emit("destroy", "web")
    await kept.wait("event", 3)

    assert ["start", "gap: unreadable", "die", "destroy"] == actions(kept)


async def test_an_unreadable_event_with_nothing_behind_it_is_told_once(engine: EngineStub, follow: Follow) -> None:
    """Not at each connection; one of the same bytes that comes later is another one."""
    kept = follow().kept
    await engine.wait_streams()
    first = engine.event("start", "web")
    await engine.send(first, b"[]\n")
    engine._stored.append((first["timeNano"], b"[]\n"))
    await kept.wait("gap")
    for _ in range(2):
        await engine.cut()
        await engine.wait_streams()
    await engine.emit("die", "web")
    await kept.wait("event", 2)
    await engine.send(b"[]\n")
    await kept.wait("gap", 2)

    assert ["start", "gap: unreadable", "die", "gap: unreadable"] == actions(kept)


async def test_a_separator_before_an_event_is_no_part_of_it(engine: EngineStub, follow: Follow) -> None:
    """As `application/json-seq` has it, in many pieces."""
    kept = follow().kept
    await engine.wait_streams()
    line = b"\x1e" + json.dumps(engine.event("start", "web")).encode() + b"\n"
    for at in range(0, len(line), 7):
        await engine.send(line[at : at + 7])
    await kept.wait("event")

    assert ["start"] == actions(kept)


async def test_more_than_may_wait_leaves_one_gap(
    engine: EngineStub, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal took nothing for long; what the Engine tells meanwhile is read, and counted as lost."""
    monkeypatch.setattr(docker_trail_waiting, "EVENTS_LIMIT", 4)
    kept = SlowJournal()
    follow(producer=kept)
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.asked.wait()
    await engine.send(*(engine.event(f"kill-{number}", "web") for number in range(10)))
    kept.let.set()
    await kept.wait("event", 5)
    await kept.wait("gap")
    await engine.emit("die", "web")
    await kept.until(lambda: "die" in actions(kept))

    assert ["start", *(f"kill-{number}" for number in range(4)), "gap: overflow", "die"] == actions(kept)


async def test_time_that_goes_back_loses_nothing(engine: EngineStub, follow: Follow) -> None:
    """In a stream, and while nobody listens."""
    watched = follow()
    await engine.wait_streams()
    earlier = [engine.event(f"past-{number}", "web") for number in range(2)]
    await engine.emit("start", "web")
    await engine.send(earlier[0])
    await watched.kept.wait("event", 2)
    await watched.end()
    await engine.send(earlier[1] | {"timeNano": earlier[0]["timeNano"] - 1})
    ours = follow(cursor=await watched.kept.cursor())
    await ours.kept.wait("event")

    assert ["start", "past-0", "past-1"] == actions(watched.kept) + actions(ours.kept)


@pytest.mark.parametrize("path", ["/version", "/events", "/containers/json"])
@pytest.mark.parametrize("status", [403, 500])
async def test_a_refusal_is_told_and_tried_again(engine: EngineStub, follow: Follow, path: str, status: int) -> None:
    """Until it is none any more."""
    engine.answers[path] = web.json_response({"message": "not for you"}, status=status)
    kept = follow().kept
    await engine.wait_asked(path, 4)
    told = [reason for reason in kept.told if "not for you" in reason]
    del engine.answers[path]
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.wait("event")

    assert told
    assert "" == kept.health["trail of input engine"]
    assert ["start"] == actions(kept)


async def test_without_what_an_engine_says_of_itself_it_goes_on(engine: EngineStub, follow: Follow) -> None:
    """A proxy may refuse that."""
    engine.answers["/info"] = web.Response(status=403)
    kept = follow().kept
    await engine.wait_streams()
    await engine.emit("start", "web")
    await kept.wait("event")

    assert ["start"] == actions(kept)


async def test_an_engine_that_hangs_is_noticed_by_the_sign_of_life(
    engine: EngineStub, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And connected to again."""
    watched = follow()
    await engine.wait_streams()
    await engine.emit("start", "web")
    await watched.kept.wait("event")
    monkeypatch.setattr(docker_client, "REQUEST_LIMIT_S", 0.05)
    engine.answers["/version"] = hanging
    watched.pauses.release()
    await engine.wait_streams(0)
    del engine.answers["/version"]
    await engine.wait_streams()
    await engine.emit("die", "web")
    await watched.kept.wait("event", 2)

    assert ["start", "die"] == actions(watched.kept)


async def test_nothing_but_get_is_sent(engine: EngineStub, follow: Follow) -> None:
    """Through a whole life: execs, a cut, a gap, a ping."""
    engine.execution("id", "web", "id")
    watched = follow()
    await engine.wait_streams()
    await engine.emit_exec("id", "exec_create", "exec_start", "exec_die")
    await engine.send(b"{\n")
    await watched.kept.wait("gap")
    watched.pauses.release()
    await engine.wait_asked("/version", 2)
    await engine.cut()
    await engine.wait_streams()

    assert {"GET"} == {method for method, _ in engine.requests}
    assert 8 < len(engine.requests)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where an intake's socket is."""
    return tmp_path / "run" / "intake.sock"


@pytest.mark.parametrize(
    "receipts",
    [
        [],
        [Receipt.RETRY, Receipt.RETRY],
        [Receipt.DURABLE, Receipt.RETRY],
        [Receipt.DURABLE, Receipt.DURABLE, Receipt.RETRY],
    ],
)
async def test_each_event_is_in_the_journal_once_whatever_it_answers(
    engine: EngineStub, follow: Follow, socket: Path, receipts: list[Receipt]
) -> None:
    """It takes nothing now, at the beginning or between; in a life that is ended and in the next."""
    journal = MemoryJournal()
    journal.receipts = receipts
    server = InternalServer(journal, socket)
    await server.start()

    def told() -> list[str]:
        lines = [line for entry in journal.entries for part in entry.payload for line in bytes(part).split(b"\n")]
        return [json.loads(line)["event"]["Action"] for line in lines if line]

    for life in range(2):
        async with JournalProducer(socket, "trail-engine", encoding="docker-event") as producer:
            watched = follow(producer=producer)
            await engine.wait_streams()
            for number in range(2):
                await engine.emit(f"{life}-{number}", "web")
            while len(told()) < 2 * life + 2:  # noqa: ASYNC110 - the journal is no product of ours to be told by
                await asyncio.sleep(0)
            await watched.end()
            await engine.cut()
    await server.close()

    assert ["0-0", "0-1", "1-0", "1-1"] == told()


async def test_an_input_that_is_called_like_the_list_of_another_loses_nothing(engine: EngineStub, socket: Path) -> None:
    """`engine` keeps a list of containers, and an input may be called `engine-containers`."""
    journal = MemoryJournal()
    server = InternalServer(journal, socket)
    await server.start()
    engine.add("web")
    names = ("engine", "engine-containers")
    context: Any = SimpleNamespace(data_dir=socket.parent.parent, healthy=lambda _: None, unhealthy=lambda *_: None)
    tasks = [
        asyncio.create_task(follow_trail(each, DockerEventsInputConfig(url=engine.url), context)) for each in names
    ]
    while len(journal.produced) < 2 * len(names):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.close()

    assert {name for each in names for name in (f"trail-{each}", f"trail-containers/{each}")} == set(journal.produced)
