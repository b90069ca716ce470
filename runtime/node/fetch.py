"""Brings what lies in a bucket to its place on a node: every object below a prefix, or the one object of that name.

Each file takes its name whole (`Store.get_file`); nothing is written through a link that a job may have left. Objects are brought anew
every time: that one is unchanged cannot be told from its size.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from ..storage.base import NotFound, Store, StoreError, StoreFault
from .opening import opened, wait_for_rights

WORKERS = 16


def fetch(uri: str, destination: Path, identity: str = "") -> int:
    """How many objects were brought. identity: of the machine's, `JobNode.identity`. Raises NotFound when there are none, StoreError."""
    parts = urlsplit(uri)
    # At Azure an account comes before the bucket, which is then a part of the path.
    bucket, path = parts.path.strip("/").partition("/")[::2] if parts.scheme == "az" else ("", parts.path.strip("/"))
    parent, _, name = path.rpartition("/")
    root = "/".join(part for part in (bucket, parent) if part)
    store = opened(urlunsplit(parts._replace(path=f"/{root}")), identity)
    below = f"{name}/" if name else ""
    # Listed first: without a right to the whole bucket, asking for an object that does not exist is refused, not answered.
    wait_for_rights(store, below)
    keys = [key for key in store.list(below) if not key.endswith("/")]
    if not keys:
        if not name:
            raise NotFound(f"{uri} holds nothing.")
        destination.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(name, destination)
        return 1
    places = [(key, _place(destination, key.removeprefix(below))) for key in keys]
    for _, place in places:
        _clear_way(destination, place)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        list(pool.map(lambda item: _bring(store, *item), places))
    return len(places)


def _place(destination: Path, name: str) -> Path:
    """A key is any text; as a path it must stay below the destination."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "//" in name or "\0" in name:
        raise StoreError(StoreFault.INVALID, f"The object {name!r} cannot be a file: its name is no path below a directory.")
    return destination.joinpath(*path.parts)


def _clear_way(destination: Path, place: Path) -> None:
    """Every directory between the two is one."""
    for directory in reversed([parent for parent in place.parents if parent == destination or destination in parent.parents]):
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            directory.unlink()
        directory.mkdir(parents=True, exist_ok=True)


def _bring(store: Store, key: str, place: Path) -> None:
    store.get_file(key, place)
