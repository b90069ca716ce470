"""What a job could not use is said before machines are rented for it."""

from __future__ import annotations

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FileMount, FrozenMap, SpecPath, Storage, Task, TaskId
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


@pytest.mark.parametrize("source", ["/here/data", "file:///here/data"])
def test_what_nodes_read_is_let_through(source: str) -> None:
    refuse_unopened([task(FileMount(target="data", origin=SpecPath(), source=source))])
