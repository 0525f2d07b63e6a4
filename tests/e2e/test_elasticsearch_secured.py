"""Into a real Elasticsearch with HTTPS, users and privileges: who may not write loses nothing and is told why."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from collector.testing.engines import ApiKey, SecuredElasticsearch
from collector.testing.forward_sender import ForwardSender, Options, tcp
from collector.testing.running import RunningCollector, wait_until

StartCollector = Callable[..., RunningCollector]
LINES = 1000
STREAM = "logs-tidewaiter.container-default"
WRITER = ("auto_configure", "create_doc")
"""The privileges that `deploy/elasticsearch/README.md` names for the collector's own key."""

pytestmark = pytest.mark.timeout(300)


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
    wait_until(lambda: "does not accept the credentials" in collector.log(), timeout_s=30, what="the reason in the log")
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
    wait_until(lambda: "auto_configure and create_doc" in collector.log(), timeout_s=30, what="the privileges' names")
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
    wait_until(lambda: "certificate verify failed" in collector.log(), timeout_s=30, what="the reason in the log")

    assert stored(installed, "foreign") <= 0
    assert dead_letters(collector) == []


async def test_a_request_that_is_too_large_is_split(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """The node takes 1 MB; requests of up to 8 MiB are cut until they fit, and no document is refused for it."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "large", line_bytes=4000, records_per_message=LINES)
    arrives(installed, "large")
    wait_until(lambda: 'output="elastic",status="413"' in collector.get("/metrics")[1], timeout_s=10, what="the 413")

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
    wait_until(lambda: "blocked" in collector.log(), timeout_s=30, what="the reason in the log")
    installed.call("PUT", f"/{STREAM}/_settings", {"index.blocks.write": None})
    arrives(installed, "blocked")

    assert dead_letters(collector) == []


async def test_a_roll_over_in_between_doubles_nothing(
    installed: SecuredElasticsearch, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Documents before, during and behind a roll-over stand there once each, in two backing indices."""
    collector = start_collector(outputs=with_key(installed, installed.api_key(*WRITER), tmp_path))
    await send(collector, "rolled")
    wait_until(lambda: stored(installed, "rolled") > 0, timeout_s=30, what="the stream")
    installed.call("POST", f"/{STREAM}/_rollover")
    await send(collector, "again")
    arrives(installed, "rolled")
    arrives(installed, "again")
    body = {"size": 0, "aggs": {"indices": {"terms": {"field": "_index"}}}}
    found = installed.call("POST", f"/{STREAM}/_search", body)

    assert len(found["aggregations"]["indices"]["buckets"]) == 2
    assert dead_letters(collector) == []
