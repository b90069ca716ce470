"""The nodes of a deployment's sites, from Terraform's outputs, and whether they live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..compiler.ir import DeploymentId, SiteId, TaskId
from ..compiler.terraform_files import STATE_FILE, state_outputs
from ..providers.base import Node, Provider
from .session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One site's nodes, head first, as its state has them."""

    site: SiteId
    task: TaskId
    provider: Provider
    nodes: tuple[Node, ...]


def clusters(session: Session, deployment: DeploymentId) -> tuple[Cluster, ...]:
    """Every site that has nodes in its state. Reads files only; asks no node."""
    found = []
    for record in session.store.sites(deployment):
        outputs = state_outputs(Path(record.directory) / STATE_FILE) or {}
        provider = session.provider(record.provider)
        nodes = provider.nodes(outputs) if outputs.get("nodes") else ()
        if nodes:
            task = TaskId(str(record.site).split(".", 1)[0])
            found.append(Cluster(site=record.site, task=task, provider=provider, nodes=nodes))
    return tuple(found)


def cluster_of(session: Session, deployment: DeploymentId, task: TaskId | None = None) -> Cluster | None:
    """The cluster of a task, or the only (first) one."""
    for cluster in clusters(session, deployment):
        if task is None or cluster.task == task:
            return cluster
    return None
