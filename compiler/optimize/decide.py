"""Which method answers a problem, and the answer: the cheapest solution, or the quickest and of those the cheapest.

Contract: exact, with a proof. Dominated values go first. Without limits the minimum of a sum is found by elimination where the graph
allows; else dual ascent proves a solution optimal or narrows the problem until elimination or an integer program can finish it. With
limits on time or money, or quotas, that answer stands when it keeps them anyway, and otherwise a program finds the best that does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..diagnostics import SkycError, error
from ..ir import Objective
from .ascent import tighten
from .atlas import Atlas
from .eliminate import solve
from .problem import SLACK, Answer, Problem, allowed, cost_of, finish_hours, soonest_hours
from .prune import everything, one_zone_per_region, prune, settle
from .relax import relax
from .windows import punctual

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .program import Program


ROUNDS = 4
"""How often ascent and dominance take turns before an integer program is built."""
KNOWN_SECONDS = 6
"""Most seconds for a program that looks for something better than a solution that is known and near a bound."""
REFUSALS = 50
"""How many solutions of a program are refused for missing a limit by what its solver tolerates, before there is none."""


def decide(problem: Problem, atlas: Atlas, objective: Objective, *, any_price: bool = False) -> Answer | None:
    """The best solution in terms of `problem`'s own values. None: nothing satisfies all bounds and limits.

    any_price: the quickest may have unknown prices though others have none.
    """
    timed = objective is Objective.TIME or any(stage.deadline is not None for stage in problem.stages)
    if any(len(variable) == 0 for variable in problem.variables):
        return None
    soonest = soonest_hours(problem)
    if any(s.deadline is not None and end > s.deadline + 1e-6 for s, end in zip(problem.stages, soonest, strict=True)):
        return None
    free = not (timed or problem.limited or problem.quotas)
    alone, singles = settle(problem) if free else (problem, everything(problem))
    merged, zones = one_zone_per_region(alone, atlas)
    # With limits next to nothing is dominated at first; what is left once they have a price is looked at again.
    smaller, rows = prune(merged, timed=False) if free else (merged, everything(merged))
    kept = tuple(single[zone[row]] for single, zone, row in zip(singles, zones, rows, strict=True))
    if any(len(variable) == 0 for variable in smaller.variables):
        return None
    answer = _quickest(smaller, atlas, any_price) if objective is Objective.TIME else _cheapest(smaller, atlas)
    if answer is None:
        return None
    return replace(answer, values=tuple(int(rows[value]) for rows, value in zip(kept, answer.values, strict=True)))


def _cheapest(problem: Problem, atlas: Atlas) -> Answer | None:
    bare = replace(problem, stages=(), quotas=())
    smaller, rows = prune(bare, timed=False) if problem.stages else (bare, everything(bare))
    answer = _unlimited(smaller, atlas)
    if answer is None:
        return None
    answer = _renamed(answer, rows)
    return answer if allowed(problem, answer.values, slack=0.0) else _limited(problem, atlas)


def _limited(problem: Problem, atlas: Atlas, *, hoped: bool = False) -> Answer | None:
    """The cheapest solution that keeps all limits: limits get a price, and a program chooses among what that leaves.

    hoped: nobody knows whether there is one, and None is said when none is come across.
    """
    timely, rows = punctual(problem)
    if any(len(kept) == 0 for kept in rows):
        return None
    relaxed = relax(timely)
    rows = tuple(kept[left] for kept, left in zip(rows, relaxed.kept, strict=True))
    smaller = problem.only(dict(enumerate(rows)))
    known = None
    if relaxed.values is not None:
        found = tuple(int(kept.searchsorted(value)) for kept, value in zip(relaxed.kept, relaxed.values, strict=True))
        known = Answer(values=found, value=relaxed.value, bound=relaxed.bound, optimal=False, method="relaxation")
        if relaxed.optimal:
            return _renamed(replace(known, bound=known.value, optimal=True), rows)
    if known is None and hoped:
        return None
    answer = _programmed(smaller, atlas, known, relaxed.bound)
    return None if answer is None else _renamed(answer, rows)


def _programmed(problem: Problem, atlas: Atlas, known: Answer | None, bound: float) -> Answer | None:
    """The same by a program alone. known: a solution; bound: no solution costs less."""
    from .program import Program

    smaller, rows = prune(problem, timed=any(stage.deadline is not None for stage in problem.stages))
    program = Program(smaller, atlas, timed=False, forbidding=float("inf") if known is None else known.value)
    if known is None:
        answer = _best(smaller, program, program.cost)
        return None if answer is None else _renamed(answer, rows)
    program.limit_cost(known.value)
    program.seconds = min(program.seconds, KNOWN_SECONDS)
    answer = _best(smaller, program, program.cost, known=True)
    if answer is None:
        # Nothing is better, if that is what the program has come to.
        return replace(known, optimal=not program.undecided, bound=known.bound if program.undecided else known.value)
    answer = _renamed(answer, rows)
    if not answer.optimal:
        best = min(known, answer, key=lambda one: one.value)
        return replace(best, bound=min(best.value, max(bound, answer.bound)))
    # What a program is told to be no dearer than, it may exceed by what its solver tolerates.
    return answer if answer.value <= known.value else replace(known, optimal=True, bound=known.value)


def _renamed(answer: Answer, rows: tuple[NDArray[Any], ...]) -> Answer:
    """The answer in the values of the problem of which `rows` are left."""
    return replace(answer, values=tuple(int(kept[value]) for kept, value in zip(rows, answer.values, strict=True)))


def _unlimited(problem: Problem, atlas: Atlas) -> Answer | None:
    """The cheapest solution of a problem without limits."""
    import numpy

    problem = replace(problem, stages=(), quotas=())

    answer = solve(problem)
    if answer is not None:
        return answer if answer.value < float("inf") else None
    kept = [numpy.arange(len(variable)) for variable in problem.variables]
    known = float("inf")
    seen: Answer | None = None
    for _ in range(ROUNDS):
        tight = tighten(problem)
        if tight.value == float("inf"):
            break
        known = tight.value
        values = tuple(int(rows[i]) for rows, i in zip(kept, tight.values, strict=True))
        seen = Answer(values=values, value=known, bound=tight.bound, optimal=False, method="dual ascent")
        if tight.optimal:
            return Answer(values=values, value=tight.value, bound=tight.value, optimal=True, method="dual ascent")
        before = sum(map(len, kept))
        narrowed, rows = prune(problem.only(dict(enumerate(tight.kept))), timed=False)
        kept = [old[first][second] for old, first, second in zip(kept, tight.kept, rows, strict=True)]
        problem = narrowed
        answer = solve(problem)
        if answer is not None or sum(map(len, kept)) > before * 0.9:
            break
    if answer is None:
        from .program import Program

        program = Program(problem, atlas, timed=False, forbidding=known)
        answer = program.minimize(program.cost)
    if answer is None or answer.value == float("inf") or (answer.value > known and not answer.optimal):
        # There is a solution; the program has only not come to one as good.
        return seen
    return replace(answer, values=tuple(int(rows[i]) for rows, i in zip(kept, answer.values, strict=True)))


def _quickest(problem: Problem, atlas: Atlas, any_price: bool) -> Answer | None:
    """The plan that ends first, and of those the cheapest; with known prices, if there is any such plan."""
    cheapest = _cheapest(problem, atlas)
    if cheapest is None or any_price or cheapest.value >= atlas.penalty:
        return None if cheapest is None else _soonest_of(problem, atlas, cheapest)
    known, rows = _with_known_prices(problem, atlas.penalty)
    # The cheapest has known prices itself, so all its values are among the rows that are left.
    values = tuple(int((kept == value).argmax()) for kept, value in zip(rows, cheapest.values, strict=True))
    answer = _soonest_of(known, atlas, replace(cheapest, values=values))
    if answer is None:
        return None
    return replace(answer, values=tuple(int(kept[value]) for kept, value in zip(rows, answer.values, strict=True)))


def _soonest_of(problem: Problem, atlas: Atlas, cheapest: Answer) -> Answer | None:
    ordered = any(variable.rank.any() for variable in problem.variables)
    joined = any(stage.after or len(stage.variables) > 1 for stage in problem.stages)
    if not (problem.pairs or ordered or joined or _budgeted(problem) or problem.quotas):
        return _quickest_alone(problem)
    soonest = max(soonest_hours(problem), default=0.0)
    if (hours := max(finish_hours(problem, cheapest.values), default=0.0)) <= soonest * (1 + 1e-9):
        # Nothing can end sooner, and nothing is cheaper: what moves far seldom costs little.
        return replace(cheapest, value=hours, bound=hours)
    if not ordered and (answer := _limited(_ending_by(problem, soonest), atlas, hoped=True)) is not None:
        hours = max(finish_hours(problem, answer.values), default=0.0)
        return replace(answer, value=hours, bound=hours)
    from .program import Program

    problem, rows = prune(problem, timed=True)
    program = Program(problem, atlas, timed=True)
    proven = True
    if ordered:
        preferred = _best(problem, program, program.rank)
        if preferred is None:
            return None
        proven = preferred.optimal
        program.limit_rank(preferred.value)
    first = _best(problem, program, program.finish)
    if first is None:
        return None
    program.limit_finish(first.value)
    second = _best(problem, program, program.cost, known=True)
    if second is None:
        # It ends soonest; whether another one that does costs less has not come out.
        return _renamed(replace(first, optimal=False), rows)
    hours = max(finish_hours(problem, second.values), default=0.0)
    answer = replace(second, value=hours, bound=min(first.bound, hours), optimal=proven and first.optimal and second.optimal)
    return _renamed(answer, rows)


def _ending_by(problem: Problem, hours: float) -> Problem:
    """The problem in which everything must have ended by then, to the rounding of sums."""
    awaited = {before for stage in problem.stages for before, _ in stage.after}
    limit = hours * (1 + 1e-9) - SLACK
    stages = tuple(
        stage if number in awaited else replace(stage, deadline=limit if stage.deadline is None else min(stage.deadline, limit))
        for number, stage in enumerate(problem.stages)
    )
    return replace(problem, stages=stages)


def _with_known_prices(problem: Problem, penalty: float) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """The problem in which nothing may have an unknown price, and per variable the values that are left."""
    import numpy

    rows = tuple(numpy.flatnonzero(variable.cost < penalty) for variable in problem.variables)
    known = problem.only(dict(enumerate(rows)))
    pairs = tuple(replace(pair, cost=numpy.where(pair.cost < penalty, pair.cost, numpy.inf)) for pair in known.pairs)
    return replace(known, pairs=pairs), rows


def _budgeted(problem: Problem) -> bool:
    return any(stage.budget is not None for stage in problem.stages)


def _quickest_alone(problem: Problem) -> Answer | None:
    """Tasks that have nothing to do with each other: all end when the slowest of them must; until then the cheapest will do."""
    import numpy

    least = max((float((variable.hours + variable.moves).min()) for variable in problem.variables), default=0.0)
    values = [int(variable.cost.argmin()) for variable in problem.variables]
    for stage in problem.stages:
        limit = least if stage.deadline is None else min(least, stage.deadline)
        for index in stage.variables:
            variable = problem.variables[index]
            soon: NDArray[Any] = variable.hours + variable.moves <= limit
            if not soon.any():
                return None
            values[index] = int(numpy.where(soon, variable.cost, numpy.inf).argmin())
    found = tuple(values)
    hours = max(finish_hours(problem, found), default=0.0)
    return Answer(values=found, value=hours, bound=hours, optimal=True, method="independent")


def _best(problem: Problem, program: Program, goal: Any, *, known: bool = False) -> Answer | None:
    """The program's best solution that keeps all limits by the problem's own arithmetic: a solver works within tolerances.

    known: there is a solution already, and the program may come to nothing. None with `program.undecided` proves nothing.
    """
    for _ in range(REFUSALS):
        answer = program.minimize(goal)
        if answer is None:
            break
        if cost_of(problem, answer.values) < float("inf") and allowed(problem, answer.values):
            return answer
        program.exclude(answer.values)
    else:
        # Nothing but what the solver's tolerance lets through: there may be more behind it.
        program.undecided = True
    if program.undecided and not known:
        # Nothing was found and nothing is proven: this is no "nothing satisfies".
        raise SkycError(
            error(
                "no-answer-in-time",
                "No placement was found in time",
                "The limits on money and time leave a problem that the solver could not finish. There may be a placement.",
                hint="loosen a `deadline` or `budget`, or narrow the places and machines that tasks may use",
            )
        )
    return None
