"""What the best plan of a small world is, found by trying every combination.

Written from the catalog's rules and the task file's documentation, in Decimal and plain loops, on rows and not on columns: nothing of
`compiler/optimize` is used. Amounts are `Money`: how many prices are unknown, and the sum of the known ones. Fewer unknown prices
are always better, so tuples compare as plans do.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import NamedTuple

from tests.optimize.worlds import PartRows, World

from skyc.compiler.ir import (
    Addresses,
    AffinityLevel,
    DataFlow,
    Infra,
    Market,
    NodeGroup,
    Objective,
    Quota,
    ResourceRequest,
    Storage,
    Task,
    TaskId,
)
from skyc.compiler.ir.catalog import PriceStep, TransferRule
from skyc.providers.snapshot import OfferRow, TypeRow

D = Decimal
NAMES = {"L4": {"L4"}, "T4": {"T4"}, "H100": {"H100", "H100-SXM"}}
"""What meets a request for a name, of the devices that worlds have."""


class Money(NamedTuple):
    unknown: int
    dollars: Decimal

    def plus(self, other: "Money") -> "Money":
        return Money(self.unknown + other.unknown, self.dollars + other.dollars)


FREE = Money(0, D(0))
NOBODY_KNOWS = Money(1, D(0))


class Spot(NamedTuple):
    """A place. zone None: unknown, or the region as a whole."""

    part: PartRows
    region: str
    zone: str | None

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.part.provider, self.region, self.zone


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One candidate of a group."""

    place: Spot
    type: str
    market: Market
    request: int
    rank: int
    hours: Decimal
    cost: Money
    worst: Money
    kind: TypeRow
    nodes: int
    count: int | None


def dollars(price: Decimal | None, quantity: Decimal) -> Money:
    return NOBODY_KNOWS if price is None else Money(0, price * quantity)


def stepped_price(steps: tuple[PriceStep, ...], quantity: Decimal) -> Decimal | None:
    """GB after GB: what lies above each edge costs that edge's price, up to the next edge."""
    amount = D(0)
    for index, step in enumerate(steps):
        upper = steps[index + 1].above if index + 1 < len(steps) else None
        inside = quantity - step.above if upper is None else min(quantity, upper) - step.above
        if inside <= 0:
            continue
        if step.price is None:
            return None
        amount += inside * step.price
    return amount


def transfer_rule(source: Spot, destination: Spot) -> TransferRule | None:
    """The sending provider's first rule for the pair."""
    rates = source.part.rates
    here = rates.continents.get(source.region)
    there = destination.part.rates.continents.get(destination.region)
    same_part = source.part.provider == destination.part.provider
    for rule in rates.transfers:
        if rule.source not in ("*", source.region, f"continent:{here}"):
            continue
        if not same_part:
            fits = rule.destination in ("internet", f"internet:{there}")
        elif source.region == destination.region:
            fits = rule.destination == "other-zone"
        else:
            near = rule.destination == "same-continent" and here is not None and here == there
            fits = near or rule.destination in ("other-region", destination.region)
        if fits:
            return rule
    return None


def transfer(source: Spot, destination: Spot, gb: Decimal) -> Money:
    same_region = (source.part.provider, source.region) == (destination.part.provider, destination.region)
    if gb == 0 or (same_region and (source.zone == destination.zone or None in (source.zone, destination.zone))):
        return FREE
    rule = transfer_rule(source, destination)
    amount = None if rule is None else stepped_price(rule.steps, gb)
    if rule is None or amount is None:
        return NOBODY_KNOWS
    return Money(0, amount * 2 if rule.both_ways else amount)


def moving_hours(source: Spot, destination: Spot, gb: Decimal) -> Decimal:
    same_part = source.part.provider == destination.part.provider
    near = D(10) if source.region == destination.region else D(5)
    return gb * 8 / (near if same_part else D(1)) / 3600


def has(kind: TypeRow, name: str, count: Decimal) -> bool:
    return any(device.name in NAMES[name] and device.count == count for device in kind.accelerators)


