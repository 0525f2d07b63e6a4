"""Inputs that a reload changes while they serve: kept connections live, doors change hands, failures leave no trace."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trustme

from collector.config import ForwardInputConfig, ListeningInputConfig
from collector.config_http import HttpInputConfig
from collector.config_secrets import Secret, TlsConfig
from collector.inputs.forward import ForwardInput
from collector.inputs.http import HttpInput
from collector.inputs.input import Input
from collector.ports import Ports
from collector.role import Context
from collector.wire.blocks import Blocks
from tests.kit.forward_inputs import TIMEOUT_S, acked, packed, until
from tests.kit.journal_moods import MoodyJournal
from tests.kit.posted_inputs import Client
from tests.kit.running import free_port

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Health:
    """What the ports say of their inputs."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""
        self.of[component] = ""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""
        self.of[component] = reason

    def forget(self, component: str) -> None:
        """There is none."""
        del self.of[component]


class Serving:
    """The ports of an intake before a journal with moods."""

    def __init__(self, options: Mapping[str, ListeningInputConfig]) -> None:
        self.journal = MoodyJournal()
        self.health = Health()
        self.ports = Ports(cast(Context, self.health), self._make, options)
        self.journal.on_pressure(self.ports.press)
        self._streams: list[Stream] = []

    async def opened(self, port: int, tls: ssl.SSLContext | None = None) -> Stream:
        """Connect."""
        name = "collector.example" if tls is not None else None
        stream = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """Let nothing be left of clients and inputs."""
        for _, writer in self._streams:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._streams), return_exceptions=True)
        for each in self.ports.inputs:
            await each.drain(timeout_s=0)
        await self.ports.close()

    def listens(self, name: str) -> bool:
        """Tell whether an input listens and is well."""
        found = next(each for each in self.ports.inputs if each.name == name).listening_sockets()
        for each in found:
            each.close()
        return bool(found) and not self.health.of[f"input {name}"]

    def _make(self, name: str, options: ListeningInputConfig) -> Input:
        if isinstance(options, ForwardInputConfig):
            return ForwardInput(name=name, options=options, journal=self.journal, blocks=Blocks(), collector="web")
        assert isinstance(options, HttpInputConfig)
        return HttpInput(name=name, options=options, listen=options.listen, journal=self.journal, blocks=Blocks())

    async def change(self, failure: str = "", **options: ListeningInputConfig) -> list[tuple[str, str]]:
        """Prepare and switch; `failure` is why the journal does not keep it."""

        async def keep() -> str:
            return failure

        return await self.ports.prepare(options) or await self.ports.switch(keep)


@asynccontextmanager
async def serving(**options: ListeningInputConfig) -> AsyncIterator[Serving]:
    """Let inputs listen."""
    each = Serving(options)
    each.ports.begin()
    await until(lambda: not any(each.health.of.values()))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield each
    finally:
        await each.close()


def at(port: int, host: str = "127.0.0.1", **options: object) -> ForwardInputConfig:
    """Return options of a Forward input."""
    return ForwardInputConfig(listen=f"{host}:{port}", **options)  # type: ignore[arg-type]


async def is_acked(stream: Stream, chunk: str) -> bool:
    """Send a message and tell whether it is acknowledged; False where the connection is closed instead."""
    reader, writer = stream
    writer.write(packed(chunk))
    try:
        return await reader.readexactly(len(acked(chunk))) == acked(chunk)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def test_other_limits_hold_without_a_cut() -> None:
    """The connection that stands stays, and the one that comes next meets the new limit."""
    port = free_port()
    async with serving(docker=at(port)) as each:
        first = await each.opened(port)
        assert await is_acked(first, "a")

        assert [] == await each.change(docker=at(port, connection_limit=1))

        assert await is_acked(first, "b")
        assert not await is_acked(await each.opened(port), "c")


async def test_a_key_that_is_demanded_now_closes_who_has_not_proven_it(tmp_path: Path) -> None:
    """Its message is acknowledged first; whoever connects meanwhile is served by the new door."""
    port, key = free_port(), tmp_path / "key"
    key.write_text("k3y\n")
    async with serving(docker=at(port)) as each:
        first = await each.opened(port)
        each.journal.hold()
        first[1].write(packed("a"))
        await each.journal.appended.wait()

        assert [] == await each.change(docker=at(port, shared_key=Secret(file=str(key))))
        late = await each.opened(port)
        each.journal.release()

        assert acked("a") == await first[0].read()
        assert b"HELO" in await late[0].readuntil(b"HELO")
        await until(lambda: len(each.ports.inputs) == 1)
        assert 2 == each.ports.inputs[0].counts.connections_total
        assert 1 == each.ports.inputs[0].counts.connections


class Heartbeat(asyncio.DatagramProtocol):
    """A client that asks whether somebody is there, as fluentd does."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast(asyncio.DatagramTransport, transport).sendto(b"\0")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take the answer."""
        self.answer.set_result(data)


async def test_heartbeats_are_answered_by_the_new_door(tmp_path: Path) -> None:
    """The port for them is the same, and the one before gives it up first."""
    port, key = free_port(), tmp_path / "key"
    key.write_text("k3y\n")
    async with serving(docker=at(port)) as each:
        assert [] == await each.change(docker=at(port, shared_key=Secret(file=str(key))))
        loop = asyncio.get_running_loop()
        transport, heartbeat = await loop.create_datagram_endpoint(Heartbeat, remote_addr=("127.0.0.1", port))

        assert b"\0" == await heartbeat.answer
        transport.close()


