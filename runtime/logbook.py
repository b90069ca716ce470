"""Output of jobs that are over, kept at home: it outlives the nodes it was written on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..compiler.diagnostics import SkycError
from ..compiler.ir import DeploymentId
from . import jobs
from .clusters import Cluster
from .job import JobId
from .session import Session

PIECE = 1 << 20


def log_path(session: Session, deployment: DeploymentId, job: JobId) -> Path:
    return session.home / "logs" / deployment / f"{job}.log"


def save_log(session: Session, deployment: DeploymentId, cluster: Cluster, job: JobId) -> None:
    """Copy a job's output home, mode 0600. A node that is gone has none to give, and that is no error."""
    try:
        text = jobs.logs(cluster.nodes, cluster.provider, job)
    except SkycError:
        return
    path = log_path(session, deployment, job)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


def saved_log(session: Session, deployment: DeploymentId, job: JobId) -> Iterator[str] | None:
    """Pieces of a kept log, or None when there is none."""
    path = log_path(session, deployment, job)
    if not path.exists():
        return None

    def pieces() -> Iterator[str]:
        with path.open(encoding="utf-8", errors="replace") as file:
            while piece := file.read(PIECE):
                yield piece

    return pieces()
