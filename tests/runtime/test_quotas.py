"""Quotas in the home's configuration: read, refused, and kept by the placement."""

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.explain import explain
from skyc.runtime.quotas import read_quotas

TASK = """\
name: train
resources: {infra: aws, accelerators: A100:8}
num_nodes: 2
run: echo train
"""


def home_with(tmp_path: Path, config: str) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text(config)
    return home


def test_no_file_and_no_key_are_no_quotas(tmp_path: Path) -> None:
    assert read_quotas(tmp_path) == ()
    assert read_quotas(home_with(tmp_path, "local: {price_per_hour: 1}\n")) == ()


def test_mistakes_have_their_line(tmp_path: Path) -> None:
    home = home_with(tmp_path, "quotas:\n  - {infra: aws, limits: 4}\n")
    with pytest.raises(SkycError) as caught:
        read_quotas(home)
    assert {said.slug for said in caught.value.diagnostics} == {"unknown-field", "missing-field"}
    assert all(said.span is not None and said.span.line == 2 for said in caught.value.diagnostics)


def test_a_quota_moves_the_group_to_where_it_may_be(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    (free,) = explain(task, home=tmp_path / "free").placement.placements
    home = home_with(tmp_path, f"quotas:\n  - {{infra: aws/{free.region}, accelerator: A100, limit: 15}}\n")
    made = explain(task, home=home, why_not=[f"aws/{free.region}"])
    (held,) = made.placement.placements
    assert held.region != free.region
    (answer,) = made.why_not
    assert answer.fitting == 0
    assert "over-quota" in {row.reason for row in answer.hindrances}


TWO = """\
name: first
resources: {infra: aws, accelerators: A100:8}
run: echo first
---
name: second
resources: {infra: aws, accelerators: A100:8}
run: echo second
"""


@pytest.mark.parametrize("head", ["execution: parallel\n---\n", ""])
def test_all_tasks_of_a_file_share_a_quota(head: str, tmp_path: Path) -> None:
    """Also tasks in a row: the machines of all are made before the first one runs."""
    task = tmp_path / "task.yaml"
    task.write_text(head + TWO)
    free = explain(task, home=tmp_path / "free").placement.placements
    assert free[0].region == free[1].region
    home = home_with(tmp_path, "quotas:\n  - {infra: aws, accelerator: A100, limit: 15}\n")
    held = explain(task, home=home).placement
    first, second = held.placements
    assert held.status == "optimal"
    assert first.region != second.region
    # What the plan falls back to keeps the quota, too.
    assert first.region in {p.region for p in held.fallbacks if p.task == "first"}
    assert not [p for p in held.fallbacks if p.region == (second if p.task == "first" else first).region]


MACHINES = """\
machines:
  - {name: rig, cpus: 32, memory: 128, accelerators: "A100:8", count: 1}
"""


def test_tasks_share_the_machines_there_are(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TWO.replace("infra: aws, ", ""))
    (tmp_path / "one").mkdir()
    first, second = explain(task, home=home_with(tmp_path / "one", MACHINES)).placement.placements
    assert (first.provider == "owned") != (second.provider == "owned")
    (tmp_path / "two").mkdir()
    both = explain(task, home=home_with(tmp_path / "two", MACHINES.replace("count: 1", "count: 2"))).placement.placements
    assert [p.provider for p in both] == ["owned", "owned"]


def test_too_few_machines_are_said(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TWO.replace("infra: aws", "infra: owned"))
    with pytest.raises(SkycError) as caught:
        explain(task, home=home_with(tmp_path, MACHINES))
    (said,) = caught.value.diagnostics
    assert said.slug == "over-quota"
    assert said.detail.startswith("Of the machine `rig` there is 1. first and second use at least 2 `rig` together in owned.")
    assert said.hint is not None
    assert said.hint.startswith("add machines in `config.yaml`")


def test_what_is_too_much_together_is_said(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TWO.replace("infra: aws", "infra: aws/us-east-1"))
    home = home_with(tmp_path, "quotas:\n  - {infra: aws/us-east-1, limit: 100}\n")
    with pytest.raises(SkycError) as caught:
        explain(task, home=home)
    (said,) = caught.value.diagnostics
    assert said.slug == "over-quota"
    assert said.detail.startswith(
        "The quota is 100 CPUs in aws/us-east-1. first and second use at least 192 CPUs together in us-east-1."
    )
    assert said.span is not None


def test_a_quota_that_is_large_enough_changes_nothing(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    (free,) = explain(task, home=tmp_path / "free").placement.placements
    home = home_with(tmp_path, "quotas:\n  - {infra: aws, accelerator: A100, market: on-demand, limit: 16}\n")
    (held,) = explain(task, home=home).placement.placements
    assert held == free
