"""What watchers say between lines gives the same bytes on both paths, whatever waits, is forgotten or begins anew."""

import struct
from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import state
from pipelines.enrich import metadata
from pipelines.enrich.engines import Engine
from pipelines.enrich.lookups import Lookup, TableMessage, encode_message
from pipelines.enrich.static import FieldRule
from pipelines.frame import Frame, JournalIdentity, Message, Origin, Run
from pipelines.settings import Settings
from tests.kit import metadata as told
from tests.kit.ecs import Schema
from tests.kit.frames import ORIGIN
from tests.kit.paths import Paths

SCHEMA = Schema(Path(__file__).parent.parent / "data")
TOLD_CASES = 1_500
Told = tuple[Origin, str, tuple[bytes, int], bytes]
"""A message: who it is of, its encoding, its bytes with the records it claims, its tag."""

OTHER = "b" * 64
UNKNOWN = "c" * 64
CONTAINERS = ("a" * 64, OTHER, UNKNOWN, "a" * 12)
DOCKER_HOST = Origin("docker", "tcp", "192.0.2.20")
BOTH_HOST = Origin("docker", "tcp", "192.0.2.21")
NODE = Origin("docker", "tcp", "192.0.2.22")
SENDERS = (DOCKER_HOST, BOTH_HOST, NODE, ORIGIN)
WATCHED = Settings(
    version="0.1.0",
    hosts={"192.0.2.23": "edge-1"},
    engines=(
        Engine(told.ENGINE, ("192.0.2.20/31",)),
        Engine(told.CLUSTER, ("192.0.2.21", "192.0.2.22"), "kubernetes"),
    ),
    fields=(
        FieldRule({"service.name": "shop", "tags": ["a"]}, image="acme/*"),
        FieldRule({"labels.where": "cluster"}, namespace="shop"),
    ),
    lookups={"teams": Lookup("container.labels.team", {"owner": "labels.owner"})},
)
OWNERS: list[dict[str, tuple[str, ...]]] = [{"a": ("x",)}, {"a": ("y",), "b": ("z",)}]
TEXTS = (
    "x",
    '{"level":"info","msg":"m"}',
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in main',
    "ValueError: boom",
    'type=SYSCALL msg=audit(1795953600.123:456): arch=c000003e syscall=59 success=yes exit=0 pid=1 comm="a"',
    "type=PROCTITLE msg=audit(1795953600.123:456): proctitle=61",
)
SILENT = {"Labels": {"tidewaiter.multiline": "off"}, "Image": "acme/web:1.2"}
RENAMED = {"Labels": {"team": "b", "tidewaiter.parser": "json"}, "Env": None, "User": "", "Image": "acme/web:2"}
PRIVILEGED = {"Privileged": True, "PidMode": "host", "CapAdd": None}

of_engine = st.one_of(
    st.sampled_from(
        [
            told.engine_message(),
            told.engine_message("docker-2"),
            told.away_message(),
            told.snapshot_message("a" * 64),
            told.snapshot_message("a" * 64, OTHER, "d" * 64),
            told.snapshot_message(),
            b"{}",
            b'{"kind":"gone","id":"x"}',
            b'{"kind":"container","container":{"Id":"' + b"a" * 64 + b'","RestartCount":-1}}',
            b'{"kind":"nothing"}',
            b"\xff",
        ]
    ),
    st.sampled_from(["a" * 64, OTHER]).map(told.gone_message),
    st.builds(
        told.container_message,
        st.sampled_from(["a" * 64, OTHER]),
        st.sampled_from(["web", "proxy"]),
        image=st.sampled_from(["acme/web:1.2", "nginx", "sha256:" + "1" * 64]),
    ),
    st.just(told.container_message("a" * 64, "web", Config=SILENT)),
    st.just(told.container_message("a" * 64, "web", Config=RENAMED, HostConfig=PRIVILEGED)),
    st.just(
        told.container_message(OTHER, "k8s_app", Config={"Image": "nginx", "Labels": {"io.kubernetes.pod.uid": "u-1"}})
    ),
)
of_cluster = st.one_of(
    st.sampled_from(
        [
            told.owner_message(),
            told.owner_message(deployment="other"),
            told.namespace_message(),
            told.namespace_message(team="b"),
            told.deleted_message("u-1"),
            told.deleted_message("r-1", "replicaset"),
            told.deleted_message("n-shop", "namespace"),
            told.uids_message("u-1"),
            told.uids_message(),
            told.uids_message(of="namespace"),
            told.away_message(),
            told.object_message("node", {"metadata": {"uid": "x"}}),
            told.object_message("pod", {"metadata": {"uid": ""}}),
            b'{"kind":"pod"}',
        ]
    ),
    st.builds(told.pod_message, st.sampled_from(["a" * 64, OTHER]), uid=st.sampled_from(["u-1", "u-2"])),
)
pod_tag = f"kube.var.log.containers.web-0_shop_app-{OTHER}.log".encode()