def meets(request: ResourceRequest, part: PartRows, kind: TypeRow, offer: OfferRow, market: Market) -> bool:
    infra = request.infra
    if infra.provider not in (None, part.provider) or infra.region not in (None, offer.region):
        return False
    if infra.zone not in (None, offer.zone):
        return False
    if market is Market.SPOT and not part.sells_spot:
        return False
    if request.market is not Market.AUTO and request.market is not market:
        return False
    if request.cpus is not None and (kind.cpus is None or kind.cpus < request.cpus.amount):
        return False
    if request.accelerators is not None and not any(has(kind, a.name, a.count) for a in request.accelerators):
        return False
    if kind.labels is not None and not set(request.labels.items()) <= set(kind.labels.items()):
        return False
    price = offer.spot if market is Market.SPOT else offer.on_demand
    return request.max_hourly_cost is None or (price is not None and price <= request.max_hourly_cost)


def beside(
    world: World, task: Task, group: NodeGroup, request: ResourceRequest, part: PartRows, region: str, market: Market
) -> Money:
    """Disks, addresses and the gateway of all nodes of a group, per hour."""
    amount, nodes = FREE, group.num_nodes
    size = None if part.rates.disk_gb is None else request.disk_gb or part.rates.disk_gb
    if size:
        tier = request.disk_tier or "medium"
        rates = [rate for rate in part.rates.disks if rate.tier == tier]
        own = [rate for rate in rates if rate.region == region] or [rate for rate in rates if rate.region == "*"]
        monthly = None
        if own and own[0].per_gb is not None:
            monthly = own[0].per_gb * size
        elif own:
            fitting = [price for holds, price in own[0].ladder if holds >= size]
            monthly = fitting[0] if fitting else None
        amount = amount.plus(dollars(None if monthly is None else monthly / 730, D(nodes)))
    rates_ = [rate for rate in part.rates.addresses if rate.region == region]
    rates_ = rates_ or [rate for rate in part.rates.addresses if rate.region == "*"]
    public = world.public.get(f"{part.provider}/{region}", Addresses.ALL)
    first = group == task.groups[0]
    count = {Addresses.ALL: nodes, Addresses.HEAD: 1 if first else 0, Addresses.NONE: 0}[public]
    if rates_ and count:
        halved = market is Market.SPOT and rates_[0].spot_hourly is not None
        amount = amount.plus(dollars(rates_[0].spot_hourly if halved else rates_[0].hourly, D(count)))
    others = sum(other.num_nodes for other in task.groups) - 1
    if public is Addresses.HEAD and first and others and f"{part.provider}/{region}" not in world.owned:
        named = {rate.region: rate for rate in part.rates.gateways}
        rate = named.get(region) or named.get("*")
        hourly = None if rate is None else rate.hourly
        if rate is not None and hourly is not None and rate.per_machine_hourly is not None:
            hourly += D("0.0029") if others > 2 else rate.per_machine_hourly * others
        amount = amount.plus(dollars(hourly, D(1)))
    return amount


def run_cost(price: Decimal | None, extra: Money, hours: Decimal, nodes: int) -> Money:
    return Money(extra.unknown, extra.dollars * hours).plus(dollars(price, hours * nodes))


def interrupted(hours: Decimal, rate: Decimal, nodes: int, every: int | None) -> Decimal:
    """Daly 2006, equation 12, in floating point: one restart takes 0.1 h."""
    together = float(rate) * nodes
    if together == 0:
        return hours
    step = float(hours) if every is None else min(every / 3600, float(hours))
    expected = math.exp(0.1 * together) * (math.exp(step * together) - 1) / together * float(hours) / step
    return D(expected).quantize(D("1e-6"))


def picks(world: World, task: Task, group: NodeGroup) -> list[Pick]:
    """Every candidate of a group."""
    found = []
    for index, request in enumerate(group.requests):
        for part in world.parts:
            kinds = {kind.key: kind for kind in part.types}
            for offer in part.offers:
                for market in (Market.ON_DEMAND, Market.SPOT):
                    kind = kinds[offer.type]
                    enough = offer.capacity is None or group.num_nodes <= offer.capacity
                    if enough and meets(request, part, kind, offer, market):
                        pick = _pick(world, task, group, index, part, kind, offer, market)
                        if all(counted(quota, pick) <= quota.limit for quota in world.quotas):
                            found.append(pick)
    # The task's own order counts only what can be had.
    order = sorted({pick.rank for pick in found})
    return [replace(pick, rank=order.index(pick.rank)) for pick in found]


