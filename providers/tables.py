"""Lowering tables: every field of a ResourceRequest stands in exactly one of three, so that none is dropped in silence.

A target's `lower.py` has SUPPORTED (met by the placement, or carried into a resource), LOWERED (used up before lowering) and
UNSUPPORTED (with a reason each). `unclassified` proves that they are total; `gaps` says what a request asks for in vain.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import assert_never

from ..compiler.diagnostics import Diagnostic, error, warning
from ..compiler.ir import ResourceRequest


class Weight(enum.Enum):
    """How bad it is that the target lacks a feature."""

    REFUSE = "refuse"
    """The job would run on something else than was asked for."""
    IGNORE = "ignore"
    """The machine is what it is; the job runs the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    weight: Weight
    spec_field: str
    """The field's name in the task file."""
    reason: str


def unclassified(
    supported: Collection[str], lowered: Collection[str], unsupported: Mapping[str, Unsupported]
) -> tuple[str, ...]:
    """Fields of ResourceRequest that are in none of the three tables, or in two. Empty, or we have a bug."""
    tables = [*supported, *lowered, *unsupported]
    known = {field.name for field in fields(ResourceRequest)}
    return tuple(sorted({name for name in known | set(tables) if tables.count(name) != 1 or name not in known}))


def gaps(request: ResourceRequest, unsupported: Mapping[str, Unsupported], target: str) -> Iterator[Diagnostic]:
    """What this request asks for and `target` cannot give."""
    for name, gap in unsupported.items():
        value = getattr(request, name)
        if value is None or value == ():
            continue
        subject = request.origin.child(gap.spec_field)
        detail = f"`{subject}` on `{target}`: {gap.reason}"
        match gap.weight:
            case Weight.REFUSE:
                hint = f"remove `{gap.spec_field}`, or choose another `infra`"
                yield error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=subject)
            case Weight.IGNORE:
                yield warning("ignored-here", "The target ignores this field", detail, subject=subject)
            case _:
                assert_never(gap.weight)
