"""What stands in a report, in which words, and where."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.report.plans import AFTER, BEFORE, BROKEN, CHANGES, POLICIES, SECRET, change, known, placed, placement, report, site

from skyc.compiler.buckets import Bucket
from skyc.compiler.diagnostics import SourceFile, error
from skyc.compiler.ir import (
    Action,
    FrozenMap,
    JobAction,
    JobPlan,
    Location,
    Market,
    PolicyEffect,
    PolicyResult,
    SpecPath,
    Storage,
    TaskId,
)
from skyc.compiler.parse import parse
from skyc.compiler.report import COMMENT_BYTES, build, comment, compose, environment_of, render_html, render_json, render_text
from skyc.compiler.report.model import RejectionRow, Tone
from skyc.compiler.report.money import Sum, difference, money, rate, signed, sum_of, unit_price
from skyc.compiler.report.placement import fallback_rows
from skyc.compiler.resolve import EnvOverrides, resolve

DENIED = PolicyResult(
    rule="budget",
    effect=PolicyEffect.DENY,
    met=False,
    message="A run may cost $40.00, and this one costs $43.78.",
    source="policy.yaml:3",
    origin=SpecPath(("budget",)),
)


def text(**more: Any) -> str:
    return render_text(compose(report(**more)))


def lines(**more: Any) -> list[str]:
    return [line.strip() for line in text(**more).splitlines()]


# Money


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("1234.5", "$1,234.50"),
        ("0.005", "$0.005"),
        ("0.00414", "$0.0041"),
        ("0.125", "$0.12"),
        ("0.135", "$0.14"),
        ("-2.5", "−$2.50"),
    ],
)
def test_money_is_rounded_half_to_even_and_never_to_nothing(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_a_sum_with_an_unknown_part_is_at_least_the_rest() -> None:
    assert str(sum_of([Decimal(1), None])) == "≥ $1.00"
    assert str(sum_of([None])) == "?"
    assert str(sum_of([])) == "$0.00"
    assert sum_of([Decimal(1), Decimal("1.23456")]).monthly == "$1,631"
    assert [sum_of([Decimal(1), None]).rate, sum_of([None]).rate, sum_of([None]).monthly] == ["≥ $1.00", "?", "?"]
    assert [sum_of([Decimal("0.1"), None]).monthly, sum_of([]).monthly] == ["≥ $73.00", "$0.00"]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.2", "$0.20"),
        ("1.24505", "$1.245"),
        ("0.23434", "$0.2343"),
        ("12.3456", "$12.35"),
        ("0.005", "$0.005"),
    ],
)
def test_a_rate_can_be_multiplied(amount: str, shown: str) -> None:
    assert rate(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("price", "quantity", "shown"),
    [
        ("1.212", "4", "$1.212"),
        ("1.12478", "36", "$1.1248"),
        ("0.0280547945", "1", "$0.0281"),
        ("0.0025", "18", "$0.0025"),
        ("0.005", "1", "$0.005"),
        ("0", "9", "$0.00"),
    ],
)
def test_a_unit_price_times_its_quantity_is_the_amount_beside_it(price: str, quantity: str, shown: str) -> None:
    amount = Decimal(price) * Decimal(quantity)
    assert unit_price(Decimal(price), Decimal(quantity), amount) == shown
    assert money(Decimal(shown.removeprefix("$")) * Decimal(quantity)) == money(amount)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("50.67", "43.79", "−$6.88, −14 %"),
        ("1", "3", "+$2.00, +200 %"),
        ("0", "3", "+$3.00"),
        ("5", "5", "unchanged"),
        ("1000", "1000.01", "+$0.01, below 1 %"),
    ],
)
def test_a_difference(before: str, after: str, said: str) -> None:
    assert difference(Sum(known=Decimal(before)), Sum(known=Decimal(after))) == said
    assert difference(Sum(known=Decimal(before), whole=False), Sum(known=Decimal(after))) == ""
    assert signed(Decimal("-1")) == "−$1.00"


def test_the_price_line() -> None:
    assert lines()[2] == "$50.64 → $43.78 per run (−$6.86, −14 %) · $1.832/h · 18 h"
    assert lines(before=None)[2] == "$43.78 per run · $1.832/h · 18 h"
    assert lines(before=AFTER)[2] == "$43.78 per run (unchanged) · $1.832/h · 18 h"
    # What the machines chosen take, whatever other ones would.
    assert lines(before=None, hours=Decimal(99))[2].endswith("· 18 h")
    two = placement(placed("p/r", "small", "1", hours="2", task="prep"), placed("p/r", "big", "1", hours="4", task="train"))
    assert lines(placement=two, before=None)[2] == "$6.70 per run · $2.232/h"
    assert lines(placement=replace(two, notes=FrozenMap({"prep.hours": "assumed"})), before=None)[2].endswith(
        "/h · hours assumed"
    )
    assumed = replace(AFTER, notes=FrozenMap({"train-llama.hours": "assumed"}))
    assert lines(placement=assumed, before=None)[2].endswith("18 h assumed")


def test_an_unknown_price_is_never_nothing() -> None:
    odd = placement(placed("p/r", "odd", None, hours="2"))
    found = lines(placement=odd)
    assert found[2] == "$50.64 → ≥ $0.23 per run · ≥ $0.116/h · 2 h"
    assert "worst case, without spot: ≥ $0.23" not in found
    (row,) = [line for line in found if line.startswith("compute, on-demand")]
    assert row.split()[-3:-1] == ["?", "?"]
    assert any("totals are at least (≥)" in line for line in found)


def test_what_stays_and_what_is_up() -> None:
    def bucket(name: str, *, gb: str | None, persistent: bool = True) -> Bucket:
        size = None if gb is None else Decimal(gb)
        storage = Storage(name=name, origin=SpecPath(), uri=f"s3://{name}", size_gb=size, persistent=persistent)
        return Bucket(storage=storage, location=Location(provider="p", region="r"), gb_month=Decimal("0.02"))

    found = lines(buckets=(bucket("a", gb="100"), bucket("b", gb="50"), bucket("c", gb="900", persistent=False)))
    assert "kept after a destroy: $3.00 a month" in found
    assert "up after the run, until it is destroyed: $1.832/h ($1,337 a month)" in found
    assert "kept after a destroy: ≥ $2.00 a month" in lines(buckets=(bucket("a", gb="100"), bucket("b", gb=None)))
    free = placement(placed("local/local", "this", "0", hours="1"))
    free = replace(free, placements=tuple(replace(p, lines=p.lines[:1]) for p in free.placements), total=Decimal(0))
    assert not [line for line in lines(placement=free, before=None) if line.startswith(("up after", "kept"))]


# Placement


def test_now_and_after_says_only_what_differs() -> None:
    same_place = placement(placed("aws/us-east-1/use1-az1", "g5.2xlarge", "1.15", hours="20"))
    found = text(placement=same_place)
    assert "Nodes" in found and "Run, expected" in found
    assert "Where" not in found and "Market" not in found
    assert "now" not in text(placement=BEFORE).replace("known", "")


def test_several_groups_are_a_row_each() -> None:
    def plan(price: str) -> Any:
        return placement(
            placed("p/r", "small", "0.10", hours="1", task="prep"),
            placed("p/r", "big", price, hours="1", task="train", market=Market.SPOT),
        )

    found = text(placement=plan("2"), before=plan("1"))
    assert "train          1× big spot at p/r, $1.116/h  1× big spot at p/r, $2.116/h" in found
    assert "  prep: p/r · small" in found
    gone = text(placement=placement(placed("p/r", "small", "0.10", hours="1", task="prep")), before=plan("1"))
    assert "  train: goes\n" in gone


def test_a_long_file_leaves_the_first_screen_to_what_matters() -> None:
    """Sixty tasks: six lines of each kind above, all of them below, those that move first; and it fits."""
    tasks = [f"task-{n:03}" for n in range(60)]

    def plan(price: str) -> Any:
        dear = [
            placed("p/r", "big" if n == 59 else "small", price if n == 59 else "1", hours="1", task=t)
            for n, t in enumerate(tasks)
        ]
        return placement(*(replace(item, market=Market.SPOT) for item in dear))

    jobs = tuple(JobPlan(task=TaskId(t), action=JobAction.RUN, run=1, detail="first run") for t in tasks)
    found = comment(report(placement=plan("2"), before=plan("1"), jobs=jobs, environment="production")).splitlines()
    top = found[: next(n for n, line in enumerate(found) if line.startswith("<details>"))]
    assert len(top) < 50
    assert "and 54 more places, below  " in found and "and 54 more jobs, below" in found
    assert any("task-059" in line for line in top)
    (fold,) = [n for n, line in enumerate(found) if "All places, data and jobs · 120" in line]
    below = "\n".join(found[fold:])
    assert all(f"{t}: p/r" in below and f"job {t} runs" in below for t in tasks)
    assert sum("spot machines in production" in line for line in found) == 1
    assert any("`task-000`, `task-001`, `task-002`, and 57 more can lose them" in line for line in top)


def test_a_thousand_tasks_fit() -> None:
    plan = placement(*(placed("p/r", "small", "1", hours="1", task=f"a-task-with-a-longer-name-{n}") for n in range(1000)))
    assert len(comment(report(placement=plan, before=None)).encode()) <= COMMENT_BYTES


def test_a_fallback_costs_what_the_choice_would_there() -> None:
    """Its disk and address counted too, so that the two rates can be compared."""
    same = placed("p/r/b", "small", "1.15", hours="1")
    (row,) = fallback_rows(placement(placed("p/r/a", "small", "1.15", hours="1"), fallbacks=(same,)))
    assert (row.hourly, row.worst) == ("$1.266", "")
    spot = replace(same, market=Market.SPOT, worst_hourly=Decimal(2))
    (row,) = fallback_rows(placement(placed("p/r/a", "small", "1.15", hours="1"), fallbacks=(spot,)))
    assert (row.hourly, row.worst) == ("$1.266", "$2.116")


def test_a_plan_of_no_task_file_names_no_command() -> None:
    assert "skyc apply" in text(task_file="a b.yaml")
    assert "skyc apply" not in text(task_file="")


@pytest.mark.parametrize(
    ("path", "value", "environment"),
    [
        ("tags.env", '"prod"', "production"),
        ('labels["environment"]', '"staging"', "staging"),
        ("tags", '["skyc-site:x","env:prd"]', "production"),
        ("tag_specifications.0.tags.env", '"prod"', ""),
        ("tags.env", None, ""),
    ],
)
def test_what_is_destroyed_says_what_it_was_for(path: str, value: str | None, environment: str) -> None:
    gone = site(change(Action.DELETE, "cloud_machine.head", known(path, value, None)))
    assert report(changes=(gone,), destroying=True, placement=None, environment="").environment == environment
    assert report(changes=(gone,), environment="").environment == ""


def test_worst_case_is_said_where_it_is_another() -> None:
    assert "  worst case, without spot: $86.99\n" in text()
    assert "worst case" not in text(placement=BEFORE, before=None)


# What cannot be applied


def test_a_denial_is_said_once_and_before_what_can_be_approved() -> None:
    """As an error it comes with its lines; a rule that no error tells of is said by itself."""
    told = error(
        "policy-denied", "A rule forbids this plan", f"Rule `budget`: {DENIED.message}\npolicy.yaml:3: max: {{per_run: $40}}"
    )
    waits = replace(DENIED, rule="ask", effect=PolicyEffect.APPROVE)
    top = [line for line in lines(diagnostics=(told,), policies=(waits, DENIED)) if line.startswith("! ")]
    assert sum(DENIED.message in line for line in top) == 2
    assert any("policy.yaml:3: max" in line for line in top) and not any("denied by" in line for line in top)
    silent = [line for line in lines(policies=(waits, DENIED)) if line.startswith("! ")]
    assert [line.split(":")[0] for line in silent[:2]] == ["! denied by budget", "! needs an approval for ask"]


def test_errors_and_denials_stand_on_top() -> None:
    made = report(diagnostics=BROKEN, policies=(DENIED, *POLICIES), changes=(site(*CHANGES, errored=True),))
    assert made.tone is Tone.FAILED
    found = comment(made).splitlines()
    top = found[3 : found.index("", 3)]
    assert top == [
        "> [!CAUTION]",
        "> **Terraform could not finish this plan. What it lists is a part, and it cannot be applied.**  ",
        "> unfinished: `train-llama.gcp-us-central1`  ",
        "> **error\\[quota-too-small\\]: A quota is too small**  ",
        "> There are 4 GPUs, and 8 are asked for.  ",
        "> **denied by** `budget`: A run may cost $40.00, and this one costs $43.78. · policy.yaml:3 · hits budget",
    ]
    assert not any("skyc apply" in line for line in found), "there is nothing to apply"


def test_a_plan_that_waits_for_an_approval_says_so_and_can_be_applied_then() -> None:
    waiting = replace(DENIED, effect=PolicyEffect.APPROVE)
    found = comment(report(policies=(waiting,)))
    assert "> **needs an approval for** `budget`: A run may cost" in found
    assert "Policies: 0 pass · 1 to approve (`budget`)" in found
    assert "`skyc apply task.yaml --plan 29b12832831e0c17`" in found
    approved = comment(report(policies=(replace(waiting, approved="ann"),)))
    assert "needs an approval" not in approved and "approved by ann" in approved


def test_an_incomplete_plan_says_that_another_follows() -> None:
    made = report(changes=(site(*CHANGES, complete=False),))
    assert made.tone is Tone.CAUTION
    assert "! This plan is incomplete: after it is applied, another one is needed." in render_text(compose(made))


@pytest.mark.parametrize(
    ("more", "tone"),
    [
        ({"changes": (site(),), "environment": ""}, Tone.QUIET),
        ({"changes": (site(change(Action.UPDATE, "x.y", known("a", "1", "2"))),), "environment": ""}, Tone.CALM),
        ({"changes": (site(change(Action.DELETE, "x.y")),)}, Tone.CAUTION),
        ({"changes": (), "environment": ""}, Tone.CALM),
        ({"diagnostics": BROKEN}, Tone.FAILED),
        ({"policies": (DENIED,)}, Tone.FAILED),
        ({"policies": (replace(DENIED, effect=PolicyEffect.APPROVE),), "environment": ""}, Tone.CAUTION),
    ],
)
def test_the_tone(more: dict[str, Any], tone: Tone) -> None:
    assert report(**{"policies": (), "diagnostics": (), **more}).tone is tone


# Resources


def test_addresses_that_two_sites_have_are_told_apart() -> None:
    both = change(Action.DELETE, "cloud_machine.main-0")
    alone = change(Action.DELETE, "cloud_rule.a")
    found = lines(changes=(site(both, name="prep.p-r"), site(both, alone, name="train.p-r")))
    assert [line for line in found if line.startswith("- ")] == [
        "- cloud_rule.a",
        "- prep.p-r cloud_machine.main-0",
        "- train.p-r cloud_machine.main-0",
    ]


def test_long_values_are_shown_where_they_differ() -> None:
    same = "x" * 200
    found = text(changes=(site(change(Action.UPDATE, "a.b", known("text", f'"{same}old"', f'"{same}new"'))),))
    assert f'      text …{"x" * 12}old" → …{"x" * 12}new"\n' in found


def test_nothing_of_a_secret_is_in_any_form() -> None:
    """A change set keeps no text of a secret; even if one did, a report would not show it."""
    leaked = replace(SECRET, before='"hunter1"', after='"hunter2"')
    forced = replace(leaked, forces_replacement=True)
    changes = (
        change(Action.UPDATE, "cloud_role.a", leaked, replace(leaked, path="policy")),
        change(Action.REPLACE, "a.b", forced),
    )
    made = report(changes=(site(*changes, drift=changes),))
    assert "token ‹secret, changed›" in comment(made)
    for form in (render_text(compose(made)), comment(made), render_html(compose(made)), render_json(made)):
        assert "hunter" not in form


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\\nhunter2\\n-----END OPENSSH PRIVATE KEY-----\\n"


def test_a_key_within_a_longer_text_is_in_no_form() -> None:
    other = KEY.replace("hunter2", "hunter3")
    made = report(
        changes=(
            site(
                change(Action.CREATE, "a.new", known("script", None, f'"boot {KEY}"')),
                change(Action.UPDATE, "a.text", known("script", f'"one {KEY}"', f'"two {KEY}"')),
                change(Action.UPDATE, "a.key", known("script", f'"one {KEY}"', f'"one {other}"')),
                # Cut off by somebody: the rest of it is a key all the same.
                change(Action.UPDATE, "a.cut", known("script", '"one"', f'"one {KEY[:50]}"')),
            ),
        )
    )
    found = render_text(compose(made))
    assert '      script "boot ‹private key›\\n"\n' in found
    assert "      script ‹secret, changed›\n" in found
    for form in (found, comment(made), render_html(compose(made)), render_json(made)):
        assert "hunter" not in form and "one ‹private key›" in form


def test_what_is_left_out_of_several_tasks_for_one_reason_is_said_once() -> None:
    made = report()
    row = RejectionRow(task="a", group="main", count=7, reason="other-place", detail="The task asks for aws.")
    rows = (row, replace(row, task="b"), replace(row, task="c", count=8))
    found = render_text(compose(replace(made, rejections=rows)))
    assert found.count("7 offers left out: the task asks for aws.") == 1 and "8 offers left out" in found
    assert len(json.loads(render_json(replace(made, rejections=rows)))["left_out"]) == 3


def test_a_destroy_says_what_it_ends() -> None:
    found = render_text(compose(report(placement=None, destroying=True)))
    assert "  this ends $1.266/h ($924 a month), paid while all of it runs\n" in found
    assert json.loads(render_json(report(placement=None, destroying=True)))["cost"]["hourly_ending"] == "$1.266"
    assert "this ends" not in render_text(compose(report(placement=None)))
    # Nothing is left of it, or buckets alone.
    for changes in ((), (site(),), (site(change(Action.DELETE, "aws_s3_bucket.data"), name="_storage.aws-us-east-1"),)):
        assert "this ends" not in render_text(compose(report(placement=None, destroying=True, changes=changes)))


def test_a_destroy_has_no_price_and_no_command() -> None:
    made = build(
        deployment="d",
        placement=None,
        changes=(site(change(Action.DELETE, "skyc_node.main-0")),),
        jobs=(),
        hours=Decimal(1),
        destroying=True,
        kept=("out at s3://x · $0.023 per GB and month",),
    )
    assert render_text(compose(made)) == (
        "skyc destroy · d\n\n  0 to add · 0 to change · 1 to destroy\n\n! destroys skyc_node.main-0\n\n"
        "  stays: out at s3://x · $0.023 per GB and month\n\n  Resource diff · 1:\n  - skyc_node.main-0\n"
    )


# Environment


@pytest.mark.parametrize(
    ("task", "deployment", "environment"),
    [
        ("resources: {labels: {env: prod}}", "d", "production"),
        ("resources: {labels: {environment: Production}}", "d", "production"),
        ("resources: {labels: {env: staging}}\nenvs: {ENV: prod}", "d", "production"),
        ("envs: {ENVIRONMENT: prd}", "d", "production"),
        ("envs: {ENV: staging}", "d", "staging"),
        ("resources: {labels: {env: staging}}", "train-prod", "staging"),
        ("resources: {}", "train-prod", "production"),
        ("resources: {}", "product-prodigy", ""),
    ],
)
def test_what_is_for_production(task: str, deployment: str, environment: str, tmp_path: Any) -> None:
    spec, sources, _ = parse(SourceFile(path="t.yaml", text=f"{task}\nrun: x\n"))
    assert spec is not None
    made, _ = resolve(spec, sources, stem="t", directory=tmp_path, overrides=EnvOverrides.of())
    assert made is not None
    assert environment_of(made.graph, deployment) == environment
