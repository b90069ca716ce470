"""What a job could not use is said before machines are rented for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import CheckpointPolicy, FileMount, FrozenMap, SpecPath, Storage, Task, TaskId
from skyc.runtime.places import refuse_unopened


def task(mount: FileMount, *storages: Storage) -> Task:
    return Task(
        id=TaskId("t"), origin=SpecPath(), groups=(), setup="", envs=FrozenMap(), secrets=(), workdir=None,
        file_mounts=(mount,), storages=storages,
    )  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
def test_a_mount_no_node_can_read_is_refused_before_anything_is_rented(named: bool) -> None:
    """Whether it is named by its URI or by a Storage, with a place of the user's or with one skyc makes."""
    uri = "s3://team/data"
    mount = FileMount(target="data", origin=SpecPath(), source=None if named else uri, storage="data" if named else None)
    storages = (Storage(name="data", origin=SpecPath(), uri=uri),) if named else ()
    with pytest.raises(SkycError) as failure:
        refuse_unopened([task(mount, *storages)])
    (said,) = failure.value.diagnostics
    assert said.slug == "mount-store-unsupported" and uri in said.detail and "`data`" in said.detail


def test_checkpoints_no_node_can_keep_are_refused_before_anything_is_rented() -> None:
    """That this machine can open a bucket, for states, says nothing of the nodes."""

    def kept(uri: str | None) -> Task:
        storage = Storage(name="ckpt", origin=SpecPath(), uri=uri)
        policy = CheckpointPolicy(origin=SpecPath(), path="out", storage="ckpt", every_seconds=60, keep=3)
        return replace(task(FileMount(target="d", origin=SpecPath(), source="/here"), storage), checkpoint=policy)

    with pytest.raises(SkycError) as failure:
        refuse_unopened([kept("s3://team/runs")])
    assert failure.value.diagnostics[0].slug == "checkpoint-store-unsupported"
    refuse_unopened([kept("file:///here/runs"), kept(None)])


@pytest.mark.parametrize("source", ["/here/data", "file:///here/data"])
def test_what_nodes_read_is_let_through(source: str) -> None:
    refuse_unopened([task(FileMount(target="data", origin=SpecPath(), source=source))])
