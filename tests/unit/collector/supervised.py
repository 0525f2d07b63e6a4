"""A supervisor with roles that are easy to steer, as real processes, for the tests of `collector.supervisor`.

    python supervised.py run DATA_DIR SETTINGS      the supervisor; SETTINGS is JSON
    python supervised.py role ROLE DESCRIPTOR       a fake role

A fake role does what the file `DATA_DIR/moods/ROLE` says, read when it starts and ten times a second after that, and
writes what happens to it into `DATA_DIR/events`, one line each. One that stands by obeys the file `ROLE-beside`.
"""

import json
import os
import selectors
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run(data_dir: str, settings: dict[str, Any]) -> int:
    """Run the supervisor; roles named in `real` are the product's own."""
    import asyncio

    import msgspec

    from collector.config import Config
    from collector.config_file import Loaded, load
    from collector.errors import TidewaiterError
    from collector.logs import configure
    from collector.roles import role_command
    from collector.supervisor import Limits, supervise

    def command(role: str, descriptor: int) -> Sequence[str]:
        if role in settings.get("real", []):
            return role_command(role, descriptor)
        return [sys.executable, "-S", "-E", __file__, "role", role, str(descriptor)]

    def read() -> Loaded:
        return load(settings["file"], data_dir)

    configure()
    config = (
        load(settings["file"], data_dir).config
        if "file" in settings
        else msgspec.convert({"data_dir": data_dir, **settings.get("config", {})}, Config)
    )
    limits = msgspec.convert(settings.get("limits", {}), Limits)
    try:
        return asyncio.run(supervise(config, command=command, limits=limits, load=read if "file" in settings else None))
    except TidewaiterError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


class FakeRole:
    """Speaks the control channel's JSON lines with nothing but the standard library, so that it starts at once."""

    def __init__(self, role: str, descriptor: int) -> None:
        self.role = role
        self.channel = socket.socket(fileno=descriptor)
        # Unbuffered: the selector does not see what a buffer read ahead, and a stop behind the configuration was lost.
        self.received = self.channel.makefile("rb", buffering=0)
        self.folder = Path()
        self.mood = ""
        self.moods_of = role
        self.components: list[str] = []

    def note(self, event: str) -> None:
        """Write down what happened."""
        with (self.folder / "events").open("a") as events:
            events.write(f"{self.role} {event}\n")

    def report(self, health: dict[str, str]) -> None:
        """Tell the supervisor."""
        message = {"type": "report", "role": self.role, "health": health, "metrics": []}
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def live(self) -> int:
        """Do as the moods say until told to stop; return the exit code."""
        configured = json.loads(self.received.readline())
        config = configured["config"]
        self.folder = Path(config["data_dir"])
        if configured.get("stands_by"):
            self.moods_of = f"{self.role}-beside"
            self.note(f"stands by {os.getpid()}")
        self.note(f"started {os.getpid()}")
        (self.folder / f"{self.role}.json").write_text(json.dumps({"config": config, "environment": dict(os.environ)}))
        components: dict[str, list[str]] = {"intake": ["journal", *(f"input {name}" for name in config["inputs"])]}
        components |= {"worker": ["journal"], "console": ["console"]}
        components["watcher"] = [f"input {name}" for name in config["inputs"]]
        self.components = components[self.role]
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            while True:
                self.change_mood()
                if self.mood == "crash":
                    return 7
                if self.mood.startswith("end: "):
                    self.report({"process": self.mood.removeprefix("end: ")})
                    return 1
                if selector.select(0.1) and (code := self.obey()) is not None:
                    return code

    def change_mood(self) -> None:
        """Report anew when the file changed."""
        file = self.folder / "moods" / self.moods_of
        mood = file.read_text() if file.exists() else "well"
        if mood != self.mood and mood not in ("silent", "crash"):
            reason = mood.removeprefix("ill: ") if mood.startswith("ill: ") else ""
            health = dict.fromkeys(self.components, reason)
            # What no mood is about: a worker has spoken of its rules once it is up.
            self.report(health | ({"rules": ""} if self.role == "worker" else {}))
        self.mood = mood

    def obey(self) -> int | None:
        """Take one message; return the exit code when it ends this role."""
        line = self.received.readline()
        if not line:
            self.note("orphaned")
            os._exit(1)
        message = json.loads(line)
        if message["type"] == "reports":
            self.note(f"told {json.dumps({'problems': message['problems'], 'degraded': message['degraded']})}")
        if message["type"] == "go":
            self.note("goes")
        if message["type"] in ("prepare", "switch"):
            return self.change(message)
        if message["type"] == "stop":
            self.note("told to stop")
            if self.mood != "deaf":
                self.note("stopped")
                return 0
        return None

    def change(self, message: dict[str, Any]) -> int | None:
        """Do as a reload asks: `refuse: WHY` refuses to prepare, `fail: WHY` to switch, `die` ends, `hang` waits."""
        self.change_mood()
        kind = message["type"] if message.get("go", True) else "forget"
        self.note(f"told to {kind}")
        if kind == "switch" and self.mood in ("die", "hang"):
            return 9 if self.mood == "die" else None
        moods = {"prepare": "refuse: ", "switch": "fail: "}
        wrong = kind in moods and self.mood.startswith(moods[kind])
        problems = [["inputs.forward", self.mood.removeprefix(moods[kind])]] if wrong else []
        answer = {"type": "answer", "number": message["number"], "problems": problems}
        self.channel.sendall(json.dumps(answer).encode() + b"\n")
        return None


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], json.loads(sys.argv[3])))
    sys.exit(FakeRole(sys.argv[2], int(sys.argv[3])).live())
