"""What is only priced is not chosen where something can be made: the shipped catalog, and no fake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.filetests.stage_runners import ACCESS, PROVIDERS

from skyc.compiler.diagnostics import Severity, SourceFile
from skyc.compiler.ir import DeploymentId, NodeRuntime
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
