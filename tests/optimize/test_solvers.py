"""The integer program when something is missing: HiGHS, or time. And silence: a solver prints nothing of its own."""

import itertools
import sys
from dataclasses import replace
from random import Random

import numpy
import pulp
import pytest
from hypothesis import given
from tests.optimize.test_brute_force import RANDOM, examples
from tests.optimize.test_cases import D, ask, group, kind, offer, part, place, task
from tests.optimize.test_problems import ATLAS, agree, cheapest, few, problem

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Catalog, Objective
from skyc.compiler.optimize import program as programs
from skyc.compiler.optimize.decide import _programmed as programmed
from skyc.compiler.optimize.decide import decide
from skyc.compiler.optimize.problem import Answer, Pair, Problem, Variable
from skyc.compiler.optimize.program import Program


@pytest.fixture
def no_highs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pulp, "HiGHS")


@pytest.mark.usefixtures("no_highs")
@given(rng=RANDOM)
@examples(5)
def test_cbc_answers_alike(rng: Random) -> None:
    made = problem(rng)
    if few(made):
        program = Program(made, ATLAS, timed=False)
        agree(made, program.minimize(program.cost), cheapest(made))


def hard(count: int, size: int) -> Problem:
    """Every pair of values has its own price, so that bounds are weak and the search is long."""
    rng = numpy.random.default_rng(7)
    places = [ATLAS.region_place(region) for region in range(len(ATLAS.regions))]
    variables = tuple(
        Variable(
            name=f"v{number}",
            place=numpy.array([places[i % len(places)] for i in range(size)], dtype=numpy.int32),
            cost=numpy.zeros(size),
            worst=numpy.zeros(size),
            hours=numpy.zeros(size),
            moves=numpy.zeros(size),
            row=numpy.arange(size),
            rank=numpy.zeros(size, dtype=numpy.int32),
            region=numpy.zeros(size, dtype=numpy.int32),
            use=numpy.zeros((size, 0), dtype=numpy.int64),
        )
        for number in range(count)
    )
    pairs = tuple(
        Pair(
            first=first,
            second=second,
            cost=numpy.floor(rng.random((size, size)) * 1e12),
            hours=numpy.zeros((size, size)),
        )
        for first, second in itertools.combinations(range(count), 2)
    )
    return Problem(variables=variables, pairs=pairs, stages=())


@pytest.mark.parametrize("highs", [True, False])
def test_out_of_time(highs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best solution so far, with a bound that no solution is below. Without any, nothing is claimed."""
    if not highs:
        monkeypatch.delattr(pulp, "HiGHS")
    monkeypatch.setattr(programs, "SECONDS", 0.3)
    made = hard(9, 6)
    program = Program(made, ATLAS, timed=False)
    answer = program.minimize(program.cost)
    best = decide(made, ATLAS, Objective.COST)
    assert best is not None
    if answer is not None:
        assert not answer.optimal
        assert answer.bound <= answer.value
        assert answer.bound <= best.value


def test_a_known_solution_outlives_a_program_that_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made = hard(6, 4)
    best = decide(made, ATLAS, Objective.COST)
    monkeypatch.setattr(sys.modules[decide.__module__], "solve", lambda problem: None)
    monkeypatch.setattr(Program, "minimize", lambda self, goal: None)
    answer = decide(made, ATLAS, Objective.COST)
    assert best is not None
    assert answer is not None
    assert answer.optimal == (answer.method == "dual ascent" and answer.bound == answer.value)
    assert answer.bound <= best.value <= answer.value


def test_what_only_tolerance_lets_through_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose solutions were all refused has not shown that there is none."""
    made = hard(4, 3)
    best = decide(made, ATLAS, Objective.COST)
    assert best is not None
    module = sys.modules[decide.__module__]
    monkeypatch.setattr(module, "allowed", lambda problem, values: False)
    monkeypatch.setattr(module, "REFUSALS", 1)
    known = replace(best, optimal=False, bound=best.value / 2)
    answer = programmed(made, ATLAS, known, known.bound)
    assert answer == known
    with pytest.raises(SkycError) as caught:
        programmed(made, ATLAS, None, 0.0)
    assert caught.value.diagnostics[0].slug == "no-answer-in-time"


def test_solvers_are_silent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = hard(4, 3)
    for _ in range(2):
        program = Program(made, ATLAS, timed=False)
        assert program.minimize(program.cost) is not None
        monkeypatch.delattr(pulp, "HiGHS", raising=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bound", [float("-inf"), 0.0, 5e8])
def test_a_plan_says_when_time_ran_out(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, bound and gap of an answer that is not proven, also when the solver had no bound yet."""
    row = kind("one")
    catalog = Catalog(parts=(part("aa", (row, offer(row, "2"))),))
    unproven = Answer(values=(0,), value=2e9, bound=bound, optimal=False, method="integer program")
    monkeypatch.setattr("skyc.compiler.optimize.decide", lambda problem, atlas, objective: unproven)
    for objective in Objective:
        plan = place(catalog, task(group(ask())), objective=objective)
        assert plan.status == "feasible"
        assert D(0) <= plan.proof.bound <= plan.proof.value
        assert plan.proof.gap <= 1
