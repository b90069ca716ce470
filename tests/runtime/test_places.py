"""What a job could not use is said before machines are rented for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import CheckpointPolicy, FileMount, FrozenMap, JobAction, MountMode, SpecPath, Storage, Task, TaskId
from skyc.runtime.job import JobState
from skyc.runtime.places import refuse_unopened
from skyc.runtime.planning import _newest_generation
from skyc.runtime.runs import LastRun, plan_job


def task(mount: FileMount, *storages: Storage) -> Task:
    return Task(
        id=TaskId("t"), origin=SpecPath(), groups=(), setup="", envs=FrozenMap(), secrets=(), workdir=None,
        file_mounts=(mount,), storages=storages,
    )  # fmt: skip


LOCAL, AWS, GCP, AZURE, IBM = (frozenset({scheme}) for scheme in ("file", "s3", "gs", "az", "cos"))


def refused(one: Task, able: frozenset[str]) -> str:
    """The message, or nothing for what is let through."""
    try:
        refuse_unopened([one], lambda _: able)
    except SkycError as failure:
        (said,) = failure.diagnostics
        assert said.slug == "mount-store-unsupported"
        return said.detail
    return ""


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("uri", "mode", "able", "let_through"),
    [
        ("s3://team/data", MountMode.COPY, AWS, True),
        ("s3://team/data", MountMode.MOUNT, AWS, False),
        ("s3://team/data", MountMode.COPY, LOCAL, False),
        ("file:///here/data", MountMode.COPY, LOCAL, True),
        ("file:///here/data", MountMode.MOUNT, LOCAL, True),
        ("file:///here/data", MountMode.COPY, AWS, False),
        ("gs://team/data", MountMode.COPY, AWS, False),
        ("gs://team/data", MountMode.COPY, GCP, True),
        ("gs://team/data", MountMode.MOUNT_CACHED, GCP, False),
        ("az://team/inside/data", MountMode.COPY, AZURE, True),
        ("cos://team/data?region=eu-de", MountMode.COPY, IBM, True),
        ("s3://team/data", MountMode.COPY, GCP, False),
    ],
)
def test_a_mount_no_node_can_read_is_refused_before_anything_is_rented(
    named: bool, uri: str, mode: MountMode, able: frozenset[str], let_through: bool
) -> None:
    """Whether it is named by its URI or by a Storage."""
    source, storage = (None, "data") if named else (uri, None)
    mount = FileMount(target="data", origin=SpecPath(("file_mounts", "data")), source=source, storage=storage, mode=mode)
    storages = (Storage(name="data", origin=SpecPath(), uri=uri),) if named else ()
    said = refused(task(mount, *storages), able)
    assert (said == "") == let_through
    assert let_through or (uri in said and "file_mounts.data" in said)


def test_checkpoints_no_node_can_keep_are_refused_before_anything_is_rented() -> None:
    """That this machine can open a bucket, for states, says nothing of the nodes."""

    def kept(uri: str | None) -> Task:
        storage = Storage(name="ckpt", origin=SpecPath(), uri=uri)
        policy = CheckpointPolicy(origin=SpecPath(("checkpoint",)), path="out", storage="ckpt", every_seconds=60, keep=3)
        return replace(task(FileMount(target="d", origin=SpecPath(), source="/here"), storage), checkpoint=policy)

    assert "`checkpoint`" in refused(kept("s3://team/runs"), LOCAL)
    assert refused(kept("s3://team/runs"), AWS) == ""
    assert "`checkpoint`" in refused(kept("file:///here/runs"), AWS)
    assert refused(kept("file:///here/runs"), LOCAL) == refused(kept(None), LOCAL) == ""


def test_local_paths_are_sent_anywhere() -> None:
    assert refused(task(FileMount(target="data", origin=SpecPath(), source="/here/data")), frozenset()) == ""


def test_who_may_not_look_at_checkpoints_still_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes machines needs no right to what is in their buckets: the nodes look for the newest checkpoint then."""
    for name in ("IC_API_KEY", "IBMCLOUD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert _newest_generation("cos://team/runs?region=eu-de", "checkpoints/d/t/run-1", 1) is None
    policy = CheckpointPolicy(origin=SpecPath(("checkpoint",)), path="out", storage="ckpt", every_seconds=60, keep=3)
    kept = replace(task(FileMount(target="d", origin=SpecPath(), source="/here")), checkpoint=policy)
    last = LastRun(number=2, task_digest="x", state=JobState.LOST)
    told = {generation: plan_job(kept, "x", last, rerun=False, generation=generation) for generation in (None, 0, 7)}
    assert {plan.action for plan in told.values()} == {JobAction.RESUME}
    assert "newest checkpoint, which its nodes look for" in told[None].detail
    assert "from the beginning" in told[0].detail and "checkpoint 7" in told[7].detail
