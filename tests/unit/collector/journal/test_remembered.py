"""The table of what may come again: it finds what was put in, forgets what it should, and is small."""

import random
import tracemalloc

from collector.journal.remembered import CHANGE, LOOSE, Place, Remembered

KEY = bytes(range(12))


def _key(number: int) -> bytes:
    return random.Random(number).randbytes(12)


def test_it_agrees_with_a_dictionary() -> None:
    """Added, found, removed at random, many in one bucket: as a plain dictionary of lists says."""
    chance = random.Random(20261123)
    table = Remembered(limit=100_000, kept_s=100)
    plain: dict[bytes, list[Place]] = {}
    for turn in range(20_000):
        key = b"\0\0" + _key(chance.randrange(400))[2:]
        places = plain.setdefault(key, [])
        if chance.random() < 0.6:
            places.append(Place(chance.randrange(1 << 32), turn, chance.random() < 0.5))
            table.add(key, places[-1], 5)
        elif places:
            gone = places.pop(chance.randrange(len(places)))
            assert table.remove(key, gone.connection, gone.ordinal)
        assert table.matches(key) == places


def test_a_key_that_lies_across_two_records_is_no_match() -> None:
    """Bytes that look like a key count only where a key is."""
    table = Remembered(limit=10, kept_s=100)
    zeros = bytes(12)
    table.add(KEY[:2] + zeros[2:], Place(0, 0, loose=False), 0)

    assert table.matches(KEY[:2] + zeros[2:]) == [Place(0, 0, loose=False)]
    assert table.matches(KEY[:2] + b"\1" + zeros[3:]) == []


def test_the_same_place_is_there_once() -> None:
    """What a restart finds twice was one message."""
    table = Remembered(limit=10, kept_s=100)
    for _ in range(2):
        table.add(KEY, Place(1, 2, loose=True), 0)

    assert len(table.matches(KEY)) == len(table) == 1


def test_what_is_too_old_is_forgotten() -> None:
    """By the clock that is given with each call."""
    table = Remembered(limit=10, kept_s=100)
    table.add(KEY, Place(1, 1, loose=False), 0)
    table.expire(99)
    assert table.matches(KEY)
    table.expire(100)
    assert (table.matches(KEY), len(table)) == ([], 0)


def test_beyond_the_limit_the_oldest_are_forgotten() -> None:
    """A flood of ids pushes out what is oldest, and the memory stays bounded."""
    table = Remembered(limit=1000, kept_s=1 << 20)
    for number in range(5000):
        table.add(_key(number), Place(number, 1, loose=False), number // 10)

    assert len(table) <= 1000
    assert table.matches(_key(4999))
    assert not table.matches(_key(3000))


def test_what_expired_is_swept_away() -> None:
    """Sweeping frees the memory of buckets that nothing is added to."""
    table = Remembered(limit=100_000, kept_s=10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(20_000):
        table.add(_key(number), Place(number, 1, loose=False), 0)
    full = tracemalloc.get_traced_memory()[0] - before
    for _ in range(300):
        table.sweep(11)
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert left < full / 100


def test_changes_on_disk_restore_the_table() -> None:
    """Records of additions and removals, in order, give what was there."""
    table = Remembered(limit=10, kept_s=100)
    changes = b"".join(
        (
            CHANGE.pack(True, KEY, 1, 1 | LOOSE),
            CHANGE.pack(True, KEY, 2, 1),
            CHANGE.pack(False, KEY, 1, 1 | LOOSE),
        )
    )

    table.restore(changes, 7)

    assert table.matches(KEY) == [Place(2, 1, loose=False)]
