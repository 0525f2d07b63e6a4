"""Crash isolation: what ends the worker is tried apart, narrowed down, condemned, and passed over from then on.

    worker      says in a small mapped file which frame it has in hand (`in_hand`, `marked`)
    supervisor  sees how it ended, ends one that hangs, and has the frame judged before it starts another (`inquest`)
    judge       a process of its own: brings a pipeline to that frame, forks a try for each question (`tries`), finds
                the first record that ends a try (`narrowing`), and appends the verdict to the journal (`verdicts`)

Only what ends a process by itself is judged: a signal of the processor or of abort, an exception out of the pipeline,
the worker's own memory limit, and a hang. SIGKILL never is, whoever sent it: the system's out-of-memory killer cannot
be told from an operator. So that it is not met, the worker's own limit lies below that of its control group.
"""
