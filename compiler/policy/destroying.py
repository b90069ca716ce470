"""Rules against a `destroy`: those that forbid it, and Rego.

Contract: pure. A destroy chooses nothing and makes nothing, so what rules say of places, machines and amounts is not asked; `destroy-nodes`
and `destroy-storage` are about plans, in which something goes that nobody named. The task file need not be there any more, and its labels
are recorded nowhere: a rule that forbids a destroy selects by `deployments` and `tasks` alone (`parse` holds it to that), and a selector of
Rego that asks for labels is taken to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..ir import Action, ChangeSet, DeploymentId, JsonObject, PolicyEffect, PolicyResult, TaskId
from ..ir.restriction import matches
from .document import SCHEMA, change_rows
from .evaluate import in_order
from .rules import Forbid, PolicySet, Rego, Rule, Selector, Thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """What a destroy would do. tasks: those that have machines. purge: what is kept for the next apply goes too."""

    deployment: DeploymentId
    tasks: tuple[TaskId, ...]
    changes: tuple[ChangeSet, ...]
    purge: bool


def evaluate_destroy(
    policies: PolicySet, given: Destruction, outside: Mapping[str, tuple[PolicyResult, ...]]
) -> tuple[PolicyResult, ...]:
    """What every rule that is about destroys says. outside: what Rego said, by rule; one that was not asked is a denial."""
    results: list[PolicyResult] = []
    for rule in policies.rules:
        match rule.check:
            case Rego() if about(rule, given):
                silent = PolicyResult(
                    rule=rule.name,
                    effect=PolicyEffect.DENY,
                    met=False,
                    message="Nobody was asked about it.",
                    source=rule.source,
                )
                results += outside.get(rule.name) or (silent,)
            case Forbid(things=things) if Thing.DESTROY in things or Thing.PURGE in things:
                said = list(_findings(things, given)) if about(rule, given) else []
                results += [_result(rule, message) for message in said] or [_result(rule, "")]
            case _:
                pass
    return in_order(results)


def about(rule: Rule, given: Destruction) -> bool:
    """Whether a rule is about this deployment, as far as can be told; what cannot be told is taken to be so."""
    return _selects(rule.when, given, every=False) and not (
        rule.unless is not None and not rule.unless.labels and _selects(rule.unless, given, every=True)
    )


def _selects(selector: Selector, given: Destruction, *, every: bool) -> bool:
    if selector.deployments and not matches(selector.deployments, given.deployment):
        return False
    if not selector.tasks:
        return True
    hits = [matches(selector.tasks, task) for task in given.tasks]
    return bool(hits) and all(hits) if every else not hits or any(hits)


def _findings(things: tuple[Thing, ...], given: Destruction) -> Iterator[str]:
    """Each thing that is forbidden and would be done."""
    count = sum(change.action is Action.DELETE for site in given.changes for change in site.changes)
    rows = f"{count} resource{'' if count == 1 else 's'}"
    if Thing.DESTROY in things:
        yield f"Destroys the deployment `{given.deployment}`: {rows}."
    if Thing.PURGE in things and given.purge:
        yield f"Removes the kept storage, the checkpoints and the history of `{given.deployment}`: {rows}."


def _result(rule: Rule, message: str) -> PolicyResult:
    """Empty: it is met."""
    approvers = rule.approvers if message else ()
    return PolicyResult(
        rule=rule.name, effect=rule.effect, met=not message, message=message, source=rule.source, approvers=approvers
    )


def destroy_document(given: Destruction) -> JsonObject:
    """A destroy as Rego sees it: the fields of a plan's document, those of what is placed empty."""
    return {
        "schema": SCHEMA,
        "deployment": given.deployment,
        "destroying": True,
        "purge": given.purge,
        "tasks": [],
        "placements": [],
        "storages": [],
        "cost": {"expected": None, "per_run": None, "hourly": None, "per_month": None},
        "ssh_from": [],
        "resources": [],
        "compared": True,
        "changes": change_rows(given.changes),
    }
