"""Limits on what a plan may use at a place: the user's quotas, and how many there are of each of the user's own machines.

Contract: pure. What a solution uses of them is `problem.excesses`' matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ir import CandidateSet, Catalog, Market, Options, Quota, TaskGraph, decimal_text
from ..ir.catalog import MILLI, UNKNOWN
from ..match import quota_amounts

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One thing that all tasks of a file share. most: thousandths of it in one region.

    quota: the user's; None: it is a machine of which so many exist. part, row: that machine's offer in the catalog.
    """

    most: int
    quota: Quota | None = None
    part: int = UNKNOWN
    row: int = UNKNOWN

    def unit(self, catalog: Catalog) -> str:
        """What is counted, in words."""
        if self.quota is None:
            return f"`{self._machine(catalog)}`"
        return "CPUs" if self.quota.accelerator is None else self.quota.accelerator

    def described(self, catalog: Catalog) -> str:
        """In words: `The quota is 96 CPUs in each region of aws`."""
        amount = decimal_text(self.most * MILLI)
        if self.quota is None:
            return f"Of the machine `{self._machine(catalog)}` there {'is' if amount == '1' else 'are'} {amount}"
        quota = self.quota
        market = "" if quota.market is Market.AUTO else f" ({quota.market.value})"
        where = f"each region of {quota.provider}" if quota.region is None else f"{quota.provider}/{quota.region}"
        return f"The quota is {amount} {self.unit(catalog)}{market} in {where}"

    def _machine(self, catalog: Catalog) -> str:
        offers = catalog.parts[self.part].offers
        return offers.types.names[int(offers.type[self.row])]


def limits(graph: TaskGraph, found: CandidateSet) -> tuple[Limit, ...]:
    """The quotas, then the machines of which the groups of the file could ask for more than there are.

    A machine that is divided among tasks is none of those: its parts are no machines.
    """
    quotas = tuple(Limit(most=int(quota.limit / MILLI), quota=quota) for quota in found.catalog.quotas)
    return (*quotas, *_machines(graph, found))


def _machines(graph: TaskGraph, found: CandidateSet) -> list[Limit]:
    import numpy

    nodes = {(task.id, group.name): group.num_nodes for task in graph.tasks for group in task.groups}
    scarce = []
    for index, part in enumerate(found.catalog.parts):
        offers = part.offers
        counted = (offers.capacity != UNKNOWN) & ~offers.types.divisible[offers.type]
        if not counted.any():
            continue
        asked = numpy.zeros(len(offers.type), dtype=numpy.int64)
        for options in found.options:
            asked[numpy.unique(options.row[options.part == index])] += nodes[options.task, options.group]
        scarce += [
            Limit(most=int(offers.capacity[row]) * 1000, part=index, row=row)
            for row in numpy.flatnonzero(counted & (asked > offers.capacity)).tolist()
        ]
    return scarce


def uses(options: Options, nodes: int, catalog: Catalog, every: tuple[Limit, ...]) -> NDArray[Any]:
    """[candidate, limit] → thousandths that a group of `nodes` counts against the limit."""
    import numpy

    used = numpy.zeros((len(options), len(every)), dtype=numpy.int64)
    for number, limit in enumerate(every):
        if limit.quota is None:
            used[(options.part == limit.part) & (options.row == limit.row), number] = nodes * 1000
        else:
            _count(options, nodes, catalog, limit.quota, used[:, number])
    return used


def _count(options: Options, nodes: int, catalog: Catalog, quota: Quota, used: NDArray[Any]) -> None:
    import numpy

    for index, part in enumerate(catalog.parts):
        if part.provider != quota.provider:
            continue
        rows = numpy.flatnonzero(options.part == index)
        if quota.market is not Market.AUTO:
            rows = rows[options.spot[rows] == (quota.market is Market.SPOT)]
        offers = part.offers
        there = numpy.array([quota.region in (None, place.region) for place in offers.places], dtype=bool)
        rows = rows[there[offers.place[options.row[rows]]]]
        # What nobody knows is not counted.
        amounts = numpy.maximum(quota_amounts(quota, part), 0)
        used[rows] = amounts[offers.type[options.row[rows]]] * nodes
