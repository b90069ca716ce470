"""`skyc.explain`: the placement of a task file with its reasons, and answers to "why not"; `skyc.explain_field`: what changing a
field does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compiler.diagnostics import Diagnostic
from ..compiler.ir import Objective, PlacementPlan, Secret
from ..compiler.optimize import explain as reasons
from ..compiler.optimize.explain import WhyNot
from ..compiler.pipeline import capabilities_of
from ..compiler.report import proof_line
from .field_effects import FieldEffect
from .refusals import refused
from .request import Request, compile_request
from .session import open_session

Home = Path | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """placement: with cost lines, alternatives and rejections; proof: what is proven about it; why_not: one per name and group."""

    placement: PlacementPlan
    proof: str
    why_not: tuple[WhyNot, ...]
    diagnostics: tuple[Diagnostic, ...]


def explain(
    path: Path | str,
    *,
    why_not: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    objective: str = "cost",
    home: Home = None,
) -> Explanation:
    """Place a task file and say why there, and for every name in `why_not` (a target, a place `aws/us-east-1`, a machine type, an
    accelerator) what it would cost more, or what rules it out. Raises SkycError for a file that cannot be placed and for a name
    that the catalog does not know."""
    request = Request(path=Path(path), env=env or {}, secrets=secrets or {}, objective=Objective(objective))
    with open_session(home) as session:
        made = compile_request(session, request, until="optimize")
        if made.failed:
            raise refused(made)
        assert made.graph is not None
        assert made.candidates is not None
        assert made.placement is not None
        capabilities = capabilities_of(session.providers)
        answers = tuple(
            answer
            for subject in why_not
            for answer in reasons.why_not(made.graph, made.candidates, made.placement, made.sources, subject, capabilities)
        )
        return Explanation(
            placement=made.placement, proof=proof_line(made.placement), why_not=answers, diagnostics=made.diagnostics
        )


def explain_field(
    field: str,
    path: Path | str | None = None,
    *,
    value: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    objective: str = "cost",
    home: Home = None,
) -> tuple[FieldEffect, ...]:
    """What a change of a field (`resources.disk_size`) does: one answer per target for an example, or the one for a task file.

    value: what a task file's field is changed to, as YAML; without it, to something else than it is. Asks nobody and changes nothing.
    Raises SkycError for a field that does not exist and a file that cannot be compiled.
    """
    from .field_effects import of_targets, of_task

    if path is None:
        return of_targets(field)
    request = Request(path=Path(path), env=env or {}, secrets=secrets or {}, objective=Objective(objective))
    with open_session(home) as session:
        return (of_task(session, request, field, value),)


def explain_fields() -> tuple[FieldEffect, ...]:
    """The same for every field that does something, by field and target."""
    from .field_effects import of_all_fields

    return of_all_fields()
