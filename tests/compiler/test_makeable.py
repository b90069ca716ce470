"""What is only priced is not chosen where something can be made: the shipped catalog, and no fake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.filetests.stage_runners import ACCESS, PROVIDERS

from skyc.compiler.diagnostics import Severity, SourceFile
from skyc.compiler.ir import DeploymentId, NodeRuntime
from skyc.compiler.optimize.decide import decide
from skyc.compiler.optimize.explain import why_not
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides

TASK = "name: t\nresources: {infra: '*', accelerators: 'A100:8'}\nrun: echo hi\n"


def compiled(home: Path, text: str, *names: str) -> Compilation:
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={name: PROVIDERS[name] for name in names},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: ACCESS,
        ),
        until="lower",
    )


def test_what_can_be_made_is_taken_and_the_difference_is_said(tmp_path: Path) -> None:
    made = compiled(tmp_path, TASK, "aws", "lambda")
    assert made.placement is not None and not made.failed
    (chosen,) = made.placement.placements
    assert (chosen.provider, chosen.instance_type) == ("aws", "p4d.24xlarge")
    (note,) = [found for found in made.diagnostics if found.slug == "better-elsewhere"]
    assert note.severity is Severity.NOTE
    assert "lambda/" in note.detail and "aws/" in note.detail and "infra: lambda" in str(note.hint)
    assert {item.provider for item in made.placement.fallbacks} == {"aws"}


@pytest.mark.parametrize(
    ("text", "names"),
    [(TASK.replace("'*'", "lambda"), ("aws", "lambda")), (TASK, ("lambda",))],
    ids=["asked-for", "nothing-else"],
)
def test_where_it_is_asked_for_or_nothing_else_fits_the_plan_shows_it_and_fails(
    tmp_path: Path, text: str, names: tuple[str, ...]
) -> None:
    made = compiled(tmp_path, text, *names)
    assert made.placement is not None
    assert {item.provider for item in made.placement.placements} == {"lambda"}
    assert [found.slug for found in made.diagnostics if found.severity is Severity.ERROR] == ["cannot-compile-yet"]
    assert not [found for found in made.diagnostics if found.slug == "better-elsewhere"]


def test_a_budget_that_only_a_priced_target_keeps_is_shown_there(tmp_path: Path) -> None:
    dear = compiled(tmp_path, TASK + "budget: 18\n", "aws", "lambda")
    assert dear.placement is not None
    assert {item.provider for item in dear.placement.placements} == {"lambda"}
    assert "cannot-compile-yet" in {found.slug for found in dear.diagnostics}


def test_what_a_target_refuses_to_make_is_taken_elsewhere(tmp_path: Path) -> None:
    text = "name: t\nresources: {accelerators: V100, use_spot: false}\nrun: echo hi\n"
    made = compiled(tmp_path, text, "azure", "gcp")
    assert made.placement is not None and not made.failed
    assert {item.provider for item in (*made.placement.placements, *made.placement.fallbacks)} == {"azure"}
    (note,) = [found for found in made.diagnostics if found.slug == "cannot-be-made"]
    assert note.severity is Severity.NOTE
    assert "gcp/us-central1" in note.detail and "no image with a driver for V100" in note.detail and "azure/" in note.detail
    (left_out,) = [row for row in made.placement.rejections if row.reason == "cannot-be-made"]
    assert left_out.count > 10 and "`gcp`" in left_out.detail
    assert made.candidates is not None
    answers = why_not(made.graph, made.candidates, made.placement, made.sources, "gcp", {}) if made.graph is not None else ()
    assert "cannot-be-made" in {hindrance.reason for hindrance in answers[0].hindrances}


def test_an_image_of_ones_own_is_made_where_it_is_cheapest(tmp_path: Path) -> None:
    text = "name: t\nresources: {accelerators: V100, image_id: projects/mine/global/images/volta}\nrun: echo hi\n"
    made = compiled(tmp_path, text, "azure", "gcp")
    assert made.placement is not None and not made.failed
    assert made.placement.placements[0].provider == "gcp"


def test_where_nothing_else_is_left_the_refusal_is_the_error(tmp_path: Path) -> None:
    made = compiled(tmp_path, "name: t\nresources: {infra: gcp, accelerators: V100}\nrun: echo hi\n", "azure", "gcp")
    assert made.placement is not None
    assert made.placement.placements[0].provider == "gcp"
    (wrong,) = [found for found in made.diagnostics if found.severity is Severity.ERROR]
    assert wrong.slug == "unsupported-here" and "V100" in wrong.detail
    assert "cannot-be-made" not in {found.slug for found in made.diagnostics}


def test_only_the_market_that_is_refused_is_left_out(tmp_path: Path) -> None:
    """Azure has no burstable machines as spot ones; on demand they stay."""
    text = "name: t\nresources: {infra: azure/eastus, instance_type: Standard_B2s, use_spot: SPOT}\nrun: echo hi\n"
    spot, both = (compiled(tmp_path, text.replace("SPOT", word), "azure") for word in ("true", "null"))
    assert {found.slug for found in spot.diagnostics if found.severity is Severity.ERROR}
    assert both.placement is not None and not both.failed


def joined(resources: str, tasks: int = 20, *, first: str = "{cpus: 4+}", more: str = "") -> str:
    """A task that makes data for all others."""
    texts = [f"name: prepare\nresources: {first}\noutputs: {{data: 50}}\nrun: echo hi\n"]
    texts += [
        f"name: t{i}\nneeds: prepare\nresources: {resources}\ninputs: {{data: 50}}\n{more}run: echo hi\n" for i in range(tasks)
    ]
    return "---\n".join(texts)


V100 = "{infra: INFRA, accelerators: V100, use_spot: false}"


def errors(made: Compilation) -> set[str]:
    return {found.slug for found in made.diagnostics if found.severity is Severity.ERROR}


def test_many_joined_tasks_are_chosen_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each would take by itself is asked first: the solver is not run for what nobody could make."""
    runs = []

    def counted(*args: Any, **named: Any) -> Any:
        runs.append(args)
        return decide(*args, **named)

    monkeypatch.setattr("skyc.compiler.optimize.decide", counted)
    made = compiled(tmp_path, joined(V100.replace("INFRA", "'*'")), "azure", "gcp")
    assert made.placement is not None and not made.failed, made.diagnostics
    assert {item.provider for item in made.placement.placements if item.task != "prepare"} == {"azure"}
    assert len(runs) == 1 and "cannot-be-made" in {row.reason for row in made.placement.rejections}


