"""Fields that watchers fill are searched by their types, though they are not ECS's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store.lucene import translate
from collector.store.reader import Store, open_store
from tests.kit.batches import TIME, batch_of
from tests.kit.stores import opened_files, seal_all

DOCUMENT = {
    "kubernetes": {"pod": {"name": "web-0", "ip": "192.0.2.44"}, "labels": {"app_kubernetes_io/name": "web"}},
    "tidewaiter": {
        "container": {
            "restart_count": 10,
            "privileged": True,
            "started_at": "2026-11-29T01:00:01.123456789Z",
            "ip": ["2001:db8::2"],
            "mounts": ["bind:/var/run/docker.sock:/var/run/docker.sock:ro"],
        }
    },
}


@pytest.fixture(scope="module", params=["lines", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds DOCUMENT, and one without such fields, as lines and sealed."""
    folder: Path = tmp_path_factory.mktemp("data")
    files = opened_files(folder)
    files.append(batch_of(0, ["told"], more=DOCUMENT))
    files.append(batch_of(1, ["plain"]))
    files.commit(TIME)
    if request.param == "sealed":
        seal_all(folder)
    with open_store(folder) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tidewaiter.container.restart_count:>9", True),
        ("tidewaiter.container.restart_count:>10", False),
        ("tidewaiter.container.privileged:true", True),
        ("tidewaiter.container.privileged:false", False),
        ("tidewaiter.container.started_at:[2026-11-29 TO 2026-11-30]", True),
        ('tidewaiter.container.ip:"2001:db8::/32"', True),
        ('kubernetes.pod.ip:"192.0.2.0/24"', True),
        ('kubernetes.pod.ip:"198.51.100.0/24"', False),
        (r"kubernetes.labels.app_kubernetes_io\/name:web", True),
        (r"tidewaiter.container.mounts:*\:\/var\/run\/docker.sock\:*", True),
    ],
)
def test_a_field_of_ours_is_searched_by_its_type(store: Store, query: str, *, found: bool) -> None:
    """Numbers and dates by range, addresses by network, truth as such, labels and lists by word and wildcard."""
    messages = [json.loads(each)["message"] for each in store.search(translate(query, now_ns=TIME + 10**9))]

    assert messages == (["told"] if found else [])
