"""What a real Engine tells, heard by a test itself: what a collector's documents are held against.

with EngineEvents(engine.address) as events:
    …
    events.wait(lambda heard: len(heard) >= 3, "three events")
"""

import http.client
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

HEARD_WITHIN_S: Final = 60.0


class Heard(NamedTuple):
    """An event: when, of what, what, and the container and object it is about."""

    time_ns: int
    kind: str
    action: str
    container: str
    actor: str

    @property
    def name(self) -> str:
        """What it is called in a list of ways (`tests.e2e.ways`)."""
        return f"{self.kind}.{self.action}"


def heard(event: dict[str, Any]) -> Heard:
    """Return an event as it is compared: of an action without the text behind it."""
    kind, actor = event["Type"], event["Actor"]["ID"]
    container = actor if kind == "container" else (event["Actor"]["Attributes"] or {}).get("container", "")
    return Heard(event["timeNano"], kind, event["Action"].partition(":")[0], container, actor)


class EngineEvents:
    """Hears all that an Engine tells from now on, in a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address.removeprefix("unix://")
        self._told = threading.Condition()
        self._heard: list[Heard] = []
        self._connection = http.client.HTTPConnection("engine")

    def __enter__(self) -> "EngineEvents":
        """Begin."""
        self._connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.sock.connect(self._address)
        self._connection.request("GET", "/events")
        self._socket = self._connection.sock
        answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, args=(answer,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        try:
            for line in answer:
                with self._told:
                    self._heard.append(heard(json.loads(line)))
                    self._told.notify_all()
        except (OSError, http.client.HTTPException, ValueError):
            return

    def heard(self) -> list[Heard]:
        """All so far."""
        with self._told:
            return list(self._heard)

    def wait(self, holds: Callable[[list[Heard]], bool], what: str) -> list[Heard]:
        """Wait until this holds of what was heard; return that. Raises AssertionError with the last of it if not."""
        with self._told:
            if not self._told.wait_for(lambda: holds(self._heard), HEARD_WITHIN_S):
                raise AssertionError(f"{what} not told: {[each.name for each in self._heard[-30:]]}")
            return list(self._heard)
