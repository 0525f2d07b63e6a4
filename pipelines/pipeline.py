"""Frame -> batches, and nothing a frame holds can stop it (P7)."""

from collections.abc import Callable, Iterator

from pipelines import reference
from pipelines.batch import Batch
from pipelines.books import Refused, close_batch
from pipelines.chunk import ChunkPath
from pipelines.frame import Frame
from pipelines.settings import Settings
from pipelines.state import State


class Pipeline:
    """Runs the chunk path; where that fails the reference path; where both fail the rest of the frame is a dead letter.

    `on_failure` is told which path failed and why: a failure is a bug of ours, found by a frame we hold as evidence.
    `state` is what it remembers: of a path that fails, nothing. It is that behind a frame when the frame's last batch
    was made, and frames have to come in the journal's order.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[str, Frame, Exception], None]) -> None:
        self.settings = settings
        self.fingerprint = settings.fingerprint
        self.state = State()
        self._chunk = ChunkPath(settings)
        self._on_failure = on_failure

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Yield the batches of a frame, at least one. Owns nothing of the frame afterwards."""
        at = frame.position
        state = self.state
        state.mark()
        paths = {"chunk": self._chunk.process, "reference": self._reference}
        for name, path in paths.items():
            try:
                for batch in path(frame, state):
                    if batch.position >= at:
                        at = batch.next
                        yield batch
            except Exception as error:  # the boundary where a worker takes a chunk
                state.undo()
                self._on_failure(name, frame, error)
            else:
                return
        origin = frame.origins[0]
        whole = Refused("crash", "neither path could process it", bytes(frame.payload), f"{origin.input}/{origin.peer}")
        record = at.record
        yield close_batch(frame, (), [(record, whole)], records=range(record, record + 1), last=True)

    def _reference(self, frame: Frame, state: State) -> Iterator[Batch]:
        return reference.process(frame, self.settings, state)
