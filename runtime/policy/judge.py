"""A plan with what its policies say of it, and the refusal to apply what they forbid.

`judged` is the one place where every plan, from an account, offline or only priced, meets its rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ...compiler.artifact.fingerprint import SHOWN
from ...compiler.artifact.plan_file import PlanFile
from ...compiler.diagnostics import Diagnostic, Severity, SkycError, SourceMap
from ...compiler.ir import PolicyEffect, PolicyResult, holds_storage
from ...compiler.pipeline import Compilation
from ...compiler.policy.document import document
from ...compiler.policy.evaluate import BUDGET, PolicyInput, evaluate, in_order
from ...compiler.policy.rules import Plugin, PolicySet, Rego, Rule
from ...providers.base import Capability, Provider
from ..access import ssh_ranges
from ..request import Request
from ..results import Plan
from ..session import Session
from .approvals import approved, fingerprint_of, read_approvals, refuse_unknown, somebody
from .plugins import ask_plugin
from .rego import ask_rego

DENIED = 3
"""Exit code of what a policy or a budget forbids."""


def judged(
    session: Session, request: Request, compilation: Compilation, plan: Plan, *, reviewed: PlanFile | None = None
) -> Plan:
    """The plan with every rule's result, and a diagnostic for each that is not met. Raises SkycError for approvals that cannot be
    read, or are of a rule there is not.

    reviewed: the plan file that it is of. What its rules said counts too: those of the task file, and of whoever planned, are not at
    hand. Approvals are for its fingerprint, also when it is half done."""
    if plan.placement is None or compilation.graph is None:
        return plan
    policies = compilation.policy
    results = held(session, compilation, plan)
    if reviewed is not None:
        results = in_order((*results, *_said_before(reviewed.policies, policies)))
        plan = replace(plan, fingerprints=reviewed.fingerprints)
    refuse_unknown(request.approve, results, policies)
    fingerprint = fingerprint_of(plan)
    results, said = approved(
        results,
        fingerprint=fingerprint,
        filed=read_approvals(session.environ),
        named=request.approve,
        who=somebody(request.path.resolve().parent) if request.approve else "",
    )
    shown = diagnostics_of(results, policies, compilation.sources, fingerprint)
    return replace(
        plan,
        policies=results,
        policy_digest=policies.digest,
        diagnostics=(*plan.diagnostics, *rules_held(policies), *said, *shown),
    )


def _said_before(results: tuple[PolicyResult, ...], policies: PolicySet) -> Iterator[PolicyResult]:
    """What rules said when it was planned. A rule of the same name that is at hand now takes nothing back: who wants that plans again.
    Approvals are looked for anew."""
    here = {BUDGET, *(rule.name for rule in policies.rules)}
    for row in results:
        if not row.met or row.rule.partition("/")[0] not in here:
            yield replace(row, approved=None)


class Around(Protocol):
    """What rules and plug-ins are asked with: a session, or what stands for one where there is no state."""

    @property
    def home(self) -> Path: ...

    @property
    def environ(self) -> Mapping[str, str]: ...

    def provider(self, name: str) -> Provider: ...


def held(around: Around, compilation: Compilation, plan: Plan) -> tuple[PolicyResult, ...]:
    """Every rule's result, before anybody's approval. Only for a plan with a placement."""
    given = policy_input(around, compilation, plan)
    policies = compilation.policy
    outside = {rule.name: found for rule in policies.rules if (found := _asked(around, rule, given)) is not None}
    return evaluate(policies, given, outside)


def policy_input(around: Around, compilation: Compilation, plan: Plan) -> PolicyInput:
    """What rules are held against. Only for a plan with a placement."""
    assert compilation.graph is not None and plan.placement is not None
    names = {graph.provider for graph in plan.graphs if not holds_storage(graph.site)}
    login = any(Capability.LOGIN in around.provider(name).capabilities for name in names)
    return PolicyInput(
        deployment=plan.deployment,
        graph=compilation.graph,
        placement=plan.placement,
        buckets=plan.buckets,
        graphs=plan.graphs,
        changes=plan.changes,
        compared=bool(plan.changes),
        ssh_from=ssh_ranges(around.home) if login else (),
        endless=compilation.endless,
    )


def _asked(around: Around, rule: Rule, given: PolicyInput) -> tuple[PolicyResult, ...] | None:
    match rule.check:
        case Plugin():
            return ask_plugin(rule, given)
        case Rego():
            return ask_rego(rule, document(given), around.environ)
        case _:
            return None


def rules_held(policies: PolicySet) -> Iterator[Diagnostic]:
    """Which rules were held, so that a reviewer sees when one was not."""
    if not policies.rules:
        return
    files = ", ".join(f"{policy.source.path} ({len(policy.rules)})" for policy in policies.policies)
    yield Diagnostic(
        severity=Severity.NOTE,
        slug="policies-held",
        summary="Rules were held against this plan",
        detail=f"{files}; digest {policies.digest[:12]}.",
    )


def diagnostics_of(
    results: tuple[PolicyResult, ...], policies: PolicySet, sources: SourceMap, fingerprint: str, *, command: str = ""
) -> Iterator[Diagnostic]:
    """One for each result that is not met and not approved, at the line of the task file where there is one, else at the rule's.
    command: what `--approve` goes with; empty: an apply of the file."""
    rules = {rule.name: rule for rule in policies.rules}
    for row in results:
        if row.met or row.approved:
            continue
        place = None if row.origin is None else sources.find(row.origin)
        rule = rules.get(row.rule) or rules.get(row.rule.partition("/")[0])
        match row.effect:
            case PolicyEffect.DENY:
                slug, severity, summary = "policy-denied", Severity.ERROR, "A rule forbids this plan"
            case PolicyEffect.WARN:
                slug, severity, summary = "policy-warning", Severity.WARNING, "A rule is not met"
            case PolicyEffect.APPROVE:
                slug, severity, summary = "approval-needed", Severity.WARNING, "A rule asks for an approval"
        yield Diagnostic(
            severity=severity,
            slug=slug,
            summary=summary,
            detail="\n".join(_lines(row, rule, None if place is None else policies)),
            span=place or (rule.span if rule is not None else None),
            hint=_hint(row, fingerprint),
            commands=(f"{command or f'skyc apply {sources.source.path}'} --approve {row.rule}",)
            if row.effect is PolicyEffect.APPROVE
            else (),
        )


def _lines(row: PolicyResult, rule: Rule | None, policies: PolicySet | None) -> Iterator[str]:
    """policies: where the rule's own line is not shown already."""
    yield f"Rule `{row.rule}`: {row.message}"
    if rule is None:
        # One of the task file, or of where the plan file was made.
        if row.source:
            yield f"Said when it was planned, by {row.source}."
        return
    if rule.reason:
        yield rule.reason
    if policies is None:
        return
    source = next(policy.source for policy in policies.policies if policy.source.path == rule.span.file)
    yield f"{rule.source}: {source.line(rule.span.line).strip()}"


def _hint(row: PolicyResult, fingerprint: str) -> str | None:
    if row.effect is not PolicyEffect.APPROVE:
        return None
    who = " or ".join(row.approvers) or "somebody"
    return f"{who} approves it while applying, or beforehand for fingerprint {fingerprint[:SHOWN]}"


def refuse(plan: Plan, *, approvals: bool = True) -> None:
    """Raises SkycError, exit code 3, when a rule forbids the plan or an approval is missing."""
    if any(row.blocks and (approvals or row.effect is PolicyEffect.DENY) for row in plan.policies):
        raise SkycError(*plan.diagnostics, exit_code=DENIED)


def record(session: Session, plan: Plan) -> None:
    """Write down who approved what, once it is being done."""
    for row in plan.policies:
        if row.approved and not row.met:
            text = f"{row.rule} by {row.approved} for {fingerprint_of(plan)}: {row.message}"
            session.store.record("approved", text, deployment=plan.deployment)