def _pick(
    world: World, task: Task, group: NodeGroup, index: int, part: PartRows, kind: TypeRow, offer: OfferRow, market: Market
) -> Pick:
    request = group.requests[index]
    hours = task.hours
    for expected in task.hours_on:
        if has(kind, expected.accelerator.name, expected.accelerator.count):
            hours = expected.hours
    calm = hours
    if market is Market.SPOT:
        rate = offer.interruption_rate if request.interruption_rate is None else request.interruption_rate
        every = None if task.checkpoint is None else task.checkpoint.every_seconds
        hours = hours if rate is None else interrupted(hours, rate, group.num_nodes, every)
    extra = beside(world, task, group, request, part, offer.region, market)
    dear = beside(world, task, group, request, part, offer.region, Market.ON_DEMAND)
    nodes = group.num_nodes
    cost = run_cost(offer.spot if market is Market.SPOT else offer.on_demand, extra, hours, nodes)
    worst = max(cost, run_cost(offer.on_demand, dear, calm, nodes)) if market is Market.SPOT else cost
    rank = index * 1000 if group.ordered else 0
    if request.accelerators_ordered and request.accelerators:
        rank += next(i for i, a in enumerate(request.accelerators) if has(kind, a.name, a.count))
    return Pick(
        place=Spot(part, offer.region, offer.zone),
        type=kind.name,
        market=market,
        request=index,
        rank=rank,
        hours=hours,
        cost=cost,
        worst=worst,
        kind=kind,
        nodes=nodes,
        count=offer.capacity,
    )


def counted(quota: Quota, pick: Pick) -> Decimal:
    """What a group counts against a quota, if that holds where it is."""
    place = pick.place
    if quota.provider != place.part.provider or quota.region not in (None, place.region):
        return D(0)
    if quota.market not in (Market.AUTO, pick.market):
        return D(0)
    if quota.accelerator is None:
        return (pick.kind.cpus or D(0)) * pick.nodes
    names = NAMES[quota.accelerator]
    return sum((device.count for device in pick.kind.accelerators if device.name in names), D(0)) * pick.nodes


# Storages


def all_storages(world: World) -> dict[str, Storage]:
    return {storage.name: storage for task in world.graph.tasks for storage in task.storages}


def months(world: World, storage: Storage) -> Decimal:
    if storage.keep_days is not None:
        return storage.keep_days * 24 / 730
    return max(task.hours for task in world.graph.tasks if storage in task.storages) / 730


def keeping(world: World, storage: Storage, place: Spot) -> Money:
    """What the data costs where it lies."""
    if not storage.size_gb:
        return FREE
    rates = [rate for rate in place.part.rates.storages if rate.region == place.region]
    rates = rates or [rate for rate in place.part.rates.storages if rate.region == "*"]
    monthly = stepped_price(rates[0].steps, storage.size_gb) if rates else None
    return dollars(monthly, months(world, storage))


def storage_places(world: World, storage: Storage) -> list[Spot | None]:
    """Where a Storage may be; None alone when nobody knows, and nothing is priced then."""
    infra = storage.infra
    if not storage.auto:
        scheme = (storage.uri or "").partition("://")[0]
        named = infra.provider or scheme
        for part in world.parts:
            if part.provider == named:
                region = infra.region or part.rates.reference_region
                return [Spot(part, region, None)] if region in part.regions else [None]
        return [None]
    found: list[Spot | None] = [
        Spot(part, region, None)
        for part in world.parts
        if part.rates.storages and infra.provider in (None, part.provider)
        for region in part.regions
        if infra.region in (None, region)
    ]
    return found or [None]


# Plans


@dataclass(frozen=True, kw_only=True)
class Moving:
    """A flow between two tasks, or a task and a Storage: names of the ends, and which are tasks."""

    source: str
    destination: str
    from_task: bool
    to_task: bool
    gb: Decimal


