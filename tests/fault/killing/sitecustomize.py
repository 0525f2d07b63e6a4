"""Makes lines that end a worker: Python loads this file at the start of a process that has its folder on PYTHONPATH.

The product has no such hook. Here, in worker and judge alone, both paths of the pipeline meet what TIDEWAITER_TEST_KILL
holds, `CAUSE:TEXT` separated by semicolons: where they parse a line with that text, what happens is real - a read of
address 0, a loop without end, memory taken until there is none, an abort, an exception out of all paths.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Any


def fall(cause: str) -> None:
    """Do what a fault of ours would."""
    if cause == "crash":
        ctypes.string_at(0)
    if cause == "abort":
        os.abort()
    if cause == "hang":
        while True:
            pass
    if cause == "memory":
        taken = []
        while True:
            taken.append(bytearray(16 << 20))
    if cause == "fault":
        raise ValueError("a fault of ours")


def install() -> None:
    """Put it in place, in processes of the pipeline."""
    from pipelines import chunk, reference

    wanted = [each.partition(":")[::2] for each in os.environ["TIDEWAITER_TEST_KILL"].split(";")]

    def meet(lines: Sequence[str]) -> None:
        for cause, text in wanted:
            if any(text in line for line in lines):
                fall(cause)

    def columns(held: Any, lines: Sequence[str], *arguments: Any, **named: Any) -> Any:
        meet(lines)
        return parse_columns(held, lines, *arguments, **named)

    def line(stream: Any, text: str, *arguments: Any, **named: Any) -> Any:
        meet([text])
        return parse_line(stream, text, *arguments, **named)

    parse_columns, parse_line = vars(chunk)["parse_columns"], vars(reference)["parse_line"]
    vars(chunk)["parse_columns"], vars(reference)["parse_line"] = columns, line


if {"worker", "judge"} & set(sys.orig_argv) and "TIDEWAITER_TEST_KILL" in os.environ:
    install()
