"""A pipeline that says what it has in hand, and ends the process where it fails as a whole."""

import os
from collections.abc import Iterator

from collector.isolation.in_hand import InHand
from collector.isolation.tries import EXIT_FAULT, EXIT_MEMORY
from collector.logs import get_logger, tell_left_out
from collector.reader import Pipeline
from pipelines.batch import Batch
from pipelines.frame import Frame
from pipelines.state import State

logger = get_logger("worker")


class MarkedPipeline:
    """Passes batches on. The state of a pipeline that raised is of no use, so the process ends there and then."""

    def __init__(self, pipeline: Pipeline, in_hand: InHand) -> None:
        self._pipeline = pipeline
        self._in_hand = in_hand
        self.fingerprint = pipeline.fingerprint

    @property
    def state(self) -> State:
        """What the pipeline remembers."""
        return self._pipeline.state

    @state.setter
    def state(self, state: State) -> None:
        self._pipeline.state = state

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Yield the batches of a frame, at least one."""
        batches = self._pipeline(frame)
        while True:
            self._in_hand.take(frame.position)
            try:
                batch = next(batches, None)
            except MemoryError:
                os._exit(EXIT_MEMORY)
            except Exception:  # the process boundary: the supervisor has the frame judged
                logger.exception("pipeline_failed", epoch=frame.epoch, sequence=frame.sequence)
                tell_left_out()
                os._exit(EXIT_FAULT)
            self._in_hand.put_down()
            if batch is None:
                return
            yield batch
