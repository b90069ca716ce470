"""Stopping a deployment's machines, which then cost what stays beside them, such as their disks, and starting them again.

Contract: with the deployment's lock held. Nothing is stopped before everything may be: a job that runs, a target that cannot, a disk that
would lose its data refuse it. Both can be cut off anywhere and repeated. Terraform's states are refreshed after each, since a
stopped machine's public address may soon be another's, and a started one has another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId
from ..providers.base import Capability
from .apply import locked, site_context
from .clusters import Cluster, clusters
from .planning import still_running
from .results import Interrupted, StillPaid, SwitchResult
from .session import Session, known_deployment
from .sites import SiteContext, check_state, refresh_site
from .standing import refresh_jobs, working
from .waking import start_machines


def stop(session: Session, name: str, *, lose_local: bool, wait: float | None) -> SwitchResult:
    """Raises SkycError, Interrupted."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc stop {deployment}", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        found = _stoppable(session, deployment, context)
        _refuse_working(session, deployment, found)
        _refuse_what_is_lost(session, found, lose_local=lose_local)
        stopped: list[str] = []
        try:
            for cluster in found:
                session.step(
                    "stop", f"stopping {len(cluster.nodes)} machine{'s' if len(cluster.nodes) != 1 else ''} of {cluster.site}"
                )
                stopped += cluster.provider.stop(cluster.nodes, home=session.home, tell=lambda text: session.note("stop", text))
                refresh_site(context, cluster.site, cluster.provider)
        except KeyboardInterrupt:
            raise Interrupted(
                "A machine that was asked to stop still stops; the others go on.", f"skyc stop {deployment}"
            ) from None
        session.store.record("machines-stopped", ", ".join(stopped) or "none", deployment=deployment)
    return SwitchResult(deployment=deployment, nodes=tuple(stopped), paid=still_paid(session, deployment))


def still_paid(session: Session, deployment: DeploymentId) -> tuple[StillPaid, ...]:
    """As the plan that was applied last has it, and of addresses those that the states still show at the stopped machines."""
    placement = session.store.placement(deployment)
    kept = Counter(
        (cluster.task, node.group)
        for cluster in clusters(session, deployment, skip_damaged=True)
        for node in cluster.nodes
        if node.address not in ("", node.ip)
    )
    found: dict[str, Decimal | None] = {}
    for item in placement.placements if placement is not None else ():
        keeps = Capability.KEEPS_ADDRESS in session.provider(item.provider).capabilities
        for line in item.lines:
            count = item.units(line)
            if line.kind == "address" and not keeps:
                # Where most lose theirs, some have one that stays, as with several network cards at AWS.
                count = min(count, kept[item.task, item.group])
            if line.kind not in ("disk", "gateway", "address") or not count:
                continue
            known = found.get(line.kind, Decimal(0))
            found[line.kind] = None if known is None or line.unit_price is None else known + line.unit_price * count
    return tuple(StillPaid(kind=kind, hourly=hourly) for kind, hourly in found.items())


def start(session: Session, name: str, *, wait: float | None) -> SwitchResult:
    """Until the Ray of every node answers. Raises SkycError, Interrupted."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc start {deployment}", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        found = _stoppable(session, deployment, context)
        try:
            started = start_machines(session, context, [cluster.site for cluster in found])
        except KeyboardInterrupt:
            raise Interrupted(
                "A machine that was asked to start still starts, and costs money.",
                f"skyc start {deployment}",
                f"skyc stop {deployment}",
            ) from None
    return SwitchResult(deployment=deployment, nodes=started)


def _stoppable(session: Session, deployment: DeploymentId, context: SiteContext) -> tuple[Cluster, ...]:
    """The deployment's clusters, if all of them are on machines that can be stopped. Raises SkycError."""
    for record in session.store.sites(deployment):
        check_state(context, record.site)
    found = clusters(session, deployment)
    if not found:
        raise SkycError(
            error(
                "no-cluster",
                "This deployment has no nodes",
                f"`{deployment}` was destroyed or never came up, so there is no machine to stop or start.",
                hint="apply its task file first",
            )
        )
    without = sorted({cluster.provider.name for cluster in found if Capability.STOP not in cluster.provider.capabilities})
    if without:
        raise SkycError(
            error(
                "cannot-stop",
                "Machines at this target are not stopped",
                f"`{deployment}` has nodes at {', '.join(f'`{name}`' for name in without)}, which skyc neither stops nor starts: nodes on"
                " this machine are processes of it, and keep nothing that would be worth it. Nothing was done.",
                hint="`skyc cancel` stops jobs, `skyc destroy` removes the nodes",
            )
        )
    return found


def _refuse_working(session: Session, deployment: DeploymentId, found: Sequence[Cluster]) -> None:
    refresh_jobs(session, deployment)
    going_on = [job.id for cluster in found for job in working(session, deployment, cluster.task)]
    if going_on:
        raise still_running(
            deployment, "A job still runs on these machines", f"Stopping them would end {', '.join(map(str, going_on))}. "
        )


def _refuse_what_is_lost(session: Session, found: Sequence[Cluster], *, lose_local: bool) -> None:
    said: list[Diagnostic] = []
    for cluster in found:
        said += cluster.provider.cannot_stop(cluster.nodes, lose_local=lose_local, home=session.home)
    if said:
        raise SkycError(*said)