def movings(world: World) -> list[Moving]:
    tasks = world.graph.tasks
    asked = {flow.key for task in tasks for flow in task.inputs}
    made = []
    for task in tasks:
        for flow in task.inputs:
            if flow.storage is not None:
                made.append(Moving(source=flow.storage, destination=task.id, from_task=False, to_task=True, gb=flow.gb))
            else:
                source = next(other.id for other in tasks if any(out.key == flow.key for out in other.outputs))
                made.append(Moving(source=source, destination=task.id, from_task=True, to_task=True, gb=flow.gb))
        for flow in task.outputs:
            made += _sent(task, flow, asked, tasks)
    return made


def _sent(task: Task, flow: DataFlow, asked: set[str], tasks: tuple[Task, ...]) -> list[Moving]:
    if flow.storage is not None:
        return [Moving(source=task.id, destination=flow.storage, from_task=True, to_task=False, gb=flow.gb)]
    if flow.key in asked:
        return []
    return [
        Moving(source=task.id, destination=later.id, from_task=True, to_task=True, gb=flow.gb)
        for later in tasks
        if task.id in later.needs
    ]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One combination, with what is to be compared."""

    picks: Mapping[tuple[TaskId, str], Pick]
    places: Mapping[str, Spot | None]
    rank: int
    cost: Money
    """Without what fixed Storages cost, which no choice changes."""
    ends: Mapping[TaskId, Decimal]
    worst: Mapping[TaskId, Money]

    @property
    def finish(self) -> Decimal:
        return max(self.ends.values())

    def keeps_deadlines(self, world: World) -> bool:
        return all(t.deadline_hours is None or self.ends[t.id] <= t.deadline_hours for t in world.graph.tasks)

    def keeps_quotas(self, world: World) -> bool:
        return self.keeps_counts() and all(self.in_use(quota) <= quota.limit for quota in world.quotas)

    def in_use(self, quota: Quota) -> Decimal:
        """The most that all tasks together count against a quota in one region."""
        regions = {pick.place.region for pick in self.picks.values()}
        return max(
            sum((counted(quota, pick) for pick in self.picks.values() if pick.place.region == region), D(0))
            for region in regions
        )

    def taken(self) -> dict[tuple[str, str, str | None, str], tuple[int, int]]:
        """Of each of the user's own machines how many there are, and how many are taken."""
        found: dict[tuple[str, str, str | None, str], tuple[int, int]] = {}
        for pick in self.picks.values():
            if pick.count is not None:
                key = (*pick.place.key, pick.type)
                found[key] = pick.count, found.get(key, (0, 0))[1] + pick.nodes
        return found

    def keeps_counts(self) -> bool:
        return all(taken <= count for count, taken in self.taken().values())

    def keeps_budgets(self, world: World) -> bool:
        return all(t.budget is None or self.worst[t.id] <= Money(0, t.budget) for t in world.graph.tasks)


def _same(first: Spot, second: Spot, level: AffinityLevel) -> bool | None:
    """None: nobody knows."""
    if first.part.provider != second.part.provider:
        return False
    if level is AffinityLevel.PROVIDER:
        return True
    if first.region != second.region or level is AffinityLevel.REGION:
        return first.region == second.region
    return None if None in (first.zone, second.zone) else first.zone == second.zone


def _joined(task: Task, chosen: list[Pick]) -> bool:
    """The groups of a task share a region."""
    return all(_same(chosen[0].place, other.place, AffinityLevel.REGION) for other in chosen[1:])


def plans(world: World) -> Iterator[Plan]:
    """Every combination that keeps affinities and one region per task. Limits of time and money are the caller's."""
    tasks = world.graph.tasks
    per_task = []
    for task in tasks:
        combos = [list(c) for c in product(*(picks(world, task, group) for group in task.groups))]
        per_task.append([combo for combo in combos if _joined(task, combo)])
    storages = all_storages(world)
    spots = [storage_places(world, storage) for storage in storages.values()]
    flows = movings(world)
    for combo in product(*per_task):
        heads = {task.id: chosen[0] for task, chosen in zip(tasks, combo, strict=True)}
        if not all(
            _same(heads[task.id].place, heads[a.task].place, a.level) is a.same for task in tasks for a in task.affinities
        ):
            continue
        for where in product(*spots):
            yield _plan(world, dict(zip(storages, where, strict=True)), combo, flows)


