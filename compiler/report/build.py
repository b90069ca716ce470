"""Gathering a report: from what the stages and the runtime know to what a reviewer reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from ..buckets import Bucket
from ..diagnostics import Diagnostic, Severity, has_errors, in_reading_order
from ..ir import ChangeSet, Fingerprints, FrozenMap, JobPlan, Meanings, PlacementPlan, PolicyEffect, PolicyResult, holds_storage
from .cautions import cautions_of
from .changes import NO_MEANINGS, change_rows, counts_of
from .costs import costs_of
from .environment import environment_of_what_goes
from .model import ChangeRow, Report, Tone
from .placement import alternative_rows, fallback_rows, group_rows, moves, proof_line, rejection_rows


def build(
    *,
    deployment: str,
    placement: PlacementPlan | None,
    changes: tuple[ChangeSet, ...],
    jobs: tuple[JobPlan, ...],
    hours: Decimal,
    destroying: bool = False,
    buckets: tuple[Bucket, ...] = (),
    kept: tuple[str, ...] = (),
    before: PlacementPlan | None = None,
    policies: tuple[PolicyResult, ...] = (),
    policy_digest: str = "",
    fingerprints: Fingerprints | None = None,
    diagnostics: tuple[Diagnostic, ...] = (),
    meanings: Meanings = NO_MEANINGS,
    environment: str = "",
    task_file: str = "",
) -> Report:
    """Gather a report.

    placement None: nothing is placed (a destroy). before: the placement applied last. buckets: what is made for Storages. kept: what a
    destroy leaves, in words. meanings: what targets say of their resource types. environment: `environment_of`. task_file: its path
    as the user gave it, for the command that applies the plan.
    """
    rows = change_rows(changes, meanings=meanings)
    groups = group_rows(placement, before)
    environment = environment or (environment_of_what_goes(changes, deployment) if destroying else "")
    cautions = cautions_of(rows, groups, meanings, environment=environment)
    notes = placement.notes if placement else FrozenMap[str]()
    return Report(
        deployment=deployment,
        environment=environment,
        task_file=task_file,
        destroying=destroying,
        tone=_tone(changes, rows, policies, diagnostics, cautious=bool(cautions)),
        compared=bool(changes),
        unfinished=tuple(sorted(site.site for site in changes if site.errored)),
        incomplete=tuple(sorted(site.site for site in changes if not site.complete and not site.errored)),
        costs=costs_of(
            placement,
            before,
            hours=hours,
            buckets=buckets,
            # Machines that are gone already, or buckets alone, end nothing per hour.
            ending=destroying and any(site.has_changes and not holds_storage(site.site) for site in changes),
        ),
        counts=counts_of(changes),
        cautions=cautions,
        proof=proof_line(placement, worst=False),
        objective=placement.objective.value if placement else "",
        groups=groups,
        moves=moves(placement, buckets),
        kept=tuple(sorted(kept)),
        notes=tuple(f"{name}: {text}" for name, text in notes.items() if not name.endswith(".hours")),
        alternatives=tuple(alternative_rows(placement)) if placement else (),
        rejections=rejection_rows(placement) if placement else (),
        fallbacks=tuple(fallback_rows(placement)) if placement else (),
        jobs=_in_order(jobs, placement),
        policies=tuple(sorted(policies, key=_gravest_rule)),
        policy_digest=policy_digest,
        changes=rows,
        drift=change_rows(changes, drift=True),
        diagnostics=_sorted(diagnostics),
        fingerprints=fingerprints,
        engine=", ".join(sorted({f"{site.engine} {site.engine_version}" for site in changes})),
        catalog_digest=placement.catalog_digest[:12] if placement else "",
    )


def _gravest_rule(rule: PolicyResult) -> tuple[bool, bool, bool, str, str, str]:
    """What nobody can approve, what somebody has to, what only warns, and what is met."""
    return (not rule.blocks, rule.effect is not PolicyEffect.DENY, rule.met, rule.rule, rule.source, rule.message)


def _in_order(jobs: Iterable[JobPlan], plan: PlacementPlan | None) -> tuple[JobPlan, ...]:
    """As the plan has their tasks, which is the order they start in."""
    tasks = {placed.task: number for number, placed in enumerate(plan.placements)} if plan else {}
    return tuple(sorted(jobs, key=lambda job: (tasks.get(job.task, len(tasks)), job.task, job.run, job.detail)))


def _sorted(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Errors first, then as they stand in the file; each once, and in one order whoever found them first."""
    once = sorted(set(diagnostics), key=repr)
    return tuple(sorted(in_reading_order(once), key=lambda said: said.severity))


def _tone(
    changes: tuple[ChangeSet, ...],
    rows: tuple[ChangeRow, ...],
    policies: tuple[PolicyResult, ...],
    diagnostics: tuple[Diagnostic, ...],
    *,
    cautious: bool,
) -> Tone:
    # What waits for an approval can be applied once somebody has looked, which is what the other tone asks for.
    denied = any(rule.blocks and rule.effect is PolicyEffect.DENY for rule in policies)
    if has_errors(diagnostics) or any(site.errored for site in changes) or denied:
        return Tone.FAILED
    warned = any(said.severity is Severity.WARNING for said in diagnostics) or not all(rule.met for rule in policies)
    if cautious or warned or any(not site.complete for site in changes):
        return Tone.CAUTION
    return Tone.CALM if rows or not changes else Tone.QUIET
