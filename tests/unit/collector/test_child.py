"""Pauses between the starts of a role, and what is found out about its end."""

import asyncio

from collector.child import Backoff, Child


class BrokenInquest:
    """Fails at all it is asked."""

    def look(self, pid: int, silence_s: float) -> str:
        """Find nothing."""
        return ""

    async def hold(self, pid: int, code: int, ending: str) -> str:
        """Fail."""
        raise OSError("Read-only file system")

    def loop(self) -> str:
        """Know of none."""
        return ""


async def test_a_role_is_started_again_though_nothing_could_be_found_out_of_its_end() -> None:
    """Before, a disk that took no writes for a moment let the worker stay down for good."""
    told: list[str] = []
    again = asyncio.Event()

    def changed() -> None:
        told.append(child.down)
        if sum("starts again" in each for each in told) > 1:
            again.set()

    child = Child(
        "worker",
        config={},
        command=lambda role, descriptor: ["/bin/sh", "-c", "exit 70"],
        environment={"PATH": "/bin"},
        held=(),
        backoff=Backoff(first_s=0.001),
        on_change=changed,
        inquest=BrokenInquest(),
    )
    keeping = asyncio.create_task(child.keep())
    waiting = asyncio.create_task(again.wait())
    await asyncio.wait({keeping, waiting}, timeout=30.0, return_when=asyncio.FIRST_COMPLETED)
    child.retire()
    waiting.cancel()
    await keeping

    assert "ended with exit code 70; what it had in hand could not be looked into: OSError; starts again" in told


def test_pauses_double_up_to_a_limit() -> None:
    """A role that dies at once is started again after 0.1 s, 0.2 s, … and never later than after 10 s."""
    backoff = Backoff()

    pauses = [backoff.after(0.01) for _ in range(9)]

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == pauses


def test_a_life_that_was_long_enough_begins_anew() -> None:
    """After 30 s of life the next pause is the first again."""
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.01)

    assert [0.1, 0.2] == [backoff.after(30.0), backoff.after(29.9)]
