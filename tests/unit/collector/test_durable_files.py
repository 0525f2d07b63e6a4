"""Replacing small files: whatever moment the power goes, there is the old content or the new."""

import os
from pathlib import Path

import pytest

from collector.durable_files import make_folder, replace_file


def test_a_file_is_replaced_in_an_order_that_a_power_cut_cannot_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new content is synced under another name, takes the place of the old, and that is synced too."""
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    steps: list[tuple[str, bytes]] = []

    def sync(descriptor: int) -> None:
        synced = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append(("folder" if synced == tmp_path else "content", path.read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    replace_file(path, b"new")

    assert steps == [("content", b"old"), ("folder", b"new")]
    assert os.listdir(tmp_path) == ["state.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_is_durable_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the top down, each is synced into the one above it; so is one that somebody made and was killed."""
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    monkeypatch.setattr(os, "fsync", sync)
    make_folder(tmp_path / "one" / "two")
    make_folder(tmp_path / "one" / "two")

    assert synced == [tmp_path.name, "one", "one"]
    assert (tmp_path / "one" / "two").stat().st_mode & 0o777 == 0o700
