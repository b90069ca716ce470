"""The public calls as the command line uses them. The `skyc` package itself is one; tests hand in another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..compiler.ir import JsonObject, Secret
from ..compiler.revisions import RevisionDiff
from ..providers.base import CheckReport
from ..providers.refresh import RefreshProgress
from ..runtime.catalog import CatalogSummary
from ..runtime.catalog_refresh import CloudRefresh
from ..runtime.comments import CommentResult
from ..runtime.eject import EjectResult
from ..runtime.explain import Explanation
from ..runtime.field_effects import FieldEffect
from ..runtime.locking import LockResult
from ..runtime.offers import OfferList
from ..runtime.policy.check import PolicyCheck
from ..runtime.records import JobRecord
from ..runtime.results import (
    ApplyResult,
    Backend,
    DeploymentStatus,
    DestroyResult,
    Drift,
    MendResult,
    Plan,
    Progress,
    SchemaOf,
    SwitchResult,
)


class Api(Protocol):
    """What each call does is said in `runtime/results.py` and where it is implemented."""

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
    ) -> Plan: ...

    def lock(
        self,
        *paths: Path,
        env: Mapping[str, str] | None,
        secrets: Mapping[str, Secret] | None,
        objective: str,
        hashes: bool,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
    ) -> LockResult: ...

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
    ) -> RevisionDiff: ...

    def comment(self, found: RevisionDiff, *, name: str) -> CommentResult: ...

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
    ) -> ApplyResult: ...

    def status(self, deployment: str | None, *, refresh: bool, home: Path | None) -> tuple[DeploymentStatus, ...]: ...

    def logs(self, deployment: str, job: str | None, *, follow: bool, home: Path | None) -> Iterator[str]: ...

    def queue(self, deployment: str, *, home: Path | None) -> tuple[JobRecord, ...]: ...

    def exec(
        self,
        deployment: str,
        command: str,
        *,
        nodes: int | None,
        home: Path | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> ApplyResult: ...

    def shell(self, deployment: str, node: str | None, command: str | None, *, home: Path | None) -> tuple[str, ...]: ...

    def cancel(self, deployment: str, job: str | None, *, home: Path | None) -> tuple[JobRecord, ...]: ...

    def stop(
        self,
        deployment: str,
        *,
        lose_local: bool,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> SwitchResult: ...

    def start(
        self,
        deployment: str,
        *,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> SwitchResult: ...

    def drift(
        self,
        deployment: str | None,
        *,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> tuple[Drift, ...]: ...

    def repair_drift(
        self,
        deployment: str,
        *,
        only: Collection[str],
        confirm: Callable[[Drift, Plan | None], bool] | None,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> MendResult: ...

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
    ) -> MendResult: ...

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
    ) -> DestroyResult: ...

    def eject(
        self,
        deployment: str,
        directory: Path | None,
        *,
        undo: bool,
        dry_run: bool,
        on_progress: Callable[[Progress], None] | None,
        home: Path | None,
        wait: float | None,
    ) -> EjectResult: ...

    def check(self, *, home: Path | None) -> tuple[CheckReport, ...]: ...

    def explain(
        self,
        path: Path,
        *,
        why_not: Sequence[str],
        env: Mapping[str, str] | None,
        secrets: Mapping[str, Secret] | None,
        objective: str,
        home: Path | None,
    ) -> Explanation: ...

    def explain_field(
        self,
        field: str,
        path: Path | None,
        *,
        value: str | None,
        env: Mapping[str, str] | None,
        secrets: Mapping[str, Secret] | None,
        objective: str,
        home: Path | None,
    ) -> tuple[FieldEffect, ...]: ...

    def explain_fields(self) -> tuple[FieldEffect, ...]: ...

    def offers(
        self,
        *,
        accelerator: Sequence[str],
        cpus: str | None,
        memory: str | None,
        cloud: Sequence[str],
        region: Sequence[str],
        zone: Sequence[str],
        market: str,
        max_price: str | None,
        arch: str | None,
        estimates: bool,
        sort: str,
        best_region: bool,
        limit: int | None,
        home: Path | None,
    ) -> OfferList: ...

    def catalog(self, *, home: Path | None) -> tuple[CatalogSummary, ...]: ...

    def mirror(self, directory: Path) -> Path: ...

    def backend_create(self, uri: str, *, region: str | None, endpoint: str | None, key: str | None) -> Backend: ...

    def backend_show(self, *, home: Path | None) -> Backend | None: ...

    def schema(self, of: SchemaOf) -> JsonObject: ...

    def policy_check(self, path: Path, tasks: Sequence[Path], *, home: Path | None) -> PolicyCheck: ...

    def catalog_refresh(
        self,
        clouds: Sequence[str] | None,
        *,
        regions: Sequence[str] | None,
        accept_loss: bool,
        home: Path | None,
        wait: float | None,
        on_progress: Callable[[RefreshProgress], None] | None,
    ) -> tuple[CloudRefresh, ...]: ...
