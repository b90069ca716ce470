"""The variable of a group: of its candidates those that some choice may need.

Contract: pure. Per place the candidates that no other there beats in everything that counts, in the written order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .atlas import Atlas
from .costs import Choices
from .problem import Variable
from .prune import frontier

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """What counts beside the cost: see `model.build`. limited: budgets do."""

    any_rank: bool
    timed: bool
    limited: bool
    held: bool
    last: tuple[int, ...]


def group_variable(found: Choices, use: NDArray[Any], atlas: Atlas, kinds: Kinds) -> Variable:
    """Per place the candidates that are not beaten there in everything that counts. use: see `Variable`, for all candidates."""
    import numpy

    costs = found.costs()
    if kinds.timed or kinds.limited or kinds.held or found.rank.any():
        rows, cost = _unbeaten(found, costs, use, atlas, kinds)
    else:
        # The cost alone counts, and a place lies at one provider, so what is taken last may be left out after the choice: a file may
        # hold a thousand tasks with a hundred thousand candidates each, and copies of their columns cost more than all else.
        rows = numpy.sort(_not_last(_cheapest_per_place(found.place, costs), found, kinds.last))
        cost = costs[rows]
    return Variable(
        name="",
        place=found.place[rows],
        cost=cost,
        worst=(costs if found.dear is None else found.dear)[rows],
        hours=found.hours[rows],
        moves=numpy.zeros(len(rows)),
        row=rows,
        rank=found.rank[rows],
        region=atlas.region_of[found.place[rows]],
        use=use[rows],
    )


def _unbeaten(
    found: Choices, costs: NDArray[Any], use: NDArray[Any], atlas: Atlas, kinds: Kinds
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows of a group's variable in the written order, by which ties are broken, and what each costs. costs: of all candidates."""
    import numpy

    rows = _not_last(numpy.arange(len(found)), found, kinds.last)
    if not kinds.any_rank and len(rows) and found.rank[rows].any():
        rows = rows[found.rank[rows] == found.rank[rows].min()]
    # A later rank is never cheap enough to be taken while an earlier one can be had.
    cost = costs[rows] + found.rank[rows] * (atlas.penalty * 16 if kinds.any_rank else 0.0)
    keys = [(costs if found.dear is None else found.dear)[rows]] * kinds.limited + [found.hours[rows]] * kinds.timed
    if kinds.held:
        keys += [column for column in use[rows].T if column.any()]
    if keys:
        order = numpy.lexsort((numpy.arange(len(rows)), *keys, cost, found.place[rows]))
        keep = order[frontier(found.place[rows][order], *(key[order] for key in keys))]
    else:
        keep = _cheapest_per_place(found.place[rows], cost)
    keep = numpy.sort(keep)
    return rows[keep], cost[keep]


def _not_last(rows: NDArray[Any], found: Choices, last: tuple[int, ...]) -> NDArray[Any]:
    """Rows without those of the parts that are taken last; all of them where there are no others."""
    import numpy

    if not last:
        return rows
    others = rows[~numpy.isin(found.options.part[rows], last)]
    return others if len(others) else rows


def _cheapest_per_place(place: NDArray[Any], cost: NDArray[Any]) -> NDArray[Any]:
    """Per place the first row of the least cost."""
    import numpy

    if (place[1:] < place[:-1]).any():
        order = numpy.argsort(place, kind="stable")
        sorted_rows: NDArray[Any] = order[_cheapest_per_place(place[order], cost[order])]
        return sorted_rows
    starts = numpy.flatnonzero(numpy.concatenate([[True], place[1:] != place[:-1]]))
    least = numpy.repeat(numpy.minimum.reduceat(cost, starts), numpy.diff([*starts, len(cost)]))
    hits = numpy.flatnonzero(cost == least)
    first = numpy.concatenate([[True], place[hits[1:]] != place[hits[:-1]]])
    rows: NDArray[Any] = hits[first]
    return rows
