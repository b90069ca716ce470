"""Output of jobs that are over, kept at home: it outlives the nodes it was written on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
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


def save_log(session: Session, deployment: DeploymentId, cluster: Cluster, job: JobId) -> bool:
    """Copy a job's output home, mode 0600. False when its head does not answer: a node that is gone has none to give, and that is no
    error.

    Several commands may notice the end of a job at once: each writes a file of its own, and the last one stays.
    """
    path = log_path(session, deployment, job)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        fresh = Path(file.name)
        try:
            for piece in jobs.logs(cluster.nodes, cluster.provider, job):
                file.write(piece.encode())
            file.flush()
            if file.tell() or not path.exists():
                fresh.replace(path)
            # Otherwise its nodes were replaced, and what was kept before is all there is.
        except SkycError:
            return False
        finally:
            with suppress(OSError):
                fresh.unlink()
    return True


def saved_log(session: Session, deployment: DeploymentId, job: JobId) -> Iterator[str] | None:
    """Pieces of a kept log, or None when there is none. Line ends stay as the job wrote them."""
    path = log_path(session, deployment, job)
    if not path.exists():
        return None

    def pieces() -> Iterator[str]:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            while piece := file.read(PIECE):
                yield piece

    return pieces()
