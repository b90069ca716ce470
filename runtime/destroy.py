"""destroy: remove everything of a deployment, and say so only when the world shows nothing of it any more.

Terraform destroys what its states know; what no state knows is found by tag and removed; then the world is observed again. A
state that is damaged or lost does not stop a destroy: the tags are enough.

Buckets go last, and persistent ones only with a purge. A site of which buckets stay keeps its folder and its state, and its module
then names those alone: the next apply finds them, and so does a later purge.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .. import __version__ as skyc_version
from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import Action, ChangeSet, DeploymentId, ResourceChange, SiteId, holds_storage
from ..compiler.synth import FILE_NAME
from ..compiler.terraform import Terraform
from ..compiler.terraform_files import STATE_FILE, read_state
from ..providers.base import MARK_FILE, OwnedResource
from .apply import locked, site_context
from .buckets import MadeBucket, kept_buckets, made_buckets, unprotected, without
from .clusters import clusters
from .job import JobState
from .places import STORAGES, settle_storages
from .policy.destroying import judged_destroy
from .policy.judge import record as record_approvals
from .policy.judge import refuse
from .reconcile import reconcile, sweep
from .records import DeploymentState
from .results import DestroyOutcome, DestroyResult, Interrupted, Plan
from .session import Session, known_deployment
from .sites import SiteContext, SitePlan, apply_site, check_state, plan_site, terraform_at, write_module
from .standing import release, settle
from .state import deployment_directory


def destroy(
    session: Session,
    name: str,
    *,
    confirm: Callable[[Plan], bool] | None,
    purge: bool = False,
    wait: float | None = None,
    policies: Sequence[Path] = (),
    approve: Sequence[str] = (),
    show: bool = False,
) -> DestroyResult:
    """Remove a deployment. `purge`: its kept storage, logs and history too. policies: rules that hold beside those there are; approve:
    rules that whoever calls this approves. show: also what a rule forbids is given to `confirm`. Raises SkycError, Interrupted."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc destroy {deployment}", wait=wait) as lock_fd:
        if _forget_ejected(session, deployment):
            return DestroyResult(deployment=deployment, outcome=DestroyOutcome.NOTHING)
        context = site_context(session, deployment, lock_fd)
        usable = _usable_states(session, deployment, context)
        orphans = reconcile(session, deployment, context, storage=False) if usable else ()
        buckets = made_buckets(session, deployment, skip_damaged=True)
        staying = () if purge else tuple(made for made in buckets if made.persistent)
        kept = kept_buckets(session, staying)
        with contextlib.ExitStack() as stack:
            sites = _plan(session, deployment, context, stack, buckets, staying) if usable else ()
            changes = tuple(plan.changes for plan, _ in sites) if usable else _tagged(session, deployment, purge)
            shown = Plan(
                deployment=deployment,
                placement=None,
                graphs=(),
                changes=changes,
                kept=kept,
                destroying=True,
                before=session.store.placement(deployment),
            )
            shown = judged_destroy(session, shown, purge=purge, policies=policies, approve=approve)
            if not show:
                refuse(shown)
            if confirm is not None and not confirm(shown):
                return DestroyResult(deployment=deployment, outcome=DestroyOutcome.DECLINED)
            record_approvals(session, shown)
            session.store.set_deployment_state(deployment, DeploymentState.DESTROYING)
            _stop_jobs(session, deployment)
            removed = _destroy(session, context, sites)
        removed += [f"{item.type}.{item.name}" for item in (*orphans, *sweep(session, deployment, purge=purge))]
        _check_gone(session, deployment, purge)
        settle(session, deployment, None, JobState.CANCELLED, "The deployment was destroyed.")
        kept = (*kept, *settle_storages(session, deployment, purge=purge))
        if purge:
            shutil.rmtree(session.home / "logs" / deployment, ignore_errors=True)
        _forget(session, deployment, purge, _staying_sites(session, deployment, staying, usable=usable, purge=purge))
    outcome = DestroyOutcome.DESTROYED if removed else DestroyOutcome.NOTHING
    return DestroyResult(deployment=deployment, outcome=outcome, removed=tuple(sorted(removed)), kept=kept)


def _forget_ejected(session: Session, deployment: DeploymentId) -> bool:
    """Close the record of an ejected deployment of which plain Terraform has left nothing."""
    record = session.store.deployment(deployment)
    if record is None or record.state is not DeploymentState.EJECTED:
        return False
    if any(_going(session, name, deployment, purge=True) for name in sorted(session.providers)):
        return False
    settle(session, deployment, None, JobState.CANCELLED, "The deployment was ejected and destroyed.")
    _forget(session, deployment, purge=False)
    return True


def _usable_states(session: Session, deployment: DeploymentId, context: SiteContext) -> bool:
    """False when a state is lost or damaged: then only the tags can be trusted."""
    try:
        for record in session.store.sites(deployment):
            check_state(context, record.site)
    except SkycError as problem:
        session.note("destroy", f"{problem.diagnostics[0].summary}; removing by tag instead")
        return False
    return True


