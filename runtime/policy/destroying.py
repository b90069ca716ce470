"""A destroy and the rules that are about it: those of the home, of SKYC_POLICY and of the command line.

A task file's own policy is not held: the file need not be there any more, and whoever may change it could take the rule out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...compiler.diagnostics import SourceFile, SourceMap
from ...compiler.ir import TaskId, task_of
from ...compiler.policy.destroying import Destruction, about, destroy_document, evaluate_destroy
from ...compiler.policy.rules import Rego
from ..results import Plan
from ..session import Session
from .approvals import approved, fingerprint_of, read_approvals, refuse_unknown, somebody
from .files import here
from .judge import diagnostics_of, rules_held
from .rego import ask_rego


def judged_destroy(session: Session, plan: Plan, *, purge: bool, policies: Sequence[Path], approve: Sequence[str]) -> Plan:
    """The plan of a destroy with what the rules say of it. Raises SkycError for a policy, or approvals, that cannot be read."""
    rules = here(session.home, session.environ, policies)
    given = Destruction(deployment=plan.deployment, tasks=_tasks(session, plan), changes=plan.changes, purge=purge)
    outside = {
        rule.name: ask_rego(rule, destroy_document(given), session.environ)
        for rule in rules.rules
        if isinstance(rule.check, Rego) and about(rule, given)
    }
    results = evaluate_destroy(rules, given, outside)
    refuse_unknown(approve, results, rules)
    fingerprint = fingerprint_of(plan)
    results, said = approved(
        results,
        fingerprint=fingerprint,
        filed=read_approvals(session.environ),
        named=approve,
        who=somebody(Path.cwd()) if approve else "",
    )
    nowhere = SourceMap(SourceFile(path="", text=""))
    shown = diagnostics_of(results, rules, nowhere, fingerprint, command=f"skyc destroy {plan.deployment}")
    held = rules_held(rules) if results else ()
    return replace(plan, policies=results, policy_digest=rules.digest, diagnostics=(*plan.diagnostics, *held, *said, *shown))


def _tasks(session: Session, plan: Plan) -> tuple[TaskId, ...]:
    sites = {record.site for record in session.store.sites(plan.deployment)} | {site.site for site in plan.changes}
    return tuple(sorted({task for site in sites if (task := task_of(site)) is not None}))
