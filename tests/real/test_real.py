"""The run in a real account, without one: what it refuses, and what its sweep sees in a pretended account (moto)."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError, error
from skyc.compiler.ir import DeploymentId
from skyc.providers.aws.provider import AwsProvider
from skyc.runtime.results import Plan
from tests.aws.conftest import account, moto
from tests.aws.test_inventory import REGION, leave, place, tagged
from tests.real import __main__ as program
from tests.real.settings import Refused, settings
from tests.real.sweep import left

__all__ = ["account", "moto"]
GIVEN = {"SKYC_E2E": "aws", "SKYC_E2E_MAX_USD": "0.50", "SKYC_E2E_SSH_FROM": "203.0.113.7/32"}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"SKYC_E2E": ""}, "SKYC_E2E=aws"),
        ({"SKYC_E2E": "gcp"}, "SKYC_E2E=aws"),
        ({"SKYC_E2E": "1"}, "SKYC_E2E=aws"),
        *(({"SKYC_E2E_MAX_USD": given}, "SKYC_E2E_MAX_USD") for given in ("", "0", "-1", "much", "Infinity", "NaN")),
        ({"SKYC_E2E_SSH_FROM": ""}, "SKYC_E2E_SSH_FROM"),
    ],
)
def test_it_is_refused_until_each_is_said(change: dict[str, str], word: str) -> None:
    with pytest.raises(Refused, match=word):
        settings("aws", {**GIVEN, **change})
    assert settings("aws", GIVEN).most == Decimal("0.50")


def test_the_command_refuses_and_asks_nobody(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SKYC_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.real", "aws"],
        cwd=ROOT,
        env={**environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("refused: This rents a machine at aws")


class Placement:
    """As much of a plan's placement as is looked at."""

    def __init__(self, worst: str | None, nodes: int = 1) -> None:
        self.worst_case = None if worst is None else Decimal(worst)
        self.placements = (type("Group", (), {"num_nodes": nodes, "region": REGION})(),)
        self.fallbacks = ()


def plan(worst: str | None, nodes: int = 1, **more: Any) -> Plan:
    fields: dict[str, Any] = {"placement": Placement(worst, nodes), **more}
    return Plan(deployment=DeploymentId("e2e-aws-1"), graphs=(), changes=(), **fields)


@pytest.mark.parametrize(
    ("offered", "word"),
    [
        (plan("0.51"), "0.51"),
        (plan(None), "not known"),
        (plan("0.1", 2), "2 machines"),
        (plan("0.1", hours=Decimal(2)), "2 h"),
        (plan("0.1", diagnostics=(error("not-logged-in", "No", "No key."),)), "No key"),
        (dataclasses.replace(plan("0.1"), placement=None), "no placement"),
    ],
)
def test_a_plan_that_is_too_dear_or_odd_is_refused(offered: Plan, word: str) -> None:
    with pytest.raises(Refused, match=word):
        program.allowed(offered, Decimal("0.50"))
    program.allowed(plan("0.50"), Decimal("0.50"))


def test_the_sweep_sees_what_is_left_and_what_skyc_does_not_look_for(tmp_path: Path, account: Any) -> None:
    name = DeploymentId("e2e-aws-abc123")
    leave(account, name, network="10.9.0.0/16")
    ec2 = account("ec2")
    # A kind skyc never makes: only the tagging service tells of it.
    volume = ec2.create_volume(Size=1, AvailabilityZone=f"{REGION}a")["VolumeId"]
    strange = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tagged("snapshot", name))["SnapshotId"]
    heard: list[str] = []
    found = left("aws", name, [REGION], heard.append)
    assert any(item.startswith("aws_instance ") for item in found)
    assert any(item.startswith("aws_vpc ") for item in found)
    place(tmp_path, name)
    provider = AwsProvider()
    for item in provider.observe(name, home=tmp_path):
        provider.remove(item, home=tmp_path)
    rest = left("aws", name, [REGION], heard.append)
    assert not any(item.startswith("aws_") for item in rest), rest
    assert any(strange in item and "tagging service" in item for item in rest), rest
    ec2.delete_snapshot(SnapshotId=strange)
    ec2.delete_volume(VolumeId=volume)
    assert left("aws", name, [REGION], heard.append) == ()
    assert heard == []


class Skyc:
    """The public calls, as fakes: the apply ends as a test says."""

    def __init__(self, ends: BaseException) -> None:
        self.ends, self.destroyed = ends, 0

    def plan(self, *_: Any, **__: Any) -> Plan:
        return dataclasses.replace(plan("0.10"), timings=())

    def apply(self, *_: Any, **__: Any) -> Any:
        raise self.ends

    def destroy(self, name: str, *, purge: bool, **_: Any) -> None:
        assert name.startswith("e2e-aws-") and purge
        self.destroyed += 1
        if self.destroyed == 1:
            raise SkycError(error("destroy-incomplete", "Something still exists", "A network."))


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), SkycError(error("no-capacity", "None", "None.")), RuntimeError("a bug")])
def test_whatever_happens_it_is_destroyed_and_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: BaseException
) -> None:
    fake = Skyc(ends)
    looked: list[tuple[str, frozenset[str]]] = []

    def nothing_left(cloud: str, deployment: str, regions: Any, say: Any) -> tuple[str, ...]:
        looked.append((cloud, frozenset(regions)))
        return ()

    monkeypatch.setattr(program, "skyc", fake)
    monkeypatch.setattr(program, "left", nothing_left)
    monkeypatch.setattr(Plan, "report", lambda self, format: "the plan")
    life = program.Life(settings("aws", GIVEN), DeploymentId("e2e-aws-1"), tmp_path)
    if isinstance(ends, RuntimeError):
        with pytest.raises(RuntimeError):
            life.live()
    else:
        assert life.live() == program.FAILED
    assert fake.destroyed == 2, "a destroy that failed is tried again"
    assert looked == [("aws", frozenset({REGION}))]
    assert "budget: 0.50" in (tmp_path / "task.yaml").read_text()
    assert "203.0.113.7/32" in (tmp_path / "config.yaml").read_text()


def test_what_is_left_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "skyc", Skyc(KeyboardInterrupt()))
    monkeypatch.setattr(program, "left", lambda *_: ("aws_vpc v (vpc-1)",))
    monkeypatch.setattr(Plan, "report", lambda self, format: "the plan")
    life = program.Life(settings("aws", GIVEN), DeploymentId("e2e-aws-1"), tmp_path)
    assert life.live() == program.FAILED
    assert "LEFT: aws_vpc v (vpc-1)" in capsys.readouterr().err


def test_what_was_spent_is_the_worst_price_for_all_of_the_time() -> None:
    assert program.spent(plan("3.60"), 10.0) == Decimal("0.0100")


def test_the_task_is_one_that_skyc_reads(tmp_path: Path) -> None:
    from skyc.runtime.request import Request, compile_request
    from skyc.runtime.session import open_session

    text = program.TASK.format(deployment="e2e-aws-1", cloud="aws", most="0.50", word="x")
    (tmp_path / "task.yaml").write_text(text)
    with open_session(tmp_path / "home") as session:
        made = compile_request(session, Request(path=tmp_path / "task.yaml", env={}, secrets={}), until="optimize")
    assert made.placement is not None, made.diagnostics
    (placement,) = made.placement.placements
    assert placement.provider == "aws" and placement.num_nodes == 1
    assert made.placement.worst_case is not None and made.placement.worst_case <= Decimal("0.50")
