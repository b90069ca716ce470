"""What this home last had in common with the backend: `remote.json` in the deployment's directory.

A mark is written only after an object was read or written whole. So a file that differs from its mark is news of this home, an object
that differs from it is news of another, and after a kill at any point the next command sees which.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "remote.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An object both sides had: `digest` of its content as this home reads it, `tag` of the store."""

    digest: str
    tag: str


@dataclass(slots=True, kw_only=True)
class Marks:
    """`uri`: of the backend. `edition`: of the newest index seen. `objects`: by their name below the deployment."""

    uri: str
    edition: int = 0
    objects: dict[str, Mark] = field(default_factory=dict)


def read_marks(directory: Path) -> Marks | None:
    """None where nothing was shared yet. What cannot be read is as if nothing was: then contents are compared, not marks."""
    try:
        row = json.loads((directory / FILE).read_text())
        objects: Mapping[str, Mapping[str, str]] = row["objects"]
        return Marks(
            uri=str(row["uri"]),
            edition=int(row["edition"]),
            objects={name: Mark(**mark) for name, mark in objects.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_marks(directory: Path, marks: Marks) -> None:
    write_file(directory / FILE, json.dumps(asdict(marks), indent=1).encode() + b"\n")


def write_file(path: Path, content: bytes) -> None:
    """Whole and durable, or not at all; for the owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
