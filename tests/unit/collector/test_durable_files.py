"""Replacing small files: whatever moment the power goes, there is the old content or the new."""

import os
from pathlib import Path

import pytest

from collector.durable_files import replace_file


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
