"""What a target without buckets answers when it is asked for one. Nobody asks who looks at its capabilities first."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId, ResourceGraph, Storage
from .base import LowerContext, OwnedResource


class Bucketless:
    """A base for targets without `Capability.BUCKET`."""

    name: str

    def lower_storages(
        self, storages: tuple[Storage, ...], region: str, context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        return None, (self._no_buckets(),)

    def bucket_uri(self, name: str, *, region: str, deployment: DeploymentId, mark: str) -> str:
        self._refuse()

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SkycError(self._no_buckets())

    def _no_buckets(self) -> Diagnostic:
        return error(
            "cannot-compile-yet",
            "The target is priced and cannot be compiled yet",
            f"skyc makes no buckets at `{self.name}`.",
            hint="name a place with `uri`, or another one with `infra`",
        )
