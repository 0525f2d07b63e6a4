"""The worker's own limit of memory, so that a record that eats it ends an allocation and not the machine."""

import contextlib
import resource
from pathlib import Path
from typing import Final

GROUP_SHARE: Final = 0.8
"""Of what the control group has; the rest is for the other roles, and for the pages of files."""

CGROUPS: Final = Path("/sys/fs/cgroup")


def limit_memory(limit_bytes: int) -> None:
    """Bound what this process may allocate: beyond it an allocation fails, and Python raises MemoryError.

    The limit is that of data, not of addresses: files that are mapped, and what threads reserve, take no memory.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


def own_limit(limit_bytes: int, *, membership: Path = Path("/proc/self/cgroup"), groups: Path = CGROUPS) -> int:
    """Return the limit, or less where the control group that this process is in, or one around it, has not as much."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return limit_bytes
    path = next((line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")), "")
    group = groups / path
    while group.is_relative_to(groups):
        with contextlib.suppress(OSError, ValueError):  # `max`, or no such file: none
            limit_bytes = min(limit_bytes, int(GROUP_SHARE * int((group / "memory.max").read_text())))
        group = group.parent
    return limit_bytes
