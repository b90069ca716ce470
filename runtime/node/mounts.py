"""Puts a job's data in place on its node: `python -m skyc.runtime.node.mounts JOB_DIR NODE_NAME`.

Runs before local paths are sent: it checks every destination (see `places.py`), removes an old link where a mount will be, and
brings `file://` sources itself: COPY copies, MOUNT and MOUNT_CACHED link, since a directory every node reaches needs no cache.
From a bucket (`s3://`, `gs://`, `az://`, `cos://`) it copies, as the machine itself.

Prints one JSON object: `{"failed": null}`, or `{"failed": slug, "target": …, "message": …}`. Exit code 0 in both cases.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...compiler.ir import MountMode
from ..job import JobFile, JobMount, JobNode, decode_job
from ..storage.base import BUCKETS, NotFound, StoreError
from .places import OutsideNode, check_way, place


class MountFailed(Exception):
    def __init__(self, slug: str, target: str, message: str) -> None:
        super().__init__(message)
        self.slug, self.target = slug, target


def file_path(uri: str) -> Path | None:
    """The path of a `file:///…` URI; None for anything else."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def put_in_place(job: JobFile, node: JobNode) -> None:
    for directory in ("workdir", "home"):
        Path(node.directory, directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    for mount in job.request.mounts:
        try:
            destination = Path(place(mount.target, node.directory, whole_machine=node.whole_machine))
            check_way(str(destination), node.directory)
        except OutsideNode as error:
            raise MountFailed("mount-outside-node", mount.target, str(error)) from error
        if destination.is_symlink():
            destination.unlink()  # replaced below, or by the files that are sent; never written through
        if "://" in mount.source:
            try:
                _bring(mount, destination, node)
            except OSError as error:
                raise MountFailed("mount-failed", mount.target, f"{error.strerror or error}: {error.filename}") from error


def _bring(mount: JobMount, destination: Path, node: JobNode) -> None:
    source = file_path(mount.source)
    if urlsplit(mount.source).scheme in BUCKETS and mount.mode is MountMode.COPY:
        _fetch(mount, destination, node)
        return
    if source is None:
        raise MountFailed("mount-store-unsupported", mount.target, f"`{mount.source}` cannot be read on this node.")
    if not source.exists():
        raise MountFailed("mount-source-missing", mount.target, f"`{source}` does not exist on this node.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if mount.mode is MountMode.COPY:
        _copy(source, destination, mount.target)
    else:
        _link(source, destination, mount.target)


def _fetch(mount: JobMount, destination: Path, node: JobNode) -> None:
    from .fetch import fetch

    try:
        fetch(mount.source, destination, node.identity)
    except NotFound as error:
        raise MountFailed("mount-source-missing", mount.target, f"There is nothing at `{mount.source}`: {error}") from error
    except StoreError as error:
        raise MountFailed("mount-failed", mount.target, str(error)) from error


def _link(source: Path, destination: Path, target: str) -> None:
    if destination.is_dir():
        try:
            destination.rmdir()
        except OSError as error:
            raise MountFailed(
                "mount-over-files", target, f"`{target}` holds files already; a mount would hide them. Choose another path."
            ) from error
    elif destination.exists():
        raise MountFailed("mount-over-files", target, f"`{target}` is a file already; a mount would hide it.")
    destination.symlink_to(source)


def _copy(source: Path, destination: Path, target: str) -> None:
    if source.is_dir():
        from ..storage.copy import copy_tree

        try:
            copy_tree(source, destination)
        except StoreError as error:
            raise MountFailed("mount-failed", target, str(error)) from error
        return
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    shutil.copymode(source, temporary)
    temporary.replace(destination)


def main(job_dir: str, name: str) -> None:
    job = decode_job(Path(job_dir, "job.json").read_bytes())
    node = next(node for node in job.nodes if node.name == name)
    answer: dict[str, str | None] = {"failed": None}
    try:
        put_in_place(job, node)
    except MountFailed as error:
        answer = {"failed": error.slug, "target": error.target, "message": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:3])
