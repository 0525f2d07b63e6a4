"""The Elasticsearch output and certificates: nothing is sent to a server that cannot prove who it is."""

import datetime
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import BulkServer, application, running


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("none", ""),
        ("foreign", "certificate verify failed"),
        ("expired", "certificate has expired"),
        ("name", "127.0.0.1"),
        ("plain", "TLS"),
    ],
)
async def test_only_a_server_that_proves_who_it_is_gets_documents(tmp_path: Path, fault: str, told: str) -> None:
    """An authority of our own, a certificate that is good today, and its name: else all waits, and the log says why."""
    authority, ours = trustme.CA(), tmp_path / "ca.pem"
    (trustme.CA() if fault == "foreign" else authority).cert_pem.write_to_path(ours)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    name = "es.example" if fault == "name" else "127.0.0.1"
    certificate = authority.issue_cert(name, not_after=yesterday if fault == "expired" else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = BulkServer()
    runner = web.AppRunner(application(server), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=None if fault == "plain" else context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    source = ListedSource([batch_of(0, ["a"])])
    try:
        async with running(server, source, tmp_path, urls=[url], ca_file=str(ours)) as worker:
            if fault == "none":
                await source.wait_settled(0)
            else:
                assert told in await worker.wait_told()
    finally:
        await runner.cleanup()

    assert (1 if fault == "none" else 0) == len(server.stored) == len(source.settled)
