"""Ways to enter or touch a container, an image, a volume, a network or the Engine, and which documents tell of each.

`told` names documents as `type.action`, each as often as it comes; one with `+` comes once or more, one with `*` may
not come. What an Engine does not tell is here too, with nothing. `says` is what documents of an action say. All are
done by the client or the API of a real Engine, one after the other, to the container `resident` or to what a way makes
for itself.
"""

import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tests.kit.docker_engine import BUSYBOX, IMAGE, DockerEngine
from tests.kit.engine_events import EngineEvents
from tests.kit.running import wait_until

RESIDENT: Final = "resident"
USER: Final = "1000:1000"
"""As whom the resident runs."""

CANNOT_START: Final = 126
"""What the client ends with where the Engine could not start the process."""

HOSTILE: Final = 'a: b\n"c" \\ \x01 é $(id)'
LONG: Final = "x" * 100_000
SUBNET: Final = "198.51.100.0/24"
PLUGIN: Final = "acme/plugin:1"
PLUGIN_SOCKETS: Final = Path("/run/docker/plugins")
"""Where every Engine looks for the sockets of its plugins."""

Told = tuple[str, ...]
Says = Mapping[str, Mapping[str, Any]]

NOTHING: Final[Says] = MappingProxyType({})

EXEC: Final = ("container.exec_create", "container.exec_start", "container.exec_die")
NOT_ENDED: Final = EXEC[:2]
STARTED: Final = ("network.connect", "container.start")
ENDED: Final = ("container.die", "network.disconnect+")
RUN: Final = ("container.create", *STARTED)
IN_FOREGROUND: Final = (*RUN, *ENDED, "container.attach", "container.destroy")
REMOVED: Final = ("container.kill+", *ENDED, "container.destroy")


class Scene(NamedTuple):
    """Where it is done. `registry` is an image registry's address, or nothing."""

    engine: DockerEngine
    events: EngineEvents
    folder: Path
    registry: str = ""

    def docker(self, *arguments: str) -> str:
        """Run the client."""
        return self.engine.docker(*arguments)

    def code(self, *arguments: str, given: bytes = b"") -> int:
        """Run the client, to any end; return its exit code."""
        command = self.engine.command(*arguments)
        return subprocess.run(command, input=given, capture_output=True, check=False, timeout=60).returncode

    def on_terminal(self, *arguments: str, keys: bytes = b"") -> int:
        """Run the client on a terminal of its own, and type these keys once it is attached."""
        ours, theirs = pty.openpty()
        try:
            termios.tcsetwinsize(ours, (24, 80))
            before = len(self.events.heard())
            running = subprocess.Popen(self.engine.command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs)
            if keys:
                self.hear("container.attach", before)
                wait_until(lambda: _is_raw(ours), timeout_s=60, what="a raw terminal")
                os.write(ours, keys)
            return running.wait(60)
        finally:
            os.close(theirs)
            os.close(ours)

    def hear(self, name: str, before: int) -> None:
        """Wait until the Engine has told this, behind so many events."""
        self.events.wait(lambda heard: any(each.name == name for each in heard[before:]), name)

    def create_exec(self, *command: str, **more: Any) -> str:
        """Make an exec by the API, without starting it; return its id."""
        return str(self.engine.api("POST", f"/containers/{RESIDENT}/exec", {"Cmd": list(command), **more})["Id"])

    def start_exec(self, *command: str, **more: Any) -> str:
        """Start one, detached; return its id."""
        identity = self.create_exec(*command, **more)
        self.engine.api("POST", f"/exec/{identity}/start", {"Detach": True, "Tty": more.get("Tty", False)})
        return identity


def _is_raw(terminal: int) -> bool:
    return not termios.tcgetattr(terminal)[3] & termios.ICANON


class Way(NamedTuple):
    """One of them. `act` returns what is told where that depends on the machine, else nothing."""

    name: str
    act: Callable[[Scene], Told | object]
    told: Told
    says: Says = NOTHING


