"""Which files are task files, without any configuration; and what is read of one without the compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.parse import parse
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.runtime.revisions.task_files import choice_of, sketch

ROOT = Path(__file__).parents[2]
TASKS = [
    "run: echo hi\n",
    "setup: |\n  pip install x\n",
    "resources: {accelerators: 'A100:8'}\n",
    "name: a\n---\nrun: echo\n",
    "groups:\n- {name: a, run: echo}\n",
    "# only a remark\n'run': echo\n",
    "{run: echo}\n",
    "\ufeffrun: echo\r\nname: x\r\n",
    # Mistakes are what a diff is for.
    "nmae: x\nrun: echo\n",
    "run: echo\nresources: {cpu: 4}\n",
    "name: x\nrun: 'echo\n",
]
OTHERS = {
    "workflow": "name: CI\non: [push]\njobs: {test: {runs-on: x, steps: [{run: make}]}}\n",
    "composite action": "name: x\ninputs: {}\nruns: {using: composite, steps: [{run: make}]}\n",
    "compose": "services: {db: {image: postgres}}\n",
    "kubernetes": "apiVersion: v1\nkind: Pod\nspec: {containers: []}\nresources: {}\n",
    "kustomization": "resources:\n- deployment.yaml\n",
    "chart values": "replicas: 2\nresources: {limits: {cpu: 1}, requests: {memory: 1Gi}}\n",
    "pipeline": "stages: [test]\nunit: {script: [make]}\n",
    "azure pipeline": "trigger: [main]\nresources: {repositories: []}\nsteps: [{script: make}]\n",
    "linter": "run: {timeout: 5m}\nlinters: {}\n",
    "tasks of a runner": "version: '3'\ntasks: {build: {cmds: [make]}}\nrun: once\n",
    "list": "- run: echo\n",
    "scalar": "run\n",
    "empty": "",
    "broken other": "on: [push\njobs: {\nrun: x\nname: y\n",
    "not text": "\x00\xff",
}


@pytest.mark.parametrize("text", TASKS)
def test_what_looks_like_a_task(text: str) -> None:
    assert sketch(text.encode(), "jobs/x.yaml") is not None


@pytest.mark.parametrize("kind", OTHERS)
def test_what_does_not(kind: str) -> None:
    assert sketch(OTHERS[kind].encode("latin-1"), "jobs/x.yaml") is None
    # Unless the user says so.
    assert sketch(OTHERS[kind].encode("latin-1"), "jobs/x.yaml", named=True) is not None


def test_every_example_looks_like_a_task_and_every_workflow_does_not() -> None:
    for path in sorted((ROOT / "examples").glob("**/*.y*ml")):
        is_task = "ci" not in path.relative_to(ROOT / "examples").parts
        assert (sketch(path.read_bytes(), str(path)) is not None) == is_task, path


@pytest.mark.parametrize(
    "text",
    [
        "name: Train_It\nrun: echo\n",
        "run: echo\n",
        "name: whole\n---\nname: a\nrun: echo\n---\nname: b\nrun: echo\n",
        "name: first\nrun: echo\n---\nname: second\nrun: echo\n",
        "run: echo\n---\nname: second\nrun: echo\n",
        "name: 2026\nrun: echo\n",
        "name: " + "x" * 80 + "\nrun: echo\n",
    ],
)
def test_the_name_is_the_one_the_compiler_gives(text: str) -> None:
    spec, sources, said = parse(SourceFile(path="My_File.yaml", text=text))
    assert spec is not None, said
    resolved, said = resolve(spec, sources, stem="My_File", directory=ROOT, overrides=EnvOverrides.of(environ={}))
    assert resolved is not None, said
    found = sketch(text.encode(), "jobs/My_File.yaml")
    assert found is not None and found.name == resolved.graph.name


def test_what_a_task_names() -> None:
    found = sketch(
        yaml.safe_dump(
            {
                "run": "echo",
                "workdir": "..",
                "envs": {"A": None},
                "secrets": {"B": None},
                "file_mounts": {"/a": "data", "/b": "s3://x", "/c": {"source": "~/c", "mode": "COPY"}},
                "storage": {"s": {"source": ["one", "gs://two"]}},
            }
        ).encode(),
        "x.yaml",
    )
    assert found is not None
    assert (found.places, found.variables, found.open_ended) == (("..", "data", "~/c", "one"), frozenset({"A", "B"}), False)
    found = sketch(b"run: echo\nworkdir: ${CODE}\nenvs: {CODE: src}\n", "x.yaml")
    assert found is not None and found.open_ended


def test_paths_of_the_command_line() -> None:
    assert choice_of([], "").covers("a/b.yml")
    for path in ("a/b.json", ".github/workflows/x.yaml", "a/.hidden.yaml", ".gitlab-ci.yml"):
        assert not choice_of([], "").covers(path), path
    inside = choice_of(["*.yaml", "../top", "!old.yaml"], "sub/")
    assert [
        path for path in ("sub/a.yaml", "sub/old.yaml", "sub/x/a.yaml", "top/x/y.yaml", "a.yaml") if inside.covers(path)
    ] == [
        "sub/a.yaml",
        "top/x/y.yaml",
    ]
    assert choice_of([".github/x.yaml"], "").covers(".github/x.yaml")
    assert choice_of(["."], "sub/").covers("sub/deep/a.yaml") and not choice_of(["."], "sub/").covers("a.yaml")