def _plan(world: World, places: dict[str, Spot | None], combo: tuple[list[Pick], ...], flows: list[Moving]) -> Plan:
    tasks = world.graph.tasks
    heads: dict[str, Pick] = {task.id: chosen[0] for task, chosen in zip(tasks, combo, strict=True)}
    cost, worst = FREE, dict.fromkeys((task.id for task in tasks), FREE)
    ends: dict[TaskId, Decimal] = {}
    for task, chosen in zip(tasks, combo, strict=True):
        for pick in chosen:
            cost = cost.plus(pick.cost)
            worst[task.id] = worst[task.id].plus(pick.worst)
        for pick in chosen[1:]:
            share = (task.traffic_gb or D(0)) / (len(chosen) - 1) / 2
            for pair in ((chosen[0].place, pick.place), (pick.place, chosen[0].place)):
                cost = cost.plus(transfer(*pair, share))
                worst[task.id] = worst[task.id].plus(transfer(*pair, share))
    for name, storage in all_storages(world).items():
        place = places[name]
        if storage.auto and place is not None:
            cost = cost.plus(keeping(world, storage, place))
    arrives: dict[tuple[str, str], Decimal] = {}
    moves: dict[str, Decimal] = {}
    for flow in flows:
        source = heads[flow.source].place if flow.from_task else places[flow.source]
        destination = heads[flow.destination].place if flow.to_task else places[flow.destination]
        if source is None or destination is None:
            continue
        price, hours = transfer(source, destination, flow.gb), moving_hours(source, destination, flow.gb)
        cost = cost.plus(price)
        payer = TaskId(flow.destination if flow.to_task else flow.source)
        worst[payer] = worst[payer].plus(price)
        if flow.from_task and flow.to_task:
            edge = flow.source, flow.destination
            arrives[edge] = arrives.get(edge, D(0)) + hours
        else:
            moves[payer] = moves.get(payer, D(0)) + hours
    for task, chosen in zip(tasks, combo, strict=True):
        before = {*task.needs, *(TaskId(source) for source, destination in arrives if destination == task.id)}
        start = max((ends[other] + arrives.get((other, task.id), D(0)) for other in before), default=D(0))
        ends[task.id] = start + max(pick.hours for pick in chosen) + moves.get(task.id, D(0))
    return Plan(
        picks={
            (task.id, group.name): pick
            for task, chosen in zip(tasks, combo, strict=True)
            for group, pick in zip(task.groups, chosen, strict=True)
        },
        places=places,
        rank=sum(pick.rank for chosen in combo for pick in chosen),
        cost=cost,
        ends=ends,
        worst=worst,
    )


def fixed_keeping(world: World) -> Money:
    """What Storages at known places cost."""
    amount = FREE
    for storage in all_storages(world).values():
        (place, *_) = storage_places(world, storage)
        if not storage.auto and place is not None:
            amount = amount.plus(keeping(world, storage, place))
    return amount


TINY = D("1e-9")


def best(world: World, every: list[Plan], objective: Objective) -> Plan | None:
    """The plan to choose: the task's own order first, then the objective, then (for time) the cost."""
    fitting = [plan for plan in every if plan.keeps_deadlines(world) and plan.keeps_budgets(world) and plan.keeps_quotas(world)]
    # A group takes its first preference; only where that cannot be had together with the rest, later ones.
    first = [plan for plan in fitting if plan.rank == 0] or fitting
    if not first:
        return None
    rank = min(plan.rank for plan in first)
    first = [plan for plan in first if plan.rank == rank]
    if objective is Objective.COST:
        return min(first, key=lambda plan: plan.cost)
    if rank == 0 and any(plan.cost.unknown == 0 for plan in first):
        # The quickest plan is no answer while nobody knows what it costs and it can be known.
        first = [plan for plan in first if plan.cost.unknown == 0]
    soonest = min(plan.finish for plan in first)
    return min((plan for plan in first if plan.finish <= soonest + TINY), key=lambda plan: plan.cost)


def inside(infra: Infra, spot: Spot) -> bool:
    return infra.provider in (None, spot.part.provider) and infra.region in (None, spot.region)