def ways(scene: Scene) -> Iterator[Way]:
    """Yield all that this scene has what it takes for."""
    yield from EXECS
    yield from SESSIONS
    yield from FILES
    yield from LIVES
    yield from IMAGES
    yield from OTHERS
    if scene.registry:
        yield from REGISTRY


def _client(*arguments: str) -> Callable[[Scene], Told | object]:
    """Run the client, with these; what is in braces is of the scene."""
    return lambda scene: scene.code(*(each.format(folder=scene.folder, registry=scene.registry) for each in arguments))


def _exec(*arguments: str) -> Callable[[Scene], Told | object]:
    return lambda scene: scene.code("exec", *arguments)


def _facts(*facts: str, of: Told = EXEC) -> dict[str, dict[str, Any]]:
    return {name.partition(".")[2]: {"tidewaiter.facts": list(facts)} for name in of}


def _ends(code: int, **more: Any) -> dict[str, dict[str, Any]]:
    return {"exec_die": {"process.exit_code": code, **{name.replace("__", "."): value for name, value in more.items()}}}


def _privileged(scene: Scene) -> Told:
    """Where this machine lets no process have all rights, the Engine cannot start it, and then tells of no end."""
    return NOT_ENDED if scene.code("exec", "--privileged", RESIDENT, "true") == CANNOT_START else EXEC


def _killed(scene: Scene) -> None:
    identity = scene.start_exec("sleep", "1000")

    def pid() -> int:
        return int(scene.engine.api("GET", f"/exec/{identity}/json")["Pid"])

    wait_until(lambda: pid() > 0, timeout_s=60, what="a process")
    os.kill(pid(), signal.SIGKILL)


def _two_at_once(scene: Scene) -> None:
    for identity in [scene.create_exec("true") for _ in range(2)]:
        scene.engine.api("POST", f"/exec/{identity}/start", {"Detach": True})


EXECS: Final = (
    Way("exec", _exec(RESIDENT, "id"), EXEC, _ends(0, process__args=["id"], container__name=RESIDENT)),
    Way("exec that fails", _exec(RESIDENT, "sh", "-c", "exit 3"), EXEC, _ends(3, event__outcome="failure")),
    Way("exec as another user", _exec("-u", "1001", RESIDENT, "true"), EXEC, _ends(0, process__user={"id": "1001"})),
    Way("exec as root", _exec("-u", "0", RESIDENT, "true"), EXEC, _facts("exec_root")),
    Way(
        "exec on a terminal",
        lambda scene: scene.on_terminal("exec", "-it", RESIDENT, "true"),
        EXEC,
        _facts("exec_terminal") | {"exec_die": {"tidewaiter.exec.tty": True, "process.interactive": True}},
    ),
    Way(
        "shell with its input",
        lambda scene: scene.code("exec", "-i", RESIDENT, "sh", given=b"exit 5\n"),
        EXEC,
        _facts("shell_started") | _ends(5),
    ),
    Way("exec detached", _exec("-d", RESIDENT, "sleep", "0.1"), EXEC, _ends(0)),
    Way("exec privileged", _privileged, EXEC, _facts("exec_privileged", of=NOT_ENDED)),
    Way("exec with folder and variables", _exec("-w", "/bin", "-e", "PASSWORD=hidden", RESIDENT, "true"), EXEC),
    Way("exec of hostile words", _exec(RESIDENT, "echo", HOSTILE), EXEC, _ends(0, process__args=["echo", HOSTILE])),
    Way("exec of 100 KB", _exec(RESIDENT, "true", LONG), EXEC, _ends(0, process__args_count=2)),
    Way("exec of what is not there", _exec(RESIDENT, "nothing"), NOT_ENDED),
    Way(
        "exec of a package manager",
        _exec(RESIDENT, "sh", "-c", "apk add x"),
        EXEC,
        _facts("shell_started", "package_manager"),
    ),
    Way("exec of sshd", _exec(RESIDENT, "sh", "-c", "sshd -D"), EXEC, _facts("shell_started", "sshd_started")),
    Way("exec by the API", lambda scene: scene.start_exec("sh", "-c", "exit 7"), EXEC, _ends(7)),
    Way(
        "exec by the API on a terminal", lambda scene: scene.start_exec("true", Tty=True), EXEC, _facts("exec_terminal")
    ),
    Way("exec that is never started", lambda scene: scene.create_exec("true"), EXEC[:1]),
    Way("exec that is killed", _killed, EXEC, _ends(137, event__outcome="unknown")),
    Way("two execs of the same", _two_at_once, EXEC * 2, _ends(0)),
)


