"""The configurations in our own pages and recipes: whole files, and YAML blocks that begin with one of its sections."""

import re
import textwrap
from pathlib import Path
from typing import Final

from collector.config import Config

ROOT: Final = Path(__file__).parents[2]
SECTIONS: Final = "|".join(Config.__struct_fields__)

_block = re.compile(r"^( *)```ya?ml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def _samples() -> list[tuple[str, str]]:
    found = [
        (str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "deploy").rglob("tidewaiter.yaml"))
    ]
    for path in (ROOT / "README.md", *sorted((ROOT / "deploy").rglob("*.md"))):
        for number, block in enumerate(_block.findall(path.read_text(encoding="utf-8")), start=1):
            text = textwrap.dedent(block[1])
            if re.match(rf"(?:#.*\n)*(?:{SECTIONS}):", text):
                found.append((f"{path.relative_to(ROOT)} {number}", text))
    return found


SAMPLES: Final = _samples()
"""Where each stands, and its text."""
