r"""Checkpoints: what a consumer's pipeline remembered at a position, so that it need not read all that came before.

    checkpoints/PARTITION-EPOCH-SEQUENCE.checkpoint, named after the first frame that the state does not know yet

    at  bytes
    0   8     magic "TWCHKPT\n"
    8   2     version
    10  2     zero
    12  4     L, length of the body
    16  8     xxh(0, bytes 0-15, body)
    24  L     body: MessagePack array [[partition, epoch, sequence, 0], fingerprint, state]

A state is a pure function of the journal before its position, so one file serves every consumer, and any of them may
write it: whoever first passes a sealed segment's end, or INTERVAL_BYTES of payload behind the last. `fingerprint` names
the configuration that the state was made under, as far as that matters (`pipelines.state`). A consumer restores the
newest checkpoint at or before its cursor and reads on from there in silence. One that is damaged or newer than the
program is passed over for an older one; without any it begins REPLAY_BYTES or more before its cursor with nothing
remembered. A checkpoint is needed while a cursor stands before the next one; the segments behind it are kept as well.
While a consumer is far behind, those that are needed are thinned to CHECKPOINTS_LIMIT, about evenly.
"""

import re
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from collector.durable_files import replace_file, sync_directory
from collector.errors import DataDirError
from collector.journal.segments import first_position, segment_bytes, segment_files
from pipelines.frame import Position

FOLDER: Final = "checkpoints"
MAGIC: Final = b"TWCHKPT\n"
VERSION: Final = 1

INTERVAL_BYTES: Final = 64 << 20
"""A consumer reads at most about so much payload before it goes on from its cursor."""

REPLAY_BYTES: Final = INTERVAL_BYTES
"""At least so much before the segment of its cursor a consumer reads that finds no checkpoint, where there is as much;
whole segments are kept for that."""

CHECKPOINTS_LIMIT: Final = 64
"""So many are kept, whoever is behind: with a backlog of 20 GiB one for each 320 MiB."""

NEWEST_KEPT: Final = 8
"""So many of them are the newest, for consumers that keep up."""

_head = struct.Struct("<8sHHI")
_checksum = struct.Struct("<Q")
_checkpoint_name = re.compile(r"(\d{2})-(\d{10})-(\d{11})\.checkpoint", re.ASCII)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """A state, and the position of the first frame that it does not know."""

    position: Position
    fingerprint: str
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint durably, or leave it as it was; raises OSError."""
    path = checkpoint_file(directory, checkpoint.position)
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory)
    body = _encode(checkpoint)
    head = _head.pack(MAGIC, VERSION, 0, len(body))
    replace_file(path, b"".join((head, _checksum.pack(xxhash.xxh3_64_intdigest(head + body)), body)))


def checkpoints(directory: Path) -> list[Position]:
    """Return the positions of all checkpoints, the oldest first, whatever stands in them."""
    matches = (_checkpoint_name.fullmatch(path.name) for path in (directory / FOLDER).glob("[!.]*"))
    return sorted(Position(int(match[1]), int(match[2]), int(match[3])) for match in matches if match)


def checkpoint_bytes(directory: Path, position: Position) -> int:
    """Return the length of a checkpoint's file, 0 for one that is no more."""
    try:
        return checkpoint_file(directory, position).stat().st_size
    except FileNotFoundError:
        return 0


def read_checkpoint(directory: Path, position: Position) -> Checkpoint:
    """Read a checkpoint; raise DataDirError for one that is damaged or newer than this program, OSError."""
    path = checkpoint_file(directory, position)
    content = path.read_bytes()
    behind = _head.size + _checksum.size
    if len(content) < behind:
        raise DataDirError(f"{path}: damaged: it ends inside its head")
    magic, version, zero, length = _head.unpack_from(content)
    (checksum,) = _checksum.unpack_from(content, _head.size)
    body = memoryview(content)[behind:]
    covered = content[: _head.size] + bytes(body)
    if magic != MAGIC or length != len(body) or checksum != xxhash.xxh3_64_intdigest(covered):
        raise DataDirError(f"{path}: damaged: its checksum is wrong")
    if version > VERSION or zero:
        raise DataDirError(f"{path}: version {version} is newer than this program's ({VERSION})")
    try:
        checkpoint = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataDirError(f"{path}: damaged: {error}") from error
    if checkpoint.position != position:
        raise DataDirError(f"{path}: damaged: it is of another position than its name")
    return checkpoint