def _plan(
    session: Session,
    deployment: DeploymentId,
    context: SiteContext,
    stack: contextlib.ExitStack,
    buckets: tuple[MadeBucket, ...],
    staying: tuple[MadeBucket, ...],
) -> tuple[tuple[SitePlan, Terraform], ...]:
    """Plans of what goes, buckets last."""
    found = []
    for record in sorted(session.store.sites(deployment), key=lambda record: (holds_storage(record.site), record.site)):
        directory = Path(record.directory)
        if read_state(directory / STATE_FILE) is None:
            continue
        here = frozenset(made.name for made in buckets if made.site == record.site)
        stay = frozenset(made.name for made in staying if made.site == record.site)
        if stay and stay == here:
            continue
        session.step("plan", f"planning the removal of {record.site}")
        if holds_storage(record.site):
            stack.enter_context(_module_without(directory, here - stay, everything=not stay))
        provider = session.provider(record.provider)
        terraform = stack.enter_context(terraform_at(context, record.site, provider))
        found.append((plan_site(context, record.site, provider, None, terraform, partly=bool(stay)), terraform))
    return tuple(found)


@contextlib.contextmanager
def _module_without(directory: Path, names: frozenset[str], *, everything: bool) -> Iterator[None]:
    """The module on disk without these Storages, or ready to be destroyed whole. When nothing came of it, it is put back."""
    text = (directory / FILE_NAME).read_text(encoding="utf-8")
    before = read_state(directory / STATE_FILE)
    write_module(directory, unprotected(text) if everything else without(text, names))
    try:
        yield
    finally:
        if read_state(directory / STATE_FILE) == before:
            write_module(directory, text)


def _tagged(session: Session, deployment: DeploymentId, purge: bool) -> tuple[ChangeSet, ...]:
    """What carries the tag, as changes to be shown: without a state there is no plan of Terraform's, and yet something to approve."""
    return tuple(
        ChangeSet(
            site=SiteId(f"{deployment}.{name}"),
            engine="by tag",
            engine_version=skyc_version,
            changes=tuple(
                ResourceChange(
                    address=f"{item.type}.{item.name}", type=item.type, action=Action.DELETE, reason=None, attributes=()
                )
                for item in found
            ),
        )
        for name in sorted(session.providers)
        if (found := _going(session, name, deployment, purge))
    )


def _going(session: Session, provider: str, deployment: DeploymentId, purge: bool) -> tuple[OwnedResource, ...]:
    """What carries the tag and is not to outlive the deployment."""
    seen = session.provider(provider).observe(deployment, home=session.home)
    return tuple(item for item in seen if purge or not item.keep)


def _stop_jobs(session: Session, deployment: DeploymentId) -> None:
    """Jobs are stopped before their nodes go, and their output is kept. One that cannot be reached ends with its nodes, and is
    not called over before: a destroy that is cut off must not leave a running job on record as cancelled."""
    for task in sorted({cluster.task for cluster in clusters(session, deployment, skip_damaged=True)}):
        session.step("destroy", f"stopping the jobs of {task}")
        release(session, deployment, task)


def _destroy(session: Session, context: SiteContext, sites: tuple[tuple[SitePlan, Terraform], ...]) -> list[str]:
    removed = []
    try:
        for site, terraform in sites:
            if site.changes.has_changes:
                session.step("destroy", f"removing {site.site}")
                apply_site(context, site, terraform, plan_digest="")
                removed += [change.address for change in site.changes.changes]
    except KeyboardInterrupt:
        raise Interrupted(
            "Terraform stopped after what it was removing; the rest is still there.", f"skyc destroy {context.deployment}"
        ) from None
    return removed


def _check_gone(session: Session, deployment: DeploymentId, purge: bool) -> None:
    left = [
        f"{item.type} {item.name} ({item.id})"
        for name in sorted(session.providers)
        for item in _going(session, name, deployment, purge)
    ]
    if left:
        raise SkycError(
            error(
                "destroy-incomplete",
                "Something of this deployment still exists",
                "Terraform finished, but these carry its tag: " + ", ".join(left) + ".",
                hint="run the command again; what resists is a bug of ours, please report it",
                commands=(f"skyc destroy {deployment}",),
            )
        )


def _forget(session: Session, deployment: DeploymentId, purge: bool, staying: frozenset[SiteId] = frozenset()) -> None:
    """`staying`: sites of which something is kept, and so their states."""
    for entry in session.store.open_entries(deployment):
        session.store.finish(entry, "destroyed")
    for record in session.store.sites(deployment):
        if record.site not in staying:
            session.store.remove_site(deployment, record.site)
    session.store.end_searches(deployment)
    session.store.save_placement_text(deployment, "")
    directory = deployment_directory(session.home, deployment)
    # A link would lead the deletes to somewhere else. The lock is ours until the end: removing it would let two commands hold
    # "the" lock at once. The list of storage that was kept is what a later purge goes by.
    names = ("lock",) if purge else ("lock", STORAGES, MARK_FILE)
    for child in () if directory.is_symlink() else sorted(directory.iterdir()):
        if child.name == "sites" and staying and not child.is_symlink():
            _clear(site for site in child.iterdir() if site.name not in staying)
        elif not child.name.startswith(names):
            _clear((child,))
    session.store.set_deployment_state(deployment, DeploymentState.DESTROYED)
    if purge:
        session.store.forget_deployment(deployment)


def _staying_sites(
    session: Session, deployment: DeploymentId, staying: tuple[MadeBucket, ...], *, usable: bool, purge: bool
) -> frozenset[SiteId]:
    """Those of which a bucket is left; all there are of buckets when a state is damaged, for then nobody knows."""
    if usable or purge:
        return frozenset(made.site for made in staying)
    return frozenset(record.site for record in session.store.sites(deployment) if holds_storage(record.site))


def _clear(paths: Iterable[Path]) -> None:
    for path in paths:
        directory = path.is_dir() and not path.is_symlink()
        shutil.rmtree(path, ignore_errors=True) if directory else path.unlink(missing_ok=True)
