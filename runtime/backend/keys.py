"""Keys of a deployment that nobody has applied yet, in the backend: what is planned in one home can then be applied in another.

Afterwards they go with the deployment's other objects (`sync.py`). Whoever comes first has made the key; the others take it.
"""

from __future__ import annotations

from ..storage.base import Changed, NotFound, StoreError
from .faults import keys_differ
from .sync import KEYS, SSH, Remote


def first_key(remote: Remote, name: str, made: bytes) -> bytes:
    """The content of `ssh/<name>` in the backend; `made` is put there if there is none. Where nothing can be written, `made`.

    Raises SkycError for a backend that cannot be read.
    """
    key = f"{remote.deployment}/{SSH}/{name}"
    try:
        return remote.objects.get(key)
    except NotFound:
        pass
    if remote.reading:
        return made
    try:
        remote.objects.swap(key, made, None)
    except Changed:
        return remote.objects.get(key)
    except StoreError:
        return made
    return made


def share_keys(remote: Remote) -> None:
    """Put the keys that a plan was compiled with into the backend. Raises SkycError where others have taken their place."""
    for name in KEYS:
        file = remote.directory / SSH / name
        if file.is_file() and first_key(remote, name, mine := file.read_bytes()) != mine:
            raise keys_differ(remote.objects, remote.deployment)
