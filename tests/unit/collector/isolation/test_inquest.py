"""What the supervisor does about its worker, with a fake judge and a fake clock."""

import errno
import os
import signal
from pathlib import Path
from typing import cast

import msgspec
import pytest

from collector.child import Child
from collector.config import WorkerConfig
from collector.isolation.in_hand import InHand, forget_marks, mark_file, read_mark
from collector.isolation.inquest import LOOP_S, WorkerInquest, busy_seconds
from collector.isolation.questions import ASKED, FOUND, Asked, Judgement
from pipelines.frame import Position

PID = os.getpid()
AT = Position(0, 1_700_000_000, 42)
HANG_S = 60.0


class FakeJudge:
    """Finds what it is told to find."""

    def __init__(self, folder: Path, judgement: Judgement | None) -> None:
        self._folder, self._judgement = folder, judgement
        self.killed = False

    async def run_once(self) -> str:
        """Write the judgement."""
        if self._judgement is not None:
            (self._folder / FOUND).write_bytes(msgspec.json.encode(self._judgement))
        return "ended with exit code 0"

    def kill(self) -> bool:
        """Take note."""
        self.killed = True
        return False


class Inquest(WorkerInquest):
    """An inquest whose clocks stand until they are moved."""

    def __init__(self, data_dir: Path, judgement: Judgement | None = None) -> None:
        self.now_s = self.busy_s = 0.0
        self.halted = False
        self.judges: list[FakeJudge] = []

        def judge() -> Child:
            self.judges.append(FakeJudge(data_dir / "run", judgement))
            return cast(Child, self.judges[-1])

        super().__init__(
            data_dir,
            WorkerConfig(hang_limit=HANG_S),
            judge,
            clock=lambda: self.now_s,
            busy=lambda pid: None if self.halted else self.busy_s,
        )


@pytest.fixture
def in_hand(tmp_path: Path) -> InHand:
    """What this process says as a worker."""
    return InHand(tmp_path, PID)


def test_a_mark_says_which_frame_is_in_hand(tmp_path: Path, in_hand: InHand) -> None:
    """Each batch is a beat; between frames there is none in hand; of a process that said nothing nothing is known."""
    before = read_mark(tmp_path, PID)
    in_hand.take(AT)
    first = read_mark(tmp_path, PID)
    in_hand.take(AT)
    second = read_mark(tmp_path, PID)
    in_hand.put_down()
    after = read_mark(tmp_path, PID)

    assert before is not None
    assert before.position is None
    assert first is not None
    assert first.position == AT
    assert second is not None
    assert second != first
    assert after is not None
    assert after.position is None
    assert read_mark(tmp_path, PID + 1) is None


def test_marks_of_the_dead_go_and_that_of_another_worker_stays(tmp_path: Path, in_hand: InHand) -> None:
    """While a reload goes on two live."""
    mark_file(tmp_path, 2**22 + 1).write_bytes(b"")

    forget_marks(tmp_path)
    assert [mark_file(tmp_path, PID)] == list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("busy_s", "waited_s"), [(HANG_S, HANG_S), (0.0, 4 * HANG_S)])
def test_a_worker_that_does_not_come_to_an_end_with_a_batch_hangs(
    tmp_path: Path, in_hand: InHand, busy_s: float, waited_s: float
) -> None:
    """By the time of a processor that it used, or by the clock where it waits for what never comes."""
    inquest = Inquest(tmp_path)
    in_hand.take(AT)

    assert "" == inquest.look(PID, 0.0)
    inquest.busy_s, inquest.now_s = busy_s, waited_s
    assert "hung" in inquest.look(PID, 0.0)


def test_a_worker_that_goes_on_does_not_hang(tmp_path: Path, in_hand: InHand) -> None:
    """A frame of very many batches takes what it takes; a slow machine gives less of its processors."""
    inquest = Inquest(tmp_path)
    for _ in range(10):
        in_hand.take(AT)
        assert "" == inquest.look(PID, 0.0)
        inquest.busy_s += 0.9 * HANG_S
        inquest.now_s += 3 * HANG_S
        assert "" == inquest.look(PID, 0.0)


def test_a_worker_that_somebody_has_halted_does_not_hang(tmp_path: Path, in_hand: InHand) -> None:
    """`kill -STOP`, a debugger: what passes meanwhile does not count."""
    inquest = Inquest(tmp_path)
    in_hand.take(AT)
    inquest.look(PID, 0.0)
    inquest.halted = True
    inquest.now_s = 10 * HANG_S
    assert "" == inquest.look(PID, 0.0)
    inquest.halted = False
    assert "" == inquest.look(PID, 0.0)


