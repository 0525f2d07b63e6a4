"""The Engine's API: which version is spoken, over which transport, and that every fault is a sentence."""

import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from collector.certificates import engine_context
from collector.config_watchers import EngineTlsConfig
from collector.watchers.docker_client import EngineClient, EngineError
from tests.kit.docker_stub import EngineStub, identity_of

SOURCE = Path(__file__).parents[4] / "collector/watchers/docker_client.py"


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.24", None, "v1.24"), ("1.41", "1.12", "v1.41"), ("1.56", "1.44", "v1.52"), ("2.3", "1.60", "v1.60")],
)
async def test_the_newest_api_that_both_know_is_spoken(
    engine: EngineStub, newest: str, oldest: str | None, spoken: str
) -> None:
    """Never one that is newer than those whose answers are known, unless the Engine knows no older."""
    engine.version = {"ApiVersion": newest, "MinAPIVersion": oldest}
    async with EngineClient(engine.url) as client:
        await client.negotiate()
        await client.containers()

    assert [("GET", "/version"), ("GET", f"/{spoken}/containers/json?all=1")] == engine.requests


async def test_a_container_that_is_not_there_is_none(engine: EngineStub) -> None:
    """As an image that is not."""
    async with EngineClient(engine.url) as client:
        await client.negotiate()

        assert (None, None) == (await client.container(identity_of("x")), await client.image("sha256:x"))


@pytest.mark.parametrize("identity", ["../../images/json", "a/b", "a?b=c", "a%2fb", "a b"])
async def test_an_identity_stays_within_its_part_of_the_path(engine: EngineStub, identity: str) -> None:
    """Whatever it holds."""
    async with EngineClient(engine.url) as client:
        await client.negotiate()
        await client.container(identity)

    assert re.fullmatch(r"/v1\.41/containers/[^/?]+/json", engine.requests[-1][1].replace("%2F", "_"))


async def test_nothing_compressed_is_asked_for(engine: EngineStub) -> None:
    """What it inflates to would not be bounded by what is read."""
    seen: dict[str, Any] = {}

    async def note(request: Any) -> Any:
        seen.update(request.headers)
        return web.json_response(engine.version)

    engine.answers["/version"] = note
    async with EngineClient(engine.url) as client:
        await client.negotiate()

    assert "identity" == seen["Accept-Encoding"]
    assert {"Cookie", "Authorization"}.isdisjoint(seen)


def test_the_client_has_no_other_method_than_get() -> None:
    """Nobody can send what it has no words for."""
    text = SOURCE.read_text(encoding="utf-8")

    assert not re.search(r"\.(?:post|put|delete|patch|head|options|request|ws_connect)\(", text)
    assert 2 == text.count("_session.get(")


class TlsEngine:
    """An Engine on TCP that asks for a certificate, and files for a client."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(server)
        server.verify_mode = ssl.CERT_REQUIRED
        self.stub = EngineStub(tls=server)
        own, other = authority.issue_cert("watcher"), stranger.issue_cert("watcher")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        stranger.cert_pem.write_to_path(folder / "stranger.pem")
        for name, leaf in (("own", own), ("other", other)):
            leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
            leaf.private_key_pem.write_to_path(folder / f"{name}.key")
        self._folder = folder

    def options(self, ca: str, own: str | None) -> EngineTlsConfig:
        """Options with these files."""
        pair = (str(self._folder / f"{own}.pem"), str(self._folder / f"{own}.key")) if own else (None, None)
        return EngineTlsConfig(str(self._folder / f"{ca}.pem"), *pair)


@pytest.fixture
def tls_engine(tmp_path: Path) -> TlsEngine:
    """It does not run yet."""
    return TlsEngine(tmp_path)


async def ask(engine: TlsEngine, options: EngineTlsConfig) -> dict[str, Any]:
    """Negotiate over TLS."""
    async with engine.stub as stub, EngineClient(stub.url, engine_context(options)) as client:
        return await client.negotiate()


async def test_an_engine_is_asked_over_tls_with_a_certificate(tls_engine: TlsEngine) -> None:
    """As Docker's own client does with `--tlsverify`."""
    assert "1.41" == (await ask(tls_engine, tls_engine.options("ca", "own")))["ApiVersion"]


@pytest.mark.parametrize(
    ("ca", "own"), [("ca", None), ("ca", "other"), ("stranger", "own")], ids=["none", "other", "authority"]
)
async def test_without_the_right_certificates_there_is_no_connection(
    tls_engine: TlsEngine, ca: str, own: str | None
) -> None:
    """Neither with an Engine that cannot prove itself, nor for a client that cannot."""
    with pytest.raises(EngineError):
        await ask(tls_engine, tls_engine.options(ca, own))


async def test_plain_tcp_is_possible(tmp_path: Path) -> None:
    """For a proxy on loopback or in a network of its own."""
    async with EngineStub() as stub, EngineClient(stub.url) as client:
        assert "1.41" == (await client.negotiate())["ApiVersion"]


async def test_who_hangs_up_in_the_middle_is_told_in_a_sentence(engine: EngineStub) -> None:
    """Of the answer that was cut."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    engine.answers["/version"] = cut
    async with EngineClient(engine.url) as client:
        with pytest.raises(EngineError, match=r"^/version: "):
            await client.negotiate()
