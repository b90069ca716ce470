"""failover: a site that cannot be had is looked for at the next placement of the plan's envelope (DESIGN D4).

Order, and why it is safe to be killed at any point: the attempt is on record before it is made; a refusal is on record before
anything is removed; what no state knows is removed by tag; what the states know is changed, or removed, by Terraform, whose runs are
in the journal. The next command finds the search where it stopped (`attempts.continued`).

Invariants
- Only placements of the reviewed plan are tried, in its order, none of them twice.
- What other deployments have is never touched, nor a node that was up before this apply: where one still is, the search stops.
- Within a region the site stays and Terraform changes what the failed attempt made: its network and identity serve the next one.
  To another region goes a new site, after everything of the old one is gone.
- A search that ends without a place leaves nothing that this apply made, and names what was up before and stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, Severity, SkycError
from ..compiler.failover import GroupKey, choice_of, moved, name_of
from ..compiler.ir import (
    Action,
    DeploymentId,
    Failure,
    FailureKind,
    FrozenMap,
    GroupName,
    GroupPlacement,
    Ref,
    ResourceGraph,
    SiteId,
    TaskId,
    task_of,
)
from ..compiler.pipeline import Compilation, recompiled
from ..compiler.terraform import Terraform
from ..compiler.terraform_files import STATE_FILE, read_state, state_ids
from ..providers.base import Capability
from .attempts import begin, elsewhere, following, pools, reason, trail
from .clusters import clusters
from .failover_words import (
    denied,
    exhausted,
    not_had,
    outside,
    standing,
    still_in_use,
    still_throttled,
    told,
    unknown_caller,
)
from .places import note_storages
from .planning import Planned, provider_of, site_record, span_finder
from .reconcile import reconcile
from .records import AttemptOutcome, AttemptRecord
from .session import Session
from .sites import SitePlan, apply_site, pin_packages, plan_site, site_directory, terraform_at, write_module

PAUSES = {FailureKind.THROTTLED: (5.0, 20.0), FailureKind.BUSY: (15.0, 60.0, 180.0)}
"""Seconds before an apply is repeated, by what it failed for. The Terraform provider has repeated each throttled call by then; a machine
with much memory takes minutes to end."""
WAITS = {FailureKind.THROTTLED: "too many calls", FailureKind.BUSY: "what it needs is still in use"}
TERRAFORMS_OWN = "terraform-error"
"""The slug of an error a provider reported. Every other one is about the run itself, and says nothing about a placement."""
GOING = frozenset({Action.DELETE, Action.FORGET, Action.NO_OP, Action.READ})
"""Actions that make nothing."""
DECISIVE = (
    FailureKind.CREDENTIALS,
    FailureKind.PERMISSION,
    FailureKind.CAPACITY,
    FailureKind.NOT_OFFERED,
    FailureKind.QUOTA,
    FailureKind.OTHER,
    FailureKind.BUSY,
    FailureKind.THROTTLED,
)
"""Of several failures of one apply, which one decides."""


def nodes_of(session: Session, deployment: DeploymentId) -> FrozenMap[frozenset[str]]:
    """Site → the ids of the nodes its state has. Taken before an apply changes anything."""
    found = clusters(session, deployment, skip_damaged=True)
    return FrozenMap({str(cluster.site): frozenset(node.id for node in cluster.nodes) for cluster in found})


def make_site(
    session: Session, plan: Planned, site: SitePlan, terraform: Terraform, before: Mapping[str, frozenset[str]]
) -> Planned:
    """Apply a site, at the first placement of the envelope that can be had. The plan as it stands then.

    before: `nodes_of` before the apply. Raises SkycError, KeyboardInterrupt.
    """
    task = task_of(site.site)
    if site.graph is None or task is None:
        # What is removed, and buckets: they have no other place.
        apply_site(plan.context, site, terraform, plan_digest=plan.compilation.reviewed.digest)
        return plan
    with contextlib.ExitStack() as stack:
        search = _Search(session=session, plan=plan, task=task, before=before, stack=stack, reviewed=_types(site.graph))
        return search.run(site, terraform)


def is_up(session: Session, plan: Planned, site: SitePlan) -> None:
    """Nothing is to be done at the site any more: an attempt that was cut off there has come up all the same."""
    for row in session.store.attempts(plan.deployment):
        if row.task == task_of(site.site) and row.outcome is AttemptOutcome.TRYING and not row.over:
            session.store.end_attempt(row, AttemptOutcome.UP)


@dataclass(kw_only=True)
class _Search:
    """A place for one site. `plan` is what is being tried."""

    session: Session
    plan: Planned
    task: TaskId
    """Whose site it is. The groups of a task share a region, so a task has one."""
    before: Mapping[str, frozenset[str]]
    stack: contextlib.ExitStack
    reviewed: frozenset[str]
    """Types of the resources that were reviewed at the site's provider."""

    def run(self, site: SitePlan, terraform: Terraform) -> Planned:
        pauses = {kind: list(seconds) for kind, seconds in PAUSES.items()}
        planned: SitePlan | None = site
        while True:
            assert site.graph is not None
            begun = [begin(self.session, self.plan.deployment, self._compilation.reviewed, item) for item in self._groups(site)]
            try:
                if planned is None:
                    planned = self._replanned(site, terraform)
                apply_site(self.plan.context, planned, terraform, plan_digest=self._compilation.reviewed.digest)
            except SkycError as caught:
                failure, all_ = self._decisive(site, caught)
                planned = None
                match failure.kind:
                    case kind if kind.moves_on:
                        site, terraform = self._moved(site, terraform, begun, all_, caught)
                    case kind if pauses.get(kind):
                        self.session.note("failover", f"{site.site}: {WAITS[kind]} ({failure.code}); trying again")
                        time.sleep(pauses[kind].pop(0))
                        reconcile(self.session, self._deployment, self.plan.context)
                    case _:
                        self._ended(begun, failure)
                        raise self._stopped(site, failure, caught) from None
                continue
            for attempt in begun:
                self.session.store.end_attempt(attempt, AttemptOutcome.UP)
            return self.plan

    @property
    def _compilation(self) -> Compilation:
        return self.plan.compilation

    @property
    def _deployment(self) -> DeploymentId:
        return self.plan.deployment

    def _groups(self, site: SitePlan) -> tuple[GroupPlacement, ...]:
        """Where the site's groups are tried."""
        assert self._compilation.placement is not None
        return tuple(item for item in self._compilation.placement.placements if item.task == self.task)

    def _decisive(self, site: SitePlan, caught: SkycError) -> tuple[Failure, tuple[Failure, ...]]:
        """What the errors of an apply come down to, and each of them. Raises `caught` where they are about the run itself."""
        errors = [found for found in caught.diagnostics if found.severity is Severity.ERROR]
        if not errors or any(found.slug != TERRAFORMS_OWN for found in errors):
            raise caught
        failures = site.provider.failures(errors, self._groups(site)[0].region)
        return min(failures, key=lambda failure: DECISIVE.index(failure.kind)), failures

    def _stopped(self, site: SitePlan, failure: Failure, caught: SkycError) -> SkycError:
        """What to raise for a failure that no other place would mend."""
        if failure.kind is FailureKind.OTHER:
            return caught
        if failure.kind is FailureKind.THROTTLED:
            return SkycError(still_throttled(site.site, failure), *caught.diagnostics)
        if failure.kind is FailureKind.BUSY:
            return SkycError(still_in_use(site.site, failure), *caught.diagnostics)
        if failure.kind is FailureKind.CREDENTIALS:
            # Nothing could be removed as somebody who is not known.
            return SkycError(unknown_caller(site.site, failure), *caught.diagnostics)
        kept = self._kept(site)
        left = self._clear_all(site)
        return SkycError(denied(self._deployment, site.site, failure, left, kept), *caught.diagnostics, *left)

    def _ended(self, begun: Sequence[AttemptRecord], failure: Failure) -> None:
        for attempt in begun:
            self.session.store.end_attempt(attempt, AttemptOutcome.FAILED, failure=failure)

    # The next placement

    def _moved(
        self,
        site: SitePlan,
        terraform: Terraform,
        begun: Sequence[AttemptRecord],
        failures: Sequence[Failure],
        caught: SkycError,
    ) -> tuple[SitePlan, Terraform]:
        """On to the next placement: its module in place, and what must go first gone. Raises SkycError when there is none."""
        refusals = _by_group(site, failures, [attempt.group for attempt in begun])
        kept = self._survivors(site.site)
        # A group some of whose nodes live stays where they are.
        outcome = AttemptOutcome.UP if kept else AttemptOutcome.FAILED
        for attempt in begun:
            if attempt.group in refusals:
                self.session.store.end_attempt(attempt, outcome, failure=refusals[attempt.group])
                self.session.store.record("no-capacity", told(attempt, refusals[attempt.group]), deployment=self._deployment)
        if kept:
            raise SkycError(standing(site.site, kept, refusals.values()), *caught.diagnostics)
        found = self._next(site, tuple(refusals))
        if found is None:
            tried, stays = self._trails(site), self._kept(site)
            left = self._clear_all(site)
            self.session.store.end_searches(self._deployment, self.task)
            raise SkycError(exhausted(self._deployment, self._compilation.reviewed, tried, left, stays), *left)
        return self._at(found, site, terraform)

    def _trails(self, site: SitePlan) -> tuple[AttemptRecord, ...]:
        records = self.session.store.attempts(self._deployment)
        plan = self._compilation.reviewed
        return tuple(row for item in self._groups(site) for row in trail(records, plan, item.task, item.group))

    def _next(self, site: SitePlan, groups: Sequence[GroupName]) -> Compilation | None:
        """The compilation with each refused group at its next placement; None when one has none left."""
        reviewed = self._compilation.reviewed
        compilation = self._compilation
        assert compilation.graph is not None
        for group in groups:
            while True:
                assert compilation.placement is not None
                rows = trail(self.session.store.attempts(self._deployment), reviewed, self.task, group)
                item = following(rows, reviewed, compilation.placement, compilation.graph, pools(self.session))
                if item is None:
                    return None
                now = {**elsewhere(compilation), (self.task, group): item}
                # The plan's own choice comes into question again where a fallback that was up has gone.
                now = {key: place for key, place in now.items() if place != choice_of(reviewed, *key)}
                trial = recompiled(compilation, moved(reviewed, now, self._reasons(now)))
                cannot = self._cannot(site, item, trial)
                if cannot is None:
                    compilation = trial
                    self.session.note("failover", f"{_last(rows)}; trying {name_of(item)}")
                    break
                attempt = begin(self.session, self._deployment, reviewed, item)
                self.session.store.end_attempt(attempt, AttemptOutcome.SKIPPED, detail=cannot)
        return compilation

    def _reasons(self, now: Iterable[GroupKey]) -> dict[GroupKey, str]:
        records, plan = self.session.store.attempts(self._deployment), self._compilation.reviewed
        return {key: reason(trail(records, plan, *key)) for key in now}

    def _cannot(self, site: SitePlan, item: GroupPlacement, trial: Compilation) -> str | None:
        """Why a placement cannot be made from here; None when it can."""
        provider = self.session.provider(item.provider)
        if Capability.RUN not in provider.capabilities:
            return f"skyc cannot start jobs at {item.provider} yet"
        said = provider.ready(home=self.session.home) if item.provider != site.provider.name else ()
        if said:
            return said[0].summary
        wrong = next((found for found in trial.diagnostics if found.severity is Severity.ERROR), None)
        return None if wrong is None else wrong.summary

    def _at(self, compilation: Compilation, old: SitePlan, terraform: Terraform) -> tuple[SitePlan, Terraform]:
        """Everything ready for the next attempt at the site of `compilation`."""
        assert compilation.graphs is not None and compilation.synthesized is not None
        graph, made = next(
            pair for pair in zip(compilation.graphs, compilation.synthesized, strict=True) if task_of(pair[0].site) == self.task
        )
        context = dataclasses.replace(self.plan.context, origin_of=span_finder(compilation).get)
        self.plan = dataclasses.replace(self.plan, compilation=compilation, context=context)
        if graph.site == old.site:
            # What a refused call left behind is in no state, and would be in the way of what Terraform changes now.
            reconcile(self.session, self._deployment, context)
        else:
            left = self._clear((old.site,))
            if left:
                raise SkycError(exhausted(self._deployment, compilation.reviewed, self._trails(old), left), *left)
        directory = site_directory(self.session.home, self._deployment, graph.site)
        write_module(directory, made.text)
        pin_packages(context, graph)
        self.session.store.save_site(site_record(graph, directory))
        provider = self.session.provider(graph.provider)
        if graph.provider != old.provider.name:
            task = self.plan.task(self.task)
            ours = frozenset(bucket.storage.name for bucket in compilation.buckets)
            note_storages(self.session, self._deployment, task, provider_of(task, compilation), buckets=ours)
            self.reviewed = frozenset()
        if graph.site != old.site:
            terraform = self.stack.enter_context(terraform_at(context, graph.site, provider))
        site = dataclasses.replace(old, site=graph.site, directory=directory, provider=provider, graph=graph)
        return site, terraform

    def _replanned(self, site: SitePlan, terraform: Terraform) -> SitePlan:
        """The site's new plan, held against what was approved. Raises SkycError (exit code 4) for one that goes beyond it."""
        self.session.step("failover", f"planning {site.site} with {self.plan.context.engine}")
        found = plan_site(self.plan.context, site.site, site.provider, site.graph, terraform, refresh=False)
        strange = {change.type for change in found.changes.changes if change.action not in GOING} - self.reviewed
        if self.reviewed and strange:
            raise SkycError(outside(site.site, sorted(strange)), exit_code=4)
        self.session.step("apply", f"making {site.site}")
        return found

    # What must go

    def _survivors(self, site: SiteId) -> frozenset[str]:
        """Nodes that were up before this apply and still are."""
        file = site_directory(self.session.home, self._deployment, site) / STATE_FILE
        return self.before.get(str(site), frozenset()) & state_ids(file)

    def _applied(self, site: SitePlan) -> list[SiteId]:
        """The tasks' sites that this apply is about, by name: of its plan, and the one that is being tried. Among those of the plan may
        be one to remove: where a search was killed that was leaving it."""
        wanted = {site.site, *(found.site for found, _ in self.plan.sites if task_of(found.site))}
        return sorted(wanted & {record.site for record in self.session.store.sites(self._deployment)})

    def _kept(self, site: SitePlan) -> tuple[SiteId, ...]:
        """Those that stay whatever happens, since nodes were up there before: an apply that was cut off may have made them, or one
        that went well, and by now somebody may be at work there."""
        return tuple(name for name in self._applied(site) if self._survivors(name))

    def _clear_all(self, site: SitePlan) -> tuple[Diagnostic, ...]:
        """Remove what this apply made, at every task's site of its plan where nothing was up before. Buckets stay: `destroy` says what
        becomes of them."""
        doomed = [name for name in self._applied(site) if not self._survivors(name)]
        left = self._clear(doomed)
        if not left:
            self.session.store.end_searches(self._deployment, *(task for name in doomed if (task := task_of(name)) is not None))
        return left

    def _clear(self, sites: Iterable[SiteId]) -> tuple[Diagnostic, ...]:
        """Remove everything at these sites. What was in the way of that; nothing when all is gone.

        What no state knows goes first: it holds networks, which could not be removed before it.
        """
        context = self.plan.context
        try:
            reconcile(self.session, self._deployment, context)
            for site in sites:
                self._remove(site)
            reconcile(self.session, self._deployment, context)
        except SkycError as failure:
            return failure.diagnostics
        return ()

    def _remove(self, site: SiteId) -> None:
        context = self.plan.context
        record = next(found for found in self.session.store.sites(self._deployment) if found.site == site)
        provider = self.session.provider(record.provider)
        self.session.step("failover", f"removing {site}")
        if read_state(Path(record.directory) / STATE_FILE) is not None:
            with terraform_at(context, site, provider) as terraform:
                doomed = plan_site(context, site, provider, None, terraform, refresh=False)
                if doomed.changes.has_changes:
                    apply_site(context, doomed, terraform, plan_digest=self._compilation.reviewed.digest)
        self.session.store.remove_site(self._deployment, site)


