"""What the end-to-end tests share: engines that are started once for many of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import docker_engine, engines
from tests.kit.docker_engine import DockerEngine
from tests.kit.engines import ElasticsearchEngine, OpenSearchEngine, SecuredElasticsearch

collect_ignore = [] if "9" in engines.java_homes() else ["test_opensearch_real.py"]
"""OpenSearch needs a JDK that not every system has."""


@contextlib.contextmanager
def running_docker() -> Iterator[DockerEngine]:
    """Run an Engine with the image `acme/bb:1.2`; skip with the reason where none can run."""
    if (reason := docker_engine.missing()) is not None:
        pytest.skip(reason)
    engine = DockerEngine()
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    """A real Docker Engine, for all tests."""
    with running_docker() as engine:
        yield engine


@pytest.fixture
def own_docker() -> Iterator[DockerEngine]:
    """An Engine of the test's own, to be restarted."""
    with running_docker() as engine:
        yield engine


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[ElasticsearchEngine]:
    """A real Elasticsearch node; skips with the reason where none can run."""
    if reason := engines.missing():
        pytest.skip(reason)
    engine = ElasticsearchEngine(Path(__file__).parents[1] / "engines" / "elasticsearch" / "start.sh")
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="module")
def opensearch() -> Iterator[OpenSearchEngine]:
    """A real OpenSearch node; skips with the reason where none can run."""
    if reason := engines.missing():
        pytest.skip(reason)
    engine = OpenSearchEngine(Path(__file__).parents[1] / "engines" / "opensearch" / "start.sh")
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredElasticsearch]:
    """A real node with HTTPS, users and privileges, with small limits; skips with the reason where none can run."""
    if reason := engines.missing():
        pytest.skip(reason)
    script = Path(__file__).parents[1] / "engines" / "elasticsearch-secured" / "start.sh"
    engine = SecuredElasticsearch(script, settings=("http.max_content_length=1mb", "test.standin_types=true"))
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()