def _attach_by_client(scene: Scene) -> None:
    before = len(scene.events.heard())
    attached = subprocess.Popen(scene.engine.command("attach", "--no-stdin", "--sig-proxy=false", RESIDENT))
    scene.hear("container.attach", before)
    attached.terminate()
    attached.wait(30)


def _attach_by_api(scene: Scene) -> None:
    """Attach to a container's output, and break the connection off."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        connection.connect(scene.engine.address.removeprefix("unix://"))
        path = f"/containers/{RESIDENT}/attach?stream=1&stdout=1"
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.close()


def _detach(scene: Scene) -> None:
    """Leave a shell by the client's keys; not every Engine tells that."""
    scene.docker("create", "--interactive", "--tty", "--network", "none", "--name", "shell", IMAGE, "sh")
    scene.docker("start", "shell")
    scene.on_terminal("attach", "shell", keys=b"\x10\x11")
    scene.docker("rm", "--force", "shell")


def _look(scene: Scene) -> None:
    """All that no Engine tells of."""
    for arguments in (
        ["logs", RESIDENT],
        ["inspect", RESIDENT],
        ["diff", RESIDENT],
        ["ps"],
        ["images"],
        ["port", RESIDENT],
    ):
        scene.docker(*arguments)
    scene.engine.api("GET", f"/containers/{RESIDENT}/stats?stream=false&one-shot=true")


SESSIONS: Final = (
    Way("attach", _attach_by_client, ("container.attach",), _facts("attach", of=("container.attach",))),
    Way("attach by the API", _attach_by_api, ("container.attach",), _facts("attach", of=("container.attach",))),
    Way(
        "attach, and detach by keys",
        _detach,
        (*RUN, "container.attach", "container.resize+", "container.detach*", *REMOVED),
    ),
    Way(
        "run in the foreground",
        _client("run", "--rm", "--network", "none", IMAGE, "sh", "-c", "exit 4"),
        IN_FOREGROUND,
        {"die": {"process.exit_code": 4, "event.outcome": "failure"}},
    ),
    Way(
        "run on a terminal",
        lambda scene: scene.on_terminal("run", "--rm", "-it", "--network", "none", IMAGE, "true"),
        (*IN_FOREGROUND, "container.resize*"),
    ),
    Way("top", _client("top", RESIDENT), ("container.top",)),
    Way("look only", _look, ()),
)


def _put_archive(scene: Scene) -> None:
    path = f"/containers/{RESIDENT}/archive?path=/"
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(scene.engine.address.removeprefix("unix://"))
        connection.request("PUT", path, (scene.folder / "in.tar").read_bytes(), {"Content-Type": "application/x-tar"})
        connection.getresponse().read()
    finally:
        connection.close()


FILES: Final = (
    Way(
        "copy in",
        _client("cp", "{folder}/in", f"{RESIDENT}:/in"),
        ("container.extract-to-dir",),
        _facts("copy_in", of=("container.extract-to-dir",)),
    ),
    Way("copy in by the API", _put_archive, ("container.extract-to-dir",)),
    Way(
        "copy out",
        _client("cp", f"{RESIDENT}:/in", "{folder}/out"),
        ("container.archive-path",),
        _facts("copy_out", of=("container.archive-path",)),
    ),
    Way(
        "copy out by the API",
        lambda scene: scene.engine.api("GET", f"/containers/{RESIDENT}/archive?path=/in"),
        ("container.archive-path",),
    ),
    Way(
        "export",
        _client("export", "--output", "{folder}/root.tar", RESIDENT),
        ("container.export",),
        _facts("copy_out", of=("container.export",)),
    ),
    Way(
        "commit",
        _client("commit", RESIDENT, "acme/kept:1"),
        ("container.pause", "container.commit", "container.unpause", "image.tag"),
        _facts("commit", of=("container.commit",)),
    ),
)


