"""Every way to enter or touch a container (`tests.e2e.ways`) is told by its documents: none missing, none doubled.

On a real Engine, in whole, through kills of the collector and a restart of the Engine.
"""

import asyncio
import collections
import concurrent.futures
import json
import math
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from collector.store.lucene import translate
from collector.store.reader import Choice, open_store
from tests.e2e.ways import RESIDENT, Scene, Told, Way, prepare, ways
from tests.kit import image_registry
from tests.kit.docker_engine import DockerEngine
from tests.kit.ecs import Schema
from tests.kit.engine_events import EngineEvents, Heard
from tests.kit.image_registry import ImageRegistry
from tests.kit.journals import end_of_files, frames_in, messages_of, read_all
from tests.kit.read_only_proxy import WITH_EXECS, ReadOnlyProxy
from tests.kit.running import CollectorError, RunningCollector, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SCHEMA: Final = Schema(Path(__file__).parents[1] / "data")
TRAIL: Final = "event.dataset:docker.events"
TOLD_WITHIN_S: Final = 60.0
AT_LEAST: Final = 40
EXECS: Final = 200

Document = dict[str, Any]
Key = tuple[int, str, str]


class Player:
    """Does one way after the other, and keeps what the Engine itself told of each."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.told: list[tuple[Way, Told, list[Heard]]] = []

    def play(self, listed: Sequence[Way], meanwhile: Mapping[str, Callable[[], object]] | None = None) -> None:
        """Do these; `meanwhile` is done while the way of that name is."""
        for way in listed:
            beside = threading.Thread(target=(meanwhile or {}).get(way.name, lambda: None))
            before = len(self.scene.events.heard())
            beside.start()
            made = way.act(self.scene)
            told = made if isinstance(made, tuple) else way.told
            heard = self.scene.events.wait(partial(_is_whole, told, before), way.name)
            beside.join()
            self.told.append((way, told, heard[before:]))

    def places(self) -> list[tuple[Way, Told, list[Heard]]]:
        """Return what was told of each, with what came late where it belongs."""
        placed: list[tuple[Way, Told, list[Heard]]] = []
        for way, told, heard in self.told:
            placed.append((way, told, []))
            for each in heard:
                is_late = f"{each.name}+" not in told and each.name not in told and len(placed) > 1
                placed[-2 if is_late and f"{each.name}+" in placed[-2][1] else -1][2].append(each)
        return placed

    def all_keys(self) -> list[Key]:
        """All that was told."""
        return [(each.time_ns, each.kind, each.action) for _, _, heard in self.told for each in heard]


def _bounds(told: Told) -> dict[str, tuple[float, float]]:
    """Return how often each name may come."""
    counts = collections.Counter(told)
    bounds: dict[str, tuple[float, float]] = {}
    for name, count in counts.items():
        plain = name.rstrip("+*")
        least, most = bounds.get(plain, (0, 0))
        bounds[plain] = (least + (0 if name[-1] == "*" else count), math.inf if plain != name else most + count)
    return bounds


def _is_whole(told: Told, before: int, heard: Sequence[Heard]) -> bool:
    counts = collections.Counter(each.name for each in heard[before:])
    return all(counts[name] >= least for name, (least, _) in _bounds(told).items())


def key_of(document: Document) -> Key:
    """Return what tells a document from others: its time, of what it is, and what was done."""
    date = document["@timestamp"].removesuffix("Z")
    second, _, fraction = date.partition(".")
    time_ns = int(datetime.fromisoformat(f"{second}+00:00").timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    return time_ns, document["tidewaiter"]["docker"]["type"], document["event"]["action"]


def value_of(document: Document, path: str) -> Any:
    """Return a field's value, None where there is none."""
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def assert_told(player: Player, documents: Sequence[Document]) -> None:
    """Check of each way that the Engine told what the list says, and that the documents say the same, once each."""
    by_key = {key_of(each): each for each in documents}
    for way, told, heard in player.places():
        counts, bounds = collections.Counter(each.name for each in heard), _bounds(told)
        for name in {*counts, *bounds}:
            least, most = bounds.get(name, (0, 0))
            assert least <= counts[name] <= most, (way.name, name, counts)
        for action, fields in way.says.items():
            made = [
                by_key[key] for each in heard if each.action == action and (key := (each.time_ns, each.kind, action))
            ]
            for field, expected in fields.items():
                for each in made:
                    assert (way.name, action, field, expected) == (way.name, action, field, value_of(each, field))