def _types(graph: ResourceGraph) -> frozenset[str]:
    return frozenset(node.address.type for node in graph.resources)


def _last(rows: Sequence[AttemptRecord]) -> str:
    last = next((row for row in reversed(rows) if row.outcome is AttemptOutcome.FAILED), rows[-1])
    return not_had(last)


def _by_group(site: SitePlan, failures: Sequence[Failure], groups: Sequence[GroupName]) -> dict[GroupName, Failure]:
    """Which groups lack machines or quota. A failure of what serves all of them is one of each."""
    owners = _owners(site.graph)
    found: dict[GroupName, Failure] = {}
    for failure in failures:
        if not failure.kind.moves_on:
            continue
        owner = owners.get(failure.resource or "")
        for group in groups if owner is None else (owner,):
            found.setdefault(group, failure)
    return found


def _owners(graph: ResourceGraph | None) -> dict[str, GroupName]:
    """Terraform address of a machine → its group, from the graph's own list of nodes."""
    rows = graph.outputs["nodes"] if graph is not None else ()
    found: dict[str, GroupName] = {}
    for row in rows if isinstance(rows, tuple) else ():
        if isinstance(row, FrozenMap) and isinstance(row.get("id"), Ref):
            reference = row["id"]
            assert isinstance(reference, Ref)
            found[str(reference.address)] = GroupName(str(row["group"]))
    return found
