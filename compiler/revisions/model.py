"""What differs between two revisions of a repository's task files, as values: what `skyc diff` gives back.

Contract: pure and sorted, so that the order in which files were read changes no byte. Compiled, not compared: both sides were compiled
with the same catalog, and nothing here was held against what exists.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..diagnostics import Diagnostic, has_errors
from ..ir import Action, ChangeSet, PlacementPlan, PolicyEffect, PolicyResult
from ..report.model import Caution


class Kind(enum.Enum):
    """What a revision does to a deployment."""

    FAILED = "failed"
    """Its file does not compile at head, or two files at head share the deployment."""
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    """No file at head describes it. What is up stays up until somebody destroys it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """One field of one task that differs and is not a matter of place or machines.

    lines: a small text diff, each line with `+` or `-` in front (`~`: of ours, about what was left out); empty where the field's name
    says enough, as it does of variables: their values are not repeated.
    """

    task: str
    field: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentDiff:
    """One deployment that differs. A side that is not there, or does not compile, has no placement.

    path: its file at head, at base for one that is removed. previous_path: where the file was, if elsewhere. code: files that the job
    gets and that differ, sorted. cautions: what nobody may overlook of what stays or comes. diagnostics: what compiling head said;
    errors only where it failed. notes: what a reader should know of the comparison itself.
    """

    deployment: str
    kind: Kind
    path: str
    previous_path: str | None = None
    before: PlacementPlan | None = None
    after: PlacementPlan | None = None
    changes: tuple[ChangeSet, ...] = ()
    jobs: tuple[JobChange, ...] = ()
    code: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    policies: tuple[PolicyResult, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def denied(self) -> bool:
        """A rule forbids it. One that asks for an approval gets that where it is applied."""
        return any(result.effect is PolicyEffect.DENY and not result.met for result in self.policies)

    def count(self, *actions: Action) -> int:
        return sum(site.count(action) for site in self.changes for action in actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One side. `label`: as the user called it. commit: the full id; None for the working tree. merge_base: the commit is not the one that
    was named but where the other side's history left it."""

    label: str
    commit: str | None
    merge_base: bool = False

    def __str__(self) -> str:
        return f"merge base of {self.label}" if self.merge_base else self.label


_ORDER = (Kind.FAILED, Kind.CHANGED, Kind.ADDED, Kind.REMOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionDiff:
    """`deployments`: errors first, then changed, added and removed ones, each by name. unchanged: how many there are besides.
    diagnostics: about the whole."""

    base: Revision
    head: Revision
    deployments: tuple[DeploymentDiff, ...]
    unchanged: int
    catalog_digest: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def has_differences(self) -> bool:
        return bool(self.deployments)

    @property
    def failed(self) -> bool:
        """Something at head cannot be compiled."""
        return has_errors(self.diagnostics) or any(row.kind is Kind.FAILED for row in self.deployments)

    @property
    def denied(self) -> bool:
        """A policy forbids something at head."""
        return any(row.denied for row in self.deployments)

    def count(self, kind: Kind) -> int:
        return sum(1 for row in self.deployments if row.kind is kind)

    @property
    def totals(self) -> tuple[Decimal | None, Decimal | None]:
        """US dollars for one run of everything that differs, before and after; None where a price is not known. A side without a deployment
        counts nothing for it."""
        known = [row for row in self.deployments if row.kind is not Kind.FAILED]
        return _sum(row.before for row in known), _sum(row.after for row in known)

    @property
    def exit_code(self) -> int:
        """1: something at head does not compile. 3: a policy forbids it. 0 otherwise, whatever differs."""
        return 1 if self.failed else 3 if self.denied else 0

    def report(self, format: ReportFormat = "text", *, name: str = "default") -> str:
        """The diff for a person (`text`, `markdown`, `html`) or a program (`json`, `schema: skyc.diff/v1`). Markdown fits into a
        comment; the others are whole. `name`: of the comment it becomes."""
        from .render import render_json, render_markdown, render_page, render_text

        match format:
            case "text":
                return render_text(self)
            case "markdown":
                return render_markdown(self, name=name)
            case "json":
                return render_json(self)
            case "html":
                return render_page(self)


ReportFormat = Literal["text", "markdown", "json", "html"]


def in_order(rows: list[DeploymentDiff]) -> tuple[DeploymentDiff, ...]:
    return tuple(sorted(rows, key=lambda row: (_ORDER.index(row.kind), row.deployment, row.path)))


def _sum(plans: Iterable[PlacementPlan | None]) -> Decimal | None:
    total = Decimal(0)
    for plan in plans:
        if plan is None:
            continue
        if plan.total is None:
            return None
        total += plan.total
    return total
