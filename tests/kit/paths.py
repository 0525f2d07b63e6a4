"""Both paths of the pipeline, held against each other frame by frame."""

import json
from collections.abc import Iterator
from typing import Any

from pipelines import reference
from pipelines.batch import Batch
from pipelines.chunk import ChunkPath
from pipelines.detect.carried import rules_in
from pipelines.detect.detection import Detection
from pipelines.detect.rule import Rule
from pipelines.frame import Frame, position_of
from pipelines.settings import Settings
from pipelines.state import State
from tests.kit.ecs import Schema


def check_accounts(batch: Batch) -> None:
    """Every account balances, and together they are the batch's tally."""
    tally, rows = batch.tally, batch.accounts.rows
    for counts in rows.values():
        settled = counts.documents + counts.dead + counts.control + counts.joined
        assert counts.records + counts.taken_up == settled + counts.parked
    for name in ("records", "documents", "derived", "joined", "control", "dead", "parked", "taken_up"):
        uncounted = batch.accounts.uncounted if name in ("records", "documents") else 0
        assert sum(getattr(counts, name) for counts in rows.values()) + uncounted == getattr(tally, name), name
    assert sum(letter.records for letter in batch.dead_letters) == tally.dead
    for part in batch.documents:
        for identifier in part.ids:
            assert batch.accounts.of(position_of(identifier)) in rows or batch.accounts.uncounted


def _failed(rule: Rule | None, error: Exception) -> None:
    raise AssertionError(rule) from error


class Paths:
    """Both paths, each with a state of its own that lives on from frame to frame, and the rules that hold for it."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._settings = settings
        self._schema = schema
        self._chunk = ChunkPath(settings)
        self._states = (State(), State())
        self._detections = (Detection(_failed), Detection(_failed))
        self.parked = (0, 0)
        self.batches: list[Batch] = []

    def restart(self) -> None:
        """Go on as a worker does that begins here, with what one of the paths remembered."""
        encoded = self._states[0].encode()
        self._chunk = ChunkPath(self._settings)
        self._states = (State(), State())
        self._detections = (Detection(_failed), Detection(_failed))
        for each in self._states:
            each.load(encoded, settings_changed=False)

    @property
    def waiting(self) -> int:
        """How many records wait."""
        plain, _ = self._states
        parts = (plain.lines, plain.streams, plain.events, plain.waiting)
        return sum(line.pieces + len(line.held) for part in parts for _, line in part.items())

    def check(self, frame: Frame) -> list[dict[str, Any]]:
        """Hold the paths against each other and every document against the promises; return the documents."""
        plain, fast = self._states
        expected = self._alerted(0, frame, reference.process(frame, self._settings, plain))

        assert expected == self._alerted(1, frame, self._chunk.process(frame, fast))
        assert plain.encode() == fast.encode()
        self.batches = expected
        documents = []
        for batch in expected:
            tally = batch.tally
            settled = tally.documents + tally.dead + tally.control + tally.joined
            assert tally.records + tally.taken_up == settled + tally.parked
            check_accounts(batch)
            self.parked = (self.parked[0] + tally.parked, self.parked[1] + tally.taken_up)
            for part in batch.documents:
                lines = part.ndjson.split(b"\n")
                assert lines.pop() == b""
                assert len(lines) == len(part.ids)
                for line, identifier in zip(lines, part.ids, strict=True):
                    assert line.startswith(b'{"event":{')
                    document = json.loads(line)
                    assert document["event"]["id"] == identifier.decode()
                    assert document["data_stream"] == part.stream._asdict()
                    assert self._schema.problems(document) == []
                    documents.append(document)
        return documents

    def _alerted(self, path: int, frame: Frame, batches: Iterator[Batch]) -> list[Batch]:
        """Take the batches of a path, with their alerts, as a pipeline does."""
        state, detection = self._states[path], self._detections[path]
        state.mark()
        detection.change_to(rules_in(state.rules))
        return [detection.with_alerts(batch, frame, state, self._settings) for batch in batches]