def test_a_worker_that_says_nothing_without_a_frame_hangs_too(tmp_path: Path, in_hand: InHand) -> None:
    """An output may be what hangs; nothing is condemned for it."""
    inquest = Inquest(tmp_path)
    inquest.look(PID, 0.0)
    inquest.now_s = 5 * HANG_S

    assert "" == inquest.look(PID, HANG_S)
    assert "said nothing" in inquest.look(PID, 5 * HANG_S)


async def test_what_it_had_in_hand_is_judged(tmp_path: Path, in_hand: InHand) -> None:
    """The judge is told which frame, and how the worker ended; its sentence goes to log and readiness."""
    inquest = Inquest(tmp_path, Judgement("A record went into the dead letters", "crash"))
    in_hand.take(AT)

    found = await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
    asked = msgspec.json.decode((tmp_path / "run" / ASKED).read_bytes(), type=Asked)
    assert "A record went into the dead letters" == found
    assert Asked(AT, "crash", "ended by SIGSEGV") == asked
    assert [True] == [judge.killed for judge in inquest.judges]
    assert not mark_file(tmp_path, PID).exists()


async def test_a_hang_is_judged_though_it_ended_by_our_kill(tmp_path: Path, in_hand: InHand) -> None:
    """The supervisor knows whom it killed."""
    inquest = Inquest(tmp_path, Judgement("found", "hang"))
    in_hand.take(AT)
    inquest.look(PID, 0.0)
    inquest.busy_s = HANG_S
    inquest.look(PID, 0.0)

    assert "found" == await inquest.hold(PID, -signal.SIGKILL, "hung")


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, 1, 0])
async def test_a_kill_from_outside_is_not_looked_into(tmp_path: Path, in_hand: InHand, code: int) -> None:
    """No judge is started, and it counts for no loop."""
    inquest = Inquest(tmp_path, Judgement("found", "crash"))
    in_hand.take(AT)

    assert [""] * 4 == [await inquest.hold(PID, code, "ended") for _ in range(4)]
    assert [] == inquest.judges
    assert "" == inquest.loop()


async def test_a_worker_that_ended_between_frames_has_nothing_judged(tmp_path: Path, in_hand: InHand) -> None:
    """The fault is an output's, or ours."""
    inquest = Inquest(tmp_path)
    in_hand.take(AT)
    in_hand.put_down()

    assert "no frame in hand" in await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
    assert [] == inquest.judges


async def test_marks_that_cannot_be_removed_keep_nothing_from_being_judged(
    tmp_path: Path, in_hand: InHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is read-only now, after an error."""

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("collector.isolation.inquest.forget_marks", refuse)
    inquest = Inquest(tmp_path, Judgement("found", "crash"))
    in_hand.take(AT)

    assert "found" == await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "Read-only file system"), (errno.ENOENT, "was not asked")])
async def test_a_disk_that_takes_no_question_is_told(
    tmp_path: Path, in_hand: InHand, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    """Whatever it says, also that the folder is gone; the worker is started again."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("collector.isolation.inquest.replace_file", refuse)
    inquest = Inquest(tmp_path, Judgement("found", "crash"))
    in_hand.take(AT)

    assert words in await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
    assert [] == inquest.judges


async def test_a_judge_that_dies_as_well_stops_nothing(tmp_path: Path, in_hand: InHand) -> None:
    """What an earlier one found is not taken for its answer."""
    inquest = Inquest(tmp_path)
    in_hand.take(AT)
    (tmp_path / "run" / FOUND).write_bytes(msgspec.json.encode(Judgement("of an earlier one", "crash")))

    assert "judge" in await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
    in_hand = InHand(tmp_path, PID)
    in_hand.take(AT)
    await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
    asked = msgspec.json.decode((tmp_path / "run" / ASKED).read_bytes(), type=Asked)
    assert (2, 1) == (asked.times, asked.unanswered)


async def test_a_loop_of_crashes_is_told_until_it_is_over(tmp_path: Path, in_hand: InHand) -> None:
    """Though the worker is up between two of them."""
    inquest = Inquest(tmp_path)
    told = []
    for _ in range(3):
        inquest.now_s += 1.0
        await inquest.hold(PID, -signal.SIGSEGV, "ended by SIGSEGV")
        told.append(bool(inquest.loop()))

    assert [False, False, True] == told
    assert "3 times" in inquest.loop()
    assert "SIGSEGV" in inquest.loop()
    inquest.now_s += LOOP_S
    assert "" == inquest.loop()


def test_the_time_of_a_process_is_read_where_there_is_one() -> None:
    """Of a process that is gone nothing is known."""
    mine = busy_seconds(PID)

    assert mine is not None
    assert mine > 0.0
    assert busy_seconds(2**22 + 1) is None
