"""From an answer to a plan: placements with their lines, fallbacks, alternatives, Storages, transfers, and what is proven.

Contract: pure. Every amount is computed anew in Decimal; the solvers' numbers only chose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from decimal import ROUND_FLOOR, Decimal
from itertools import chain, islice
from math import floor

from ..candidates import candidate
from ..ir import (
    Alternative,
    Candidate,
    CandidateSet,
    CostLine,
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    Objective,
    PlacementPlan,
    Proof,
    StoragePlacement,
    Task,
    TaskGraph,
    Transfer,
    digest,
)
from ..ir.catalog import UNKNOWN, PriceStep
from ..ir.restriction import UNRESTRICTED, Restriction
from ..zones import allowed_zones
from .atlas import Atlas, stepped, transfer_hours
from .costs import calm_hours, expected_hours
from .lines import cost_lines, network_notes
from .model import Flow, Model, traffic_share
from .problem import Answer, finish_hours
from .rank import Ranked, nearly_used, rank, zones_beside
from .rates import total
from .storages import storage_months, storage_rate

ALTERNATIVES_SHOWN = 3
FALLBACKS_KEPT = 8
"""How many further placements a plan carries: what a reviewer approves beside the first choice (DESIGN D4)."""
HOURS_STEP = Decimal("0.0001")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The plan of an answer. Groups with equal choices share what is made of them: files with a thousand such tasks exist."""

    graph: TaskGraph
    found: CandidateSet
    model: Model
    answer: Answer
    objective: Objective
    in_use: dict[tuple[int, int], dict[int, int]]
    """What the answer uses of quotas: see `used`."""
    targets: Collection[str] | None
    priced: Collection[str]
    passed_over: list[tuple[GroupPlacement, GroupPlacement]] = dataclasses.field(default_factory=list)
    """What would cost less and is only priced, with what is taken: of each group the cheapest."""
    made: dict[tuple[int, int, Restriction | None], GroupPlacement] = dataclasses.field(default_factory=dict)
    """(id of the choices, candidate, what a policy leaves) → its placement, in whichever group's name."""
    ranked: dict[tuple[int, int], tuple[Ranked, ...]] = dataclasses.field(default_factory=dict)

    def sketch(self) -> PlacementPlan:
        """What is chosen, without what it costs together and what was not."""
        placements = tuple(self._choice(task, group) for task in self.graph.tasks for group in task.groups)
        return PlacementPlan(
            name=self.graph.name,
            spec_digest="",
            catalog_digest="",
            objective=self.objective,
            proof=self._proof([]),
            total=None,
            worst_case=None,
            finish_hours=Decimal(0),
            placements=placements,
            storages=self._storages(),
        )

    def plan(self) -> PlacementPlan:
        placements: list[GroupPlacement] = []
        fallbacks: list[GroupPlacement] = []
        alternatives: list[Alternative] = []
        for task in self.graph.tasks:
            for group in task.groups:
                variable = self.model.groups[task.id, group.name]
                chosen = self._row(variable)
                placement = self.place(task, group, variable, chosen)
                placements.append(placement)
                ranked = self._rank(variable, chosen)
                if not self._owned(variable, chosen):
                    usable = self._usable(variable, placement.provider, ranked)
                    rows = chain((chosen,), (item.row for item in usable))
                    beside = chain.from_iterable(self._in_zones(task, group, variable, row) for row in rows)
                    fallbacks += islice(beside, 1, FALLBACKS_KEPT + 1)
                alternatives += self._alternatives(task, group, variable, placement, ranked)
        storages = self._storages()
        transfers = (
            *(self._transfer(flow) for flow in self.model.flows if self._ends(flow) is not None),
            *(transfer for task in sorted(self.graph.tasks, key=lambda task: task.id) for transfer in self._traffic(task)),
        )
        lines = [line for placement in placements for line in placement.lines]
        lines += [line for storage in storages for line in storage.lines]
        lines += [transfer.line for transfer in transfers]
        amount = total(line.amount for line in lines)
        return PlacementPlan(
            name=self.graph.name,
            spec_digest=digest(self.graph),
            catalog_digest=self.found.catalog_digest,
            objective=self.objective,
            proof=self._proof(lines),
            total=amount,
            worst_case=self._worst(placements, lines),
            finish_hours=self._finish(),
            placements=tuple(placements),
            storages=storages,
            transfers=transfers,
            fallbacks=tuple(fallbacks),
            alternatives=tuple(alternatives),
            rejections=self.found.rejections,
            notes=self._notes(placements, lines),
        )

    def _row(self, variable: int) -> int:
        """The candidate that is chosen."""
        return int(self.model.problem.variables[variable].row[self.answer.values[variable]])

    def _choice(self, task: Task, group: NodeGroup) -> GroupPlacement:
        variable = self.model.groups[task.id, group.name]
        return self.place(task, group, variable, self._row(variable))

    def _in_zones(self, task: Task, group: NodeGroup, variable: int, row: int) -> Iterator[GroupPlacement]:
        """One candidate as a placement; where its offer names no zone and one is needed, in each that it may be in."""
        first = self.place(task, group, variable, row)
        yield first
        options, catalog = self.model.choices[variable].options, self.found.catalog
        part = catalog.parts[int(options.part[row])]
        if part.zone_needed and part.offers.places[int(part.offers.place[options.row[row]])].zone is None:
            restriction = self.found.restrictions.get(task.id, UNRESTRICTED)
            infra = group.requests[first.request].infra
            others = allowed_zones(catalog, part, first.region, None, infra, restriction)[1:]
            for zone in zones_beside(self.model, self.answer, variable, row, others):
                yield dataclasses.replace(first, zone=zone)

    def place(self, task: Task, group: NodeGroup, variable: int, row: int) -> GroupPlacement:
        """One candidate as a placement with its cost lines."""
        key = (id(self.model.choices[variable]), row, self.found.restrictions.get(task.id))
        if key not in self.made:
            self.made[key] = self._place(task, group, variable, row)
        known = self.made[key]
        return (
            known
            if (known.task, known.group) == (task.id, group.name)
            else dataclasses.replace(known, task=task.id, group=group.name)
        )

    def _owned(self, variable: int, row: int) -> bool:
        """Whether the machine is counted, and so somebody's own: it does not run out of capacity, nor may a run of it cost money."""
        options = self.model.choices[variable].options
        part = self.found.catalog.parts[int(options.part[row])]
        return int(part.offers.capacity[options.row[row]]) != UNKNOWN

    def _usable(self, variable: int, chosen: str, ranked: tuple[Ranked, ...]) -> Iterator[Ranked]:
        """What machines can be made of; all of it where they cannot be made of the choice either."""
        targets = self.targets
        if targets is None or chosen not in targets:
            return iter(ranked)
        return (item for item in ranked if self._machine(variable, item.row)[0] in targets)

    def _rank(self, variable: int, chosen: int) -> tuple[Ranked, ...]:
        joined = any(variable in (pair.first, pair.second) for pair in self.model.problem.pairs)
        tight = nearly_used(self.model, self.in_use, variable) if self.in_use else ()
        if joined or tight or variable in self.model.fixed_costs or self.model.problem.limited:
            return rank(self.model, self.answer, variable, tight)
        key = (id(self.model.choices[variable]), chosen)
        if key not in self.ranked:
            self.ranked[key] = rank(self.model, self.answer, variable)
        return self.ranked[key]

    def _place(self, task: Task, group: NodeGroup, variable: int, row: int) -> GroupPlacement:
        options = self.model.choices[variable].options
        made = candidate(task, group, self.found, options, row)
        part = self.found.catalog.parts[int(options.part[row])]
        request = group.requests[made.request]
        hours = expected_hours(task, group, request, part, made)
        offering = made.offering
        return GroupPlacement(
            task=task.id,
            group=group.name,
            provider=offering.provider,
            region=offering.region,
            zone=offering.zone,
            instance_type=offering.instance_type,
            market=offering.market,
            num_nodes=group.num_nodes,
            shape=made.shape,
            hourly=offering.hourly,
            hours=hours,
            lines=cost_lines(task, group, request, self.found.catalog, made, hours),
            worst_hourly=self._on_demand(made, int(options.part[row]), int(options.row[row])),
            request=made.request,
        )

    def _on_demand(self, made: Candidate, part: int, row: int) -> Decimal | None:
        if made.offering.market is not Market.SPOT:
            return made.offering.hourly
        return self.found.catalog.parts[part].offering(row, Market.ON_DEMAND).hourly

    def _alternatives(
        self, task: Task, group: NodeGroup, variable: int, best: GroupPlacement, ranked: tuple[Ranked, ...]
    ) -> list[Alternative]:
        """The best few that are another machine or market, not the same one at another place for the same money."""
        shown: list[Alternative] = []
        seen = {(best.provider, best.instance_type, best.market)}
        passed_over = best.provider in self.priced
        for item in ranked:
            if len(shown) == ALTERNATIVES_SHOWN:
                break
            key = self._machine(variable, item.row)
            if item.extra < 0 and key[0] in self.priced and best.provider not in self.priced:
                if not passed_over:
                    self.passed_over.append((self.place(task, group, variable, item.row), best))
                    passed_over = True
            elif key not in seen:
                seen.add(key)
                shown.append(self.alternative(best, self.place(task, group, variable, item.row), item))
        return shown

    def _machine(self, variable: int, row: int) -> tuple[str, str, Market]:
        """Provider, type and market of a candidate."""
        options = self.model.choices[variable].options
        part = self.found.catalog.parts[int(options.part[row])]
        name = part.offers.types.names[int(part.offers.type[options.row[row]])]
        return part.provider, name, Market.SPOT if options.spot[row] else Market.ON_DEMAND

    def alternative(self, best: GroupPlacement, other: GroupPlacement, item: Ranked) -> Alternative:
        """A runner-up, and for which line it costs more or less."""
        hours = other.hours - best.hours
        mine, theirs = total(line.amount for line in best.lines), total(line.amount for line in other.lines)
        if theirs is None or mine is None or abs(item.extra) >= self.model.atlas.penalty / 2:
            return Alternative(placement=other, extra=None, reason="a price of it is unknown", extra_hours=hours)
        extra = Decimal(round(item.extra)) * Decimal(10) ** -9
        moved = extra - (theirs - mine)
        if abs(moved) < Decimal("1e-6"):
            # What is left is rounding: no data moves otherwise.
            extra, moved = theirs - mine, Decimal(0)
        changes = {"moving data": moved}
        for sign, lines in ((-1, best.lines), (1, other.lines)):
            for line in lines:
                changes[line.kind] = changes.get(line.kind, Decimal(0)) + sign * (line.amount or Decimal(0))
        but = "later in the task's own order" if item.later else "slower" if extra < 0 or hours > 0 else ""
        return Alternative(placement=other, extra=extra, reason=_reason(extra, changes, but), extra_hours=hours)

    def _storages(self) -> tuple[StoragePlacement, ...]:
        made = []
        for name in sorted(self.model.storages):
            where = self.model.storages[name]
            variable = self.model.storage_variables.get(name)
            number = where.place
            if variable is not None:
                number = int(self.model.problem.variables[variable].place[self.answer.values[variable]])
            location = None if number is None else self.model.atlas.locations[number]
            lines: tuple[CostLine, ...] = ()
            if number is not None and where.storage.size_gb:
                lines = (self._storage_line(name, number),)
            made.append(
                StoragePlacement(name=name, uri=where.storage.uri, location=location, chosen=variable is not None, lines=lines)
            )
        return tuple(made)

    def _storage_line(self, name: str, number: int) -> CostLine:
        storage = self.model.storages[name].storage
        location = self.model.atlas.locations[number]
        part = self.found.catalog.part(location.provider)
        rate = storage_rate(part, location.region)
        size = storage.size_gb or Decimal(0)
        months = storage_months(self.graph, storage)
        price = None if rate is None else _average(rate.steps, size)
        return CostLine(
            kind="storage",
            label=f"storage {name}",
            quantity=size * months,
            unit="GB-month",
            unit_price=price,
            source="no price is known" if rate is None else rate.price_source,
            as_of="" if rate is None else rate.as_of,
            estimated=rate is not None and rate.region == "*" and part.rates.reference_region not in (None, location.region),
        )

    def _ends(self, flow: Flow) -> tuple[int, int] | None:
        """The places of a flow's ends; None when one is not known."""
        ends = []
        for name, is_task in ((flow.source, flow.source_is_task), (flow.destination, flow.destination_is_task)):
            if is_task:
                task = next(task for task in self.graph.tasks if task.id == name)
                variable: int | None = self.model.groups[task.id, task.groups[0].name]
            else:
                variable = self.model.storage_variables.get(name)
            if variable is not None:
                ends.append(int(self.model.problem.variables[variable].place[self.answer.values[variable]]))
                continue
            fixed = self.model.storages[name].place
            if fixed is None:
                return None
            ends.append(fixed)
        return ends[0], ends[1]

    def _transfer(self, flow: Flow) -> Transfer:
        ends = self._ends(flow)
        assert ends is not None
        atlas: Atlas = self.model.atlas
        return Transfer(
            source=flow.source,
            destination=flow.destination,
            gb=flow.gb,
            hours=transfer_hours(flow.gb, atlas.distance(*ends)).quantize(HOURS_STEP),
            line=atlas.line(f"{flow.source} → {flow.destination}", *ends, flow.gb),
        )

    def _traffic(self, task: Task) -> Iterator[Transfer]:
        """What a task's first group and its others send each other; it moves while they run, so it adds no hours."""
        share = traffic_share(task)
        if not share:
            return
        atlas = self.model.atlas
        names = [f"{task.id}/{group.name}" for group in task.groups]
        variables = [self.model.groups[task.id, group.name] for group in task.groups]
        places = [int(self.model.problem.variables[v].place[self.answer.values[v]]) for v in variables]
        for other in range(1, len(names)):
            for source, destination in ((0, other), (other, 0)):
                line = atlas.line(f"{names[source]} → {names[destination]}", places[source], places[destination], share)
                yield Transfer(source=names[source], destination=names[destination], gb=share, hours=Decimal(0), line=line)

    def _proof(self, lines: list[CostLine]) -> Proof:
        answer = self.answer
        if self.objective is Objective.COST:
            value = sum((line.amount or Decimal(0) for line in lines), Decimal(0))
            # What unknown prices and the tasks' own order count in a choice is in no line: then nothing is said of the bound.
            known = 0.0 <= answer.bound < self.model.atlas.penalty / 2
            bound = value if answer.optimal else min(value, Decimal(floor(answer.bound) if known else 0) * Decimal(10) ** -9)
        else:
            value = Decimal(repr(answer.value)).quantize(HOURS_STEP)
            bound = (
                value if answer.optimal else min(value, Decimal(repr(max(0.0, answer.bound))).quantize(HOURS_STEP, ROUND_FLOOR))
            )
        return Proof(
            status="optimal" if answer.optimal else "feasible",
            method=answer.method,
            value=value,
            bound=bound,
            choices=sum(len(choice) for choice in self.model.choices.values()),
        )

    def _worst(self, placements: list[GroupPlacement], lines: list[CostLine]) -> Decimal | None:
        """The total with every spot machine at its on-demand price."""
        amount = total(line.amount for line in lines)
        for placement in placements:
            if placement.market is not Market.SPOT or amount is None:
                continue
            most = placement.group_worst_hourly
            if most is None:
                return None
            task = next(task for task in self.graph.tasks if task.id == placement.task)
            expected = sum((line.amount or Decimal(0) for line in placement.lines), Decimal(0))
            amount += max(most * calm_hours(task, placement.shape) - expected, Decimal(0))
        return amount

    def _finish(self) -> Decimal:
        ends = finish_hours(self.model.problem, self.answer.values)
        return Decimal(repr(max(ends, default=0.0))).quantize(HOURS_STEP)

    def _notes(self, placements: list[GroupPlacement], lines: list[CostLine]) -> FrozenMap[str]:
        notes = {f"{task.id}.hours": "assumed: the task gives no `hours`" for task in self.graph.tasks if task.hours_assumed}
        if any(line.estimated for line in lines):
            notes["prices"] = "some are estimates: derived, of another region, or years old; `--format json` says which"
        notes |= network_notes(self.found.catalog, placements)
        for name, where in self.model.storages.items():
            if where.storage.auto and name not in self.model.storage_variables:
                notes[f"storage {name}"] = "no place for it is known within its `infra`; it is not placed and not priced"
            if where.assumed and where.place is not None and any(name in (f.source, f.destination) for f in self.model.flows):
                place = self.model.atlas.locations[where.place]
                notes[f"storage {name}"] = f"its region is not said: {place} is assumed; `infra` under `storage` says it"
        if self.model.flows:
            notes["transfers"] = "times assume 10 Gbit/s within a region, 5 within a provider and 1 between providers"
        return FrozenMap(notes)


def _reason(extra: Decimal, changes: dict[str, Decimal], but: str) -> str:
    """Which line makes the difference. but: why it was not chosen though it costs no more, where something else counts first."""
    if extra == 0:
        return f"same cost, but {but}" if but else "same cost, later in the written order"
    # The line that moves the total most in its own direction; ties to the first name.
    kind = min(changes, key=lambda name: (-changes[name] if extra > 0 else changes[name], name))
    word = {"address": "addresses"}.get(kind, kind)
    return f"dearer: {word}" if extra > 0 else f"cheaper ({word}), but {but}"


def _average(steps: tuple[PriceStep, ...], size: Decimal) -> Decimal | None:
    """The price of one unit of `size`, over all its steps."""
    cut = stepped(steps, size)
    amount = total(None if price is None else quantity * price for quantity, price in cut)
    return None if amount is None or not size else amount / size
