"""One peer that floods, a process of its own: `python -m tests.fault.flooder tiny|large|many PORT`.

Prints `flooding` when it has been acknowledged something, floods until its standard input is closed, waits for all
acknowledgements, and prints one JSON object: how many records of which name were acknowledged, numbered from 0.
"""

import asyncio
import json
import resource
import sys
from typing import Any, Final

from tests.kit.forward_sender import ForwardSender, Options
from tests.kit.waiting_sender import from_address

FLOODER: Final = "127.0.0.66"
SHAPES: Final[dict[str, tuple[int, int, dict[str, Any]]]] = {
    "tiny": (4, 1_000, {"mode": "message", "in_flight": 500}),
    "large": (4, 10_000, {"mode": "packed", "records_per_message": 2_500, "in_flight": 4, "line_bytes": 200}),
    "many": (2_000, 2, {"mode": "message", "in_flight": 2}),
}
"""By name: connections, records that each sends before it is asked whether to go on, and how it sends."""


async def flood(shape: str, port: int) -> dict[str, int]:
    """Flood until told to stop; return what was acknowledged, by name."""
    connections, at_once, options = SHAPES[shape]
    senders = [
        ForwardSender(from_address(FLOODER, port), Options(name=f"{shape}{number}", ack_timeout_s=60.0, **options))
        for number in range(connections)
    ]
    stopping = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def pour(sender: ForwardSender) -> None:
        while not stopping.done():
            await sender.send(at_once)

    async def announce() -> None:
        while not any(each.acked for each in senders):  # noqa: ASYNC110 - senders tell nobody of it
            await asyncio.sleep(0.01)
        sys.stdout.write("flooding\n")
        sys.stdout.flush()

    await asyncio.gather(announce(), *map(pour, senders))
    return {each.options.name: len(each.acked) for each in senders}


def main() -> None:
    """Flood, and say how much."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.stdout.write(json.dumps(asyncio.run(flood(sys.argv[1], int(sys.argv[2])))))


if __name__ == "__main__":
    main()
