"""What has moved since a plan file was written: every check of its apply, each a function from facts to sentences.

Contract: nothing is changed in the world. All of it is collected, because who reads it wants to know at once whether to wait, to undo
something, or to plan again. Prices are compared with what was approved, the ceiling, and not with what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .. import __version__
from ..compiler.artifact.plan_file import LocalTree, PlanFile, PlannedSite
from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.failover import name_of
from ..compiler.ir import DeploymentId, FrozenMap, SiteId
from ..compiler.pipeline import Compilation
from ..providers.base import Capability
from .backend.machine import home_label
from .fingerprints import hashed_secrets
from .plan_files import UP, keys_digest, local_tree, lock_text, newest_work, not_sent, site_healths, site_state
from .reconcile import left_behind
from .session import Session
from .sites import SiteContext, check_state, site_directory
from .still_offered import StillOffered

SLUG = "plan-moved"
MOVED = 4
"""Exit code of a reviewed plan that is no longer valid."""
_NAMED = 5
"""Files of a tree that are named, at most."""


def moved_since(session: Session, context: SiteContext, plan: PlanFile, compilation: Compilation) -> tuple[Diagnostic, ...]:
    """Everything that is not as the plan file says. With the deployment's lock held. Raises SkycError for what cannot be looked at."""
    found = [
        *_program(session, context, plan),
        *_home(session, context, plan),
        *_keys(plan, compilation),
        *_secrets(session, plan, compilation),
        *_offers(session, plan),
        *_trees(session, plan),
        *_states(session, context, plan),
        *_jobs(session, plan),
    ]
    if not found:
        # These ask nodes and clouds: not for a plan that has moved anyway.
        found += [*_machines(session, plan), *_leftovers(session, context)]
    return tuple(found)


def moved(summary: str, detail: str, *, hint: str = "plan again, and have the new plan reviewed") -> Diagnostic:
    """One thing that is no longer as it was reviewed."""
    return error(SLUG, summary, f"{detail} Nothing was changed.", hint=hint)


def _program(session: Session, context: SiteContext, plan: PlanFile) -> Iterator[Diagnostic]:
    if _minor(plan.skyc) != _minor(__version__):
        yield moved(
            "The plan is of another version of skyc",
            f"skyc {plan.skyc} made it, and this is skyc {__version__}.",
            hint=f"apply it with skyc {plan.skyc}, or plan again",
        )
    engine = plan.engine
    if engine is not None and (_family(engine.name), engine.version) != (_family(session.engine.name), session.engine.version):
        yield moved(
            "The plan was made by another Terraform",
            f"{engine.name} {engine.version} made it, and here runs {session.engine}: a saved plan can be applied only by the very"
            " version that made it.",
            hint=f"use {engine.name} {engine.version}, or plan again",
        )
    for site in plan.sites:
        lock = lock_text(site_directory(session.home, plan.deployment, site.site))
        if lock and site.lock and lock != site.lock:
            yield moved(
                "Terraform's providers are others than the plan was made with",
                f"The dependency lock of {site.site} has changed.",
            )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _family(name: str) -> str:
    return "tofu" if name == "tofu" else "terraform"


def _home(session: Session, context: SiteContext, plan: PlanFile) -> Iterator[Diagnostic]:
    here = home_label(session.home)
    if plan.home == here:
        return
    bound = [site.provider for site in plan.sites if Capability.THIS_MACHINE in session.provider(site.provider).capabilities]
    if context.remote is None or bound:
        why = (
            f"`{bound[0]}` is a part of one machine."
            if bound
            else "Without a backend, states stay in the home they were made in."
        )
        yield moved(
            "The plan was made in another home",
            f"It was made in {plan.home}, and this is {here}. {why}",
            hint="apply it there; or name a backend in config.yaml, plan again, and apply that plan anywhere",
        )


def _keys(plan: PlanFile, compilation: Compilation) -> Iterator[Diagnostic]:
    if keys_digest(compilation) != plan.keys:
        yield moved(
            "The deployment's keys are not those of the plan",
            "Its machines would be made with keys that this home does not have, and nobody could log in to them.",
            hint="apply the plan in the home that made it, or plan again here",
        )


def _secrets(session: Session, plan: PlanFile, compilation: Compilation) -> Iterator[Diagnostic]:
    hashes = hashed_secrets(session, plan.deployment, compilation)
    others = sorted(name for name, value in plan.secrets.items() if hashes.get(name) not in (None, value))
    if others:
        names = ", ".join(f"`{name}`" for name in others)
        yield moved("A secret has another value than when it was reviewed", f"{names}: only hashes were compared.")