def _healthy(scene: Scene) -> None:
    health = ["--health-cmd", "true", "--health-interval", "1s"]
    before = len(scene.events.heard())
    scene.docker("run", "--detach", "--network", "none", "--name", "checked", *health, IMAGE, "sleep", "1000")
    scene.hear("container.health_status", before)
    scene.docker("rm", "--force", "checked")


def _short_of_memory(scene: Scene) -> None:
    """Let a shell take more memory than its container may have."""
    limit = ["--network", "none", "--memory", "16m", "--memory-swap", "16m"]
    scene.code("run", "--rm", *limit, IMAGE, "sh", "-c", "x=$(yes | head -c 60000000)")


def _forge(scene: Scene) -> None:
    """Run an exec in a container whose labels say what the Engine says of execs."""
    labels = ["--label", f"execID={'f' * 64}", "--label", "exitCode=0", "--label", "signal=2"]
    scene.docker("run", "--detach", "--network", "none", "--name", "liar", *labels, IMAGE, "sleep", "1000")
    scene.code("exec", "liar", "sh", "-c", "sleep 0.5; exit 3")
    scene.docker("rm", "--force", "liar")


LIVES: Final = (
    Way(
        "create",
        _client("create", "--network", "none", "--name", "other", IMAGE, "sleep", "1000"),
        ("container.create",),
    ),
    Way("start", _client("start", "other"), STARTED, {"start": {"container.name": "other"}}),
    Way(
        "rename",
        _client("rename", "other", "renamed"),
        ("container.rename",),
        {"rename": {"container.name": "renamed"}},
    ),
    Way("update", _client("update", "--restart", "no", "renamed"), ("container.update",)),
    Way("pause", _client("pause", "renamed"), ("container.pause",)),
    Way("unpause", _client("unpause", "renamed"), ("container.unpause",)),
    Way(
        "signal",
        _client("kill", "--signal", "WINCH", "renamed"),
        ("container.kill",),
        {"kill": {"event.reason": "SIGWINCH"}},
    ),
    Way(
        "restart",
        _client("restart", "--time", "0", "renamed"),
        ("container.kill+", *ENDED, "container.stop", *STARTED, "container.restart"),
    ),
    Way("stop", _client("stop", "--time", "0", "renamed"), ("container.kill+", *ENDED, "container.stop")),
    Way("start again", _client("start", "renamed"), STARTED),
    Way(
        "kill",
        _client("kill", "renamed"),
        ("container.kill", *ENDED),
        {"die": {"process.exit_code": 137, "event.outcome": "unknown"}},
    ),
    Way("remove", _client("rm", "renamed"), ("container.destroy",)),
    Way(
        "health check",
        _healthy,
        (*RUN, "container.health_status", *(f"{each}+" for each in EXEC), *REMOVED),
        {"health_status": {"event.outcome": "success"}},
    ),
    Way("short of memory", _short_of_memory, (*IN_FOREGROUND, "container.oom+"), {"oom": {"event.outcome": "failure"}}),
    Way(
        "labels that lie",
        _forge,
        (*RUN, *EXEC, *REMOVED),
        {"exec_die": {"process.exit_code": 3, "tags": ["_attribute_forged"]}},
    ),
)

IMAGES: Final = (
    Way(
        "tag",
        _client("image", "tag", IMAGE, "acme/other:2"),
        ("image.tag",),
        {"tag": {"container.image.name": "acme/other"}},
    ),
    Way("save", _client("image", "save", "--output", "{folder}/image.tar", "acme/other:2"), ("image.save",)),
    Way("untag", _client("image", "rm", "acme/other:2"), ("image.untag",)),
    Way("load", _client("image", "load", "--input", "{folder}/image.tar"), ("image.load",)),
    Way("import", _client("image", "import", "{folder}/root.tar", "acme/imported:1"), ("image.import", "image.tag")),
    Way("remove image", _client("image", "rm", "acme/imported:1"), ("image.untag", "image.delete+")),
    Way(
        "build",
        _client("build", "--quiet", "--network", "none", "--tag", "acme/built:1", "{folder}/build"),
        (*IN_FOREGROUND, "image.tag"),
    ),
    Way("prune", _client("image", "prune", "--force"), ("image.prune",)),
)


