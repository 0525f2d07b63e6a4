"""Contracts hold in the event loop that the intake runs in, and in Python's own; certificates for those over TLS."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme
import uvloop

from collector.config_secrets import TlsConfig


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test here in each of these loops."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the server's certificate and clients'."""
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> TlsConfig:
    """The server's certificate and key, and the authority of clients."""
    certificate = authority.issue_cert("collector.example")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsConfig(certificate=str(tmp_path / "certificate.pem"), key=str(tmp_path / "key.pem"))
