"""Fingerprints of a plan made here, and the key with which secrets enter them.

The key lies with the deployment's other keys, so that two machines with one backend give one plan one name. With a backend it is there
from the first plan on: the first one to need it puts it there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from ..compiler.artifact.fingerprint import changes_fingerprint, compiled_fingerprint, keyed, own_texts
from ..compiler.ir import ChangeSet, DeploymentId, Fingerprints, FrozenMap
from ..compiler.pipeline import Compilation
from .access import ssh_directory, write_once
from .backend.keys import first_key
from .backend.marks import write_file
from .session import Session

KEY = "review"
"""Its name in the directory of the deployment's keys, and below `ssh/` in a backend."""
BYTES = 32


def compiled_only(compilation: Compilation) -> Fingerprints | None:
    """Of a plan that was compared with nothing."""
    found = compiled_fingerprint(compilation)
    return None if found is None else Fingerprints(compiled=found)


def fingerprints_of(session: Session, compilation: Compilation, changes: Iterable[ChangeSet]) -> Fingerprints | None:
    """Of a plan that was compared with the deployment's states, with its lock held."""
    found = compiled_fingerprint(compilation)
    if found is None:
        return None
    named = changes_fingerprint(
        found, changes, own=own_texts(compilation), secrets=hashed_secrets(session, compilation.deployment, compilation)
    )
    return Fingerprints(compiled=found, changes=named)


def hashed_secrets(session: Session, deployment: DeploymentId, compilation: Compilation) -> FrozenMap[str]:
    """Name → keyed hash of the value, of the secrets the tasks use. No key is made for a file without any."""
    used = {name for task in (compilation.graph.tasks if compilation.graph else ()) for name in task.secrets}
    mine = {name: secret for name, secret in compilation.secrets.items() if name in used}
    return keyed(review_key(session, deployment), mine) if mine else FrozenMap()


def review_key(session: Session, deployment: DeploymentId) -> bytes:
    """The deployment's key; made on first use. With the deployment's lock held."""
    path = ssh_directory(session.home, deployment) / KEY
    remote = session.remotes.get(deployment)
    if remote is not None and not path.exists():
        write_file(path, first_key(remote, KEY, secrets.token_bytes(BYTES)))
    if not path.exists():
        write_once(path, secrets.token_bytes(BYTES))
    return path.read_bytes()