def newest_checkpoint(
    directory: Path, until: Position, *, take: Callable[[Checkpoint], None], passed_over: Callable[[str], None]
) -> Position | None:
    """Find the newest checkpoint at or before a position that `take` accepts; return its position.

    `take` may raise DataDirError for a state that it cannot read. `passed_over` is told of each that cannot be used.
    """
    for position in reversed(checkpoints(directory)):
        if position > until:
            continue
        try:
            take(read_checkpoint(directory, position))
        except FileNotFoundError:
            continue  # nobody needs it any more
        except OSError as error:
            passed_over(f"{checkpoint_file(directory, position)}: cannot be read: {error.strerror}")
        except DataDirError as error:
            passed_over(str(error))
        else:
            return position
    return None


def has_checkpoint(directory: Path) -> bool:
    """Tell whether there is a checkpoint that can be read, wherever."""
    newest = max(checkpoints(directory), default=None)
    if newest is None:
        return False
    return newest_checkpoint(directory, newest, take=lambda _: None, passed_over=lambda _: None) is not None


def replay_start(directory: Path, cursor: Position) -> Position:
    """Return where a consumer begins that has no checkpoint: whole segments, REPLAY_BYTES or more before its own."""
    names = [name for name in segment_files(directory) if first_position(name) <= cursor]
    if not names:
        return cursor
    before_bytes, start = 0, first_position(names.pop())
    while names and before_bytes < REPLAY_BYTES:
        name = names.pop()
        try:
            before_bytes += segment_bytes(directory, name)
        except FileNotFoundError:
            break
        start = first_position(name)
    return start


def oldest_position(directory: Path, start: Position) -> Position:
    """Return where a consumer that begins at `start` finds the first frame: not before the oldest segment."""
    names = segment_files(directory)
    return max(start, first_position(names[0])) if names else start


def replayed_from(directory: Path, cursor: Position) -> Position:
    """Return the position from which the journal is needed by whoever goes on at `cursor`."""
    found = newest_checkpoint(directory, cursor, take=lambda _: None, passed_over=lambda _: None)
    return found if found is not None else replay_start(directory, cursor)


def delete_checkpoints(directory: Path, needed: Position) -> int:
    """Delete the checkpoints that nobody needs who goes on at `needed` or behind it; return how many. Raises OSError.

    Only one that can be read takes the place of those before it. Of too many, those go that leave the smallest gaps.
    """
    found = newest_checkpoint(directory, needed, take=lambda _: None, passed_over=lambda _: None)
    every = checkpoints(directory)
    kept = _thinned([position for position in every if found is None or position >= found])
    doomed = sorted(set(every).difference(kept))
    for position in doomed:
        checkpoint_file(directory, position).unlink(missing_ok=True)
    return len(doomed)


def delete_checkpoints_behind(directory: Path, position: Position) -> None:
    """Delete those whose states know the frame at a position: it is to be read in another way. Raises OSError."""
    doomed = [each for each in checkpoints(directory) if each > position]
    for each in doomed:
        checkpoint_file(directory, each).unlink(missing_ok=True)
    if doomed:
        sync_directory(directory / FOLDER)


def _thinned(positions: list[Position]) -> list[Position]:
    """Return CHECKPOINTS_LIMIT of them: the first, the newest, and others about as many frames apart."""
    kept, frames = list(positions), [0]
    for first, then in pairwise(positions):
        # Where an epoch ended is not known: at its last checkpoint, or behind it.
        frames.append(frames[-1] + then.sequence - (first.sequence if then.epoch == first.epoch else 0))
    while len(kept) > CHECKPOINTS_LIMIT:
        at = min(range(1, len(kept) - NEWEST_KEPT), key=lambda each: frames[each + 1] - frames[each - 1])
        del kept[at], frames[at]
    return kept


def checkpoint_file(directory: Path, position: Position) -> Path:
    """Return the path of the checkpoint at a position, whether there is one or not."""
    partition, epoch, sequence, _ = position
    return directory / FOLDER / f"{partition:02d}-{epoch:010d}-{sequence:011d}.checkpoint"
