"""What the watcher of an Engine appends about what was done: records for tests of Docker's trail."""

import json
from collections.abc import Sequence
from typing import Any

from tests.kit.frames import JOURNAL_TIME
from tests.kit.metadata import ENGINE, ENGINE_ORIGIN, Said

CONTAINER = "a" * 64
EXEC = "e" * 64


def docker_record(
    action: str,
    *,
    kind: str = "container",
    actor: str = CONTAINER,
    time_ns: int = JOURNAL_TIME - 1_000_000,
    beside: dict[str, Any] | None = None,
    **attributes: Any,
) -> bytes:
    """A record of an event, as an Engine of API 1.52 says it; `beside` is what the watcher adds."""
    event = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": "local",
        "time": time_ns // 1_000_000_000,
        "timeNano": time_ns,
    }
    return json.dumps({"kind": "event", "engine": ENGINE, "event": event, **(beside or {})}).encode()


def asked_exec(words: Sequence[str], *, container: str = CONTAINER, **more: Any) -> dict[str, Any]:
    """What the Engine answers when it is asked for an exec; `more` goes into its process."""
    process = {"entrypoint": words[0], "arguments": words[1:], "tty": False, "user": "", "privileged": False, **more}
    return {
        "ID": EXEC,
        "Running": True,
        "ExitCode": None,
        "Pid": 4711,
        "ContainerID": container,
        "OpenStdin": False,
        "ProcessConfig": process,
    }


def exec_records(
    words: Sequence[str], *, inspected: bool = True, code: int = 0, container: str = CONTAINER, **more: Any
) -> list[bytes]:
    """The three records of an exec that ends with this code; without `inspected` the Engine is not asked for it."""
    text = f"{words[0]} {' '.join(words[1:])}"
    beside = {"exec": asked_exec(words, container=container, **more)} if inspected else None
    return [
        docker_record(f"exec_create: {text}", actor=container, beside=beside, execID=EXEC),
        docker_record(f"exec_start: {text}", actor=container, beside=beside, execID=EXEC),
        docker_record("exec_die", actor=container, execID=EXEC, exitCode=str(code)),
    ]


def of_trail(*records: bytes) -> Said:
    """A message of records."""
    return ENGINE_ORIGIN, "docker-event", b"\n".join(records)
