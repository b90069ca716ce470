"""Which tasks a rule holds for, and what it leaves of their offers.

Contract: pure. Where the alternatives of a task differ in a label, the strict reading counts: `when` takes a task in as soon as one of
them has it, `except` leaves it out only when all of them do.
"""

from __future__ import annotations

from ..ir import DeploymentId, PolicyEffect, Task
from ..ir.restriction import Bar, Restriction, matches
from .rules import Allow, Forbid, PolicySet, Rule, Selector, Thing


def holds_for(rule: Rule, task: Task, deployment: DeploymentId) -> bool:
    return _selects(rule.when, task, deployment, every=False) and not (
        rule.unless is not None and _selects(rule.unless, task, deployment, every=True)
    )


def _selects(selector: Selector, task: Task, deployment: DeploymentId, *, every: bool) -> bool:
    if selector.tasks and not matches(selector.tasks, task.id):
        return False
    if selector.deployments and not matches(selector.deployments, deployment):
        return False
    requests = [request for group in task.groups for request in group.requests]
    wanted = selector.labels
    hits = [
        all(name in request.labels and matches(patterns, request.labels[name]) for name, patterns in wanted.items())
        for request in requests
    ]
    return all(hits) if every else any(hits)


def bar_of(rule: Rule) -> Bar | None:
    """What a rule asks of every single offer; None for one that asks for something else alone."""
    match rule.check:
        case Allow(clouds=clouds, regions=regions, zones=zones, machines=machines, accelerators=accelerators):
            return Bar(
                rule=rule.name,
                source=rule.source,
                clouds=clouds,
                regions=regions,
                zones=zones,
                machines=machines,
                accelerators=accelerators,
            )
        case Forbid(things=things) if Thing.SPOT in things or Thing.UNKNOWN_PRICE in things:
            return Bar(
                rule=rule.name,
                source=rule.source,
                spot=Thing.SPOT not in things,
                unknown_price=Thing.UNKNOWN_PRICE not in things,
            )
        case _:
            return None


def bar_for(rule: Rule, task: Task) -> Bar | None:
    """The same for one task: without a checkpoint, a spot machine may be forbidden to it."""
    found = bar_of(rule)
    unsaved = isinstance(rule.check, Forbid) and Thing.SPOT_WITHOUT_CHECKPOINT in rule.check.things
    if unsaved and task.checkpoint is None:
        return Bar(rule=rule.name, source=rule.source, spot=False, unknown_price=found.unknown_price if found else True)
    return found


def restriction_of(policies: PolicySet, task: Task, deployment: DeploymentId) -> Restriction:
    """What the rules that deny leave of a task's offers. Rules that warn or ask for an approval take nothing away."""
    bars = [
        bar_for(rule, task) for rule in policies.rules if rule.effect is PolicyEffect.DENY and holds_for(rule, task, deployment)
    ]
    return Restriction(bars=tuple(bar for bar in bars if bar is not None))
