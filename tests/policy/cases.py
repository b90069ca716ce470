"""A plan and its rules, for tests of what is asked outside of the compiler."""

from __future__ import annotations

from pathlib import Path

from tests.filetests.stage_runners import MACHINES

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import SourceFile, SourceMap
from skyc.compiler.ir import DeploymentId, PolicyEffect, PolicyResult
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.policy.evaluate import PolicyInput
from skyc.compiler.policy.load import PolicyFile, load
from skyc.compiler.policy.rules import PolicySet, Rule
from skyc.compiler.resolve import EnvOverrides, resolve

TASK = """\
name: train
hours: 10
envs: {EPOCHS: "7-epochs"}
secrets: {TOKEN: hunter2-hunter2}
resources: {cpus: 16, labels: {team: ml-x}}
setup: pip install secret-sauce
run: python train.py
"""


def an_input(text: str = TASK) -> PolicyInput:
    source = SourceFile(path="task.yaml", text=text)
    spec, sources, _ = parse(source)
    assert spec is not None
    resolved, said = resolve(spec, sources, stem="task", directory=Path("/"), overrides=EnvOverrides.of())
    assert resolved is not None, said
    found, said = candidates(resolved.graph, MACHINES["rented"], SourceMap(source))
    plan, said = optimize(resolved.graph, found, SourceMap(source))
    assert plan is not None, said
    return PolicyInput(deployment=DeploymentId("train"), graph=resolved.graph, placement=plan)


def a_policy(folder: Path, text: str) -> PolicySet:
    path = folder / "policy.yaml"
    path.write_text(text)
    policies, said = load([PolicyFile(path=path, shown="policy.yaml")])
    assert not said, said
    return policies


def a_rule(folder: Path, text: str) -> Rule:
    (rule,) = a_policy(folder, f"rules:\n  - {text}\n").rules
    return rule


def said(results: tuple[PolicyResult, ...]) -> list[tuple[str, PolicyEffect, bool, str]]:
    return [(row.rule, row.effect, row.met, row.message) for row in results]
