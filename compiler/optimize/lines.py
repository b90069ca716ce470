"""What one candidate costs over its run, as lines for people.

Contract: pure. Lines hold the numbers of the columns (`costs`) in Decimal, with where each price is from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from ..ir import Candidate, Catalog, CostLine, FrozenMap, GroupPlacement, NodeGroup, ResourceRequest, Task, TaskId
from ..ir.catalog import ANY_REGION, CatalogPart
from .rates import address_count, address_rate, disk_gb, disk_monthly, disk_rate, gateway_price, gateway_rate, per_hour


def cost_lines(
    task: Task, group: NodeGroup, request: ResourceRequest, catalog: Catalog, candidate: Candidate, hours: Decimal
) -> tuple[CostLine, ...]:
    """What a candidate costs over its run: machines, then disks, then addresses, then the site's gateway."""
    offering = candidate.offering
    part, node_hours = catalog.part(offering.provider), hours * group.num_nodes
    compute = CostLine(
        kind="compute",
        label=f"compute, {offering.market.value}",
        quantity=node_hours,
        unit="h",
        unit_price=offering.hourly,
        source=offering.price_source,
        as_of=offering.as_of,
        estimated=offering.estimated,
    )
    return (
        compute,
        *_disk(request, part, offering.region, node_hours),
        *_address(task, group, catalog, candidate, hours),
        *_gateway(task, group, catalog, candidate, hours),
    )


def _disk(request: ResourceRequest, part: CatalogPart, region: str, node_hours: Decimal) -> Iterator[CostLine]:
    size = disk_gb(request, part)
    if not size:
        return
    rate = disk_rate(request, part, region)
    monthly = None if rate is None else disk_monthly(rate, size)
    yield CostLine(
        kind="disk",
        label="disk" if rate is None else f"disk, {size.normalize():f} GiB {rate.name}",
        quantity=node_hours,
        unit="h",
        unit_price=None if monthly is None else per_hour(monthly),
        source="no price is known" if rate is None else rate.price_source,
        as_of="" if rate is None else rate.as_of,
        estimated=rate is not None and _elsewhere(part, rate.region, region),
    )


def _address(task: Task, group: NodeGroup, catalog: Catalog, candidate: Candidate, hours: Decimal) -> Iterator[CostLine]:
    offering = candidate.offering
    part = catalog.part(offering.provider)
    rate, count = address_rate(part, offering.region), address_count(task, group, catalog, part, offering.region)
    if rate is None or not count:
        return
    price = rate.at(offering.market)
    yield CostLine(
        kind="address",
        label="public address",
        quantity=hours * count,
        unit="h",
        unit_price=price,
        dearer_price=rate.hourly if price != rate.hourly else None,
        source=rate.price_source,
        as_of=rate.as_of,
        estimated=_elsewhere(part, rate.region, offering.region),
    )


def _gateway(task: Task, group: NodeGroup, catalog: Catalog, candidate: Candidate, hours: Decimal) -> Iterator[CostLine]:
    offering = candidate.offering
    part = catalog.part(offering.provider)
    rate = gateway_rate(task, group, catalog, part, offering.region)
    if rate is None:
        return
    yield CostLine(
        kind="gateway",
        label="NAT gateway",
        quantity=hours,
        unit="h",
        unit_price=rate.of(task.num_nodes - 1),
        source=rate.price_source,
        as_of=rate.as_of,
        estimated=_elsewhere(part, rate.region, offering.region),
    )


def _elsewhere(part: CatalogPart, rate_region: str, region: str) -> bool:
    """Whether a rate is another region's, taken as an estimate."""
    reference = part.rates.reference_region
    return rate_region == ANY_REGION and reference is not None and reference != region


def network_notes(catalog: Catalog, placements: Sequence[GroupPlacement]) -> FrozenMap[str]:
    """What machines without a public address reach out through, as far as a reviewer has to know."""
    return FrozenMap({**_gateway_note(catalog, placements), **_way_out_note(catalog, placements)})


def _way_out_note(catalog: Catalog, placements: Sequence[GroupPlacement]) -> dict[str, str]:
    """In a network of the user's skyc makes no gateway, and looks for none."""
    nodes = Counter[tuple[TaskId, str]]()
    for item in placements:
        nodes[item.task, f"{item.provider}/{item.region}"] += item.num_nodes
    found = sorted({place for (_, place), count in nodes.items() if count > 1 and place in catalog.owned})
    if not found:
        return {}
    text = "all nodes but the head have no public address and reach out through what your network has, such as a NAT gateway"
    return {"way-out": f"in {', '.join(found)} {text}; without one say `public: true` beside it in config.yaml"}


def _gateway_note(catalog: Catalog, placements: Sequence[GroupPlacement]) -> dict[str, str]:
    """What the price of a NAT gateway leaves out: the data through it, which nobody has said the amount of."""
    found = {(item.provider, item.region) for item in placements for line in item.lines if line.kind == "gateway"}
    said = []
    for provider, region in sorted(found):
        rate = gateway_price(catalog.part(provider), region)
        price = "a price that is not known" if rate.per_gb is None else f"${rate.per_gb.normalize():f}"
        said.append(f"{price} at {provider}/{region}")
    if not said:
        return {}
    text = f"data through a NAT gateway costs extra, per GB {', '.join(said)}; it is in no price, as its amount is not known"
    return {"gateway": f"{text}; with `public: true` in config.yaml each machine has an address, and there is no gateway"}
