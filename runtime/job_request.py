"""What the nodes are told about a job, and what it costs an hour."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

from ..compiler.ir import FrozenMap, Task, canonical
from .job import JobGroup, JobRequest
from .places import checkpoint_place, mounts
from .planning import Planned, provider_of
from .records import JobRecord
from .session import Session
from .workdir import workdir_tree


def job_request(session: Session, plan: Planned, task: Task, record: JobRecord) -> JobRequest:
    """What the nodes are told. The setup runs again when its text, its variables or the workdir change."""
    provider = provider_of(task, plan.compilation)
    return JobRequest(
        id=record.id,
        deployment=plan.deployment,
        task=task.id,
        groups=tuple(JobGroup(name=group.name, num_nodes=group.num_nodes, run=group.run) for group in task.groups),
        setup=task.setup,
        setup_key=_setup_key(session, task),
        envs=FrozenMap(task.envs),
        secret_names=task.secrets,
        workdir=task.workdir,
        mounts=mounts(session, task, provider),
        checkpoint=checkpoint_place(session, plan.deployment, task, provider, record.run) if task.checkpoint else None,
        run_id=f"{plan.deployment}-{task.id}-{record.run}",
    )


def _setup_key(session: Session, task: Task) -> str:
    workdir = workdir_tree(Path(task.workdir), (session.home,)).digest if task.workdir else ""
    return hashlib.sha256("\0".join((task.setup, canonical(task.envs).decode(), workdir)).encode()).hexdigest()[:32]


def hourly_of(plan: Planned, task: Task) -> Decimal | None:
    assert plan.compilation.placement is not None
    total = Decimal(0)
    for placement in plan.compilation.placement.placements:
        if placement.task == task.id:
            if placement.hourly is None:
                return None
            total += placement.hourly * placement.num_nodes
    return total
