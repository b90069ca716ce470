"""The nodes of a deployment's sites, from Terraform's outputs, and whether they live."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import SkycError
from ..compiler.ir import DeploymentId, SiteId, TaskId, task_of
from ..compiler.terraform_files import STATE_FILE, state_outputs
from ..providers.base import LOGIN_USER, Capability, Login, Node, Provider
from .access import ssh_directory
from .session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One site's nodes, head first, as its state has them."""

    site: SiteId
    task: TaskId
    provider: Provider
    nodes: tuple[Node, ...]


MOST_AT_ONCE = 64
TRIES = 5
"""Looks at a state that cannot be read: Terraform writes it in place, so it may be half written at one moment."""


def clusters(session: Session, deployment: DeploymentId, *, skip_damaged: bool = False) -> tuple[Cluster, ...]:
    """Every site that has nodes in its state. Reads files only; asks no node.

    Raises SkycError for a state that cannot be read; with `skip_damaged` it shows no nodes, for who concludes nothing from that.
    """
    found = []
    for record in session.store.sites(deployment):
        try:
            outputs = site_outputs(Path(record.directory) / STATE_FILE)
        except SkycError:
            if skip_damaged:
                continue
            raise
        provider, task = session.provider(record.provider), task_of(record.site)
        nodes = provider.nodes(outputs) if outputs.get("nodes") else ()
        if Capability.LOGIN in provider.capabilities:
            login = Login(deployment=deployment, directory=str(ssh_directory(session.home, deployment)), user=LOGIN_USER)
            nodes = tuple(_with_login(node, login) for node in nodes)
        if nodes and task is not None:
            found.append(Cluster(site=record.site, task=task, provider=provider, nodes=nodes))
    return tuple(found)


def _with_login(node: Node, login: Login) -> Node:
    return replace(node, login=login, via=None if node.via is None else replace(node.via, login=login))


def healths(session: Session, provider: Provider, nodes: Sequence[Node]) -> tuple[str | SkycError, ...]:
    """`Provider.health` of each node, all asked at the same time: one that is silent takes a quarter of a minute to be found so. A
    SkycError stands where a node could not be looked at."""

    def one(node: Node) -> str | SkycError:
        try:
            return provider.health(node, home=session.home)
        except SkycError as failure:
            return failure

    if not nodes:
        return ()
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(nodes))) as pool:
        return tuple(pool.map(one, nodes))


def site_outputs(file: Path) -> Mapping[str, Any]:
    """The outputs in a state; none without one. Raises SkycError for one that cannot be read."""
    for _ in range(TRIES - 1):
        with suppress(SkycError):
            return state_outputs(file) or {}
        time.sleep(0.02)
    return state_outputs(file) or {}


def cluster_of(
    session: Session, deployment: DeploymentId, task: TaskId | None = None, *, skip_damaged: bool = False
) -> Cluster | None:
    """The cluster of a task, or the only (first) one."""
    for cluster in clusters(session, deployment, skip_damaged=skip_damaged):
        if task is None or cluster.task == task:
            return cluster
    return None