def _line_of(container: str, kind: int, text: str) -> bytes:
    """A record of a container as Docker's driver or Fluent Bit sends it, now and then with claims or in pieces."""
    docker = {"container_id": container, "container_name": "/web", "source": "stdout", "log": text}
    pod = {"pod_name": "web-7d9c-x1", "namespace_name": "shop", "docker_id": container, "host": "node-1"}
    piece = {"partial_message": "true", "partial_id": "p", "partial_last": "false", "partial_ordinal": "1"}
    made = [
        docker,
        {**docker, "container_name": "/victim", "team": "a", "MODE": "x"},
        {**docker, "team": "other", "tidewaiter.parser": "none"},
        {**docker, **piece},
        {**docker, **piece, "partial_ordinal": "2", "partial_last": "true"},
        {"stream": "stdout", "log": text, "kubernetes": {**pod, "container_image": "docker.io/library/nginx:1.27"}},
        {"stream": "stdout", "log": text, "kubernetes": {**pod, "pod_name": "web-1", "pod_id": "u-9"}},
        {"stream": "stdout", "log": text},
        {"metric": 1, "container_id": container},
        {"stream": "stdout", "level": "info", "msg": text, "kubernetes": pod},
    ][kind]
    packed: bytes = msgpack.packb([msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, kind)), made])
    return packed


line_of = st.builds(_line_of, st.sampled_from(CONTAINERS), st.integers(0, 9), st.sampled_from(TEXTS))
line_tag = st.sampled_from([b"", b"", b"acme/web:1.2/web/" + b"a" * 12, b"other/web/" + b"a" * 12, pod_tag])
of_senders = st.tuples(
    st.sampled_from(SENDERS),
    st.just("forward"),
    st.lists(line_of, min_size=1, max_size=8).map(lambda each: (b"".join(each), len(each))),
    line_tag,
)
of_watchers = st.one_of(
    st.tuples(
        st.sampled_from([told.ENGINE_ORIGIN, told.ENGINE_ORIGIN, ORIGIN]),
        st.just("docker-inspect"),
        of_engine.map(lambda each: (each, -1)),
        st.just(b""),
    ),
    st.tuples(
        st.just(told.CLUSTER_ORIGIN),
        st.just("kubernetes-object"),
        of_cluster.map(lambda each: (each, -1)),
        st.just(b""),
    ),
    st.tuples(
        st.just(Origin("tidewaiter", "internal", "lookups")),
        st.just("lookup"),
        st.sampled_from(OWNERS).map(lambda rows: (encode_message(TableMessage("teams", ("owner",), rows)), -1)),
        st.just(b""),
    ),
)
steps = st.sampled_from([1, 1, 1, 600_000_000, 7_000_000_000])


def _told_frame(messages: list[Told], sequence: int, time: int) -> Frame:
    origins = tuple(dict.fromkeys(origin for origin, _, _, _ in messages)) or (ORIGIN,)
    return Frame(
        journal=JournalIdentity(1, "collector-1"),
        partition=0,
        epoch=1,
        sequence=sequence,
        journal_time=time,
        origins=origins,
        messages=tuple(
            Message(origins.index(origin), len(payload), own_tag, claimed=claimed)
            for origin, _, (payload, claimed), own_tag in messages
        ),
        runs=tuple(Run(encoding, 1) for _, encoding, _, _ in messages),
        payload=memoryview(b"".join(payload for _, _, (payload, _), _ in messages)),
    )


@st.composite
def told_frames(draw: st.DrawFn) -> list[tuple[list[Told], int, bool]]:
    """Frames of few different messages, so that what is made of one is used again, steps of time, and restarts."""
    pool = draw(st.lists(of_senders, min_size=1, max_size=3)) + draw(st.lists(of_watchers, min_size=1, max_size=5))
    picked_ones = st.lists(st.sampled_from(pool), max_size=6)
    count = draw(st.integers(2, 9))
    return [(draw(picked_ones), draw(steps), draw(st.integers(0, 9)) == 9) for _ in range(count)]


@pytest.mark.timeout(900)
@settings(max_examples=TOLD_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(told_frames(), st.sampled_from([3, 20, 8192]), st.sampled_from([1, 2, 65_536]), st.booleans())
def test_what_watchers_say_gives_the_same_batches_and_states_on_both_paths(
    frames: list[tuple[list[Told], int, bool]],
    waiting_limit: int,
    objects_limit: int,
    few_changes: bool,
) -> None:
    """Metadata of all kinds between records that wait for it, also where tables are full, and lives are restored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "WAITING_LIMIT", waiting_limit)
        patch.setattr(metadata, "OBJECTS_LIMIT", objects_limit)
        patch.setattr(metadata, "GONE_LIMIT", objects_limit)
        patch.setattr(metadata, "GIVEN_UP_LIMIT", 2 if few_changes else 16_384)
        patch.setattr(metadata, "GIVEN_UP_IN_FRAME_LIMIT", 3 if few_changes else 32_768)
        patch.setattr(metadata, "CHANGES_LIMIT", 4 if few_changes else 16_384)
        patch.setattr(metadata, "GONE_KEPT_NS", 2_000_000_000)
        paths = Paths(WATCHED, SCHEMA)
        time = 1_795_953_600_000_000_000
        for sequence, (messages, step_ns, restarts) in enumerate(frames):
            time += step_ns
            if restarts:
                paths.restart()
            for document in paths.check(_told_frame(messages, sequence, time)):
                assert document["event"]["kind"] == "event"
                assert document["tidewaiter"]["origin"]["peer"] in {sender.peer for sender in SENDERS}
        parked, taken_up = paths.parked
        assert parked == taken_up + paths.waiting
