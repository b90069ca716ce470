"""skyc's own code as it is sent to nodes: the modules that need only the standard library (and, for the driver, ray).

The bundle is content-addressed: its directory on a node is `<node directory>/bundles/<digest>`, so that a newer skyc never
changes the code under a running job. Same source, same digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PARTS = (
    "__init__.py",
    "compiler/__init__.py",
    "compiler/diagnostics.py",
    "compiler/ir/*.py",
    "runtime/__init__.py",
    "runtime/job.py",
    "runtime/checkpoint.py",
    "runtime/storage/*.py",
    "runtime/node/*.py",
)
_NOT_ON_NODES = ("runtime/storage/conformance.py", "runtime/storage/tfhttp.py")


@dataclass(frozen=True, slots=True)
class Bundle:
    """`files`: (path below the bundle's directory, content), sorted by path."""

    digest: str
    files: tuple[tuple[str, bytes], ...]

    def write(self, directory: Path) -> None:
        for name, content in self.files:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def directory_on(self, node_directory: str) -> str:
        return f"{node_directory}/bundles/{self.digest}"


@cache
def bundle() -> Bundle:
    root = Path(__file__).parent.parent
    names = sorted({path.relative_to(root).as_posix() for part in _PARTS for path in root.glob(part)} - set(_NOT_ON_NODES))
    files = tuple((f"skyc/{name}", (root / name).read_bytes()) for name in names)
    hasher = hashlib.sha256()
    for name, content in files:
        hasher.update(f"{name}\0{len(content)}\0".encode())
        hasher.update(content)
    return Bundle(hasher.hexdigest()[:20], files)
