"""Places for data on this machine: one directory per Storage name below `<home>/storage`, named by a `file://` URI.

Contract: a place belongs to no deployment; it outlives the nodes that use it, and two names never share a directory.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from ...compiler.diagnostics import SkycError, error

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def place(home: Path, name: str) -> Path:
    """The directory of the Storage called `name`. Raises SkycError for a name that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise SkycError(
            error(
                "bad-storage-name",
                "This storage name cannot name a directory",
                f"{name!r} may hold letters, digits, `.`, `-` and `_`, 63 at most, a letter or digit first.",
            )
        )
    return home / "storage" / name


def uri(home: Path, name: str) -> str:
    """The `file://` URI of `place(home, name)`."""
    return f"file://{quote(str(place(home, name)))}"


def create(home: Path, name: str) -> Path:
    """Make the place, readable by its owner alone. Making what exists is fine."""
    directory = place(home, name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
