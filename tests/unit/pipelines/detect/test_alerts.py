"""Rules on the stream: each match is an alert in the batch of its document, and says what an analyst has to know."""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack

from pipelines.batch import Batch
from pipelines.detect.alerts import SEVERITIES
from pipelines.frame import ID_CHARACTERS, Frame, alert_id, derived_ids, position_of
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.detection import ANY, LOGIN, SHELL, rules_frame, rules_message
from tests.kit.ecs import Schema
from tests.kit.frames import OWN_ORIGIN, frame_of
from tests.kit.paths import check_accounts

SCHEMA = Schema(Path(__file__).parents[3] / "data")
SETTINGS = Settings(version="0.1.0", hosts={"192.0.2.7": "node-1"})
STAMP = msgpack.ExtType(0, struct.pack(">II", 1_795_953_600, 5))
SHELL_ID = "11111111-1111-4111-8111-111111111111"
LOGIN_LINE = "sshd[7]: Failed password for root from 203.0.113.9 port 22 ssh2"


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def line(text: str, **more: str) -> bytes:
    """Encode a container's line as Docker's driver does."""
    record = {"container_id": "a" * 64, "container_name": "/web", "source": "stdout", "log": text, **more}
    return bytes(msgpack.packb([STAMP, record]))


def lines(*texts: str, sequence: int = 2) -> Frame:
    """Return a frame of lines."""
    return frame_of(("forward", [(b"".join(map(line, texts)), b"", len(texts))]), sequence=sequence)


def pipeline(*rules: str) -> Pipeline:
    """Return a pipeline for which these rules hold."""
    made = Pipeline(SETTINGS, failed, on_rule_failure=failed)
    list(made(rules_frame([rules_message(*rules)])))
    return made


def alerts_of(batch: Batch) -> list[dict[str, Any]]:
    """Return the alerts of a batch, each a valid document with the id that the output uses."""
    check_accounts(batch)
    found = []
    for part in batch.documents:
        for identifier, text in zip(part.ids, part.ndjson.splitlines(), strict=True):
            document = json.loads(text)
            if part.stream.dataset == "tidewaiter.alerts":
                assert text.startswith(b'{"event":{')
                assert document["event"]["id"] == identifier.decode()
                assert document["data_stream"] == part.stream._asdict()
                assert SCHEMA.problems(document) == []
                found.append(document)
    return found


def alerts(frame: Frame, *rules: str) -> list[dict[str, Any]]:
    """Return the alerts of a frame under rules."""
    (batch,) = pipeline(*rules)(frame)
    return alerts_of(batch)


def test_an_alert_says_which_rule_how_grave_and_of_whom() -> None:
    """It reads by itself: everything that says who, where and what is copied from its document."""
    (alert,) = alerts(lines("hello", "uid=0(root)"), SHELL)

    event = alert["event"]
    assert (event["kind"], event["category"], event["type"]) == ("alert", ["intrusion_detection"], ["info"])
    assert (event["severity"], event["risk_score"]) == SEVERITIES["high"]
    assert (event["action"], event["module"]) == ("a_shell_speaks", "tidewaiter")
    assert alert["message"] == "A shell speaks: in container web on node-1"
    assert alert["@timestamp"] == "2026-11-29T12:00:00.000000005Z"
    assert alert["rule"] == {
        "id": SHELL_ID,
        "uuid": SHELL_ID,
        "name": "A shell speaks",
        "description": "Says what a shell says.",
        "category": "application",
        "license": "DRL-1.1",
        "reference": "https://docs.example/shell",
        "version": "2026-11-01",
        "author": ["A. Author", "B. Author"],
        "ruleset": "sigma",
    }
    assert alert["threat"]["framework"] == "MITRE ATT&CK"
    assert alert["threat"]["tactic"]["name"] == ["Execution"]
    assert alert["threat"]["technique"]["id"] == ["T1059"]
    assert alert["threat"]["technique"]["subtechnique"]["id"] == ["T1059.004"]
    assert (alert["container"]["name"], alert["host"]["name"]) == ("web", "node-1")
    own = alert["tidewaiter"]
    assert (own["origin"]["peer"], own["container"]["stream"]) == ("192.0.2.7", "stdout")
    assert own["alert"]["message"] == "uid=0(root)"
    assert own["alert"]["source"]["stream"] == "logs-tidewaiter.container-default"
    assert own["alert"]["references"] == ["https://docs.example/shell"]
    assert own["alert"]["false_positives"] == ["Shells"]


