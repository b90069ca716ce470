"""A git repository for tests: files in, commits out, with nothing of the machine's own configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

AUTHOR = {
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.invalid",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.invalid",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repo:
    """`root` is made a repository with the branch `main` if it is none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        if not (root / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main", ".")

    def git(self, *words: str) -> str:
        environ = {**os.environ, **AUTHOR}
        return subprocess.run(["git", *words], cwd=self.root, env=environ, check=True, capture_output=True, text=True).stdout

    def put(self, files: dict[str, str | None]) -> Repo:
        """Write files; None removes one."""
        for name, text in files.items():
            place = self.root / name
            if text is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        return self

    def commit(self, files: dict[str, str | None] | None = None) -> str:
        """Write files and commit everything. The commit's id."""
        self.put(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD").strip()
