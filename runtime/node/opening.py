"""A job's stores as its node opens them: as the machine itself, whatever credentials the job's environment holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..storage.base import Machine, Store, StoreError, StoreFault, open_store
from ..storage.remote import RemoteStore

PAUSE = 5.0
"""Seconds before a store that refused is asked again."""


def opened(uri: str, identity: str) -> Store:
    """Nothing is contacted yet. identity: of the machine's, `JobNode.identity`. Raises SkycError."""
    return open_store(uri, machine=Machine(identity=identity))


def wait_for_rights(store: Store, prefix: str, say: Callable[[str], None] = lambda _: None) -> None:
    """Until the machine may list what is below a prefix. What it may do was mostly said when it was made, and clouds take minutes until
    that counts everywhere: a refusal is final only after that time. `say` hears that it is waited for. Raises StoreError."""
    if not isinstance(store, RemoteStore):
        return
    end = time.monotonic() + store.rights_take
    told = False
    while True:
        try:
            next(iter(store.list(prefix)), None)
            return
        except StoreError as refusal:
            if refusal.kind is not StoreFault.DENIED or time.monotonic() >= end:
                raise
            if not told:
                say(f"skyc: waiting up to {store.rights_take:g} s for this machine's rights to count: {refusal.message}")
                told = True
            time.sleep(PAUSE)


__all__ = ["opened", "wait_for_rights"]
