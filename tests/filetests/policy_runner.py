"""How a file test of the stage `policy` becomes its answer.

Its input is a task file, a line `=== policy`, and the policy that is held against it. The answer has the diagnostics a user would see
(line numbers of both parts are the file's own), then one line per result, what the optimizer chose among what is allowed, and how many
fallbacks are left. `# machine:` as for other stages; `# change:` one of `changes.CHANGES`; `# ssh-from:` what SSH is opened to.
"""

from __future__ import annotations

from tests.filetests.changes import CHANGES
from tests.filetests.stage_runners import ACCESS, DIRECTORY, HOME, IMAGES, MACHINES, PROVIDERS, RUNTIME, setting

from skyc.compiler.buckets import MARK, Bucket, place_buckets
from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import Diagnostic, SourceFile, SourceMap, has_errors, in_reading_order, render
from skyc.compiler.failover import envelope, name_of
from skyc.compiler.ir import (
    DeploymentId,
    PlacementPlan,
    PolicyResult,
    ResourceGraph,
    TaskGraph,
)
from skyc.compiler.lower import Lowering, lower
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.pipeline import capabilities_of
from skyc.compiler.policy.evaluate import PolicyInput, evaluate
from skyc.compiler.policy.parse import parse_policy
from skyc.compiler.policy.rules import PolicySet
from skyc.compiler.policy.scope import restriction_of
from skyc.compiler.policy.trim import trimmed
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.runtime.policy.judge import diagnostics_of

BETWEEN = "=== policy\n"


def policy_stage(text: str, path: str) -> str:
    task_text, found, policy_text = text.partition(BETWEEN)
    assert found, f"{path} has no line `=== policy`"
    task = SourceFile(path=path, text=task_text)
    # As many empty lines as stand above it, so that its lines have the numbers they have in the file.
    policy = SourceFile(path="policy.yaml", text="\n" * (task_text.count("\n") + 1) + policy_text)
    said, rows = _answer(task, policy)
    shown = [
        render(diagnostic, policy if diagnostic.span and diagnostic.span.file == policy.path else task)
        for diagnostic in in_reading_order(said)
    ]
    return "\n\n".join([*shown, *(["\n".join(rows)] if rows else [])]) + "\n"


def _answer(source: SourceFile, policy: SourceFile) -> tuple[tuple[Diagnostic, ...], list[str]]:
    parsed, said = parse_policy(policy)
    if parsed is None:
        return said, []
    policies = PolicySet(policies=(parsed,))
    graph, sources = _graph(source)
    deployment = DeploymentId(graph.name)
    restrictions = {task.id: restriction_of(policies, task, deployment) for task in graph.tasks}
    catalog = MACHINES[setting(source.text, "machine", "rented")]
    found, said = candidates(graph, catalog, sources, capabilities_of(PROVIDERS), restrictions)
    if has_errors(said):
        return said, []
    plan, said = optimize(graph, found, sources)
    if plan is None:
        return said, []
    plan = trimmed(plan, policies, graph, deployment)
    buckets = place_buckets(graph, plan, PROVIDERS, catalog, deployment=deployment, mark=MARK)
    given = PolicyInput(
        deployment=deployment,
        graph=graph,
        placement=plan,
        buckets=buckets,
        graphs=_lowered(graph, plan, sources, buckets),
        changes=CHANGES[setting(source.text, "change", "not-compared")],
        compared=setting(source.text, "change", "not-compared") != "not-compared",
        ssh_from=tuple(setting(source.text, "ssh-from", "").split()),
    )
    results = evaluate(policies, given)
    shown = diagnostics_of(results, policies, sources, "0123456789abcdef")
    return tuple(shown), [*map(_row, results), *_placed(plan)]


def _graph(source: SourceFile) -> tuple[TaskGraph, SourceMap]:
    spec, sources, said = parse(source)
    assert spec is not None, said
    stem = source.path.removesuffix(".yaml")
    resolved, said = resolve(spec, sources, stem=stem, directory=DIRECTORY, overrides=EnvOverrides.of())
    assert resolved is not None, said
    return resolved.graph, sources


def _lowered(
    graph: TaskGraph, plan: PlacementPlan, sources: SourceMap, buckets: tuple[Bucket, ...]
) -> tuple[ResourceGraph, ...]:
    """Nothing for the made-up cloud, which has no Terraform provider."""
    if any(item.provider not in PROVIDERS for item in plan.placements):
        return ()
    how = Lowering(
        providers=PROVIDERS,
        deployment=DeploymentId(graph.name),
        home=HOME,
        runtime=RUNTIME,
        sources=sources,
        access=lambda _: ACCESS,
        images=IMAGES,
    )
    graphs, said = lower(graph, plan, how, buckets=buckets)
    assert not has_errors(said), said
    return graphs


def _row(row: PolicyResult) -> str:
    verdict = "met" if row.met else row.effect.value
    return f"{verdict} · {row.rule} · {row.source}{f' · {row.message}' if row.message else ''}"


def _placed(plan: PlacementPlan) -> list[str]:
    rows = [
        f"{item.task}/{item.group} · {name_of(item)} · {len(envelope(plan, item.task, item.group)) - 1} fallbacks"
        for item in plan.placements
    ]
    return [*rows, *(f"storage {item.name} · {item.location}" for item in plan.storages if item.location), *_notes(plan)]


def _notes(plan: PlacementPlan) -> list[str]:
    return [f"note · {plan.notes['policy']}"] if "policy" in plan.notes else []
