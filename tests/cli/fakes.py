"""A fake of skyc's public calls: gives back what a test put in, and records how it was called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic, error
from skyc.compiler.ir import (
    Accelerator,
    Action,
    ChangeSet,
    DeploymentId,
    FrozenMap,
    GroupName,
    JobAction,
    JobPlan,
    JsonObject,
    ResourceChange,
    Secret,
    SiteId,
    TaskId,
)
from skyc.compiler.revisions import Revision, RevisionDiff
from skyc.providers.base import BucketProperty, CheckReport
from skyc.providers.refresh import RefreshProgress
from skyc.runtime.catalog import CatalogSummary
from skyc.runtime.catalog_refresh import CloudRefresh
from skyc.runtime.comments import CommentResult, Written
from skyc.runtime.eject import EjectedSite, EjectResult
from skyc.runtime.explain import Explanation
from skyc.runtime.field_effects import FieldEffect
from skyc.runtime.job import JobId, JobKind, JobState
from skyc.runtime.locking import Difference, LockResult
from skyc.runtime.offers import Offer, OfferList
from skyc.runtime.policy.check import PolicyCheck
from skyc.runtime.records import DeploymentState, JobRecord
from skyc.runtime.results import (
    ApplyResult,
    Backend,
    DeploymentStatus,
    DestroyOutcome,
    DestroyResult,
    Drift,
    KeptStorage,
    MendOutcome,
    MendResult,
    NodeStatus,
    Outcome,
    Plan,
    Progress,
    SchemaOf,
    SharedDeployment,
    SiteStatus,
    StillPaid,
    SwitchResult,
)

DIGITS = DeploymentId("digits")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
END = datetime(2026, 1, 2, 3, 8, 10, tzinfo=UTC)

BACKEND = Backend(
    uri="s3://acme-states/team",
    properties=(
        BucketProperty(name="versions", holds=True, detail="kept"),
        BucketProperty(name="TLS only", holds=False, detail="plain HTTP is not refused"),
        BucketProperty(name="encryption", holds=None, detail="not told"),
    ),
    deployments=(
        SharedDeployment(
            name="digits", state=DeploymentState.ACTIVE, sites=1, resources=11, working="`skyc apply` (process 7 on box)"
        ),
        SharedDeployment(name="train", state=DeploymentState.APPLYING, sites=2, resources=3, cut_off=1),
        SharedDeployment(name="odd", problem="it is no index of skyc's"),
    ),
)

JOB = JobRecord(
    id=JobId("digits-1-1"),
    deployment=DIGITS,
    task=TaskId("digits"),
    run=1,
    attempt=1,
    kind=JobKind.RUN,
    state=JobState.FAILED,
    submitted=START,
    started=START,
    ended=END,
    exit_code=7,
    failed_rank=1,
    reason="rank 1 ended with exit code 7",
    hourly=Decimal("3.60"),
)

NODE = NodeStatus(
    name="main-0",
    site=SiteId("digits.local"),
    task=TaskId("digits"),
    group=GroupName("main"),
    rank=0,
    ip="127.0.0.1",
    cpus=1.0,
    memory_mb=2048,
    accelerators=FrozenMap({"T4": 1}),
)

STATUS = DeploymentStatus(
    deployment=DIGITS,
    state=DeploymentState.ACTIVE,
    spec_path="/p/task.yaml",
    created=START,
    updated=END,
    sites=(SiteStatus(site=SiteId("digits.local"), provider="local", resources=1),),
    nodes=(NODE,),
    jobs=(JOB,),
    hourly=Decimal(0),
)


def plan(*actions: Action, job: JobAction = JobAction.RUN, **more: Any) -> Plan:
    changes = tuple(
        ResourceChange(address=f"skyc_node.main-{n}", type="skyc_node", action=action, reason=None, attributes=())
        for n, action in enumerate(actions)
    )
    site = ChangeSet(site=SiteId("digits.local"), engine="terraform", engine_version="1.15.0", changes=changes)
    fields: dict[str, Any] = {
        "deployment": DIGITS,
        "placement": None,
        "graphs": (),
        "changes": (site,),
        "jobs": (JobPlan(task=TaskId("digits"), action=job, run=1, detail="it never ran"),),
        "timings": (("parse", 0.0012), ("plan", 1.5)),
    }
    return Plan(**{**fields, **more})


OFFER = Offer(
    provider="rented",
    region="north",
    zones=("north-a", "north-b", "north-c"),
    instance_type="gpu.large",
    cpus=Decimal(8),
    memory_gb=None,
    accelerators=(Accelerator(name="T4", count=Decimal("0.5"), memory_gb=Decimal(16)),),
    arch="x86_64",
    local_disk_gb=None,
    on_demand=Decimal("1.2345"),
    spot=None,
    sells_spot=True,
    estimated=True,
    source="a price list",
    as_of="2021-02; spot 2025-05",
    interruption_rate=None,
    capacity=None,
)
FIELD_EFFECT = FieldEffect(
    field="resources.disk_size",
    where="local",
    before="100",
    after="200",
    effect="replaces all nodes",
    job=True,
    causes=("replace skyc_node.main-0 (disk)",),
    lost=("disks and local data of those nodes",),
    stays=("checkpoints",),
)
SUMMARY = CatalogSummary(
    provider="rented",
    types=1386,
    regions=30,
    offers=64284,
    on_demand_priced=64283,
    spot_priced=1,
    estimated=0,
    sells_spot=True,
    oldest="2021-02",
    newest="2026-07-20",
    origin="shipped",
    digest="ab" * 32,
    notes=("Something is missing.",),
)


NO_DIFFERENCE = RevisionDiff(
    base=Revision(label="main", commit="ab" * 20, merge_base=True),
    head=Revision(label="working tree", commit=None),
    deployments=(),
    unchanged=2,
)


@dataclass
class FakeApi:
    """`fails` is raised by every call; the other fields are what the calls give back."""

    fails: BaseException | None = None
    planned: Plan = field(default_factory=lambda: plan(Action.CREATE))
    differing: RevisionDiff = field(default_factory=lambda: NO_DIFFERENCE)
    progress: tuple[Progress, ...] = ()
    outcome: Outcome = Outcome.SUCCEEDED
    destroy_outcome: DestroyOutcome = DestroyOutcome.DESTROYED
    statuses: tuple[DeploymentStatus, ...] = (STATUS,)
    jobs: tuple[JobRecord, ...] = (JOB,)
    lines: tuple[str, ...] = ()
    usable: bool = True
    switched: tuple[str, ...] = ("main-0",)
    drifts: tuple[Drift, ...] = ()
    mended: MendResult = field(default_factory=lambda: MendResult(deployment=DIGITS, outcome=MendOutcome.DONE))
    backend: Backend | None = BACKEND
    refreshed: tuple[CloudRefresh, ...] = ()
    found: OfferList = field(default_factory=lambda: OfferList(offers=(OFFER,), total=3))
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    policies: tuple[Path, ...] = ()
    approved: tuple[str, ...] = ()
    checked: PolicyCheck = field(default_factory=lambda: PolicyCheck(digest="ab" * 32, rules=(), tasks=(), diagnostics=()))

    def _called(self, name: str, /, **given: Any) -> None:
        self.calls.append((name, given))
        if self.fails is not None:
            raise self.fails

    def plan(
        self,
        path: Path,
        *,
        deployment: str | None,
        env: Mapping[str, str] | None,
        secrets: Mapping[str, Secret] | None,
        home: Path | None,
        emit: str | None,
        destroy: bool,
        objective: str,
        offline: bool,
        policies: Sequence[Path],
        out: Path | None,
        locked: bool,
    ) -> Plan:
        told = {"emit": emit, "destroy": destroy, **({} if out is None else {"out": out})}
        self._called("plan", path=path, deployment=deployment, env=env, secrets=secrets, home=home, **told)
        self.policies, self.approved = tuple(policies), ()
        return self.planned

    def diff(
        self,
        base: str,
        head: str | None,
        *,
        paths: Sequence[str],
        exact: bool,
        env: Mapping[str, str] | None,
        objective: str,
        policies: Sequence[Path],
        home: Path | None,
    ) -> RevisionDiff:
        self._called("diff", base=base, head=head, paths=paths, exact=exact, env=env, objective=objective, policies=policies)
        return self.differing

    def comment(self, found: RevisionDiff, *, name: str) -> CommentResult:
        self._called("comment", found=found, name=name)
        return CommentResult(written=Written.EDITED, url="https://example.invalid/c/1", summary=True)

    def lock(self, *paths: Path, **given: Any) -> LockResult:
        self._called("lock", paths=paths, **given)
        changed = (Difference(name="tools.ray", locked="2.59.0", here="2.60.0"),)
        return LockResult(path="/p/skyc.lock", tasks=tuple(path.name for path in paths), changed=changed, written=True)

    def apply(
        self,
        path: Path,
        *,
        deployment: str | None,
        env: Mapping[str, str] | None,
        secrets: Mapping[str, Secret] | None,
        rerun: bool,
        objective: str,
        detach: bool,
        confirm: Callable[[Plan], bool] | None,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
        policies: Sequence[Path],
        approve: Sequence[str],
        fingerprint: str | None,
        locked: bool,
    ) -> ApplyResult:
        self.policies, self.approved = tuple(policies), tuple(approve)
        told: dict[str, Any] = {} if fingerprint is None else {"fingerprint": fingerprint}
        told |= {"locked": True} if locked else {}
        self._called("apply", path=path, env=env, secrets=secrets, rerun=rerun, detach=detach, wait=wait, home=home, **told)
        if confirm is not None and not confirm(self.planned):
            return ApplyResult(deployment=DIGITS, outcome=Outcome.DECLINED)
        self._report(on_progress)
        return ApplyResult(deployment=DIGITS, outcome=self.outcome, job=JOB, diagnostics=self.planned.diagnostics)

    def status(self, deployment: str | None, *, refresh: bool, home: Path | None) -> tuple[DeploymentStatus, ...]:
        self._called("status", deployment=deployment, refresh=refresh, home=home)
        return self.statuses

    def logs(self, deployment: str, job: str | None, *, follow: bool, home: Path | None) -> Iterator[str]:
        self._called("logs", deployment=deployment, job=job, follow=follow)
        yield from self.lines

    def queue(self, deployment: str, *, home: Path | None) -> tuple[JobRecord, ...]:
        self._called("queue", deployment=deployment)
        return self.jobs

    def exec(
        self,
        deployment: str,
        command: str,
        *,
        nodes: int | None,
        home: Path | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> ApplyResult:
        self._called("exec", deployment=deployment, command=command, nodes=nodes)
        self._report(on_progress)
        return ApplyResult(deployment=DIGITS, outcome=self.outcome, job=self.jobs[0])

    def shell(self, deployment: str, node: str | None, command: str | None, *, home: Path | None) -> tuple[str, ...]:
        self._called("shell", deployment=deployment, node=node, command=command)
        return ("printf", "%s", "from the node")

    def cancel(self, deployment: str, job: str | None, *, home: Path | None) -> tuple[JobRecord, ...]:
        self._called("cancel", deployment=deployment, job=job)
        return self.jobs

    def stop(
        self,
        deployment: str,
        *,
        lose_local: bool,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> SwitchResult:
        self._called("stop", deployment=deployment, lose_local=lose_local, wait=wait)
        paid = (StillPaid(kind="disk", hourly=Decimal("0.0562")), StillPaid(kind="gateway", hourly=None))
        return SwitchResult(deployment=DIGITS, nodes=self.switched, paid=paid if self.switched else ())

    def start(
        self, deployment: str, *, on_progress: Callable[[Progress], None] | None, home: Path | None, wait: float | None
    ) -> SwitchResult:
        self._called("start", deployment=deployment, wait=wait)
        return SwitchResult(deployment=DIGITS, nodes=self.switched)

    def drift(
        self,
        deployment: str | None,
        *,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> tuple[Drift, ...]:
        self._called("drift", deployment=deployment, wait=wait)
        return self.drifts

    def repair_drift(
        self,
        deployment: str,
        *,
        only: Collection[str],
        confirm: Callable[[Drift, Plan | None], bool] | None,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> MendResult:
        self._called("repair_drift", deployment=deployment, only=list(only), wait=wait)
        if confirm is not None and not confirm(self.drifts[0], plan(Action.UPDATE, jobs=())):
            return MendResult(deployment=DIGITS, outcome=MendOutcome.DECLINED)
        return self.mended

    def adopt_drift(
        self,
        deployment: str,
        *,
        only: Collection[str],
        security: bool,
        confirm: Callable[[Drift, Plan | None], bool] | None,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> MendResult:
        self._called("adopt_drift", deployment=deployment, only=list(only), security=security, wait=wait)
        if confirm is not None and not confirm(self.drifts[0], None):
            return MendResult(deployment=DIGITS, outcome=MendOutcome.DECLINED)
        return self.mended

    def destroy(
        self,
        deployment: str,
        *,
        confirm: Callable[[Plan], bool] | None,
        on_progress: Callable[[Progress], None] | None,
        purge: bool,
        home: Path | None,
        wait: float | None,
        policies: Sequence[Path],
        approve: Sequence[str],
    ) -> DestroyResult:
        self.policies, self.approved = tuple(policies), tuple(approve)
        self._called("destroy", deployment=deployment, purge=purge, wait=wait)
        if confirm is not None and not confirm(plan(Action.DELETE, destroying=True, jobs=())):
            return DestroyResult(deployment=DIGITS, outcome=DestroyOutcome.DECLINED)
        kept = (KeptStorage(name="results", uri="file:///s/results"),)
        return DestroyResult(deployment=DIGITS, outcome=self.destroy_outcome, removed=("skyc_node.main-0",), kept=kept)

    def eject(self, deployment: str, directory: Path | None, **given: Any) -> EjectResult:
        self._called("eject", deployment=deployment, directory=directory, **given)
        site = EjectedSite(
            site=SiteId("digits.local"), provider="local", resources=1, files=("main.tf",), state="terraform.tfstate"
        )
        return EjectResult(
            deployment=DIGITS,
            directory=str(directory or "/elsewhere"),
            engine="terraform 1.15.5",
            sites=(site,),
            recorded=not given["dry_run"],
        )

    def check(self, *, home: Path | None) -> tuple[CheckReport, ...]:
        self._called("check", home=home)
        problems: tuple[Diagnostic, ...] = () if self.usable else (error("no-engine", "No Terraform.", "Install it."),)
        facts = FrozenMap({"cpus": "2"})
        return (CheckReport(provider="local", usable=self.usable, facts=facts, diagnostics=problems),)

    def explain(self, path: Path, **given: Any) -> Explanation:
        self._called("explain", path=path, **given)
        raise AssertionError("what it prints is tested with the real catalog")

    def explain_field(self, field: str, path: Path | None, **given: Any) -> tuple[FieldEffect, ...]:
        self._called("explain_field", field=field, path=path, **given)
        return (FIELD_EFFECT,)

    def explain_fields(self) -> tuple[FieldEffect, ...]:
        self._called("explain_fields")
        return (FIELD_EFFECT, replace(FIELD_EFFECT, where="rented", effect="in place"))

    def offers(self, **given: Any) -> OfferList:
        self._called("offers", **given)
        return self.found

    def catalog(self, *, home: Path | None) -> tuple[CatalogSummary, ...]:
        self._called("catalog", home=home)
        return (SUMMARY,)

    def mirror(self, directory: Path) -> Path:
        self._called("mirror", directory=directory)
        return directory / "terraform.rc"

    def backend_create(self, uri: str, *, region: str | None, endpoint: str | None, key: str | None) -> Backend:
        self._called("backend_create", uri=uri, region=region, endpoint=endpoint, key=key)
        return replace(BACKEND, made=True, deployments=(), setting=f"state: {uri}\n")

    def backend_show(self, *, home: Path | None) -> Backend | None:
        self._called("backend_show", home=home)
        return self.backend

    def schema(self, of: SchemaOf) -> JsonObject:
        self._called("schema", of=of)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}

    def policy_check(self, path: Path, tasks: Sequence[Path], *, home: Path | None) -> PolicyCheck:
        self._called("policy_check", path=path, tasks=tuple(tasks), home=home)
        return self.checked

    def catalog_refresh(
        self,
        clouds: Sequence[str] | None,
        *,
        regions: Sequence[str] | None,
        accept_loss: bool,
        home: Path | None,
        wait: float | None,
        on_progress: Callable[[RefreshProgress], None] | None,
    ) -> tuple[CloudRefresh, ...]:
        self._called("catalog_refresh", clouds=clouds, regions=regions, accept_loss=accept_loss, home=home, wait=wait)
        return self.refreshed

    def _report(self, on_progress: Callable[[Progress], None] | None) -> None:
        assert on_progress is not None
        for progress in self.progress:
            on_progress(progress)
