"""Stopped machines are started, their states told the new addresses, and their Ray waited for."""

from __future__ import annotations

from collections.abc import Collection

from ..compiler.ir import SiteId
from .clusters import clusters
from .session import Session
from .sites import SiteContext, refresh_site


def start_machines(session: Session, context: SiteContext, sites: Collection[SiteId]) -> tuple[str, ...]:
    """All machines of these sites. Names of the nodes that were started. With the deployment's lock held. Raises SkycError."""
    started: list[str] = []
    deployment = context.deployment

    def tell(text: str) -> None:
        session.note("start", text)

    for cluster in clusters(session, deployment):
        if cluster.site in sites:
            session.step("start", f"starting the machines of {cluster.site}")
            started += cluster.provider.start(cluster.nodes, home=session.home, tell=tell)
            refresh_site(context, cluster.site, cluster.provider)
    for cluster in clusters(session, deployment):
        if cluster.site in sites:
            session.step("start", f"waiting for the Ray of {cluster.site}")
            cluster.provider.bring_up(cluster.nodes, home=session.home, tell=tell)
    if started:
        session.store.record("machines-started", ", ".join(started), deployment=deployment)
    return tuple(started)
