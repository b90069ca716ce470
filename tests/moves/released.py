"""The addresses that released versions of skyc gave: what states out there hold.

`released.txt` has them as of the last release, of the tasks in `tests/filetests/lower`: a line per task with a digest of its text, and its
addresses below. It is written by a release and by nothing else:

    python -m tests.moves.released
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

LOWERED = Path(__file__).parents[1] / "filetests" / "lower"
FILE = Path(__file__).with_name("released.txt")
_ADDRESS = re.compile(r"^ +address: (\w+\.[\w-]+)$", re.MULTILINE)


def current() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Task → (digest of its text, its addresses now, sorted). What is expected there is what is lowered: `tests/filetests` sees to it."""
    found = {}
    for file in sorted(LOWERED.glob("*.test")):
        text, _, expected = file.read_text(encoding="utf-8").partition("\n-----\n")
        addresses = tuple(sorted(set(_ADDRESS.findall(expected))))
        if addresses:
            found[file.name] = (hashlib.sha256(text.encode()).hexdigest()[:16], addresses)
    return found


def released() -> dict[str, tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    name = digest = ""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            found[name] = (digest, (*found[name][1], line.strip()))
        elif line and not line.startswith("#"):
            name, digest = line.split()
            found[name] = (digest, ())
    return found


def write() -> None:
    lines = [
        "# Addresses of the last release. Written by `python -m tests.moves.released` when one is made, and never by hand."
    ]
    for name, (digest, addresses) in current().items():
        lines += [f"{name} {digest}", *(f"    {address}" for address in addresses)]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
