"""Replays of dead letters as they are asked for and answered: files that a command and the worker leave one another.

    dead-letters/replays/<id>.json     asked for by a command, which has no output's key; the worker takes it up
    dead-letters/replays/<id>.answer   how far it is, and at the end what became of each group

What is asked for stays until it is done, so a worker that is killed in the middle goes on with it. A document that was
stored before that has the same id the second time: the store knows it, and it is there once.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from collector.dead_letters import DEAD_LETTERS, Letter
from collector.durable_files import make_folder, replace_file
from collector.errors import TidewaiterError
from parsers.timestamps import rfc3339

FOLDER: Final = "replays"

WAITING_LIMIT: Final = 100
"""Replays that may wait for the worker."""

IDS_LIMIT: Final = 10_000
"""Letters that one replay names by their ids; more are chosen by output, reason or time."""

ANSWERS_KEPT: Final = 20
"""Answers that nobody fetched; of more the newest stay."""

_asked = re.compile(r"[0-9]{20}-[0-9]+")
"""What an id looks like: time in nanoseconds, and the pid of who asked."""


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters are meant: those that fit all that is given. Times are RFC 3339 in UTC with nine digits."""

    sources: Sequence[str] = ()
    codes: Sequence[str] = ()
    ids: Sequence[str] = ()
    since: str = ""
    until: str = ""

    def takes(self, source: str, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        return (
            (not self.sources or source in self.sources)
            and (not self.codes or letter.code in self.codes)
            and (not self.ids or letter.id in self.ids or letter.document_id in self.ids)
            and self.since <= letter.time
            and (not self.until or letter.time < self.until)
        )


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A replay that is asked for by user `uid` at `asked_at`; `to` names another output than that of the letters.

    `starts` counts how often a worker began with it.
    """

    id: str
    asked_at: str
    uid: int
    selection: Selection
    to: str = ""
    starts: int = 0


GROUPS_LIMIT: Final = 1_000
"""Reasons that an answer tells apart; further ones are told together, as `other`."""

OUTCOMES: Final = ("stored", "refused", "waiting", "unsent")


class Group(msgspec.Struct, forbid_unknown_fields=True):
    """What became of the letters of one source and reason.

    `stored`: the store has them, and they are letters no more. `refused`: once more, for `reason`; `waiting`: not
    offered, or not settled, see the answer's problems; `unsent`: they hold no document that could be. All but the first
    stay.
    """

    source: str
    code: str
    stored: int = 0
    refused: int = 0
    waiting: int = 0
    unsent: int = 0
    reason: str = ""


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """How a replay stands."""

    id: str
    done: bool = False
    groups: list[Group] = []
    problems: list[str] = []

    def count(self, source: str, code: str, outcome: str) -> Group:
        """Count one letter of a source and reason; return its group."""
        if len(self.groups) >= GROUPS_LIMIT:
            code = code if any((each.source, each.code) == (source, code) for each in self.groups) else "other"
        group = next((each for each in self.groups if (each.source, each.code) == (source, code)), None)
        if group is None:
            group = Group(source, code)
            self.groups.append(group)
        setattr(group, outcome, getattr(group, outcome) + 1)
        return group

    def total(self, outcome: str) -> int:
        """Return how many letters had this outcome."""
        return sum(getattr(group, outcome) for group in self.groups)

    @property
    def left(self) -> int:
        """How many stay letters."""
        return sum(map(self.total, OUTCOMES)) - self.total("stored")

    def tell(self, problem: str) -> None:
        """Note a problem, once."""
        if problem and problem not in self.problems:
            self.problems.append(problem)


class ReplayError(TidewaiterError):
    """A replay cannot be asked for."""

    exit_code = 2


_request = msgspec.json.Decoder(Request).decode
_answer = msgspec.json.Decoder(Answer).decode


def ask(data_dir: Path, selection: Selection, *, to: str = "") -> Request:
    """Ask the worker for a replay, durably; raise ReplayError or OSError.

    The file belongs to the folder's owner, whoever ran the command.
    """
    folder = replays_folder(data_dir)
    make_folder(folder)
    if len(list(_names(folder, "json"))) >= WAITING_LIMIT:
        raise ReplayError(f"{WAITING_LIMIT} replays wait already: is the collector's worker running?")
    now_ns = time.time_ns()
    request = Request(f"{now_ns:020}-{os.getpid()}", rfc3339(now_ns), os.getuid(), selection, to)
    owner = data_dir.stat()
    if owner.st_uid != os.geteuid():
        os.chown(folder, owner.st_uid, owner.st_gid)
    content = msgspec.json.encode(request)
    replace_file(folder / f"{request.id}.json", content, owner=(owner.st_uid, owner.st_gid))
    return request


def next_request(data_dir: Path) -> Request | None:
    """Return what was asked for first and is not done; what cannot be read is answered and removed. Raises OSError."""
    folder = replays_folder(data_dir)
    for name in _names(folder, "json"):
        path = folder / f"{name}.json"
        try:
            request = _request(path.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if request is not None and request.id == name:
            return request
        write_answer(data_dir, Answer(name, done=True, problems=["what was asked for cannot be read"]))
        path.unlink()
    return None


def begin(data_dir: Path, request: Request) -> Request:
    """Note that a worker begins with a request."""
    begun = msgspec.structs.replace(request, starts=request.starts + 1)
    replace_file(replays_folder(data_dir) / f"{request.id}.json", msgspec.json.encode(begun))
    return begun


def put_back(data_dir: Path, request: Request) -> None:
    """Note that a worker which had begun with a request let go of it, as one does that is told to stop."""
    as_before = msgspec.structs.replace(request, starts=request.starts - 1)
    replace_file(replays_folder(data_dir) / f"{request.id}.json", msgspec.json.encode(as_before))


def finish(data_dir: Path, answer: Answer) -> None:
    """Let the last answer stand, and forget the request. Raises OSError."""
    answer.done = True
    write_answer(data_dir, answer)
    folder = replays_folder(data_dir)
    (folder / f"{answer.id}.json").unlink(missing_ok=True)
    for name in list(_names(folder, "answer"))[:-ANSWERS_KEPT]:
        (folder / f"{name}.answer").unlink(missing_ok=True)


def write_answer(data_dir: Path, answer: Answer) -> None:
    """Let an answer stand in the place of the one before."""
    replace_file(replays_folder(data_dir) / f"{answer.id}.answer", msgspec.json.encode(answer))


def answer_to(data_dir: Path, request: Request) -> Answer:
    """Return the newest answer; an empty one before the first. Raises OSError."""
    try:
        return _answer((replays_folder(data_dir) / f"{request.id}.answer").read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return Answer(request.id)


def forget_answer(data_dir: Path, request: Request) -> None:
    """Remove an answer that was read."""
    (replays_folder(data_dir) / f"{request.id}.answer").unlink(missing_ok=True)


def replays_folder(data_dir: Path) -> Path:
    """Return the folder of requests and answers; it is there once a replay was asked for."""
    return data_dir / DEAD_LETTERS / FOLDER


def _names(folder: Path, ending: str) -> Iterator[str]:
    """Yield the ids of the files with this ending, oldest first."""
    names = sorted(folder.glob(f"[!.]*.{ending}"))
    return (path.stem for path in names if _asked.fullmatch(path.stem))
