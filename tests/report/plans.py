"""Plans for reports: one that says everything a report can say, and parts of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from skyc.compiler.diagnostics import Diagnostic, Span, error, warning
from skyc.compiler.ir import (
    Accelerator,
    Action,
    Alternative,
    AttributeChange,
    ChangeSet,
    CostLine,
    Exposure,
    Fingerprints,
    FrozenMap,
    GroupName,
    GroupPlacement,
    JobAction,
    JobPlan,
    Market,
    Meaning,
    NodeShape,
    Objective,
    Opening,
    PlacementPlan,
    PolicyEffect,
    PolicyResult,
    Proof,
    Rejection,
    ResourceChange,
    SiteId,
    SpecPath,
    TaskId,
    Transfer,
    ValueKind,
)
from skyc.compiler.report import Report, build

TRAIN = TaskId("train-llama")
DAY = "2026-11-23"
FINGERPRINTS = Fingerprints(compiled="7be0c3d58f1a4427", changes="29b12832831e0c17")

MEANINGS = FrozenMap(
    {
        "cloud_machine": Meaning(
            data="root disk, without a snapshot", size="disk.size_gb", openings=(Opening(exposure=Exposure.ADDRESS, path="ip"),)
        ),
        "cloud_rule": Meaning(
            openings=(
                Opening(
                    exposure=Exposure.REACH,
                    path="from",
                    values=frozenset({"Internet"}),
                    when=FrozenMap({"direction": "in"}),
                    ports=("first_port", "last_port"),
                ),
            )
        ),
        "cloud_bucket": Meaning(
            data="objects", openings=(Opening(exposure=Exposure.DATA, path="public", values=frozenset({"true"})),)
        ),
        "cloud_role": Meaning(policies=("policy",)),
        "cloud_binding": Meaning(grants=("role", "member")),
    }
)
"""What a made-up target says of its types."""


def placed(
    where: str,
    machine: str,
    price: str | None,
    *,
    hours: str,
    nodes: int = 1,
    market: Market = Market.ON_DEMAND,
    task: str = TRAIN,
    group: str = "main",
    worst: str | None = None,
) -> GroupPlacement:
    provider, region, *zone = where.split("/")
    hourly = None if price is None else Decimal(price)
    line = CostLine(
        kind="compute",
        label=f"compute, {market.value}",
        quantity=Decimal(hours) * nodes,
        unit="h",
        unit_price=hourly,
        source="price list",
        as_of=DAY,
    )
    disk = CostLine(
        kind="disk",
        label="disk, 500 GiB ssd",
        quantity=Decimal(hours) * nodes,
        unit="h",
        unit_price=Decimal("0.116"),
        source="price list",
        as_of="2026-10-02",
        estimated=True,
    )
    return GroupPlacement(
        task=TaskId(task),
        group=GroupName(group),
        provider=provider,
        region=region,
        zone=zone[0] if zone else None,
        instance_type=machine,
        market=market,
        num_nodes=nodes,
        shape=NodeShape(
            cpus=Decimal(24),
            memory_gb=Decimal(96),
            accelerators=(Accelerator(name="L4", count=Decimal(2), memory_gb=Decimal(24)),),
        ),
        hourly=hourly,
        hours=Decimal(hours),
        lines=(line, disk),
        worst_hourly=hourly if worst is None else Decimal(worst),
    )


def placement(*groups: GroupPlacement, **more: Any) -> PlacementPlan:
    lines = [line.amount for group in groups for line in group.lines]
    moved = [move.line.amount for move in more.get("transfers", ())]
    amounts = [*lines, *moved]
    known = sum((amount for amount in amounts if amount is not None), Decimal(0))
    fields: dict[str, Any] = {
        "name": "train-llama",
        "spec_digest": "0" * 64,
        "catalog_digest": "c4f1e09" + "0" * 57,
        "objective": Objective.COST,
        "proof": Proof(status="optimal", method="elimination", value=known, bound=known, choices=41),
        "total": None if None in amounts else known,
        "worst_case": None if None in amounts else known,
        "finish_hours": Decimal("18.4"),
        "placements": groups,
        **more,
    }
    return PlacementPlan(**fields)


BEFORE = placement(placed("aws/us-east-1/use1-az1", "g5.2xlarge", "1.15", hours="40"))
AFTER = placement(
    placed("gcp/us-central1/us-central1-a", "g2-standard-24", "0.80", hours="18", nodes=2, market=Market.SPOT, worst="2.00"),
    worst_case=Decimal("86.99"),
    transfers=(
        Transfer(
            source="corpus",
            destination="train-llama",
            gb=Decimal(120),
            hours=Decimal("0.4"),
            line=CostLine(
                kind="transfer",
                label="corpus → train-llama",
                quantity=Decimal(120),
                unit="GB",
                unit_price=Decimal("0.09"),
                source="price list",
                as_of=DAY,
            ),
        ),
    ),
    fallbacks=(placed("gcp/us-east1/us-east1-b", "g2-standard-24", "2.00", hours="17.5", nodes=2),),
    alternatives=(
        Alternative(
            placement=placed("aws/us-east-1/use1-az1", "g6.12xlarge", "2.10", hours="20", market=Market.SPOT),
            extra=Decimal("2.31"),
            reason="dearer: compute",
        ),
        Alternative(
            placement=placed("azure/eastus/1", "NV36ads", None, hours="20"), extra=None, reason="a price of it is unknown"
        ),
    ),
    rejections=(
        Rejection(
            task=TRAIN,
            group=GroupName("main"),
            reason="too-few-cpus",
            detail="The task asks for 24 CPUs; g5.2xlarge has 8.",
            requirement=SpecPath(("resources", "cpus")),
            count=1204,
        ),
    ),
    notes=FrozenMap({"prices": "some are estimates"}),
)


def known(path: str, before: str | None, after: str | None, *, forces: bool = False) -> AttributeChange:
    return AttributeChange(path=path, before=before, after=after, kind=ValueKind.KNOWN, forces_replacement=forces)


def unknown(path: str, before: str | None = None, *, forces: bool = False) -> AttributeChange:
    return AttributeChange(path=path, before=before, after=None, kind=ValueKind.UNKNOWN, forces_replacement=forces)


def change(action: Action, address: str, *attributes: AttributeChange, **more: Any) -> ResourceChange:
    fields: dict[str, Any] = {"reason": None, "origin": SpecPath(("resources",)), **more}
    return ResourceChange(
        address=address, type=address.partition(".")[0], action=action, attributes=tuple(attributes), **fields
    )


def site(*changes: ResourceChange, name: str = "train-llama.gcp-us-central1", **more: Any) -> ChangeSet:
    return ChangeSet(site=SiteId(name), engine="terraform", engine_version="1.15.5", changes=changes, **more)


SECRET = AttributeChange(path="token", before=None, after=None, kind=ValueKind.SECRET)
POLICY = '"{\\"Statement\\": [{\\"Effect\\": \\"Allow\\", \\"Action\\": %s, \\"Resource\\": \\"bucket/*\\"}]}"'
CHANGES = (
    change(Action.DELETE, "cloud_machine.head", known("disk.0.size_gb", "500", None), known("type", '"g5.2xlarge"', None)),
    change(
        Action.REPLACE,
        "cloud_machine.worker",
        known("zone", '"b"', '"a"', forces=True),
        unknown("disk", '[{"size_gb": 200}]'),
        unknown("id", '"i-1"'),
    ),
    change(Action.FORGET, "cloud_bucket.old"),
    change(
        Action.CREATE,
        "cloud_machine.node[0]",
        known("type", None, '"g2-standard-24"'),
        known("ip", None, "true"),
        known('tags["skyc.io/group"]', None, '"main"'),
        known("user_data", None, '"#cloud-config\\n# line two\\n' + "x" * 500 + '"'),
        known("empty", None, "[]"),
        unknown("id"),
    ),
    change(
        Action.CREATE,
        "cloud_rule.ray",
        known("from", None, '"0.0.0.0/0"'),
        known("direction", None, '"in"'),
        known("first_port", None, "8000"),
        known("last_port", None, "8010"),
    ),
    change(Action.CREATE, "cloud_binding.jobs", known("role", None, '"writer"'), known("member", None, '"jobs@x.example"')),
    change(
        Action.UPDATE, "cloud_role.jobs", known("policy", POLICY % '[\\"get\\"]', POLICY % '[\\"get\\", \\"put\\"]'), SECRET
    ),
    change(Action.UPDATE, "cloud_bucket.data", known("public", "false", "true")),
    change(Action.NO_OP, "cloud_network.site", previous_address="cloud_network.net"),
    change(Action.NO_OP, "cloud_key.login", importing="key-17"),
    change(Action.NO_OP, "cloud_subnet.a"),
    change(Action.NO_OP, "cloud_subnet.b"),
)
POLICIES = (
    PolicyResult(
        rule="spot-in-prod",
        effect=PolicyEffect.WARN,
        met=False,
        message="train-llama is on spot machines.",
        source="policy.yaml:12",
    ),
    PolicyResult(rule="budget", effect=PolicyEffect.DENY, met=True),
    PolicyResult(rule="regions", effect=PolicyEffect.DENY, met=True),
)
SAID: tuple[Diagnostic, ...] = (
    warning(
        "old-prices",
        "Some prices are old",
        "The prices of disks are of 2026-10-02.",
        span=Span(file="task.yaml", line=3, column=1, end_line=3, end_column=4),
        hint="run `skyc catalog refresh`",
    ),
)
BROKEN: tuple[Diagnostic, ...] = (error("quota-too-small", "A quota is too small", "There are 4 GPUs, and 8 are asked for."),)


def everything(**more: Any) -> dict[str, Any]:
    """The arguments of `build` for a plan with all that a report can show."""
    drift = (change(Action.UPDATE, "cloud_machine.worker", known("state", '"running"', '"stopped"')),)
    fields: dict[str, Any] = {
        "deployment": "train-llama",
        "placement": AFTER,
        "changes": (site(*CHANGES, drift=drift),),
        "jobs": (JobPlan(task=TRAIN, action=JobAction.RESUME, run=2, detail="from generation 14"),),
        "hours": Decimal(18),
        "before": BEFORE,
        "policies": POLICIES,
        "fingerprints": FINGERPRINTS,
        "diagnostics": SAID,
        "meanings": MEANINGS,
        "environment": "production",
        "task_file": "task.yaml",
    }
    return {**fields, **more}


def report(**more: Any) -> Report:
    return build(**everything(**more))


def many(count: int, action: Action = Action.CREATE) -> tuple[ResourceChange, ...]:
    """A large change: resources with ten attributes each."""
    attributes = tuple(known(f"attribute_{n}", '"before"', '"a value of some length"') for n in range(10))
    if action is Action.CREATE:
        attributes = tuple(replace(item, before=None) for item in attributes)
    return tuple(change(action, f"cloud_machine.node[{n}]", *attributes) for n in range(count))