class Playground:
    """An Engine, a collector that follows it through a proxy, and who plays."""

    def __init__(self, collector: RunningCollector, proxy: ReadOnlyProxy) -> None:
        self.collector = collector
        self._proxy = proxy

    def wait_followed(self) -> None:
        """Wait until the Engine's events are read."""
        self._wait(lambda: self.collector.metric("tidewaiter_watcher_trail_connected", input="engine") == 1, "followed")

    def documents(self) -> list[Document]:
        """All of the trail, as `tidewaiter search` gives them."""
        return self.collector.search(TRAIL, "--limit", "100000")

    def records(self) -> list[Document]:
        """All that the watcher wrote into the journal."""
        journal = self.collector.data_dir / "journal"
        messages = [
            each for frame in frames_in(read_all(journal, end_of_files(journal))) for each in messages_of(frame)
        ]
        told = [each.payload for each in messages if each.encoding == "docker-event"]
        return [json.loads(line) for each in told for line in each.split(b"\n")]

    def wait_told(self, keys: Sequence[Key]) -> list[Document]:
        """Wait until of each of these there is a document; return all of the trail."""
        found: list[Document] = []

        def are_there() -> bool:
            found[:] = self.documents()
            return set(keys) <= set(map(key_of, found))

        try:
            self._wait(are_there, "all documents")
        except CollectorError as error:
            raise AssertionError(f"missing: {sorted(set(keys) - set(map(key_of, found)))}") from error
        return found

    def check(self, documents: Sequence[Document]) -> None:
        """Check what holds of all of them: valid, as many as records, and nothing but GET reached the Engine."""
        assert [] == [problem for each in documents for problem in SCHEMA.problems(each)]
        assert [] == list((self.collector.data_dir / "dead-letters").glob("*.ndjson"))
        assert len(self.records()) == len(documents)
        assert {"GET"} == {method for method, _ in self._proxy.requests}

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        wait_until(holds, timeout_s=TOLD_WITHIN_S, what=what, poll_s=0.1)


@pytest.fixture
async def proxy(own_docker: DockerEngine, tmp_path: Path) -> AsyncIterator[ReadOnlyProxy]:
    """A proxy before the Engine that lets reading pass and writes down whatever is asked."""
    async with ReadOnlyProxy(tmp_path / "proxy.sock", own_docker.address, passes=WITH_EXECS) as each:
        yield each


@pytest.fixture
def playground(start_collector: Callable[..., RunningCollector], proxy: ReadOnlyProxy) -> Callable[[], Playground]:
    """Start a collector that follows the Engine."""

    def start() -> Playground:
        engine = {"type": "docker_events", "url": proxy.url}
        # What was delivered stays in the journal, to be counted.
        settings = {"inputs": {"engine": engine}, "journal": {"archive": "1d"}}
        made = Playground(start_collector(settings=settings), proxy)
        made.wait_followed()
        return made

    return start


@pytest.fixture
def scene(own_docker: DockerEngine, tmp_path: Path) -> Iterator[Scene]:
    """Where it is done; with a registry where one is built."""
    folder = tmp_path / "scene"
    folder.mkdir()
    with ExitStack() as stack:
        events = stack.enter_context(EngineEvents(own_docker.address))
        is_built = image_registry.program().is_file()
        registry = stack.enter_context(ImageRegistry()).address if is_built else ""
        made = Scene(own_docker, events, folder, registry)
        prepare(made)
        yield made


async def test_each_way_is_told_once(scene: Scene, playground: Callable[[], Playground]) -> None:
    """While nothing happens to anybody."""

    def live() -> None:
        ground, player = playground(), Player(scene)
        begun_ns = time.time_ns()
        player.play(list(ways(scene)))
        found = ground.wait_told(player.all_keys())
        mine = [each for each in found if key_of(each)[0] >= begun_ns]
        assert collections.Counter(player.all_keys()) == collections.Counter(map(key_of, mine))
        assert_told(player, mine)
        assert AT_LEAST <= len(player.told)
        ground.check(found)
        assert 0 == ground.collector.stop()

    await asyncio.to_thread(live)


