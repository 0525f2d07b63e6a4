"""What the watcher of a Docker Engine appends about what was done: the Engine's own objects, beside them what it added.

Source: `protocols/docker-events.md` sections 1.1 to 1.5. A record is one of

    {"kind": "event", "engine": "engine", "event": {"Type": "container", "Action": "start", "Actor": {…}, …},
     "exec": {…}, "cut": ["Action"], "lengths": {"Action": …}}
    {"kind": "gap", "engine": "engine", "why": "engine_restarted", "after_ns": …, "before_ns": …, "appeared": […], …}

`exec` is what `GET /exec/{id}/json` answered, beside an event of an exec; `cut` names what the watcher made shorter,
and `lengths` says how long it was.
"""

from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta

from parsers.timestamps import LAST_SECOND

MODULE: Final = "docker"
DATASET: Final = "docker.events"
CONTAINER: Final = "container"

COMMAND_MARK: Final = ": "
"""Behind the first of these an action has a text: a command, a state. The text may hold it again."""

OWN_ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "die": ("exitCode", "execDuration"),
    "kill": ("signal",),
    "exec_create": ("execID",),
    "exec_start": ("execID",),
    "exec_die": ("execID", "exitCode"),
    "exec_detach": ("execID",),
    "rename": ("oldName",),
    "commit": ("comment", "imageID", "imageRef"),
    "resize": ("height", "width"),
    "prune": ("reclaimed",),
}
"""What the Engine adds to events of a container by their actions; the container's labels are written over it."""

ADDED: Final = frozenset(name for names in OWN_ATTRIBUTES.values() for name in names)
"""Attributes that may be the Engine's; a label can have any of these names."""

ALWAYS: Final = ("image", "name")
"""What every event of a container has, written over its labels: the Engine's word."""

KNOWN_KEYS: Final = frozenset({"Type", "Action", "Actor", "scope", "time", "timeNano", "status", "id", "from"})
"""Keys of events by which nothing is lost; the last three say of older APIs again what others say."""

SECOND_NS: Final = 1_000_000_000

_ABOUT_CONTAINERS: Final = ("network", "volume")
"""Types of events of which the Engine says which container they are about (`network connect`, `volume mount`)."""

Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Actor(msgspec.Struct):
    """What an event is about: its id, and attributes, of which those of containers and images are labels too."""

    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] | None = msgspec.field(name="Attributes", default=None)


class Event(msgspec.Struct):
    """An Engine's event. Times are seconds and nanoseconds since the Unix epoch, by the Engine's clock.

    `others` holds keys that no API had when this was written; `read_record` sets it.
    """

    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: Actor = msgspec.field(name="Actor", default_factory=Actor)
    scope: str = ""
    time_s: Whole = msgspec.field(name="time", default=0)
    time_ns: Whole = msgspec.field(name="timeNano", default=0)
    others: Any = msgspec.field(name="(others)", default_factory=dict)

    @property
    def name(self) -> str:
        """The action, without the text that some have."""
        return self.action.partition(COMMAND_MARK)[0]

    @property
    def text(self) -> str:
        """The action's text; empty where it has none."""
        return self.action.partition(COMMAND_MARK)[2]

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes; not to be changed."""
        return self.actor.attributes or {}

    @property
    def container(self) -> str:
        """The id of the container that it is about, empty where it is about none."""
        if self.type == CONTAINER:
            return self.actor.id
        # Attributes of an image are its labels as well: who built it chose them.
        return self.attributes.get(CONTAINER, "") if self.type in _ABOUT_CONTAINERS else ""

    @property
    def time(self) -> int:
        """When it was, in nanoseconds; 0 where that is no time that a document can have."""
        time_ns = self.time_ns or self.time_s * SECOND_NS
        return time_ns if 0 < time_ns <= LAST_SECOND * SECOND_NS else 0


class ProcessConfig(msgspec.Struct):
    """The process of an exec, as it was asked for. `user` is empty where it is the container's; `env` holds names."""

    entrypoint: str = ""
    arguments: list[str] | None = None
    tty: bool = False
    user: str = ""
    privileged: bool | None = None
    working_dir: str = msgspec.field(name="WorkingDir", default="")
    env: list[str] | None = msgspec.field(name="Env", default=None)

    @property
    def words(self) -> tuple[str, ...]:
        """Program and arguments."""
        return (self.entrypoint, *(self.arguments or ()))


class Exec(msgspec.Struct, rename="pascal"):
    """A process that was started in a running container, as `GET /exec/{id}/json` shows it; `env` holds names."""

    id: str = msgspec.field(name="ID", default="")
    container_id: str = msgspec.field(name="ContainerID", default="")
    running: bool = False
    exit_code: Whole | None = None
    pid: Whole = 0
    open_stdin: bool = False
    process_config: ProcessConfig | None = None
    working_dir: str = ""
    env: list[str] | None = None


class EventRecord(msgspec.Struct, tag_field="kind", tag="event"):
    """An event, and what the watcher added."""

    event: Event
    engine: str = ""
    exec: msgspec.Raw = msgspec.Raw()
    cut: list[str] = []
    lengths: dict[str, Whole] = {}

    @property
    def has_whole_command(self) -> bool:
        """Whether neither the action nor what the Engine answered of the exec was made shorter."""
        return not any(name == "Action" or name.startswith("exec") for name in self.cut)

    @property
    def has_all_attributes(self) -> bool:
        """Whether the event has all the attributes that the Engine told."""
        return not any(name.startswith("Actor") for name in self.cut)

    @property
    def inspected(self) -> Exec | None:
        """What the Engine said of the exec; None where it said nothing that can be read."""
        if not self.exec:
            return None
        try:
            return msgspec.json.decode(self.exec, type=Exec)
        except msgspec.DecodeError:
            return None


class Seen(msgspec.Struct):
    """A container, as a comparison of two lists shows it."""

    id: str
    name: str = ""
    image: str = ""

    def __str__(self) -> str:
        parts = (self.name.removeprefix("/"), self.id[:12], self.image)
        return " ".join(part for part in parts if part)


class GapRecord(msgspec.Struct, tag_field="kind", tag="gap"):
    """Between these times events may be missing; and what came, went or changed meanwhile."""

    engine: str = ""
    why: str = ""
    after_ns: Whole = 0
    before_ns: Whole = 0
    appeared: list[Seen] = []
    gone: list[Seen] = []
    changed: list[Seen] = []
    cut: list[str] = []
    lengths: dict[str, Whole] = {}


Record = EventRecord | GapRecord

_decoder: Final[msgspec.json.Decoder[Record]] = msgspec.json.Decoder(Record)


def read_record(text: bytes | memoryview) -> Record:
    """Read a record; raise ValueError, msgspec.DecodeError among them, or RecursionError for what is none."""
    record = _decoder.decode(text)
    if isinstance(record, EventRecord):
        said = orjson.loads(text)["event"]
        record.event.others = {name: said[name] for name in said if name not in KNOWN_KEYS}
    return record
