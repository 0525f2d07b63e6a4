"""Alerts of every kind of document that there is: valid, readable, and bounded beside what they are about."""

import json
from pathlib import Path

from pipelines.detect.alerts import Alerts, Source
from pipelines.detect.rule import LogSource, Place, Rule
from pipelines.detect.titles import MESSAGE_LIMIT
from pipelines.frame import alert_id
from pipelines.settings import Settings
from tests.kit.ecs import Schema
from tests.kit.frames import frame_of
from tests.kit.golden_documents import golden_documents

SCHEMA = Schema(Path(__file__).parents[1] / "data")
SETTINGS = Settings(version="0")
RULE = Rule("r", "Whatever it is", Place("r.yml"), LogSource("test"), (), level="critical", tags=("attack.t1059",))


def test_each_golden_document_can_be_alerted_of() -> None:
    """Whatever was parsed: the alert is valid ECS, has its time and place in the journal, and says where it was."""
    alerts = Alerts("0" * 64)
    frame = frame_of()
    problems: dict[str, list[str]] = {}
    count = 0
    for documents in golden_documents():
        for identifier, line in zip(documents.ids, documents.ndjson.splitlines(), strict=True):
            source = json.loads(line)
            name = alert_id(identifier, RULE.key)
            made = alerts.encoded(RULE, Source(source, identifier, documents.stream), name, frame, SETTINGS)
            alert = json.loads(made)
            found = SCHEMA.problems(alert)
            if found:
                problems.setdefault(str(documents.stream), []).extend(found)
            count += 1

            assert alert["message"].startswith("Whatever it is: ")
            assert alert["message"].isprintable()
            assert len(alert["message"]) <= MESSAGE_LIMIT
            assert alert["@timestamp"] == source["@timestamp"]
            assert alert["event"]["sequence"] == source["event"]["sequence"]
            assert alert["host"] == source["host"]
            assert "original" not in alert["event"]
            assert "app" not in alert["tidewaiter"]
            assert len(made) < len(line) + 4000
    assert problems == {}
    assert count > 1000