async def test_each_way_is_told_once_though_the_collector_is_killed(
    scene: Scene, playground: Callable[[], Playground]
) -> None:
    """All its processes at once, while something is done, twice; meanwhile the Engine remembers."""

    def live() -> None:
        ground, player = playground(), Player(scene)
        begun_ns = time.time_ns()
        listed = list(ways(scene))
        kills = dict.fromkeys(("exec that is killed", "run with a volume"), ground.collector.kill_all)
        starts = dict.fromkeys(("attach by the API", "create network"), ground.collector.start)
        player.play(listed, kills | starts)
        found = ground.wait_told(player.all_keys())
        mine = [each for each in found if key_of(each)[0] >= begun_ns]
        assert collections.Counter(player.all_keys()) == collections.Counter(map(key_of, mine))
        assert_told(player, mine)
        ground.check(found)
        assert 0 == ground.collector.stop()

    await asyncio.to_thread(live)


async def test_each_way_is_told_once_though_the_engine_is_restarted(
    scene: Scene, playground: Callable[[], Playground]
) -> None:
    """In the middle of the list; one gap names the span in which something may be missing, and no more is."""

    def live() -> None:
        ground, first = playground(), Player(scene)
        begun_ns = time.time_ns()
        listed = list(ways(scene))
        middle = next(place for place, way in enumerate(listed) if way.name == "create")
        first.play(listed[:middle])
        ground.wait_told(first.all_keys())
        last_ns = max(time_ns for time_ns, _, _ in first.all_keys())
        scene.engine.stop_daemon()
        scene.engine.start_daemon()
        ground.wait_followed()
        scene.docker("start", RESIDENT)
        again_ns = time.time_ns()
        with EngineEvents(scene.engine.address) as events:
            second = Player(scene._replace(events=events))
            second.play(listed[middle:])
        keys = [*first.all_keys(), *second.all_keys()]
        found = ground.wait_told(keys)
        gaps = [each for each in found if each["event"]["action"] == "gap"]
        counts = collections.Counter(key_of(each) for each in found if each not in gaps and key_of(each)[0] >= begun_ns)
        assert ["engine_restarted"] == [each["event"]["reason"] for each in gaps]
        assert last_ns <= key_of(gaps[0])[0] <= again_ns
        assert collections.Counter(keys) == {
            key: count for key, count in counts.items() if not last_ns < key[0] < again_ns
        }
        assert {1} == set(counts.values())
        assert_told(first, found)
        assert_told(second, found)
        ground.check(found)
        assert 0 == ground.collector.stop()

    await asyncio.to_thread(live)


def has_found(data_dir: Path, query: str, found: list[Document], *, count: int = 1) -> bool:
    """Search as the command does, without starting one; tell whether so many are found."""
    now_ns = time.time_ns()
    with open_store(data_dir, Choice()) as store:
        found[:] = [json.loads(each) for each in store.search(translate(query, now_ns=now_ns), limit=100_000)]
    return len(found) >= count


async def test_an_exec_is_searchable_soon_and_two_hundred_at_once_are_all_there(
    scene: Scene, playground: Callable[[], Playground]
) -> None:
    """Printed: how long from the Engine's `exec_start` until the document is found, and how fast it took 200."""

    def live() -> None:
        ground = playground()
        folder = ground.collector.data_dir
        waited_s = []
        for number in range(10):
            scene.start_exec("echo", f"soon-{number}")
            query = f'{TRAIL} AND event.action:exec_start AND process.command_line:"echo soon-{number}"'
            found: list[Document] = []
            wait_until(partial(has_found, folder, query, found), timeout_s=TOLD_WITHIN_S, what=query)
            waited_s.append((time.time_ns() - key_of(found[0])[0]) / 1e9)
        begun_s = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            started = set(pool.map(lambda number: scene.start_exec("true", str(number)), range(EXECS)))
        took_s = time.monotonic() - begun_s
        many = f"{TRAIL} AND event.action:exec* AND process.command_line:true*"
        found = []
        are_there = partial(has_found, folder, many, found, count=3 * EXECS)
        wait_until(are_there, timeout_s=TOLD_WITHIN_S, what="all execs", poll_s=0.1)
        all_s = time.monotonic() - begun_s
        sys.stdout.write(
            f"exec_start to searchable: median {statistics.median(waited_s):.2f} s, most {max(waited_s):.2f} s\n"
            f"{EXECS} execs in {took_s:.2f} s, all three documents of each searchable after {all_s:.2f} s\n"
        )
        counts = collections.Counter((each["tidewaiter"]["exec"]["id"], each["event"]["action"]) for each in found)
        actions = ("exec_create", "exec_start", "exec_die")
        assert dict.fromkeys(((each, action) for each in started for action in actions), 1) == counts
        assert [] == [each for each in ground.documents() if each["event"]["action"] == "gap"]
        ground.check(ground.documents())
        assert 0 == ground.collector.stop()

    await asyncio.to_thread(live)
