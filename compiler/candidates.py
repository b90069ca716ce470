"""candidates: every offering that meets a group's requirements, and why the others do not.

Contract: `candidates(graph, catalog)` is pure. Every filter is evaluated for every offering, so a rejection counts each
offering once per reason, and an offering that fails on one requirement alone is known: relaxing that one would help.
Output order is the written order: task, group, request, provider, region, zone, instance type, market.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from .diagnostics import Diagnostic, SourceMap, error
from .ir import (
    Accelerator,
    Candidate,
    CandidateSet,
    CatalogSnapshot,
    Infra,
    InstanceType,
    Market,
    NodeGroup,
    NodeShape,
    Offering,
    Rejection,
    ResourceRequest,
    SpecPath,
    Task,
    TaskGraph,
    decimal_text,
)

TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """One requirement an offering does not meet."""

    reason: str
    detail: str
    requirement: SpecPath


def candidates(graph: TaskGraph, catalog: CatalogSnapshot, sources: SourceMap) -> tuple[CandidateSet, tuple[Diagnostic, ...]]:
    """All candidates of all groups. A group without any is an error that names what stands in the way."""
    kinds = {(kind.provider, kind.name): kind for kind in catalog.instance_types}
    offerings = sorted(catalog.offerings, key=lambda o: (o.provider, o.region, o.zone or "", o.instance_type, o.market.value))
    found: list[Candidate] = []
    rejections: list[Rejection] = []
    diagnostics: list[Diagnostic] = []
    for task in graph.tasks:
        for group in task.groups:
            mine: list[Candidate] = []
            failures: list[tuple[_Failure, ...]] = []
            for index, request in enumerate(group.requests):
                for offering in offerings:
                    kind = kinds[(offering.provider, offering.instance_type)]
                    shape = node_shape(task, group, request, kind)
                    failed = tuple(_failures(task, group, request, offering, kind, shape))
                    if failed:
                        failures.append(failed)
                        continue
                    mine.append(
                        Candidate(
                            task=task.id,
                            group=group.name,
                            request=index,
                            offering=offering,
                            shape=shape,
                            num_nodes=group.num_nodes,
                        )
                    )
            counted = _count(task, group, failures)
            found += mine
            rejections += counted
            if not mine:
                diagnostics.append(_nothing_fits(group, counted, failures, sources))
    return (
        CandidateSet(candidates=tuple(found), rejections=tuple(rejections), catalog_digest=catalog.digest),
        tuple(diagnostics),
    )


def node_shape(task: Task, group: NodeGroup, request: ResourceRequest, kind: InstanceType) -> NodeShape:
    """What one node of `group` gets on `kind`: the whole machine, or of a divisible one what was asked for.

    On a divisible machine a node that asks for no amount gets an equal share over all of the task's nodes, rounded down.
    """
    if not kind.divisible:
        return NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators)
    cpus = request.cpus.amount if request.cpus else (kind.cpus / task.num_nodes).to_integral_value(ROUND_DOWN)
    if request.memory_gb:
        memory = request.memory_gb.amount
    elif request.memory_per_cpu:
        memory = request.memory_per_cpu.amount * cpus
    else:
        memory = (kind.memory_gb / task.num_nodes).quantize(TENTH, ROUND_DOWN)
    accelerators: tuple[Accelerator, ...] = ()
    wanted = _matching_accelerator(request, kind)
    if wanted is not None:
        accelerators = (wanted,)
    return NodeShape(cpus=cpus, memory_gb=memory, accelerators=accelerators)


def _matching_accelerator(request: ResourceRequest, kind: InstanceType) -> Accelerator | None:
    for wanted in request.accelerators or ():
        for device in kind.accelerators:
            same_name = device.name.lower() == wanted.name.lower()
            enough = device.count >= wanted.count if kind.divisible else device.count == wanted.count
            if same_name and enough:
                return Accelerator(name=device.name, count=wanted.count, memory_gb=device.memory_gb)
    return None


def _failures(
    task: Task, group: NodeGroup, request: ResourceRequest, offering: Offering, kind: InstanceType, shape: NodeShape
) -> Iterator[_Failure]:
    origin = request.origin
    if not _inside(request.infra, offering):
        yield _Failure(
            reason="other-place",
            detail=f"The task asks for {request.infra}; {offering.provider} offers {_place(offering)}.",
            requirement=origin.child("infra"),
        )
    if request.instance_type is not None and request.instance_type != kind.name:
        yield _Failure(
            reason="other-instance-type",
            detail=f"The task asks for {request.instance_type}.",
            requirement=origin.child("instance_type"),
        )
    if request.market is not Market.AUTO and request.market is not offering.market:
        yield _Failure(
            reason="other-market",
            detail=f"The task asks for {request.market.value} machines; this one is {offering.market.value}.",
            requirement=origin.child("use_spot"),
        )
    yield from _size_failures(task, group, request, kind, shape)
    if request.accelerators is not None and _matching_accelerator(request, kind) is None:
        wanted = " or ".join(f"{a.name}:{decimal_text(a.count)}" for a in request.accelerators)
        has = ", ".join(f"{a.name}:{decimal_text(a.count)}" for a in kind.accelerators) or "no accelerator"
        yield _Failure(
            reason="no-such-accelerator",
            detail=f"The task asks for {wanted}; {kind.name} has {has}.",
            requirement=origin.child("accelerators"),
        )
    ceiling = request.max_hourly_cost
    if ceiling is not None and offering.hourly is not None and offering.hourly > ceiling:
        yield _Failure(
            reason="too-dear",
            detail=f"The ceiling is ${decimal_text(ceiling)} per hour; it costs ${decimal_text(offering.hourly)}.",
            requirement=origin.child("max_hourly_cost"),
        )


def _size_failures(
    task: Task, group: NodeGroup, request: ResourceRequest, kind: InstanceType, shape: NodeShape
) -> Iterator[_Failure]:
    origin = request.origin
    if kind.divisible:
        # All nodes of the task share this one machine, so it is their sum that must fit.
        nodes = task.num_nodes
        several = f"{nodes} nodes × " if nodes > 1 else ""
        if shape.cpus < 1 or shape.cpus * nodes > kind.cpus:
            needed = max(shape.cpus, Decimal(1))
            field = "cpus" if request.cpus else "num_nodes"
            yield _Failure(
                reason="too-few-cpus",
                detail=f"{several}{decimal_text(needed)} CPUs are {decimal_text(needed * nodes) if several else 'wanted'};"
                f" {kind.name} has {decimal_text(kind.cpus)}.",
                requirement=origin.child("cpus") if field == "cpus" else group.origin.child("num_nodes"),
            )
        if shape.memory_gb * nodes > kind.memory_gb:
            yield _Failure(
                reason="too-little-memory",
                detail=f"{several}{decimal_text(shape.memory_gb)} GiB are"
                f" {decimal_text(shape.memory_gb * nodes) + ' GiB' if several else 'wanted'};"
                f" {kind.name} has {decimal_text(kind.memory_gb)} GiB.",
                requirement=origin.child("memory"),
            )
        return
    if request.cpus is not None and not request.cpus.allows(kind.cpus):
        yield _Failure(
            reason="too-few-cpus" if kind.cpus < request.cpus.amount else "other-cpu-count",
            detail=f"The task asks for {decimal_text(request.cpus.amount)} CPUs; {kind.name} has {decimal_text(kind.cpus)}.",
            requirement=origin.child("cpus"),
        )
    memory = request.memory_gb
    if memory is not None and not memory.allows(kind.memory_gb):
        yield _Failure(
            reason="too-little-memory" if kind.memory_gb < memory.amount else "other-memory-size",
            detail=f"The task asks for {decimal_text(memory.amount)} GiB; {kind.name} has {decimal_text(kind.memory_gb)}.",
            requirement=origin.child("memory"),
        )
    ratio = request.memory_per_cpu
    if ratio is not None and kind.memory_gb < ratio.amount * kind.cpus:
        yield _Failure(
            reason="too-little-memory",
            detail=f"The task asks for {decimal_text(ratio.amount)} GiB per CPU;"
            f" {kind.name} has {decimal_text(kind.memory_gb)} GiB for {decimal_text(kind.cpus)}.",
            requirement=origin.child("memory"),
        )


def _inside(infra: Infra, offering: Offering) -> bool:
    asked = (infra.provider, infra.region, infra.zone)
    return all(
        want is None or want == have
        for want, have in zip(asked, (offering.provider, offering.region, offering.zone), strict=True)
    )


def _place(offering: Offering) -> str:
    return "/".join(part for part in (offering.provider, offering.region, offering.zone) if part)


def _count(task: Task, group: NodeGroup, failures: list[tuple[_Failure, ...]]) -> list[Rejection]:
    rows: dict[str, Rejection] = {}
    for failed in failures:
        for failure in failed:
            row = rows.get(failure.reason)
            rows[failure.reason] = Rejection(
                task=task.id,
                group=group.name,
                reason=failure.reason,
                detail=row.detail if row else failure.detail,
                requirement=row.requirement if row else failure.requirement,
                count=(row.count if row else 0) + 1,
            )
    return sorted(rows.values(), key=lambda row: (-row.count, row.reason))


def _nothing_fits(
    group: NodeGroup, rejections: list[Rejection], failures: list[tuple[_Failure, ...]], sources: SourceMap
) -> Diagnostic:
    """The error for a group without candidates: every reason, and the one requirement whose relaxation would help most."""
    alone: dict[str, int] = {}
    for failed in failures:
        if len(failed) == 1:
            alone[failed[0].reason] = alone.get(failed[0].reason, 0) + 1
    best = min(alone, key=lambda reason: (-alone[reason], reason)) if alone else None
    lines = [f"{row.count} offer{'s' if row.count != 1 else ''} rejected, {row.reason}: {row.detail}" for row in rejections]
    place = next((row.requirement for row in rejections if best is None or row.reason == best), group.origin)
    hint = None
    if best is not None:
        row = next(row for row in rejections if row.reason == best)
        hint = f"changing `{row.requirement.steps[-1]}` alone would admit {alone[best]} offer{'s' if alone[best] != 1 else ''}"
    return error(
        "nothing-fits",
        "No offer meets all requirements of this group",
        "\n".join(lines) or "No target offers any machine. Run `skyc check` to see which targets work.",
        span=sources.find(place),
        hint=hint,
    )
