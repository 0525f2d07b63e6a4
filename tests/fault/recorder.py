"""Records the system calls of processes with strace, and plays them on a model of the disk.

`Recorder.live` gives the calls that a command made; a `Player` plays them on a `Disk` made of what stood there before.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.fault.disk_model import Disk, File, Folder, Write

TRACED: Final = (
    "openat,write,writev,pwrite64,ftruncate,truncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "link,linkat,fsync,fdatasync"
)
_whole = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_begun = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_ended = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_text = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_descriptor = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")


class Call(NamedTuple):
    """A system call that succeeded. `began` is the number of calls that had succeeded when it began.

    `path` is what it names, or what its descriptor stands for; `arguments` is the text of all of them.
    """

    name: str
    began: int
    path: str
    arguments: str
    result: int

    @property
    def texts(self) -> list[bytes]:
        """Its arguments that are strings."""
        return [_unescaped(found) for found in _text.findall(self.arguments)]

    @property
    def descriptor(self) -> int:
        """The descriptor it is about."""
        found = _descriptor.match(self.arguments)
        return int(found[1]) if found else -1

    @property
    def last_number(self) -> int:
        """Its last argument."""
        return int(self.arguments.rpartition(", ")[2])


def _unescaped(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Recorder:
    """A program that is traced for as long as the block runs; it reads commands, a line each."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._trace = folder / "trace"
        os.mkfifo(self._trace)
        command = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(1 << 20), "-e", "signal=none"]
        command += ["-e", "abbrev=none", "-e", f"trace={TRACED}", "-o", str(self._trace)]
        command += [sys.executable, "-P", str(program)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        """Wait until the program is there."""
        self._lines = self._trace.open()
        self._calls()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()
        self._lines.close()

    def live(self, command: bytes) -> list[Call]:
        """Let the program carry out a command; return what it asked of the system."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + b"\n")
        self._process.stdin.flush()
        return self._calls()

    def _calls(self) -> list[Call]:
        """Return the calls up to the next answer."""
        calls: list[Call] = []
        begun: dict[str, tuple[int, str]] = {}
        for line in self._lines:
            if unfinished := _begun.match(line):
                begun[unfinished[1]] = len(calls), unfinished[3]
                continue
            began, before = len(calls), ""
            if found := _ended.match(line):
                began, before = begun.pop(found[1])
            else:
                found = _whole.match(line)
            if found is None or int(found[4]) < 0:
                continue
            name, arguments = found[2], before + found[3]
            if name == "write" and arguments.startswith("1<") and '"\\x64\\x6f\\x6e\\x65\\x0a"' in arguments:
                return calls
            calls.append(Call(name, began, _path(name, arguments), arguments, int(found[4])))
        raise AssertionError("the recorded program ended")


def _path(name: str, arguments: str) -> str:
    if name in ("write", "writev", "pwrite64", "ftruncate", "fsync", "fdatasync"):
        found = _descriptor.match(arguments)
        return _unescaped(found[2]).decode(errors="replace") if found else ""
    texts = _text.findall(arguments)
    named = _unescaped(texts[0]).decode(errors="replace") if texts else ""
    folder = _descriptor.match(arguments) if name.endswith("at") else None
    return str(Path(_unescaped(folder[2]).decode(errors="replace"), named)) if folder else named


class Player:
    """Plays calls on a disk; `marks` are the lines that were written to a file of that name elsewhere."""

    def __init__(self, disk: Disk, marks: str) -> None:
        self.disk = disk
        self.marks: list[bytes] = []
        self._marks_file = marks
        self._offsets: dict[int, int] = {}
        self._number = 0

    def play(self, call: Call) -> None:
        """Let a call take its effect."""
        self._number += 1
        if call.path == self._marks_file and call.name == "write":
            self.marks += call.texts[0].splitlines()
        elif self.disk.holds(call.path):
            self._play(call, self._number)

    def _play(self, call: Call, number: int) -> None:
        disk = self.disk
        match call.name:
            case "openat":
                self._open(call, number)
            case "write" | "writev":
                assert call.result >= 0
                content = b"".join(call.texts)[: call.result]
                offset = self._offsets[call.descriptor]
                self._offsets[call.descriptor] = offset + len(content)
                self._file(call).write(Write(number, offset, content))
            case "pwrite64":
                self._file(call).write(Write(number, call.last_number, call.texts[0][: call.result]))
            case "ftruncate" | "truncate":
                self._file(call).write(Write(number, call.last_number, None))
            case "fsync" | "fdatasync":
                # Nothing is safe that was not written when the sync began.
                disk.at(call.path).sync(call.began + 1)
            case "mkdir":
                disk.change(number, new=call.path, entry=Folder())
            case "unlink" | "unlinkat" | "rmdir":
                disk.change(number, old=call.path)
            case "rename":
                disk.change(number, old=call.path, new=call.texts[1].decode())
            case unknown:
                raise AssertionError(f"the model does not know {unknown}: {call.arguments[:200]}")

    def _file(self, call: Call) -> File:
        found = self.disk.at(call.path)
        assert isinstance(found, File)
        return found

    def _open(self, call: Call, number: int) -> None:
        self._offsets[call.result] = 0
        if "O_CREAT" not in call.arguments:
            return
        folder = self.disk.folder(str(Path(call.path).parent))
        if Path(call.path).name not in folder.entries:
            self.disk.change(number, new=call.path, entry=File())
        elif "O_TRUNC" in call.arguments:
            self._truncate(call.path, number)
        elif "O_APPEND" in call.arguments:
            found = self.disk.at(call.path)
            assert isinstance(found, File)
            self._offsets[call.result] = len(found.written)

    def _truncate(self, path: str, number: int) -> None:
        found = self.disk.at(path)
        assert isinstance(found, File)
        found.write(Write(number, 0, None))
