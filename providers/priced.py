"""Targets that are in the catalog and that skyc cannot make machines at yet.

Contract: everything about prices is real; everything else says so. Such a target has no capability, `check` calls it priced and
not yet compiled, and `lower` refuses with `cannot-compile-yet`. It never made anything, so it observes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ..compiler.ir import DeploymentId, DriftTable, Failure, FrozenMap, GroupPlacement, Rename, ResourceGraph, Task
from ..compiler.ir.catalog import CatalogPart
from .base import (
    Attachment,
    Capability,
    CheckReport,
    ImageReach,
    LowerContext,
    Node,
    OwnedResource,
    Transport,
    TransportError,
    ZoneNames,
)
from .bucketless import Bucketless
from .errors import NO_WORDS, Vocabulary, read
from .stored import CATALOG_FILE, stored_part

STATE = "priced, not yet compiled"


class PricedProvider(Bucketless):
    """A target with a catalog and nothing else. Subclasses give its name and, where their catalog is no file, `catalog`."""

    name: str
    opens: frozenset[str] = frozenset()
    zone_names: ZoneNames | None = None
    words: Vocabulary = NO_WORDS
    """How its errors are told apart; subclasses that know theirs say them in `errors.py`."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    def on_request(self, region: str) -> bool:
        return self.words.on_request(region)

    def catalog(self, *, home: Path) -> CatalogPart:
        """The part in the subclass's own folder, or a newer one from a refresh."""
        spec = find_spec(type(self).__module__)
        assert spec is not None and spec.origin is not None, "a provider's module is a file"
        return stored_part(self.name, Path(spec.origin).with_name(CATALOG_FILE), home=home)

    def check(self, *, home: Path) -> CheckReport:
        """Not usable, with how many offers it is priced by; a catalog that cannot be read is said."""
        try:
            part = self.catalog(home=home)
        except SkycError as failure:
            facts = FrozenMap({"state": STATE})
            return CheckReport(provider=self.name, usable=False, facts=facts, diagnostics=failure.diagnostics)
        facts = FrozenMap({"state": STATE, "offers": f"{len(part.offers.type):,}", "prices": part.as_of})
        return CheckReport(provider=self.name, usable=False, facts=facts)

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        return None, (self._cannot_yet(),)

    def image_reach(self, image: str) -> ImageReach | None:
        return None

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        return ()

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        return ()

    def attach(self, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        return nullcontext(())

    def failures(self, diagnostics: Sequence[Diagnostic], region: str = "") -> tuple[Failure, ...]:
        return read(diagnostics, self.words, region)

    def quota_pool(self, placement: GroupPlacement) -> str:
        return self.words.pool(placement)

    def storage_uri(self, name: str, *, home: Path) -> str:
        raise SkycError(self._cannot_yet())

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        return ()

    def transport(self, node: Node) -> AbstractContextManager[Transport]:
        raise TransportError(self._cannot_yet().detail)

    def shell(self, node: Node, command: str | None) -> tuple[str, ...]:
        raise SkycError(self._cannot_yet())

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        raise SkycError(self._cannot_yet())

    def health(self, node: Node, *, home: Path) -> str:
        return "gone"

    def cannot_stop(self, nodes: Sequence[Node], *, lose_local: bool, home: Path) -> tuple[Diagnostic, ...]:
        return (self._cannot_yet(),)

    def stop(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        raise SkycError(self._cannot_yet())

    def start(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        raise SkycError(self._cannot_yet())

    def renames(self) -> tuple[Rename, ...]:
        return ()

    def drift_table(self) -> DriftTable:
        return DriftTable()

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        return ()

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        raise SkycError(self._cannot_yet())

    def _cannot_yet(self) -> Diagnostic:
        return error(
            "cannot-compile-yet",
            "The target is priced and cannot be compiled yet",
            f"`{self.name}` is in the catalog, so its offers are compared with all others, but skyc cannot make machines there"
            " yet. The placement itself can be printed with `skyc plan --emit=optimize`.",
            hint="write `infra: aws`, `azure`, `gcp` or `ibm`, where skyc makes machines, or `infra: local` to run the task on this one",
            commands=("skyc check",),
        )
