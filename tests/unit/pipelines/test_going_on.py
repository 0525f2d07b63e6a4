"""Going on within a batch of which a part is settled: alerts settle with their documents, and the books agree."""

import pytest

from pipelines.batch import Batch
from pipelines.detect.carried import AlertLimits
from pipelines.frame import ID_CHARACTERS, Frame, position_of
from pipelines.going_on import going_on
from pipelines.pipeline import Pipeline
from pipelines.settings import Settings
from tests.kit.detection import ANY, SHELL, rules_frame, rules_message
from tests.kit.frames import frame_of
from tests.kit.paths import check_accounts
from tests.kit.pieces import packed

RECORDS = 6


def failed(*what: object) -> None:
    """Nothing may fail."""
    raise AssertionError(what)


def lines() -> Frame:
    """Return a frame of lines, every second of which a shell said."""
    texts = ["uid=0" if number % 2 else "hello" for number in range(RECORDS)]
    record = {"container_id": "a" * 64, "container_name": "/web", "source": "stdout"}
    return frame_of(
        ("forward", [(b"".join(packed({**record, "log": text}) for text in texts), b"", RECORDS)]), sequence=2
    )


@pytest.fixture
def batch() -> Batch:
    """The batch of that frame, with an alert of each line and a second one of each that a shell said."""
    pipeline = Pipeline(Settings(version="0.1.0"), failed, on_rule_failure=failed)
    list(pipeline(rules_frame([rules_message(ANY, SHELL, limits=AlertLimits(burst=100))])))
    (made,) = pipeline(lines())
    return made


@pytest.mark.parametrize("settled", range(RECORDS + 1))
def test_alerts_of_what_is_settled_are_left_out_and_those_of_the_rest_are_there(batch: Batch, settled: int) -> None:
    """An output had both or none: the cursor that passed the document passed its alerts."""
    made = going_on(batch, batch.position._replace(record=settled))
    ids = [each for part in made.documents for each in part.ids]
    whole = [each for part in batch.documents for each in part.ids]

    assert sorted(ids) == sorted(each for each in whole if position_of(each).record >= settled)
    documents, alerts = RECORDS - settled, sum(1 + number % 2 for number in range(settled, RECORDS))
    assert (made.tally.records, made.tally.documents, made.tally.derived) == (documents, documents, alerts)
    assert sum(len(each) > ID_CHARACTERS for each in ids) == alerts
    assert sum(counts.derived for counts in made.accounts.rows.values()) == alerts
    check_accounts(made)
