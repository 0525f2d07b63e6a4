"""`make faults N=200 [SEED=…]`: seeded runs of the fault harness, each on a collector of its own.

    python tests/fault/faults.py [--runs N] [--seed FIRST] [--at-once K]

Run k has seed FIRST + k; a seed that fails is named, and `make faults N=1 SEED=…` plays it again: the same faults at
the same moments (what the machine does meanwhile is its own). Exit code 1 when any run fails.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tests.fault.scenario import Run, Verdict

AT_ONCE: Final = 3
"""Runs side by side: each waits most of its time."""

FIRST_SEED: Final = 20261123


async def play_all(
    seeds: Iterable[int], folder: Path, tell: Callable[[Verdict], None], *, at_once: int = AT_ONCE
) -> list[Verdict]:
    """Play these seeds; `tell` is called for each as it ends. The folder of a run that was good is removed."""
    room = asyncio.Semaphore(at_once)

    async def play(seed: int) -> Verdict:
        async with room:
            root = folder / str(seed)
            verdict = await Run(root, seed).play()
            if verdict.good:
                await asyncio.to_thread(shutil.rmtree, root)
            tell(verdict)
            return verdict

    return list(await asyncio.gather(*(play(seed) for seed in seeds)))


def line_of(verdict: Verdict) -> str:
    """Return one line, or for a failure several, that tell what was found."""
    head = f"seed {verdict.seed}: {verdict.records} records, {verdict.equal_records} equal ones, "
    head += f"{verdict.resent_messages} messages sent again, {len(verdict.faults)} faults"
    if verdict.good:
        return f"{head}: good"
    wrong = [
        f"  {what}: {', '.join(found[:10])}"
        for what, found in (("missing", verdict.missing), ("twice", verdict.twice), ("swallowed", verdict.swallowed))
        if found
    ]
    return "\n".join([f"{head}: FAILED", *wrong, f"  faults: {'; '.join(verdict.faults)}"])


def main() -> int:
    """Play, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tidewaiter-faults-"))
    started = time.monotonic()

    def tell(verdict: Verdict) -> None:
        sys.stdout.write(line_of(verdict) + "\n")
        sys.stdout.flush()

    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    verdicts = asyncio.run(play_all(seeds, folder, tell, at_once=arguments.at_once))
    bad = [verdict for verdict in verdicts if not verdict.good]
    sys.stdout.write(
        f"{len(verdicts)} runs in {time.monotonic() - started:.0f} s: {sum(each.records for each in verdicts)} acked "
        f"records, {sum(len(each.missing) for each in verdicts)} missing, {sum(len(each.twice) for each in verdicts)} "
        f"twice; {sum(each.equal_records for each in verdicts)} equal ones, "
        f"{sum(len(each.swallowed) for each in verdicts)} swallowed; "
        f"{sum(each.resent_messages for each in verdicts)} messages sent again; "
        f"{sum(len(each.faults) for each in verdicts)} faults\n"
    )
    if bad:
        sys.stdout.write(f"what failed is left in {folder}\n")
    else:
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
