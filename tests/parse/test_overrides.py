"""Where a variable's value comes from: command line before file before environment, and who may see it."""

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import Task
from skyc.compiler.parse import parse
from skyc.compiler.resolve import EnvOverrides, resolve


def variables(text: str, **offered: dict[str, str]) -> tuple[Task, dict[str, str]]:
    """The one task of a file, and its secrets in the clear."""
    spec, place, said = parse(SourceFile(path="task.yaml", text=text))
    assert spec is not None, said
    overrides = EnvOverrides.of(env=offered.get("env"), secrets=offered.get("secrets"), environ=offered.get("environ"))
    resolved, more = resolve(spec, place, stem="task", directory=Path("/nonexistent"), overrides=overrides)
    assert resolved is not None, more
    return resolved.graph.tasks[0], {name: secret.reveal() for name, secret in resolved.secrets.items()}


FILE = {"A": "file"}
LINE = {"A": "line"}
HOST = {"A": "host"}


@pytest.mark.parametrize(
    ("text", "offered", "envs", "secrets"),
    [
        ("envs: {A: file}", {}, FILE, {}),
        ("envs: {A: file}", {"environ": HOST}, FILE, {}),
        ("envs: {A: file}", {"env": LINE, "environ": HOST}, LINE, {}),
        ("envs: {A: file}", {"secrets": LINE}, {}, LINE),
        ("envs: {A: ''}", {"environ": HOST}, {"A": ""}, {}),
        ("envs: {A: }", {"environ": HOST}, {}, HOST),
        ("envs: {A: }", {"env": LINE, "environ": HOST}, {}, LINE),
        ("envs: {A: }\nname: x-$A", {"env": LINE}, LINE, {}),
        ("secrets: {A: }", {"environ": HOST}, {}, HOST),
        ("secrets: {A: }", {"env": LINE, "environ": HOST}, {}, LINE),
        ("secrets: {A: file}", {"environ": HOST}, {}, FILE),
        ("secrets: {A: file}", {"secrets": LINE}, {}, LINE),
        ("run: x", {"env": LINE}, LINE, {}),
        ("run: x", {"secrets": LINE}, {}, LINE),
        ("run: x", {"env": {"A": "open"}, "secrets": LINE}, {}, LINE),
        ("run: x", {"environ": HOST}, {}, {}),
    ],
)
def test_the_winner(text: str, offered: dict[str, dict[str, str]], envs: dict[str, str], secrets: dict[str, str]) -> None:
    task, revealed = variables(text, **offered)
    assert dict(task.envs) == envs
    assert revealed == secrets
    assert task.secrets == tuple(secrets)


def test_an_empty_value_is_a_value() -> None:
    task, secrets = variables("envs: {A: file}\nsecrets: {B: }", env={"A": ""}, secrets={"B": ""})
    assert dict(task.envs) == {"A": ""}
    assert secrets == {"B": ""}


def test_two_tasks_cannot_give_one_secret_two_values() -> None:
    spec, place, _ = parse(SourceFile(path="task.yaml", text="name: a\nsecrets: {K: one}\n---\nname: b\nsecrets: {K: two}\n"))
    assert spec is not None
    resolved, said = resolve(spec, place, stem="task", directory=Path("/nonexistent"), overrides=EnvOverrides())
    assert resolved is None and has_errors(said)
    assert [diagnostic.slug for diagnostic in said] == ["conflicting-secret"]
