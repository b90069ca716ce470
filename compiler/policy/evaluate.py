"""Rules against a plan: one pure function per kind of rule, and one list of results.

Contract: pure. Every rule gives at least one result: one that is met, or one per thing found. Rules are independent of each other, so
their order changes nothing and another rule takes nothing back. What cannot be told is never taken for met: an unknown price is above
every limit, and a rule about changes is a warning where nothing was compared, for an apply compares before it changes anything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import assert_never

from ..buckets import Bucket
from ..ir import (
    Action,
    ChangeSet,
    DeploymentId,
    FrozenMap,
    GroupPlacement,
    Location,
    Market,
    NodeGroup,
    PlacementPlan,
    PolicyEffect,
    PolicyResult,
    Ref,
    ResourceChange,
    ResourceGraph,
    SpecPath,
    Task,
    TaskGraph,
    TaskId,
    decimal_text,
    holds_storage,
)
from ..ir.restriction import Bar, Patterns, matches
from ..optimize.rates import MONTH, total
from .amounts import Envelopes, envelopes_of, hourly, per_run
from .rules import Allow, Forbid, Max, Plugin, PolicySet, Rego, Require, Rule, Thing
from .scope import bar_for, holds_for

BUDGET = "budget"
"""What a task's own `budget` is called among the results."""
CENT = Decimal("0.01")
MICRO = Decimal("0.000001")
SHOWN = 20
"""Findings of one rule that are shown one by one."""
WIDEST_V4, WIDEST_V6 = 8, 32
"""Prefix lengths: a range of addresses that is wider is everybody, whatever it is called."""
REPLACING = (Action.REPLACE, Action.CREATE_BEFORE_DESTROY)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInput:
    """What rules are held against. A plug-in gets this value; nothing in it is secret, but `envs` are as the task file has them.

    graphs: what Terraform would be given, per site. changes: what it would do; `compared` False: that is not known.
    ssh_from: addresses that SSH is opened to, where machines are logged in to. endless: tasks that run until they are stopped.
    """

    deployment: DeploymentId
    graph: TaskGraph
    placement: PlacementPlan
    buckets: tuple[Bucket, ...] = ()
    graphs: tuple[ResourceGraph, ...] = ()
    changes: tuple[ChangeSet, ...] = ()
    compared: bool = False
    ssh_from: tuple[str, ...] = ()
    endless: tuple[TaskId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as a rule wants it. message: a sentence with the amounts. unknown: nobody can tell, as nothing was
    compared."""

    message: str
    origin: SpecPath | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An input with what is looked up in it again and again."""

    given: PolicyInput
    envelopes: Envelopes

    def envelope(self, task: Task, group: NodeGroup) -> tuple[GroupPlacement, ...]:
        return self.envelopes[task.id, group.name]


def evaluate(
    policies: PolicySet, given: PolicyInput, outside: Mapping[str, tuple[PolicyResult, ...]] | None = None
) -> tuple[PolicyResult, ...]:
    """Every rule against a plan; what is not met first, denials before approvals before warnings.

    outside: what plug-ins and Rego said, by rule. A rule that none of them was asked about is a denial, never silence.
    """
    results: list[PolicyResult] = []
    held = _Held(given=given, envelopes=envelopes_of(given.placement))
    for rule in policies.rules:
        tasks = tuple(task for task in given.graph.tasks if holds_for(rule, task, given.deployment))
        if isinstance(rule.check, Plugin | Rego) and tasks:
            results += (outside or {}).get(rule.name) or (_not_asked(rule),)
            continue
        found = list(_findings(rule, tasks, held)) if tasks else []
        results += [_result(rule, finding) for finding in _bounded(found)] or [_met(rule)]
    results += _budgets(held)
    return in_order(results)


def _not_asked(rule: Rule) -> PolicyResult:
    """A denial whatever the rule's effect: nobody knows what it would have said."""
    message = "Nobody was asked about it."
    return PolicyResult(rule=rule.name, effect=PolicyEffect.DENY, met=False, message=message, source=rule.source)


def in_order(results: Iterable[PolicyResult]) -> tuple[PolicyResult, ...]:
    severity = {PolicyEffect.DENY: 0, PolicyEffect.APPROVE: 1, PolicyEffect.WARN: 2}
    return tuple(
        sorted(
            set(results), key=lambda row: (row.met, severity[row.effect], row.rule, row.source, row.message, str(row.origin))
        )
    )


def _result(rule: Rule, finding: Finding) -> PolicyResult:
    return PolicyResult(
        rule=rule.name,
        effect=PolicyEffect.WARN if finding.unknown else rule.effect,
        met=False,
        message=finding.message,
        source=rule.source,
        origin=finding.origin,
        approvers=rule.approvers,
    )


def _met(rule: Rule) -> PolicyResult:
    return PolicyResult(rule=rule.name, effect=rule.effect, met=True, source=rule.source)


def _bounded(found: list[Finding]) -> list[Finding]:
    """A thousand tasks without a label are said once, not a thousand times."""
    found = list(dict.fromkeys(found))
    if len(found) <= SHOWN:
        return found
    last = found[SHOWN - 1]
    more = f"{last.message} {len(found) - SHOWN:,} more are like this."
    return [*found[: SHOWN - 1], Finding(message=more, origin=last.origin, unknown=last.unknown)]


def _findings(rule: Rule, tasks: tuple[Task, ...], held: _Held) -> Iterator[Finding]:
    match rule.check:
        case Allow():
            yield from _not_allowed(rule, tasks, held)
            yield from _storages_elsewhere(rule, tasks, held.given)
        case Max():
            yield from _above(rule.check, tasks, held)
        case Forbid(things=things):
            yield from _not_allowed(rule, tasks, held)
            for thing in things:
                yield from _forbidden(thing, tasks, held)
        case Require():
            yield from _missing(rule.check, tasks)
        case Plugin() | Rego():
            return
        case _:
            assert_never(rule.check)


# Places, machines and markets


def _not_allowed(rule: Rule, tasks: tuple[Task, ...], held: _Held) -> Iterator[Finding]:
    """Every placement that failover may come to, the choice first."""
    for task in tasks:
        bar = bar_for(rule, task)
        if bar is None:
            continue
        for group in task.groups:
            for number, item in enumerate(held.envelope(task, group)):
                said = bar.objection(
                    provider=item.provider,
                    region=item.region,
                    zone=item.zone,
                    machine=item.instance_type,
                    accelerators=[device.name for device in item.shape.accelerators],
                    spot=item.market is Market.SPOT,
                    priced=item.hourly is not None,
                )
                if said is not None:
                    which = "" if number == 0 else f", fallback {number}"
                    origin = group.requests[item.request].origin
                    yield Finding(message=f"{_name(task, group.name)}{which}: {said}.", origin=_narrow(origin, rule))
                    break


def _narrow(origin: SpecPath, rule: Rule) -> SpecPath:
    """The line that says where or on what, if there is one: a path without a span is shown at its parent."""
    match rule.check:
        case Allow(machines=None, accelerators=None):
            return origin.child("infra")
        case Allow(accelerators=None):
            return origin.child("instance_type")
        case Allow():
            return origin.child("accelerators")
        case _:
            return origin.child("use_spot")


def _storages_elsewhere(rule: Rule, tasks: tuple[Task, ...], given: PolicyInput) -> Iterator[Finding]:
    """Where data is kept: Storages, and URIs that tasks write to."""
    places: dict[str, Location] = {item.name: item.location for item in given.placement.storages if item.location is not None}
    places |= {bucket.storage.name: bucket.location for bucket in given.buckets}
    for task in tasks:
        bar = bar_for(rule, task)
        if bar is None or (bar.clouds is None and bar.regions is None):
            continue
        for storage in task.storages:
            known = storage.uri is None or storage.infra.region is not None
            said = _data_elsewhere(bar, storage.uri, places.get(storage.name), known=known)
            if said is not None:
                yield Finding(message=f"Storage {storage.name}: {said}.", origin=storage.origin.child("infra"))
        for flow in task.outputs:
            if flow.storage is None and "://" in flow.key:
                said = _data_elsewhere(bar, flow.key, places.get(flow.key), known=False)
                if said is not None:
                    yield Finding(message=f"Output {flow.key}: {said}.", origin=flow.origin)


def _data_elsewhere(bar: Bar, uri: str | None, place: Location | None, *, known: bool) -> str | None:
    """What is wrong with where data lies. known: its region is said, and not assumed from what the URI tells of the cloud."""
    if uri is not None and uri.startswith("file://"):
        return None  # It is on the node itself.
    if place is None:
        return None if uri is None else f"nobody knows where {uri} lies; `infra` under `storage` says it"
    if bar.regions is not None and not known:
        return "its region is not said, and the rule is about regions; `infra` under `storage` says it"
    return bar.place(place.provider, place.region, None, zones=False)


def _name(task: Task, group: str) -> str:
    return f"Task {task.id}" if len(task.groups) == 1 else f"Task {task.id}, group {group}"


# Amounts


def _above(limits: Max, tasks: tuple[Task, ...], held: _Held) -> Iterator[Finding]:
    plan, ids = held.given.placement, {task.id for task in tasks}
    everything = len(tasks) == len(held.given.graph.tasks)
    who = f"Task {tasks[0].id}" if len(tasks) == 1 else f"{len(tasks)} tasks"
    origin = tasks[0].origin
    budget = origin.child("budget")
    if limits.per_run is not None:
        amount = per_run(plan, held.envelopes, tasks, everything=everything)
        yield from _more(amount, limits.per_run, f"{who}: the worst case of one run", budget)
    if limits.hourly is not None:
        amount = hourly(held.envelopes, ids)
        yield from _more(amount, limits.hourly, f"{who}: all machines together cost at most", origin, "per hour")
    if limits.per_month is not None:
        yield from _monthly(limits.per_month, tasks, held, everything=everything)
    if limits.nodes is not None:
        count = sum(item.num_nodes for item in plan.placements if item.task in ids)
        if count > limits.nodes:
            yield Finding(message=f"{who}: {count} machines; the rule allows {limits.nodes}.", origin=origin.child("num_nodes"))
    if limits.hours is not None:
        for task in tasks:
            long = max(item.hours for group in task.groups for item in held.envelope(task, group))
            if long > limits.hours:
                message = f"Task {task.id}: it takes {decimal_text(long)} h; the rule allows {decimal_text(limits.hours)} h."
                yield Finding(message=message, origin=task.origin.child("hours"))


def _more(
    amount: Decimal | None,
    limit: Decimal,
    what: str,
    origin: SpecPath,
    unit: str = "",
    whose: str = "the rule allows",
) -> Iterator[Finding]:
    per = f" {unit}" if unit else ""
    if amount is None:
        known = "is not known, as a price is not, and so not known to be within"
        yield Finding(message=f"{what} {known} ${decimal_text(limit)}{per}.", origin=origin)
    elif amount > limit:
        verb = "is " if not unit else ""
        yield Finding(message=f"{what} {verb}{dollars(amount, limit)}{per}; {whose} ${decimal_text(limit)}.", origin=origin)


def dollars(amount: Decimal, limit: Decimal) -> str:
    """An amount above a limit, in cents; in as many digits as it takes where the cents would read as the limit."""
    cents = amount.quantize(CENT)
    return f"${cents:,f}" if cents > limit else f"${decimal_text(amount.quantize(MICRO, ROUND_CEILING))}"


def _monthly(limit: Decimal, tasks: tuple[Task, ...], held: _Held, *, everything: bool) -> Iterator[Finding]:
    given = held.given
    names = {storage.name for task in tasks for storage in task.storages}
    buckets = [bucket for bucket in given.buckets if everything or bucket.storage.name in names]
    for bucket in buckets:
        if bucket.monthly is None:
            why = "its size is not said (`size_gb`)" if bucket.storage.size_gb is None else "nobody knows the price there"
            message = (
                f"What Storage {bucket.storage.name} costs a month is not known: {why}. The rule allows ${decimal_text(limit)}."
            )
            yield Finding(message=message, origin=bucket.storage.origin.child("size_gb"))
            return
    endless = [task.id for task in tasks if task.id in given.endless]
    running = hourly(held.envelopes, endless)
    kept = total(bucket.monthly for bucket in buckets)
    amount = None if running is None or kept is None else running * MONTH + kept
    origin = next((bucket.storage.origin for bucket in buckets), tasks[0].origin)
    yield from _more(amount, limit, "What stays after the run costs at most", origin, "a month")


# Things that must not be


def _forbidden(thing: Thing, tasks: tuple[Task, ...], held: _Held) -> Iterator[Finding]:
    given = held.given
    if thing.of_changes and not given.compared:
        detail = (
            f"Whether the plan would {_deed(thing)} is not known: nothing was compared. An apply compares, and holds this rule."
        )
        yield Finding(message=detail, unknown=True)
        return
    match thing:
        case Thing.PUBLIC_INGRESS:
            yield from _open(tasks, held)
        case Thing.SPOT | Thing.SPOT_WITHOUT_CHECKPOINT | Thing.UNKNOWN_PRICE:
            return  # `_not_allowed` says these, with everything else an offer can be refused for.
        case Thing.DESTROY | Thing.PURGE:
            return  # `destroying.py` says these: a plan of a task file is no destroy.
        case Thing.REPLACE_NODES | Thing.DESTROY_NODES:
            for change in _node_changes(thing, {task.id for task in tasks}, given):
                yield Finding(message=f"{_deed(thing).capitalize()}: {change.address}.", origin=change.origin)
        case Thing.DESTROY_STORAGE:
            for change in _storage_changes(given):
                yield Finding(message=f"Destroy storage: {change.address}.", origin=change.origin)
        case _:
            assert_never(thing)


def _deed(thing: Thing) -> str:
    return thing.value.replace("-", " ")


def _open(tasks: tuple[Task, ...], held: _Held) -> Iterator[Finding]:
    """What anybody can reach. Providers open nothing but a task's ports and SSH, and check their own output for that."""
    for task in tasks:
        for group in task.groups:
            for item in held.envelope(task, group):
                request = group.requests[item.request]
                if request.ports:
                    message = f"{_name(task, group.name)}: port {', '.join(request.ports)} is open to every address."
                    yield Finding(message=message, origin=request.origin.child("ports"))
    for text in held.given.ssh_from:
        network = ipaddress.ip_network(text)
        if network.prefixlen < (WIDEST_V4 if network.version == 4 else WIDEST_V6):
            yield Finding(message=f"SSH is open to {text}, by `access.ssh_from` of the configuration.", origin=tasks[0].origin)


def _node_changes(thing: Thing, tasks: set[TaskId], given: PolicyInput) -> Iterator[ResourceChange]:
    graphs = {graph.site: graph for graph in given.graphs}
    for site in given.changes:
        if holds_storage(site.site) or not _is_of(site, tasks, given):
            continue
        graph = graphs.get(site.site)
        types = None if graph is None else {address.partition(".")[0] for address in _machines(graph)}
        for change in site.changes:
            # Of a site that the file has no more, everything goes, its machines among it.
            machine = types is None or change.type in types
            if machine and (change.action in REPLACING if thing is Thing.REPLACE_NODES else change.action is Action.DELETE):
                yield change


def _is_of(site: ChangeSet, tasks: set[TaskId], given: PolicyInput) -> bool:
    """Whether a site is of one of these tasks. One of a task that the file has no more is everybody's."""
    owner = TaskId(site.site.split(".", 1)[0])
    return owner in tasks or owner not in {task.id for task in given.graph.tasks}


def _machines(graph: ResourceGraph) -> Iterator[str]:
    rows = graph.outputs.get("nodes")
    for row in rows if isinstance(rows, tuple) else ():
        made = row["id"] if isinstance(row, FrozenMap) else None
        if isinstance(made, Ref):
            yield str(made.address)


def _storage_changes(given: PolicyInput) -> Iterator[ResourceChange]:
    graphs = {graph.site: graph for graph in given.graphs}
    for site in given.changes:
        if not holds_storage(site.site):
            continue
        graph = graphs.get(site.site)
        rows = graph.outputs.get("storages") if graph is not None else None
        ids = [row["id"] for row in rows.values() if isinstance(row, FrozenMap)] if isinstance(rows, FrozenMap) else []
        types = {made.address.type for made in ids if isinstance(made, Ref)}
        for change in site.changes:
            bucket = not types or change.type in types
            if bucket and (change.action is Action.DELETE or change.action in REPLACING):
                yield change


# What must be there


def _missing(wanted: Require, tasks: tuple[Task, ...]) -> Iterator[Finding]:
    for task in tasks:
        for group in task.groups:
            for request in group.requests:
                for name, patterns in wanted.labels.items():
                    said = _label(name, patterns, request.labels)
                    if said is not None:
                        yield Finding(message=f"{_name(task, group.name)}: {said}.", origin=request.origin.child("labels"))
        for field in wanted.fields:
            if not _given(task, field):
                yield Finding(message=f"Task {task.id} gives no `{field}`.", origin=task.origin)


def _label(name: str, patterns: Patterns, labels: FrozenMap[str]) -> str | None:
    if name not in labels:
        return f"the label `{name}` is missing"
    if matches(patterns, labels[name]):
        return None
    return f"the label `{name}` is `{labels[name]}`, and the rule wants {' or '.join(f'`{text}`' for text in patterns)}"


def _given(task: Task, field: str) -> bool:
    return {
        "budget": task.budget is not None,
        "checkpoint": task.checkpoint is not None,
        "deadline": task.deadline is not None,
        "hours": not task.hours_assumed,
    }[field]


# The file's own limits


def _budgets(held: _Held) -> Iterator[PolicyResult]:
    """A task's own `budget`, which the optimizer has kept, fallbacks included: a file whose budget cannot be kept has no placement."""
    chosen = {key: places[:1] for key, places in held.envelopes.items()}
    for task in held.given.graph.tasks:
        if task.budget is None:
            continue
        path = task.origin.child("budget")
        amount = per_run(held.given.placement, chosen, (task,), everything=False)
        found = list(_more(amount, task.budget, f"Task {task.id}: the worst case of one run", path, whose="its budget is"))
        yield PolicyResult(
            rule=BUDGET,
            effect=PolicyEffect.DENY,
            met=not found,
            message=found[0].message if found else "",
            source=str(path),
            origin=path,
        )
