"""What holds for all policies: order means nothing, rules only take away, a cent decides, and the filter agrees with the check."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.filetests.stage_runners import MACHINES

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import SourceFile, SourceMap, Span
from skyc.compiler.failover import Refused, choice_of, envelope, next_placement
from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    GroupName,
    Market,
    PlacementPlan,
    PolicyEffect,
    SpecPath,
    TaskGraph,
    TaskId,
)
from skyc.compiler.ir.restriction import UNRESTRICTED, Bar, Restriction, matches
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.policy.amounts import envelopes_of, hourly, per_run, worst_hourly
from skyc.compiler.policy.evaluate import PolicyInput, evaluate
from skyc.compiler.policy.rules import Allow, Check, Forbid, Max, Policy, PolicySet, Require, Rule, Selector, Thing
from skyc.compiler.policy.scope import holds_for, restriction_of
from skyc.compiler.policy.trim import trimmed
from skyc.compiler.resolve import EnvOverrides, resolve

D = Decimal
HERE = DeploymentId("props")
CATALOG = MACHINES["owned"]
TASKS = """\
name: one
hours: 3
resources: {cpus: 4+, market: auto, labels: {team: vision}}
run: a
---
name: two
num_nodes: 2
budget: 40
resources: {cpus: 4+}
run: b
---
name: three
checkpoint: {path: ckpt}
resources:
  any_of:
    - {infra: rented, cpus: 4, use_spot: true, labels: {env: prod}}
    - {infra: rented/south, accelerators: "T4:1", labels: {env: dev}}
