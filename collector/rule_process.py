"""Builds a set of rules in a process of its own: it takes seconds and memory, and whatever it dies of ends nothing.

    python -P -m collector.rule_process DATA_DIR

The options come on standard input, as JSON in one line; the set goes to standard output, as MessagePack. It ends when
its standard input does: with whoever started it.
"""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

from collector.config_rules import RulesConfig
from collector.errors import TidewaiterError, sentence_of
from collector.rule_build import Built, build

BUILD_LIMIT_S: Final = 300.0
"""Longest that building one set may take; 3,141 rules take some 5 s."""

RESULT_LIMIT_BYTES: Final = 32 << 20
"""Most that is read of what it says."""

EXIT_FAILED: Final = 1

_encode_result = msgspec.msgpack.Encoder().encode
_decode_result = msgspec.msgpack.Decoder(Built).decode


class NotBuiltError(TidewaiterError):
    """There is no set of what stands in the files; the text says why."""


async def build_apart(options: RulesConfig, data_dir: Path, *, limit_s: float = BUILD_LIMIT_S) -> Built:
    """Build the set in a process of its own; raise NotBuiltError."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-P", "-m", "collector.rule_process", str(data_dir))
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise NotBuiltError(f"no process can be started to load rules: {error.strerror}") from error
    try:
        async with asyncio.timeout(limit_s):
            said, errors = await asyncio.gather(_ask(process, options), _bounded(process.stderr, 64 << 10))
            code = await process.wait()
    except TimeoutError as error:
        raise NotBuiltError(f"rules are not loaded after {limit_s:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code == 0:
        try:
            return _decode_result(said)
        except msgspec.DecodeError as error:
            raise NotBuiltError("the process that loads rules said nothing that can be read") from error
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    raise NotBuiltError(
        lines[-1] if lines and code == EXIT_FAILED else f"the process that loads rules ended with {ending}"
    )


async def _ask(process: asyncio.subprocess.Process, options: RulesConfig) -> bytes:
    if process.stdin is not None:
        # It stays open until the process has ended: its end says that we did.
        process.stdin.write(msgspec.json.encode(options) + b"\n")
    return await _bounded(process.stdout, RESULT_LIMIT_BYTES)


async def _bounded(stream: asyncio.StreamReader | None, limit_bytes: int) -> bytes:
    """Return what a process says, to its end; raise NotBuiltError where that is too much."""
    said = bytearray()
    while stream is not None and (part := await stream.read(1 << 16)):
        said += part
        if len(said) > limit_bytes:
            raise NotBuiltError("the process that loads rules says more than is taken")
    return bytes(said)


def _end_with(descriptor: int) -> None:
    # Not by Python's own object for it: one that a thread reads cannot be closed, and Python aborts at its end.
    while os.read(descriptor, 1 << 10):
        pass
    os._exit(EXIT_FAILED)


def main(arguments: list[str]) -> int:
    """Build one set; return the exit code."""
    os.umask(0o077)
    (data_dir,) = arguments
    descriptor = sys.stdin.fileno()
    line = bytearray()
    while not line.endswith(b"\n") and (part := os.read(descriptor, 1 << 16)):
        line += part
    threading.Thread(target=_end_with, args=(descriptor,), daemon=True).start()
    try:
        built = build(msgspec.json.decode(line, type=RulesConfig), Path(data_dir))
    except (TidewaiterError, OSError, ValueError) as error:
        sys.stderr.write(f"{sentence_of(error) or error}\n")
        return EXIT_FAILED
    sys.stdout.buffer.write(_encode_result(built))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
