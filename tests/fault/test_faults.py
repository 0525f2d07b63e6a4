"""Twenty-five seeded runs of the fault harness (`make faults` plays more): nothing missing, twice or swallowed."""

import sys
from pathlib import Path

import pytest

from tests.fault.faults import FIRST_SEED, line_of, play_all

RUNS = 25


@pytest.mark.timeout(600)
async def test_no_fault_loses_doubles_or_swallows_a_record(tmp_path: Path) -> None:
    """Kills, stops, freezes and cuts at seeded moments: every acked record once, equal ones as often as sent."""

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")

    verdicts = await play_all(range(FIRST_SEED, FIRST_SEED + RUNS), tmp_path, lambda each: tell(line_of(each)))

    assert [line_of(verdict) for verdict in verdicts if not verdict.good] == []
    assert sum(verdict.resent_messages for verdict in verdicts) > RUNS
