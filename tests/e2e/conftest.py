"""What the end-to-end tests share: engines that are started once for many of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.testing import docker_engine, engines
from collector.testing.docker_engine import DockerEngine
from collector.testing.engines import ElasticsearchEngine, SecuredElasticsearch


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    """A real Docker Engine with the image `acme/bb:1.2`; skips with the reason where none can run."""
    if (reason := docker_engine.missing()) is not None:
        pytest.skip(reason)
    engine = DockerEngine()
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


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
