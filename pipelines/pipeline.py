"""Frame -> batches, and nothing a frame holds can stop it (P7)."""

import contextlib
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Final

import msgspec

from pipelines import reference
from pipelines.accounts import Ledger, as_taken
from pipelines.batch import Batch
from pipelines.books import Refused, close_batch
from pipelines.chunk import ChunkPath
from pipelines.condemned import FAULT, REFUSED, Verdicts, apart, encoding_of, set_apart, with_letters
from pipelines.configuration import Recorded, recorded_in, settings_of
from pipelines.culprit import first_culprit
from pipelines.detect.carried import rules_in
from pipelines.detect.detection import Detection, RuleFailed
from pipelines.detect.ready import Matchers
from pipelines.detect.rule import Rule
from pipelines.frame import Frame, Position
from pipelines.going_on import going_on
from pipelines.settings import Settings
from pipelines.state import State
from pipelines.wanted import Wanted

CULPRITS_LIMIT: Final = 16
"""Records of one frame on which no path may fail before the rest of it is given up: each costs both paths once more."""

NO_VERDICTS: Final[Verdicts] = MappingProxyType({})


def _ignore(_rule: Rule | None, _error: Exception) -> None:
    """Tell nobody."""


class Pipeline:
    """Runs the chunk path; where that fails the reference path; where both fail, the record at fault is a dead letter.

    Of more than CULPRITS_LIMIT such records, and where none can be named, it is the rest of the frame.
    `on_failure` is told which path failed and why: a failure is a bug of ours, found by a frame we hold as evidence.
    `state` is what it remembers: of a path that fails, nothing. It is that behind a frame when the frame's last batch
    was made, and frames have to come in the journal's order. A frame is processed under the configuration that holds
    where it stands (`pipelines.configuration`), which `settings` then are; those given are for before the first. Rules
    hold in the same way; `on_rule_failure` is told of one that cannot be evaluated, once, and pipelines that are used
    one after the other may share `matchers`. What `verdicts` say is not
    looked at (`condemned`).
    """

    def __init__(
        self,
        settings: Settings,
        on_failure: Callable[[str, Frame, Exception], None],
        verdicts: Verdicts = NO_VERDICTS,
        *,
        on_rule_failure: RuleFailed = _ignore,
        matchers: Matchers | None = None,
    ) -> None:
        self.settings = settings
        self.fingerprint = settings.fingerprint
        self.state = State()
        self._given = settings
        self._recorded: Recorded | None = None
        self._chunk = ChunkPath(settings)
        self._detection = Detection(on_rule_failure, matchers)
        self._on_failure = on_failure
        self._verdicts = verdicts

    def __call__(self, frame: Frame) -> Iterator[Batch]:
        """Yield the batches of a frame, at least one. Owns nothing of the frame afterwards.

        Raises MemoryError: what a frame becomes must not depend on how much memory there was.
        """
        at, taken = frame.position, frame
        verdict = self._verdicts.get(at)
        lines: set[Position] = set()
        condemned = FAULT
        if verdict is not None:
            frame, condemned, lines = apart(frame, verdict), encoding_of(verdict), set(verdict.lines)
        state = self.state
        state.mark()
        recorded = recorded_in(state.configurations)
        if recorded is not self._recorded:
            self._change_to(recorded)
        self._detection.change_to(rules_in(state.rules))
        for _ in range(CULPRITS_LIMIT + 1):
            for name, path in (("chunk", self._chunk.process), ("reference", self._reference)):
                dropped = state.drop(lines) if lines else []
                try:
                    for batch in path(frame, state):
                        # Before slices are left out: the state is the same whoever goes on within a frame.
                        alerted = self._detection.with_alerts(batch, frame, state, self.settings)
                        if batch.next > at:
                            made = going_on(alerted, at)
                            at = made.next
                            if dropped and at.sequence != frame.sequence:
                                made = with_letters(made, dropped, condemned)
                            yield made if frame is taken else as_taken(made, taken)
                except MemoryError:
                    raise
                except Exception as error:  # the boundary where a worker takes a chunk
                    state.undo()
                    self._on_failure(name, frame, error)
                else:
                    return
            state.drop(lines)
            culprit = first_culprit(frame, self.settings, state)
            state.undo()
            if culprit is None:
                break
            if isinstance(culprit, Position):
                lines.add(culprit)
            else:
                frame = set_apart(frame, (culprit,), FAULT)
        yield self._given_up(frame, taken, at)

    def prepare(self) -> None:
        """Make the rules of the state ready, which the first frame would do else, and its first documents."""
        self._detection.change_to(rules_in(self.state.rules))
        self._detection.prepare([self.settings.container_stream.dataset])

    def _given_up(self, frame: Frame, taken: Frame, at: Position) -> Batch:
        """Make one dead letter of what is left of a frame; `taken` is that frame before anything was set apart."""
        origin = frame.origins[0]
        whole = Refused(*REFUSED[FAULT], bytes(frame.payload), f"{origin.input}/{origin.peer}")
        records = range(at.record, at.record + 1)
        ledger = Ledger(taken)
        ledger.begin(at.record, taken.messages[0])
        accounts = ledger.close(records, [(at.record, whole)], (), last=True)
        return close_batch(frame, (), [(at.record, whole)], records=records, last=True, accounts=accounts)

    def _change_to(self, recorded: Recorded | None) -> None:
        """Let another configuration hold; of one that only a newer program can read, the one given."""
        self._recorded = recorded
        settings = self._given
        if recorded is not None:
            with contextlib.suppress(msgspec.DecodeError):
                settings = settings_of(recorded, version=settings.version)
        if settings != self.settings:
            # What the path before knows of streams is of other settings, and so is what was asked of them.
            self.settings = settings
            self._chunk = ChunkPath(settings)
            self.state.wanted = Wanted()

    def _reference(self, frame: Frame, state: State) -> Iterator[Batch]:
        return reference.process(frame, self.settings, state)
