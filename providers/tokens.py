"""The token that lets a client in to a deployment's Ray.

Contract: one per deployment, 0600 below the home; never an argument, an output or part of a state file.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def token_of(home: Path, deployment: str) -> str:
    """The deployment's Ray token, made on first use. Two processes that ask at the same moment get the same one."""
    directory = home / "deployments" / deployment
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "token"
    if not path.exists():
        draft = directory / f".token.{secrets.token_hex(8)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails when the name exists, so the first writer wins and nobody sees half a token.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text().strip()
