"""Takes back from a node's workdir what was deleted at home: `python -m skyc.runtime.node.prune NODE_DIR SENT`.

SENT is a JSON file `{path: content}` of what is about to be sent, in the words of `runtime/workdir.py`. The one of the sync before is
kept as `NODE_DIR/sent.json`. A file that only the older one names is removed if it is still what was sent; whatever a job has made or
changed stays. A directory goes when it is empty. Nothing is reached through a symbolic link, and nothing is removed recursively.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
from pathlib import Path

KEPT = "sent.json"


def main(node: Path, sent: Path) -> None:
    new = json.loads(sent.read_bytes())
    for path, content in sorted(_before(node / KEPT).items(), reverse=True):
        # A directory comes after everything in it.
        if path not in new:
            with contextlib.suppress(OSError):
                _remove(node / "workdir", path, content)
    draft = node / f".{KEPT}.{os.getpid()}"
    draft.write_bytes(sent.read_bytes())
    draft.replace(node / KEPT)


def _before(kept: Path) -> dict[str, str]:
    try:
        value = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return {}
    return {path: content for path, content in value.items() if isinstance(content, str)} if isinstance(value, dict) else {}


def _remove(root: Path, path: str, content: str) -> None:
    """Raises OSError when it is not there, not what was sent, or below a link."""
    *folders, name = path.rstrip("/").split("/")
    if any(part in ("", ".", "..") for part in (*folders, name)):
        return
    with contextlib.ExitStack() as opened:
        at = _directory(str(root), None, opened)
        for folder in folders:
            at = _directory(folder, at, opened)
        if path.endswith("/"):
            os.rmdir(name, dir_fd=at)
        elif _content(name, at) == content:
            os.unlink(name, dir_fd=at)


def _directory(name: str, at: int | None, opened: contextlib.ExitStack) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    opened.callback(os.close, descriptor)
    return descriptor


def _content(name: str, at: int) -> str:
    facts = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISLNK(facts.st_mode):
        return f"l {os.readlink(name, dir_fd=at)}"
    if not stat.S_ISREG(facts.st_mode):
        return ""
    executable = "x" if facts.st_mode & 0o100 else "-"
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), "rb") as file:
        return f"{executable} {hashlib.file_digest(file, 'sha256').hexdigest()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
