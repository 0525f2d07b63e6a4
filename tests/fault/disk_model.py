"""What a disk may hold after the power went, computed from the system calls of a process: a strict reading of POSIX.

A file's bytes are safe once it was synced, a folder's entries once the folder was; what came later may be there, or
not, or in part: writes torn at any byte or zeroed, renames and new names in any state that their order allows.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

MAY_REORDER: Final = 0.2
"""How often the entries of an unsynced folder survive in any combination, not in their order."""


class Worst(random.Random):
    """The chance of a cut that leaves only what is safe."""

    def choice(self, seq: Any) -> Any:
        """Choose the first: `safe`."""
        return seq[0]

    def randrange(self, *_: Any, **__: Any) -> int:
        """Keep none."""
        return 0

    def random(self) -> float:
        """Keep the order."""
        return 1.0


class Write(NamedTuple):
    """Bytes at an offset, or with `content` None the new length `offset`; `number` counts the system calls."""

    number: int
    offset: int
    content: bytes | None


class File:
    """`written` is what readers see, `safe` what every cut leaves, `unsafe` what was written since."""

    def __init__(self, safe: bytes = b"") -> None:
        self.written = bytearray(safe)
        self.safe = bytes(safe)
        self.unsafe: list[Write] = []

    def write(self, write: Write) -> None:
        """Take a write that a sync has still to make safe."""
        self.unsafe.append(write)
        _put(self.written, write)

    def sync(self, before: int) -> None:
        """Make safe what was written before this system call."""
        safe = bytearray(self.safe)
        for write in self.unsafe:
            if write.number < before:
                _put(safe, write)
        self.safe = bytes(safe)
        self.unsafe = [write for write in self.unsafe if write.number >= before]

    def after_cut(self, chance: random.Random) -> bytes:
        """Return one of the contents that a power cut may leave."""
        left = bytearray(self.safe)
        fate = chance.choice(("safe", "all", "torn", "torn", "torn", "zeroed"))
        if fate == "safe" or not self.unsafe:
            return bytes(left)
        kept = len(self.unsafe) if fate == "all" else chance.randrange(len(self.unsafe) + (fate == "zeroed"))
        for write in self.unsafe[:kept]:
            _put(left, write)
        if fate == "torn":
            torn = self.unsafe[kept]
            if torn.content is not None:
                _put(left, torn._replace(content=torn.content[: chance.randrange(len(torn.content) + 1)]))
        elif fate == "zeroed":
            for write in self.unsafe[kept:] or self.unsafe:
                _put(left, write._replace(content=bytes(len(write.content or b""))))
        return bytes(left)


def _put(content: bytearray, write: Write) -> None:
    if write.content is None:
        del content[write.offset :]
        content.extend(bytes(write.offset - len(content)))
    else:
        content.extend(bytes(max(write.offset - len(content), 0)))
        content[write.offset : write.offset + len(write.content)] = write.content


class Change(NamedTuple):
    """A name that a folder's entry was given, and one that was taken away; either may be empty."""

    number: int
    name: str
    entry: "File | Folder | None"
    gone: str = ""


class Folder:
    """`entries` is what readers see, `safe` what every cut leaves, `unsafe` what changed since."""

    def __init__(self) -> None:
        self.entries: dict[str, File | Folder] = {}
        self.safe: dict[str, File | Folder] = {}
        self.unsafe: list[Change] = []

    def change(self, change: Change) -> None:
        """Take a change that a sync has still to make safe."""
        self.unsafe.append(change)
        _apply(self.entries, change)

    def sync(self, before: int) -> None:
        """Make safe what was changed before this system call."""
        for change in self.unsafe:
            if change.number < before:
                _apply(self.safe, change)
        self.unsafe = [change for change in self.unsafe if change.number >= before]

    def after_cut(self, chance: random.Random) -> "dict[str, File | Folder]":
        """Return one of the sets of entries that a power cut may leave."""
        left = dict(self.safe)
        if chance.random() < MAY_REORDER:
            kept = [change for change in self.unsafe if chance.random() < 0.5]
        else:
            kept = self.unsafe[: chance.randrange(len(self.unsafe) + 1)]
        for change in kept:
            _apply(left, change)
        return left


def _apply(entries: "dict[str, File | Folder]", change: Change) -> None:
    if change.gone:
        entries.pop(change.gone, None)
    if change.entry is not None:
        entries[change.name] = change.entry


class Disk:
    """One folder of a disk, which held what stands in `root` safely when the power came."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Folder()
        self._removed: list[tuple[str, File]] = []
        self._load(self._top, root)

    def _load(self, folder: Folder, path: Path) -> None:
        for each in path.iterdir():
            entry: File | Folder = Folder() if each.is_dir() else File(each.read_bytes())
            folder.entries[each.name] = folder.safe[each.name] = entry
            if isinstance(entry, Folder):
                self._load(entry, each)

    def holds(self, path: str) -> bool:
        """Tell whether a path lies in this folder."""
        return path == str(self._root) or path.startswith(f"{self._root}/")

    def folder(self, path: str) -> Folder:
        """Return the folder at a path."""
        found = self.at(path)
        assert isinstance(found, Folder), path
        return found

    def at(self, path: str) -> "File | Folder":
        """Return what has this name now."""
        found: File | Folder = self._top
        for name in Path(path).relative_to(self._root).parts:
            assert isinstance(found, Folder), path
            found = found.entries[name]
        return found

    def change(self, number: int, *, old: str = "", new: str = "", entry: "File | Folder | None" = None) -> None:
        """Give `entry`, or what is called `old`, the name `new`, or no name any more."""
        folder = self.folder(str(Path(old or new).parent))
        assert not (old and new) or Path(old).parent == Path(new).parent
        if old:
            found = folder.entries[Path(old).name]
            if new:
                entry = found
            elif isinstance(found, File):
                self._removed.append((Path(old).name, found))
        folder.change(Change(number, Path(new).name if new else "", entry, Path(old).name if old else ""))

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write down what one power cut leaves."""
        _leave(self._top, target, chance)

    def every_file(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of all files as readers saw them, those that are removed too."""
        folders = [self._top]
        for folder in folders:
            for name, entry in folder.entries.items():
                if isinstance(entry, Folder):
                    folders.append(entry)
                else:
                    yield name, bytes(entry.written)
        for name, file in self._removed:
            yield name, bytes(file.written)


def _leave(folder: Folder, target: Path, chance: random.Random) -> None:
    target.mkdir()
    for name, entry in folder.after_cut(chance).items():
        if isinstance(entry, Folder):
            _leave(entry, target / name, chance)
        else:
            (target / name).write_bytes(entry.after_cut(chance))
