"""Into a real Elasticsearch with HTTPS, users and privileges: who may not write loses nothing and is told why."""

import asyncio
import datetime
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from collector.config_secrets import Secret
from collector.outputs.elasticsearch_answers import Pace
from tests.kit.batches import ListedSource, batch_of
from tests.kit.bulk_server import BulkServer, running
from tests.kit.engines import ApiKey, SecuredElasticsearch
from tests.kit.forward_sender import ForwardSender, Options, tcp
from tests.kit.losing_proxy import losing_proxy
from tests.kit.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
LINES = 1000
STREAM = "logs-tidewaiter.container-default"
WRITER = ("auto_configure", "create_doc")
"""The privileges that `deploy/elasticsearch/README.md` names for the collector's own key."""

pytestmark = pytest.mark.timeout(600)


def secret(folder: Path, content: str) -> dict[str, str]:
    """A secret's file, as the configuration names it."""
    path = folder / "secret"
    path.write_text(content + "\n")
    return {"file": str(path)}


def output(engine: SecuredElasticsearch, **options: Any) -> dict[str, Any]:
    """The options of an output that trusts the node's authority."""
    return {"type": "elasticsearch", "urls": [engine.url], "ca_file": str(engine.ca_file), "gzip": False, **options}


def set_up(folder: Path, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run `tidewaiter setup elasticsearch` with an output of its own."""
    administrator = RunningCollector(folder / "administrator", outputs={"elastic": options})
    return subprocess.run(
        administrator.command("setup", "elasticsearch", "--json"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def as_administrator(engine: SecuredElasticsearch, folder: Path) -> dict[str, Any]:
    """An output with the administrator's user and password."""
    return output(engine, username="elastic", password=secret(folder, engine.password))


def foreign_authority(folder: Path) -> str:
    """The file of an authority that signed nothing here."""
    path = folder / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def installed(secured: SecuredElasticsearch, tmp_path: Path) -> Iterator[SecuredElasticsearch]:
    """The node with our templates, without documents of another test."""
    done = set_up(tmp_path, as_administrator(secured, tmp_path))
    assert done.returncode == 0, done.stderr
    yield secured
    secured.call("DELETE", "/_data_stream/logs-tidewaiter.*")


def with_key(engine: SecuredElasticsearch, key: ApiKey, folder: Path, **options: Any) -> dict[str, Any]:
    """The outputs section of a collector that has only its own key."""
    return {"elastic": output(engine, api_key=secret(folder, key.encoded), **options)}


async def send(collector: RunningCollector, name: str, *, line_bytes: int = 0, records_per_message: int = 10) -> None:
    """Send numbered records and wait until all are acknowledged."""
    options = Options(name=name, line_bytes=line_bytes, records_per_message=records_per_message)
    await ForwardSender(tcp("127.0.0.1", collector.forward_port), options).send(LINES)


def stored(engine: SecuredElasticsearch, name: str) -> int:
    """How many documents of a sender there are."""
    try:
        engine.call("POST", f"/{STREAM}/_refresh")
        query = {"query": {"match_phrase_prefix": {"message": name}}}
        return int(engine.call("POST", f"/{STREAM}/_count", query)["count"])
    except OSError:
        return -1


def arrives(engine: SecuredElasticsearch, name: str, count: int = LINES) -> None:
    """Wait until a sender's documents are there, each once."""
    wait_until(lambda: stored(engine, name) >= count, timeout_s=60, what=f"{count} documents of {name}")
    assert stored(engine, name) == count


def dead_letters(collector: RunningCollector) -> list[Path]:
    """The files of dead letters."""
    return list((collector.data_dir / "dead-letters").glob("*.ndjson"))


def test_setup_over_https_installs_once(secured: SecuredElasticsearch, tmp_path: Path) -> None:
    """An administrator's user and password install every object; the second run changes nothing."""
    options = as_administrator(secured, tmp_path)
    set_up(tmp_path, options)
    again = set_up(tmp_path, options)

    assert again.stderr == ""
    assert set(json.loads(again.stdout).values()) == {"unchanged"}


def test_setup_takes_a_key_with_the_privilege_it_names(secured: SecuredElasticsearch, tmp_path: Path) -> None:
    """`manage_index_templates` is enough."""
    key = secured.api_key(cluster=("manage_index_templates",))
    done = set_up(tmp_path, output(secured, api_key=secret(tmp_path, key.encoded)))

    assert (done.returncode, done.stderr) == (0, "")


def refusal(folder: Path, options: dict[str, Any]) -> str:
    """The one line that a setup which fails ends with."""
    done = set_up(folder, options)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    return line


def test_setup_names_a_wrong_password(secured: SecuredElasticsearch, tmp_path: Path) -> None:
    """In a sentence, with the user and without the password."""
    line = refusal(tmp_path, output(secured, username="elastic", password=secret(tmp_path, "wrong-password")))

    assert "unable to authenticate user [elastic]" in line
    assert "wrong-password" not in line


def test_setup_names_a_missing_privilege(secured: SecuredElasticsearch, tmp_path: Path) -> None:
    """The collector's own key cannot install, and is told what is needed."""
    line = refusal(tmp_path, output(secured, api_key=secret(tmp_path, secured.api_key(*WRITER).encoded)))

    assert "manage_index_templates" in line


def test_setup_names_a_foreign_authority(secured: SecuredElasticsearch, tmp_path: Path) -> None:
    """A node that another authority signed gets no credentials."""
    options = {**as_administrator(secured, tmp_path), "ca_file": foreign_authority(tmp_path)}

    assert "certificate verify failed" in refusal(tmp_path, options)


async def test_a_key_that_may_only_add_is_enough(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """With the documented privileges and no others 1,000 lines are 1,000 documents, and none is a dead letter."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "writer")
    arrives(installed, "writer")

    assert dead_letters(collector) == []


async def test_a_key_that_was_revoked_makes_all_wait_until_another_is_given(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Nothing is lost or dead-lettered meanwhile; the new key is read from the same file, without a restart."""
    key = installed.api_key(*WRITER)
    collector = start_collector(outputs=with_key(installed, key, tmp_path))
    await send(collector, "before")
    arrives(installed, "before")
    key.invalidate()
    await send(collector, "revoked")
    wait_until(lambda: "does not accept the credentials" in collector.log(), timeout_s=60, what="the reason in the log")
    assert stored(installed, "revoked") == 0
    secret(tmp_path, installed.api_key(*WRITER).encoded)
    arrives(installed, "revoked")

    assert dead_letters(collector) == []


async def test_a_missing_privilege_makes_all_wait_until_it_is_granted(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """A refusal of every document by privilege is no dead letter: the log names the privileges that are needed."""
    key = installed.api_key("read")
    collector = start_collector(outputs=with_key(installed, key, tmp_path))
    await send(collector, "poor")
    missing = "the credentials lack the privilege"
    wait_until(lambda: missing in collector.log(), timeout_s=60, what="the missing privilege's name")
    assert any(f"{missing} {name}" in collector.log() for name in WRITER)
    key.grant(*WRITER)
    arrives(installed, "poor")

    assert dead_letters(collector) == []


async def test_a_foreign_authority_is_not_trusted(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Nothing is sent to a node that another authority signed; the log says so, and senders are acknowledged."""
    options = with_key(installed, installed.api_key(*WRITER), tmp_path, ca_file=foreign_authority(tmp_path))
    collector = start_collector(outputs=options)
    await send(collector, "foreign")
    wait_until(lambda: "certificate verify failed" in collector.log(), timeout_s=60, what="the reason in the log")

    assert stored(installed, "foreign") <= 0
    assert dead_letters(collector) == []


async def test_a_request_that_is_too_large_is_split(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """The node takes 1 MB; requests of up to 8 MiB are cut until they fit, and no document is refused for it."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "large", line_bytes=4000, records_per_message=LINES)
    arrives(installed, "large")
    wait_until(lambda: 'output="elastic",status="413"' in collector.get("/metrics")[1], timeout_s=60, what="the 413")

    assert dead_letters(collector) == []


async def test_a_block_makes_all_wait_until_it_is_lifted(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """A write block on the stream refuses every document with 403: they wait, and arrive once each."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "open")
    arrives(installed, "open")
    installed.call("PUT", f"/{STREAM}/_settings", {"index.blocks.write": True})
    await send(collector, "blocked")
    wait_until(lambda: "blocked" in collector.log(), timeout_s=60, what="the reason in the log")
    installed.call("PUT", f"/{STREAM}/_settings", {"index.blocks.write": None})
    arrives(installed, "blocked")

    assert dead_letters(collector) == []


async def test_a_roll_over_in_between_doubles_nothing(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Documents before, during and behind a roll-over stand there once each, in two backing indices."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "rolled")
    wait_until(lambda: stored(installed, "rolled") > 0, timeout_s=60, what="the stream")
    installed.call("POST", f"/{STREAM}/_rollover")
    await send(collector, "again")
    arrives(installed, "rolled")
    arrives(installed, "again")
    body = {"size": 0, "aggs": {"indices": {"terms": {"field": "_index"}}}}
    found = installed.call("POST", f"/{STREAM}/_search", body)

    assert len(found["aggregations"]["indices"]["buckets"]) == 2
    assert dead_letters(collector) == []


@pytest.mark.parametrize("given", ["nothing", "wrong"])
async def test_credentials_that_are_not_known_make_all_wait_until_they_are(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path, given: str
) -> None:
    """A wrong key's file is given the right one; without credentials the log says so. None is a dead letter."""
    options = output(installed) if given == "nothing" else output(installed, api_key=secret(tmp_path, "d3Jvbmc6a2V5"))
    collector = start_collector(outputs={"elastic": options})
    await send(collector, "unknown")
    wait_until(lambda: "does not accept the credentials" in collector.log(), timeout_s=60, what="the reason in the log")
    assert stored(installed, "unknown") <= 0
    if given == "wrong":
        secret(tmp_path, installed.api_key(*WRITER).encoded)
        arrives(installed, "unknown")

    assert dead_letters(collector) == []


async def test_a_key_that_is_deleted_under_load_loses_nothing(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """5,000 records are being sent when the key goes; with the next key each of them stands there once."""
    key = installed.api_key(*WRITER)
    collector = start_collector(outputs=with_key(installed, key, tmp_path, request_limit="50KiB"))
    sending = [asyncio.create_task(send(collector, f"load{number}")) for number in range(5)]
    await sending[0]
    await asyncio.to_thread(key.invalidate)
    await asyncio.gather(*sending)
    wait_until(lambda: "does not accept the credentials" in collector.log(), timeout_s=60, what="the reason in the log")
    secret(tmp_path, installed.api_key(*WRITER).encoded)
    for number in range(5):
        arrives(installed, f"load{number}")

    assert dead_letters(collector) == []


async def test_an_expired_certificate_is_not_trusted(start_collector: StartCollector, tmp_path: Path) -> None:
    """Nothing is sent to such a node; the log says what is wrong, and senders are acknowledged."""
    script = Path(__file__).parents[1] / "engines" / "elasticsearch-secured" / "start.sh"
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    engine = SecuredElasticsearch(script, settings=("test.standin_types=true",), not_after=yesterday)
    try:
        engine.start()
        collector = start_collector(outputs=with_key(engine, engine.api_key(*WRITER), tmp_path))
        await send(collector, "expired")
        wait_until(lambda: "certificate has expired" in collector.log(), timeout_s=60, what="the reason in the log")

        assert stored(engine, "expired") <= 0
        assert dead_letters(collector) == []
    finally:
        engine.remove()


@pytest.mark.parametrize("may_look", [True, False])
async def test_a_repeat_behind_a_roll_over_is_looked_up_or_listed(
    installed: SecuredElasticsearch, tmp_path: Path, *, may_look: bool
) -> None:
    """With three further privileges 1,000 documents stand there once; without them all are listed by their ids."""
    looking = ("read", "maintenance", "view_index_metadata") if may_look else ()
    key = Secret(file=secret(tmp_path, installed.api_key(*WRITER, *looking).encoded)["file"])
    source = ListedSource([batch_of(0, ["first"])])
    async with losing_proxy(installed.url, tls=installed.tls) as proxy:
        server = BulkServer()
        server.url = proxy.url
        pace = msgspec.structs.replace(Pace(), answer_s=10.0)
        async with running(server, source, tmp_path, pace=pace, api_key=key, request_limit=500_000):
            await source.wait_settled(0, timeout_s=60)
            proxy.lose = lambda: installed.call("POST", f"/{STREAM}/_rollover")
            source.add(batch_of(1, ["x"] * 1000))
            await source.wait_settled(1, timeout_s=120)
    path = tmp_path / "uncertain" / "elastic.ndjson"
    listed = path.read_text().splitlines() if path.exists() else []

    assert installed.count(STREAM) == (1001 if may_look else 2001)
    assert len(listed) == (0 if may_look else 1000)