def _reload(scene: Scene) -> None:
    scene.engine.signal(signal.SIGHUP)


def _make_plugin(scene: Scene) -> None:
    scene.docker("plugin", "create", PLUGIN, str(scene.folder / "plugin"))


def _enable_plugin(scene: Scene) -> None:
    """Let a plugin run; its program sleeps, and what should listen in its place does."""
    identity = scene.docker("plugin", "inspect", "--format", "{{.Id}}", PLUGIN).strip()
    path = PLUGIN_SOCKETS / identity / "p.sock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        scene.docker("plugin", "enable", PLUGIN)


OTHERS: Final = (
    Way(
        "create volume",
        _client("volume", "create", "kept"),
        ("volume.create",),
        {"create": {"volume.mount_name": "kept"}},
    ),
    Way(
        "run with a volume",
        _client("run", "--rm", "--network", "none", "--volume", "kept:/data", IMAGE, "true"),
        (*IN_FOREGROUND, "volume.create", "volume.mount", "volume.unmount"),
        {"mount": {"volume.writable": True}},
    ),
    Way("remove volume", _client("volume", "rm", "kept"), ("volume.destroy",)),
    Way(
        "create network",
        _client("network", "create", "--subnet", SUBNET, "shop"),
        ("network.create",),
        {"create": {"network.name": "shop"}},
    ),
    Way("leave network", _client("network", "disconnect", "none", RESIDENT), ("network.disconnect+",)),
    Way(
        "join network",
        _client("network", "connect", "shop", RESIDENT),
        ("network.connect",),
        {"connect": {"network.name": "shop"}},
    ),
    Way("leave it again", _client("network", "disconnect", "shop", RESIDENT), ("network.disconnect+",)),
    Way("remove network", _client("network", "rm", "shop"), ("network.destroy",)),
    Way("join none", _client("network", "connect", "none", RESIDENT), ("network.connect",)),
    Way("prune containers", _client("container", "prune", "--force"), ("container.prune",)),
    Way("reload", _reload, ("daemon.reload",)),
    Way("create plugin", _make_plugin, ("plugin.create",)),
    Way("enable plugin", _enable_plugin, ("plugin.enable",)),
    Way("disable plugin", _client("plugin", "disable", PLUGIN), ("plugin.disable",)),
    Way("remove plugin", _client("plugin", "rm", PLUGIN), ("plugin.remove",)),
)

_PUSHED: Final = "{registry}/acme/bb:1.2"
REGISTRY: Final = (
    Way("tag for a registry", _client("image", "tag", IMAGE, _PUSHED), ("image.tag",)),
    Way("push", _client("push", _PUSHED), ("image.push",)),
    Way("forget", _client("image", "rm", _PUSHED), ("image.untag+",)),
    Way("pull", _client("pull", _PUSHED), ("image.pull",)),
)


def prepare(scene: Scene) -> None:
    """Make what ways need: a resident, and files."""
    files = scene.folder
    (files / "in").write_text("x")
    subprocess.run(["tar", "-C", str(files), "-cf", str(files / "in.tar"), "in"], check=True)
    (files / "build").mkdir()
    (files / "build" / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN true\n")
    root = files / "plugin" / "rootfs" / "bin"
    root.mkdir(parents=True)
    (root / "busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (root / "busybox").chmod(0o755)
    config = {
        "description": "sleeps",
        "documentation": "",
        "entrypoint": ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"],
        "interface": {"types": ["acme.dummy/1.0"], "socket": "p.sock"},
        "network": {"type": "host"},
        "linux": {"capabilities": []},
    }
    (files / "plugin" / "config.json").write_text(json.dumps(config))
    options = ["--detach", "--user", USER, "--network", "none", "--name", RESIDENT]
    scene.docker("run", *options, IMAGE, "sleep", "100000")