def test_an_alerts_id_is_that_of_its_document_with_its_rules() -> None:
    """So it is created once, and its place in the journal is that of the document."""
    (batch,) = pipeline(SHELL)(lines("hello", "uid=0"))
    lines_made, made = ({part.stream.dataset: part for part in batch.documents}[f"tidewaiter.{name}"] for name in
                        ("container", "alerts"))  # fmt: skip
    (identifier,) = made.ids

    assert identifier == alert_id(lines_made.ids[1], SHELL_ID)
    assert position_of(identifier) == position_of(lines_made.ids[1])
    assert alerts_of(batch)[0]["tidewaiter"]["alert"]["source"]["id"] == [lines_made.ids[1].decode()]


def test_ids_of_what_derives_from_one_record_are_never_alike() -> None:
    """Findings of a document, its alerts, and alerts of its findings differ in length."""
    document = b"0" * ID_CHARACTERS
    findings = derived_ids(document, 40)
    made = [document, *findings, *(alert_id(each, rule) for each in (document, *findings) for rule in ("a", "b", "ab"))]

    assert len(set(made)) == len(made)
    assert {ID_CHARACTERS, 27, 37, 40} == set(map(len, made))


def test_alerts_are_derived_in_the_books() -> None:
    """Records settle as if there were no rules; each alert counts for the source of its document."""
    (batch,) = pipeline(SHELL, ANY)(lines("hello", "uid=0"))

    assert (batch.tally.records, batch.tally.documents, batch.tally.derived) == (2, 2, 3)
    assert [counts.derived for counts in batch.accounts.rows.values()] == [3]
    assert batch.tally.rules[SHELL_ID] == (1, 0)
    check_accounts(batch)


def test_rules_hold_from_the_next_frame_on() -> None:
    """Wherever in their frame the message stands, the frame is as it was without them."""
    made = Pipeline(SETTINGS, failed, on_rule_failure=failed)
    both = frame_of(("rules", [(rules_message(SHELL), b"", 1)]), ("forward", [(line("uid=0"), b"", 1)]), sequence=1)

    assert [alerts_of(batch) for batch in made(both)] == [[]]
    assert [len(alerts_of(batch)) for batch in made(lines("uid=0", sequence=2))] == [1]


def test_an_empty_set_ends_detection() -> None:
    """And a further one begins it again."""
    made = pipeline(SHELL)

    list(made(rules_frame([rules_message()], sequence=3)))
    assert [alerts_of(batch) for batch in made(lines("uid=0", sequence=4))] == [[]]
    list(made(rules_frame([rules_message(SHELL)], sequence=5)))
    assert [len(alerts_of(batch)) for batch in made(lines("uid=0", sequence=6))] == [1]


def test_a_login_is_told_with_who_and_from_where() -> None:
    """What its category is goes with that of an intrusion; a rule without a level is a low one."""
    (alert,) = alerts(lines(LOGIN_LINE), LOGIN)

    assert alert["message"] == "A login that failed: root from 203.0.113.9 in container web on node-1"
    assert alert["event"]["category"] == ["intrusion_detection", "authentication"]
    assert (alert["event"]["action"], alert["event"]["severity"]) == ("login_failed", 21)
    assert alert["tidewaiter"]["alert"]["source"]["action"] == "ssh_login"
    assert (alert["user"]["name"], alert["source"]["ip"]) == ("root", "203.0.113.9")


def test_the_collectors_own_books_raise_no_alerts() -> None:
    """Else what is told of an alert would raise the next."""
    made = pipeline(ANY.replace("container.id", "event.kind"))
    row = {"hour": 1, "output": "store", "input": "docker", "peer": "192.0.2.7", "balanced": True, "figures": {}}
    own = frame_of(("balance", [(json.dumps(row).encode(), b"", 1)]), origins=(OWN_ORIGIN,), sequence=2)

    assert [(batch.tally.documents, batch.tally.derived) for batch in made(own)] == [(1, 0)]
    assert [batch.tally.derived for batch in made(lines("hello", sequence=3))] == [1]