run: c
"""
SOURCE = SourceMap(SourceFile(path="tasks.yaml", text=TASKS))
OF_OFFERS = {Thing.SPOT, Thing.SPOT_WITHOUT_CHECKPOINT, Thing.UNKNOWN_PRICE}
"""Things that an offer alone tells."""
SPAN = Span(file="policy.yaml", line=1, column=1, end_line=1, end_column=2)
SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@cache
def graph() -> TaskGraph:
    spec, sources, _ = parse(SourceFile(path="tasks.yaml", text=TASKS))
    assert spec is not None
    resolved, said = resolve(spec, sources, stem="tasks", directory=Path("/"), overrides=EnvOverrides.of())
    assert resolved is not None, said
    return resolved.graph


@cache
def placed(policies: PolicySet) -> PlacementPlan | None:
    """The best allowed placement, its envelope within the limits; None when nothing is left."""
    restrictions = {task.id: restriction_of(policies, task, HERE) for task in graph().tasks}
    found, said = candidates(graph(), CATALOG, SOURCE, None, restrictions)
    if said:
        return None
    plan, _ = optimize(graph(), found, SOURCE)
    return None if plan is None else trimmed(plan, policies, graph(), HERE)


def held(plan: PlacementPlan) -> PolicyInput:
    return PolicyInput(deployment=HERE, graph=graph(), placement=plan)


def a_set(*checks: Check | tuple[Check, PolicyEffect, Selector]) -> PolicySet:
    rules = []
    for number, row in enumerate(checks):
        check, effect, when = row if isinstance(row, tuple) else (row, PolicyEffect.DENY, Selector())
        rules.append(Rule(name=f"rule-{number}", check=check, effect=effect, when=when, span=SPAN, origin=SpecPath()))
    return PolicySet(policies=(Policy(source=SOURCE.source, rules=tuple(rules)),))


REGIONS = st.lists(st.sampled_from(["north", "south", "!south", "*", "owned", "o*"]), min_size=1, max_size=2).map(tuple)
CLOUDS = st.lists(st.sampled_from(["rented", "owned", "!owned", "r*"]), min_size=1, max_size=2).map(tuple)
NAMES = st.lists(st.sampled_from(["small", "large", "gpu", "!gpu", "big", "s*"]), min_size=1, max_size=2).map(tuple)
DOLLARS = st.decimals(0, 20, places=2)
CHECKS: st.SearchStrategy[Check] = st.one_of(
    st.builds(Allow, regions=REGIONS),
    st.builds(Allow, clouds=CLOUDS, machines=st.none() | NAMES),
    st.builds(Allow, accelerators=st.sampled_from([("!T4",), ("T4",), ("A10G",)])),
    st.builds(Forbid, things=st.lists(st.sampled_from(Thing), min_size=1, max_size=2, unique=True).map(tuple)),
    st.builds(Max, per_run=DOLLARS),
    st.builds(Max, hourly=DOLLARS, per_run=st.none() | DOLLARS),
    st.builds(Max, nodes=st.integers(1, 5), hours=st.none() | st.decimals(0, 6, places=1)),
    st.builds(Require, labels=st.sampled_from([FrozenMap({"team": ()}), FrozenMap({"env": ("prod", "de*")})])),
    st.builds(Require, fields=st.sampled_from([("budget",), ("checkpoint", "hours")])),
)
WHEN = st.sampled_from(
    [
        Selector(),
        Selector(tasks=("t*",)),
        Selector(labels=FrozenMap({"env": ("prod",)})),
        Selector(deployments=("!props",)),
    ]
)
ROWS = st.tuples(CHECKS, st.sampled_from(PolicyEffect), WHEN)
POLICIES = st.lists(ROWS, max_size=4).map(lambda rows: a_set(*rows))


@SETTINGS
@given(POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_rules_changes_nothing(policies: PolicySet, random: object) -> None:
    plan = placed(policies)
    rules = list(policies.rules)
    random.shuffle(rules)  # type: ignore[attr-defined]
    shuffled = PolicySet(policies=tuple(Policy(source=SOURCE.source, rules=(rule,)) for rule in rules))
    again = placed(shuffled)
    assert policies.digest == shuffled.digest
    assert (plan is None) == (again is None)
    if plan is not None and again is not None:
        assert replace(plan, rejections=(), notes=FrozenMap()) == replace(again, rejections=(), notes=FrozenMap())
        assert evaluate(policies, held(plan)) == evaluate(shuffled, held(again))


@SETTINGS
@given(POLICIES, ROWS)
def test_another_rule_never_loosens(policies: PolicySet, row: tuple[Check, PolicyEffect, Selector]) -> None:
    """Whatever is not met stays so, and what may run where does not grow."""
    (more,) = a_set(row).rules
    more = replace(more, name="another")
    both = PolicySet(policies=(*policies.policies, Policy(source=SOURCE.source, rules=(more,))))
    plan = placed(a_set())
    assert plan is not None
    assert set(evaluate(policies, held(plan))) <= set(evaluate(both, held(plan)))
    assert set(trimmed(plan, both, graph(), HERE).fallbacks) <= set(trimmed(plan, policies, graph(), HERE).fallbacks)
    for task in graph().tasks:
        bars, others = (restriction_of(found, task, HERE).bars for found in (policies, both))
        assert set(bars) <= set(others)


@SETTINGS
@given(POLICIES)
def test_the_filter_and_the_check_agree(policies: PolicySet) -> None:
    """What is chosen under rules that restrict meets them, the whole envelope does, and a limit that the choice keeps holds for it."""
    plan = placed(policies)
    if plan is None:
        return
    results = evaluate(policies, held(plan))
    without = {(row.rule, row.met) for row in evaluate(policies, held(replace(plan, fallbacks=())))}
    for rule in policies.rules:
        broken = [row for row in results if row.rule == rule.name and not row.met and row.effect is rule.effect]
        of_offers = isinstance(rule.check, Forbid) and set(rule.check.things) <= OF_OFFERS
        if rule.effect is PolicyEffect.DENY and (isinstance(rule.check, Allow) or of_offers):
            assert not broken, broken
        if rule.effect is not PolicyEffect.WARN and isinstance(rule.check, Max) and (rule.name, False) not in without:
            assert not broken, (rule, broken)


@SETTINGS
@given(POLICIES)
def test_failover_stays_within_the_rules(policies: PolicySet) -> None:
    """Every placement that failover would try, one refused after the other, meets the rules that deny."""
    plan = placed(policies)
    if plan is None:
        return
    for task in graph().tasks:
        restriction = restriction_of(policies, task, HERE)
        group = task.groups[0].name
        refused = [Refused(placement=choice_of(plan, task.id, group))]
        while (item := next_placement(plan, task.id, group, refused)) is not None:
            devices = tuple(device.name for device in item.shape.accelerators)
            assert restriction.place(item.provider, item.region, item.zone)
            assert restriction.machine(item.instance_type, devices)
            refused.append(Refused(placement=item))


@SETTINGS
@given(st.sampled_from(["per_run", "hourly"]), st.sampled_from([None, "one", "two", "three"]), st.booleans())
def test_a_cent_decides(field: str, name: str | None, alone: bool) -> None:
    plan = placed(a_set())
    assert plan is not None
    if alone:
        plan = replace(plan, fallbacks=())
    tasks = tuple(task for task in graph().tasks if name in (None, task.id))
    envelopes = envelopes_of(plan)
    exact = (
        per_run(plan, envelopes, tasks, everything=name is None)
        if field == "per_run"
        else hourly(envelopes, [task.id for task in tasks])
    )
    assert exact is not None
    when = Selector(tasks=() if name is None else (name,))
    for limit, met in ((exact, True), (exact - D("0.000001"), False), (exact + D("0.01"), True)):
        check = Max(per_run=limit) if field == "per_run" else Max(hourly=limit)
        rows = [row for row in evaluate(a_set((check, PolicyEffect.DENY, when)), held(plan)) if row.rule == "rule-0"]
        assert [row.met for row in rows] == [met], rows
        # A limit is never quoted beside an amount that reads the same.
        assert met or f"${limit.normalize():f}." not in rows[0].message.split(";")[0]


def test_counts_decide_by_one() -> None:
    plan = placed(a_set())
    assert plan is not None
    nodes = sum(item.num_nodes for item in plan.placements)
    longest = max(item.hours for item in (*plan.placements, *plan.fallbacks) if item.task == "one")
    one = Selector(tasks=("one",))
    for check, met in (
        (Max(nodes=nodes), True),
        (Max(nodes=nodes - 1), False),
        (Max(hours=longest), True),
        (Max(hours=longest - D("0.01")), False),
    ):
        when = Selector() if check.nodes is not None else one
        found = [row.met for row in evaluate(a_set((check, PolicyEffect.DENY, when)), held(plan)) if row.rule == "rule-0"]
        assert found == [met], check


def test_a_restriction_counts_each_offer_once() -> None:
    """A rule about places and one about machines exclude some of the same offers."""
    only = TaskGraph(name="x", tasks=graph().tasks[1:2])
    (task,) = only.tasks
    bars = Restriction(bars=(Bar(rule="a", source="p:1", regions=("south",)), Bar(rule="b", source="p:2", machines=("small",))))
    found, _ = candidates(only, CATALOG, SOURCE, None, {task.id: bars})
    against = next(row for row in found.rejections if row.reason == "against-policy")
    offers = [
        (part.provider, part.offering(row, market), part.instance_type(int(part.offers.type[row])))
        for part in CATALOG.parts
        for row in range(len(part.offers.type))
        for market in _markets(part.offers.sells_spot)
    ]
    expected = sum(1 for _, offer, kind in offers if offer.region != "south" or kind.name != "small")
    assert against.count == expected
    assert found.restrictions[task.id] == bars
    assert UNRESTRICTED.bars == ()


def _markets(spot: bool) -> tuple[Market, ...]:
    return (Market.ON_DEMAND, Market.SPOT) if spot else (Market.ON_DEMAND,)


def test_patterns() -> None:
    assert matches(("eu-*",), "eu-west-1")
    assert not matches(("eu-*",), "us-east-1")
    assert matches(("!eu-*",), "us-east-1")
    assert not matches(("*", "!eu-north-1"), "eu-north-1")
    assert not matches(("EU-*",), "eu-west-1")
    assert matches((), "anything")


def test_the_envelope_is_read_in_one_pass_as_failover_reads_it() -> None:
    plan = placed(a_set())
    assert plan is not None
    assert envelopes_of(plan) == {(item.task, item.group): envelope(plan, item.task, item.group) for item in plan.placements}
    assert (TaskId("one"), GroupName("main")) in envelopes_of(plan)


def test_all_groups_at_their_dearest_keep_a_limit_together() -> None:
    """One group's fallback may use up what is left for another's: at every limit between the choice and everything."""
    whole = placed(a_set())
    assert whole is not None
    choice = replace(whole, fallbacks=())
    amounts = [per_run(plan, envelopes_of(plan), graph().tasks, everything=True) for plan in (choice, whole)]
    least, most = (amount for amount in amounts if amount is not None)
    assert least < most
    sizes = []
    for step in range(21):
        policies = a_set(Max(per_run=least + (most - least) * step / 20))
        plan = trimmed(whole, policies, graph(), HERE)
        assert [row.met for row in evaluate(policies, held(plan)) if row.rule == "rule-0"] == [True]
        sizes.append(len(plan.fallbacks))
    # What nobody knows the price of is in no envelope beside a choice with a price.
    known = [item for item in whole.fallbacks if item.hourly is not None]
    assert sizes[0] < sizes[10] < sizes[-1] == len(known), sizes


def test_where_alternatives_differ_the_strict_reading_counts() -> None:
    """Task three has one alternative in prod and one in dev."""
    three = next(task for task in graph().tasks if task.id == "three")
    prod = Selector(labels=FrozenMap({"env": ("prod",)}))
    anything = Selector(labels=FrozenMap({"env": ("prod", "dev")}))
    (rule,) = a_set(Forbid(things=(Thing.SPOT,))).rules
    assert holds_for(replace(rule, when=prod), three, HERE)
    assert holds_for(replace(rule, unless=prod), three, HERE)
    assert not holds_for(replace(rule, unless=anything), three, HERE)
    assert not holds_for(replace(rule, when=Selector(labels=FrozenMap({"env": ("test",)}))), three, HERE)


def test_an_hour_costs_machines_with_what_is_beside_them() -> None:
    text = "resources: {infra: aws/us-east-1/use1-az1, instance_type: m7i.xlarge}\nnum_nodes: 2\nhours: 3\nrun: a\n"
    source = SourceMap(SourceFile(path="task.yaml", text=text))
    spec, _, _ = parse(source.source)
    assert spec is not None
    resolved, _ = resolve(spec, source, stem="task", directory=Path("/"), overrides=EnvOverrides.of())
    assert resolved is not None
    found, _ = candidates(resolved.graph, MACHINES["aws"], source, None, {})
    plan, _ = optimize(resolved.graph, found, source)
    assert plan is not None
    (item,) = plan.placements
    kinds = {line.kind for line in item.lines}
    assert kinds == {"compute", "disk", "address", "gateway"} and item.hourly is not None
    run = sum((line.amount or D(0) for line in item.lines), D(0))
    assert worst_hourly(item) == run / item.hours > item.hourly * item.num_nodes
