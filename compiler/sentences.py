"""Why one offer is ruled out by one filter, as a sentence with the numbers.

Contract: pure. Apart from `match.py`, which decides: only the few offers that stand for many are put into words.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .ir import CatalogPart, ImageByPlace, InstanceType, Market, Offering, ResourceRequest, decimal_text
from .ir.restriction import UNRESTRICTED, Restriction
from .match import FLOOR_CPUS, FLOOR_MEMORY_GB, Filter, Size, unmet_label
from .node_shape import node_shape
from .zones import zones_for


def sentence(
    rule: Filter,
    request: ResourceRequest,
    part: CatalogPart,
    row: int,
    spot: bool,
    size: Size,
    restriction: Restriction = UNRESTRICTED,
) -> str:
    """Why one offer is ruled out by one filter, with the numbers."""
    kind = part.instance_type(int(part.offers.type[row]))
    offering = part.offering(row, Market.SPOT if spot else Market.ON_DEMAND)
    place = "/".join(p for p in (part.provider, offering.region, offering.zone) if p)
    match rule:
        case Filter.PLACE:
            return f"The task asks for {request.infra}; {place} is elsewhere."
        case Filter.TYPE:
            return f"The task asks for {request.instance_type}."
        case Filter.FEW_CPUS | Filter.OTHER_CPUS:
            return _cpu_sentence(request, kind, size)
        case Filter.LITTLE_MEMORY | Filter.OTHER_MEMORY:
            return _memory_sentence(request, kind, size)
        case Filter.ACCELERATOR:
            wanted = " or ".join(f"{a.name}:{decimal_text(a.count)}" for a in request.accelerators or ())
            has = ", ".join(f"{a.name}:{decimal_text(a.count)}" for a in kind.accelerators) or "no accelerator"
            return f"The task asks for {wanted}; {kind.name} has {has}."
        case Filter.MARKET:
            return f"The task asks for {request.market.value} machines; this one is {offering.market.value}."
        case Filter.PRICE:
            return (
                f"The ceiling is ${decimal_text(request.max_hourly_cost or Decimal(0))} per hour;"
                f" {kind.name} costs ${decimal_text(offering.hourly or Decimal(0))}."
            )
        case Filter.UNKNOWN_PRICE:
            return f"There is a ceiling, and nobody knows what {kind.name} costs in {place}."
        case Filter.ARCH:
            return f"The task runs on {request.arch or 'x86_64'}; {kind.name} is {kind.arch}."
        case Filter.LOCAL_DISK:
            return f"The task asks for a disk inside the machine ({request.local_disk}); {kind.name} has none that large."
        case Filter.PORTS:
            return f"The task opens ports, and skyc cannot open any at {part.provider}."
        case Filter.SMALL:
            what, least = ("memory", "") if request.cpus is not None else ("size", f"{FLOOR_CPUS} CPUs or ")
            return f"The task asks for no {what}, and {kind.name} has less than {least}{FLOOR_MEMORY_GB} GiB, too little for Ray and a job."
        case Filter.QUOTA:
            nodes = f"{size.group_nodes} × " if size.group_nodes > 1 else ""
            return f"{nodes}{kind.name} in {place} is more than a quota in `config.yaml` allows."
        case Filter.SUBNET:
            where = f"{part.provider}/{offering.region}"
            without = offering.zone or "any zone they may be in"
            return f"`networks` in config.yaml puts machines in {where} into a network without a subnet in {without}."
        case Filter.IMAGE:
            where = f"{part.provider}/{offering.region}"
            if isinstance(request.image_id, ImageByPlace):
                return f"`image_id` names no image for {where}."
            return f"No machine in {where} can start from `{request.image_id}`."
        case Filter.CLOSED:
            where = f"{part.provider}/{offering.region}"
            return (
                f"Only accounts that asked for it have {where}; if yours is one, name it with `infra`, or add it to `regions` in"
                f" config.yaml (`{part.provider}: [{offering.region}]`)."
            )
        case Filter.LABELS:
            return _label_sentence(request, part, int(part.offers.type[row]))
        case Filter.POLICY:
            zones = zones_for(part, offering.region, offering.zone, request.infra)
            zone = next((name for name in zones if not restriction.place(part.provider, offering.region, name)), zones[0])
            return _policy_sentence(restriction, replace(offering, zone=zone), kind)
        case Filter.MACHINES:
            return f"The group has {size.group_nodes} nodes; of {kind.name} there are {offering.capacity}."


def _policy_sentence(restriction: Restriction, offering: Offering, kind: InstanceType) -> str:
    for bar in restriction.bars:
        said = bar.objection(
            provider=offering.provider,
            region=offering.region,
            zone=offering.zone,
            machine=kind.name,
            accelerators=[device.name for device in kind.accelerators],
            spot=offering.market is Market.SPOT,
            priced=offering.hourly is not None,
        )
        if said is not None:
            return f"Rule `{bar.rule}` ({bar.source}): {said}."
    raise AssertionError("the offer is ruled out by a bar")


def _label_sentence(request: ResourceRequest, part: CatalogPart, row: int) -> str:
    labels = part.offers.types.labels
    assert labels is not None, "only declared machines are held to labels"
    declared = labels[row]
    name = unmet_label(request, declared) or ""
    has = f"has `{name}: {declared[name]}`" if name in declared else f"is declared without `{name}`"
    return f"The task asks for the label `{name}: {request.labels.get(name)}`; {part.offers.types.names[row]} {has}."


def _cpu_sentence(request: ResourceRequest, kind: InstanceType, size: Size) -> str:
    if not kind.divisible:
        asked = decimal_text(request.cpus.amount if request.cpus else Decimal(0))
        return f"The task asks for {asked} CPUs; {kind.name} has {decimal_text(kind.cpus)}."
    nodes = size.task_nodes
    needed = max(node_shape(request, kind, nodes).cpus, Decimal(1))
    several = f"{nodes} nodes × " if nodes > 1 else ""
    total = f"{decimal_text(needed * nodes)}" if several else "wanted"
    return f"{several}{decimal_text(needed)} CPUs are {total}; {kind.name} has {decimal_text(kind.cpus)}."


def _memory_sentence(request: ResourceRequest, kind: InstanceType, size: Size) -> str:
    has = decimal_text(kind.memory_gb)
    if kind.divisible:
        nodes, memory = size.task_nodes, node_shape(request, kind, size.task_nodes).memory_gb
        several = f"{nodes} nodes × " if nodes > 1 else ""
        total = f"{decimal_text(memory * nodes)} GiB" if several else "wanted"
        return f"{several}{decimal_text(memory)} GiB are {total}; {kind.name} has {has} GiB."
    if request.memory_per_cpu is not None:
        asked = decimal_text(request.memory_per_cpu.amount)
        return f"The task asks for {asked} GiB per CPU; {kind.name} has {has} GiB for {decimal_text(kind.cpus)}."
    asked = decimal_text(request.memory_gb.amount if request.memory_gb else Decimal(0))
    return f"The task asks for {asked} GiB; {kind.name} has {has}."
