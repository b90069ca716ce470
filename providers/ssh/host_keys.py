"""Which host key a node must show, remembered on this machine from its first login on.

A rented machine introduces itself with a one-time key, which is in its user data and so is no secret for long. The first login makes the
machine a key of its own. Three states, in this order, each written before the machine is changed:

- nothing remembered: the one-time key is accepted, for the first login and nothing else;
- pending: a key was made on the machine and may be in use: it is accepted, and so is the one-time key, since the change may
  have been cut off before it;
- pinned: only this key, ever. A machine that shows another one is refused.

Written atomically below the deployment's own folder; kept as long as the deployment.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..base import Node

PENDING = "pending"
PINNED = "pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """`key`: OpenSSH public key without a comment. `ready`: the node's Ray has been seen to answer once."""

    state: str
    key: str
    ready: bool = False


def plain(key: str) -> str:
    """A public key without its comment."""
    return " ".join(key.split()[:2])


def remembered(node: Node) -> Remembered | None:
    """What is known of this life of a node."""
    try:
        return Remembered(**json.loads(_file(node).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def accepted(node: Node) -> tuple[str, ...]:
    """The keys the node may show now, the wanted one first."""
    known = remembered(node)
    if known is None:
        return (plain(node.host_key),)
    return (known.key,) if known.state == PINNED else (known.key, plain(node.host_key))


def remember(node: Node, known: Remembered) -> None:
    """On disk when this returns."""
    path = _file(node)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    text = json.dumps({"state": known.state, "key": known.key, "ready": known.ready}, sort_keys=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def first_login(node: Node) -> Iterator[None]:
    """One at a time: two first logins would each give the machine a key, and one of them would be forgotten."""
    path = _file(node)
    path = path.with_name(f".{path.stem}.lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _file(node: Node) -> Path:
    """By a hash, since some clouds' ids are paths."""
    assert node.login is not None, "only nodes that are logged in to have host keys"
    return Path(node.login.directory) / f"known-{hashlib.sha256(node.id.encode()).hexdigest()[:32]}.json"