# Offers and prices


def _offers(session: Session, plan: PlanFile) -> Iterator[Diagnostic]:
    """Of what is chosen: is it still on offer, for no more than was approved?"""
    names = sorted({item.provider for item in plan.placement.placements})
    still = StillOffered(session.provider(name).catalog(home=session.home) for name in names)
    for item in plan.placement.placements:
        why = still.moved(item)
        if why is not None:
            yield moved("A machine is not on offer as it was reviewed", f"{item.task}/{item.group}, {name_of(item)}: {why}")


# Local files


def _trees(session: Session, plan: PlanFile) -> Iterator[Diagnostic]:
    for tree in plan.trees:
        try:
            now = local_tree(tree.path, tree.workdir, not_sent(session, plan.task.path))
        except SkycError as failure:
            yield moved("Files that the job needs are not here", failure.diagnostics[0].detail)
            continue
        if now.digest != tree.digest:
            yield moved("Files that are sent to the job have changed", f"{tree.path}: {_difference(tree, now)}")


def _difference(before: LocalTree, now: LocalTree) -> str:
    if not before.files or not now.files:
        return "it is not what it was."
    was, here = dict(before.files.items()), dict(now.files.items())
    rows = [f"{name} {_verb(name, was, here)}" for name in sorted({*was, *here}) if was.get(name) != here.get(name)]
    more = f", and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"{', '.join(rows[:_NAMED])}{more}." if rows else "it is not what it was."


def _verb(name: str, was: Mapping[str, str], here: Mapping[str, str]) -> str:
    return "is new" if name not in was else "is gone" if name not in here else "changed"


# States, machines, jobs


def _states(session: Session, context: SiteContext, plan: PlanFile) -> Iterator[Diagnostic]:
    deployment = plan.deployment
    planned = {site.site for site in plan.sites}
    for known in session.store.sites(deployment):
        if known.site not in planned:
            yield moved("The deployment has a site that the plan does not know", f"{known.site} was made since.")
    for site in plan.sites:
        yield from _state(context, site)


def _state(context: SiteContext, site: PlannedSite) -> Iterator[Diagnostic]:
    check_state(context, site.site)
    was, now = site.state, site_state(site_directory(context.home, context.deployment, site.site))
    if was == now:
        return
    if was is None or now is None:
        yield moved(
            "The Terraform state is not the one that the plan was made on",
            f"{site.site}: {'there was none' if was is None else f'serial {was.serial}'} → "
            f"{'there is none' if now is None else f'serial {now.serial}'}.",
        )
        return
    how = f"serial {was.serial} → {now.serial}" if was.serial != now.serial else f"serial {now.serial}, with another content"
    if was.lineage != now.lineage:
        how = "it belongs to another deployment of this name"
    yield moved("The Terraform state is not the one that the plan was made on", f"{site.site}: {how}.")


def _machines(session: Session, plan: PlanFile) -> Iterator[Diagnostic]:
    now: Mapping[SiteId, FrozenMap[str]] = site_healths(session, plan.deployment)
    for site in plan.sites:
        here = now.get(site.site, FrozenMap())
        rows = [
            f"{name} was {site.health.get(name, 'not there')} and is {here.get(name, 'not there')}"
            for name in sorted({*site.health, *here})
            if site.health.get(name, UP) != here.get(name, UP) or (name in site.health) != (name in here)
        ]
        if rows:
            yield moved("Machines are not as the plan found them", f"{site.site}: {', '.join(rows)}.")


def _jobs(session: Session, plan: PlanFile) -> Iterator[Diagnostic]:
    for job in plan.jobs:
        run, attempt = newest_work(session, plan.deployment, job.plan.task)
        if (run, attempt) != (job.last_run, job.last_attempt):
            yield moved(
                "The task has been run since",
                f"{job.plan.task}: {_work(job.last_run, job.last_attempt)} → {_work(run, attempt)}.",
            )


def _work(run: int, attempt: int) -> str:
    return f"run {run}, attempt {attempt}" if run else "no run"


def _leftovers(session: Session, context: SiteContext) -> Iterator[Diagnostic]:
    """What a cut-off run has left would be removed by a plan, which the saved one knows nothing of."""
    deployment: DeploymentId = context.deployment
    rows = [f"{item.type} {item.name}" for item in left_behind(session, deployment)]
    if rows or session.store.open_entries(deployment):
        what = f"{', '.join(rows[:_NAMED])} in no state" if rows else "a run of Terraform that was cut off"
        yield moved("Something is left of a run that was cut off", f"`{deployment}` has {what}.")
