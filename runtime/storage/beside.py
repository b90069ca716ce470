"""What skyc keeps beside a checkpoint directory on its node: `.<name>.skyc/`, next to it and so on the same file system.

- `lock`           one snapshot or restore at a time;
- `wanted`         held by whoever waits to take a counted snapshot, so that an unverified one under way steps aside;
- `rank-<r>.json`  what the last snapshot found, so that unchanged files are not read again. Losing it costs time only,
                   except for `next_generation`, which keeps the ranks of a resumed job in step;
- `restore-*`      half-restored directories, removed by the next restore.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .base import StoreError, StoreFault, store_error
from .lock import FileLock


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A file's chunks, true for as long as the four facts about it are."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    chunks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """`next_generation` None: count on from the store. `suspects`: chunks found damaged by a restore, to be sent again.
    `last_*`: the newest snapshot of any kind, and the digest of what it held."""

    prefix: str
    writer: str
    next_generation: int | None = None
    suspects: frozenset[str] = frozenset()
    last_key: str = ""
    last_digest: str = ""
    files: dict[str, KnownFile] = field(default_factory=dict)


class Beside:
    """See the module. `directory` may be a symbolic link; what counts is where it leads. It must be absolute and have a name:
    a restore replaces it as a whole, and an empty path would mean wherever the process happens to run.

    Raises StoreError (INVALID) for any other directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.realpath(directory))
        if not directory.is_absolute() or not self.directory.name:
            raise StoreError(
                StoreFault.INVALID, f"A checkpoint directory must have an absolute path and not be `/`; this is `{directory}`."
            )
        self.place = self.directory.parent / f".{self.directory.name}.skyc"

    def prepare(self) -> None:
        """Raises StoreError when the place cannot be made."""
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise store_error(failure, str(self.place)) from failure

    @property
    def lock(self) -> FileLock:
        return FileLock(self.place / "lock")

    @property
    def wanted(self) -> FileLock:
        return FileLock(self.place / "wanted")

    def is_wanted(self) -> bool:
        wanted = self.wanted
        if not wanted.acquire(wait=False):
            return True
        wanted.release()
        return False

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.wanted, self.lock:
            yield

    def read(self, prefix: str, rank: int) -> LocalState:
        """The state of this run, or a new one. What cannot be read counts as lost."""
        try:
            data = json.loads((self.place / f"rank-{rank}.json").read_bytes())
            files = {
                path: KnownFile(**{**facts, "chunks": tuple(facts["chunks"])}) for path, facts in data.pop("files").items()
            }
            state = LocalState(**{**data, "suspects": frozenset(data["suspects"]), "files": files})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return self.fresh(prefix)
        return state if state.prefix == prefix else LocalState(prefix=prefix, writer=state.writer, files=files)

    @staticmethod
    def fresh(prefix: str, next_generation: int | None = None, suspects: frozenset[str] = frozenset()) -> LocalState:
        return LocalState(prefix=prefix, writer=secrets.token_hex(8), next_generation=next_generation, suspects=suspects)

    def write(self, rank: int, state: LocalState) -> None:
        """Atomic, not synced: after a power cut the node's processes, whose state this is, are gone too."""
        content = {
            "prefix": state.prefix,
            "writer": state.writer,
            "next_generation": state.next_generation,
            "suspects": sorted(state.suspects),
            "last_key": state.last_key,
            "last_digest": state.last_digest,
            "files": {
                path: {
                    "size": known.size,
                    "modified_ns": known.modified_ns,
                    "changed_ns": known.changed_ns,
                    "inode": known.inode,
                    "chunks": known.chunks,
                }
                for path, known in state.files.items()
            },
        }
        temporary = self.place / f"rank-{rank}.new"
        try:
            temporary.write_bytes(json.dumps(content).encode())
            temporary.replace(self.place / f"rank-{rank}.json")
        except OSError as failure:
            raise store_error(failure, str(temporary)) from failure
