"""What the supervisor asks a judge, and what it finds, as files under `run/` in the data folder."""

from typing import Final

import msgspec

from pipelines.condemned import Cause
from pipelines.frame import Position

ASKED: Final = "judged.json"
FOUND: Final = "judgement.json"

JUDGE_LIMIT_S: Final = 900.0
"""How long a judge may live; it needs a third of it where much is to be tried, on a machine with other work."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be judged: the frame, what it did to the worker, how that ended, and for the how manieth time.

    `unanswered` is how many judges of it came to no end.
    """

    position: Position
    cause: Cause
    ending: str
    times: int = 1
    unanswered: int = 0


class Judgement(msgspec.Struct, frozen=True):
    """What was found. `cause` is empty where nothing was condemned; `reason` is for the log and readiness."""

    reason: str
    cause: str = ""