@pytest.mark.parametrize("tasks", [1, 20])
def test_joined_tasks_that_cannot_be_made_anywhere(tmp_path: Path, tasks: int) -> None:
    made = compiled(tmp_path, joined(V100.replace("INFRA", "gcp"), tasks), "azure", "gcp")
    assert made.placement is not None and errors(made) == {"unsupported-here"}
    assert "cannot-be-made" not in {found.slug for found in made.diagnostics}


@pytest.mark.parametrize("tasks", [1, 20])
def test_where_limits_leave_only_what_cannot_be_made_that_is_the_error(tmp_path: Path, tasks: int) -> None:
    """And not that the limits contradict each other."""
    text = joined(
        V100.replace("INFRA", "'*'"), tasks, first="{infra: gcp, cpus: 4+}", more="affinity: {same: {cloud: prepare}}\n"
    )
    made = compiled(tmp_path, text, "azure", "gcp")
    assert made.placement is not None and errors(made) == {"unsupported-here"}


def test_where_data_is_to_lie_takes_no_cloud_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself a Storage lies where it is cheapest, and machines of another cloud could not reach it there."""
    text = "---\n".join(
        f"""\
name: a{i}
resources: {{infra: '*', accelerators: 'A100:8', use_spot: false}}
storage: {{data{i}: {{placement: auto, size_gb: 200, keep_days: 30}}}}
file_mounts: {{data: {{name: data{i}, mode: COPY}}}}
outputs: {{data{i}: 200}}
hours: 10
run: echo hi
---
name: b{i}
needs: a{i}
resources: {{infra: '*', cpus: 4+}}
inputs: {{data{i}: 200}}
run: echo hi
"""
        for i in range(9)
    )
    looked = compiled(tmp_path, text, "aws", "azure", "gcp")
    monkeypatch.setattr("skyc.compiler.optimize.SLOW_PAIRS", 10**9)
    straight = compiled(tmp_path, text, "aws", "azure", "gcp")
    assert looked.placement is not None and straight.placement is not None
    assert looked.placement.total == straight.placement.total
    assert {item.provider for item in looked.placement.placements if item.task.startswith("a")} == {"aws"}