async def test_an_input_that_is_removed_acknowledges_and_leaves() -> None:
    """Its address is free, and nothing is said of it any more."""
    port, other = free_port(), free_port()
    async with serving(docker=at(port), other=at(other)) as each:
        gone, kept = await each.opened(port), await each.opened(other)
        each.journal.hold()
        gone[1].write(packed("a"))
        await each.journal.appended.wait()

        assert [] == await each.change(other=at(other))
        each.journal.release()

        assert acked("a") == await gone[0].read()
        assert await is_acked(kept, "b")
        assert {"input other": ""} == each.health.of
        with pytest.raises(OSError, match=r"refused|failed"):
            await each.opened(port)


async def test_an_address_that_is_taken_changes_nothing() -> None:
    """Not even the inputs beside it that could change."""
    port, added = free_port(), free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        async with serving(docker=at(port)) as each:
            first = await each.opened(port)

            problems = await each.change(docker=at(port, connection_limit=1), more=at(busy), added=at(added))

            assert [("inputs.more", f"cannot listen on 127.0.0.1:{busy}: Address already in use")] == problems
            assert {"input docker": ""} == each.health.of
            assert await is_acked(first, "a")
            assert await is_acked(await each.opened(port), "b")
            with pytest.raises(OSError, match=r"refused|failed"):
                await each.opened(added)


async def test_two_inputs_exchange_their_addresses() -> None:
    """Each takes over the socket of the other."""
    one, two = free_port(), free_port()
    async with serving(a=at(one), b=at(two, connection_limit=1)) as each:
        assert [] == await each.change(a=at(two), b=at(one, connection_limit=1))

        assert {"a": f"127.0.0.1:{two}", "b": f"127.0.0.1:{one}"} == {
            serving.name: serving.address for serving in each.ports.inputs[:2]
        }
        assert await is_acked(await each.opened(one), "a")
        assert await is_acked(await each.opened(two), "b")


async def test_an_address_can_widen_and_become_narrow_again() -> None:
    """The kernel gives the wider one only when the narrow one is let go of."""
    port = free_port()
    async with serving(docker=at(port)) as each:
        assert [] == await each.change(docker=at(port, "0.0.0.0"))
        assert f"0.0.0.0:{port}" == each.ports.inputs[0].address
        assert await is_acked(await each.opened(port), "a")

        assert [] == await each.change(docker=at(port))
        assert await is_acked(await each.opened(port), "b")


@pytest.mark.parametrize("reason", ["the journal takes nothing now", ""])
async def test_an_address_that_was_let_go_of_for_nothing_is_listened_on_again(reason: str) -> None:
    """The wider one is taken in part by somebody else, or the journal does not keep the configuration."""
    port = free_port()
    with socket.socket() as taken:
        if not reason:
            taken.bind(("127.0.0.2", port))
            taken.listen()
        async with serving(docker=at(port)) as each:
            first = await each.opened(port)

            problems = await each.change(reason, docker=at(port, "0.0.0.0"))

            assert [reason or f"cannot listen on 0.0.0.0:{port}: Address already in use"] == [
                why for _, why in problems
            ]
            await until(lambda: each.listens("docker"))
            assert await is_acked(first, "a")
            assert await is_acked(await each.opened(port), "b")


async def test_a_certificate_that_was_renewed_holds_at_once(files: TlsConfig, authority: trustme.CA) -> None:
    """For the next connection; the one that stands stays. One that is broken keeps everything as it was."""
    port, certificate = free_port(), Path(files.certificate)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(docker=at(port, tls=files)) as each:
        first = await each.opened(port, trusting)
        before = first[1].get_extra_info("ssl_object").getpeercert()["serialNumber"]
        content = await asyncio.to_thread(certificate.read_text)
        await asyncio.to_thread(certificate.write_text, "half")
        assert ["inputs.docker"] == [path for path, _ in await each.change(docker=at(port, tls=files))]
        await asyncio.to_thread(certificate.write_text, content)
        assert await is_acked(await each.opened(port, trusting), "a")

        renewed = authority.issue_cert("collector.example")
        renewed.private_key_pem.write_to_path(files.key)
        renewed.cert_chain_pems[0].write_to_path(files.certificate)
        assert [] == await each.change(docker=at(port, tls=files))

        second = await each.opened(port, trusting)
        assert before != second[1].get_extra_info("ssl_object").getpeercert()["serialNumber"]
        assert await is_acked(second, "b")
        assert await is_acked(first, "c")


async def test_a_token_that_is_taken_away_opens_nothing_more(tmp_path: Path) -> None:
    """Each request proves itself: the connection that stands is kept, and what it asks next is refused."""
    port = free_port()
    for name in ("old", "new"):
        (tmp_path / name).write_text(f"token-{name}")
    old, new = (
        HttpInputConfig(listen=f"127.0.0.1:{port}", tokens={name: Secret(file=str(tmp_path / name))})
        for name in ("old", "new")
    )
    async with serving(sensors=old) as each:
        client = await Client.connected(port)
        client.send(b"{}", authorization="Bearer token-old")
        assert 200 == (await client.answer()).status

        assert [] == await each.change(sensors=new)

        client.send(b"{}", authorization="Bearer token-new")
        assert 200 == (await client.answer()).status
        client.send(b"{}", authorization="Bearer token-old")
        assert 401 == (await client.answer()).status
        client.writer.close()
