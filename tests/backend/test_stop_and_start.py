"""A deployment is stopped from one home and started from another. Simulated machines, real Terraform, a real backend's protocol."""

from __future__ import annotations

import json

import pytest

from skyc.providers.simulator import World
from tests.backend.cloud import LOCAL_DISK
from tests.backend.conftest import Home, MakeHome, machines
from tests.lengths import takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.e2e, pytest.mark.timeout(500)]


def power(world: World) -> str:
    (machine,) = machines(world)
    return str(machine.attributes["instance_state"])


def address(home: Home) -> str:
    (row,) = json.loads(home.state.read_text())["outputs"]["nodes"]["value"]
    return str(row["address"])


@takes_minutes
def test_stopped_here_and_started_there(home: MakeHome, world: World) -> None:
    first, second = home("first"), home("second")
    first.apply()
    (before,) = machines(world)

    assert "1 machine stopped" in first("stop", "train")
    assert power(world) == "stopped"
    assert "were stopped already" in first("stop", "train")
    # A stopped machine is no change, is said, and is not what it cost.
    shown = second("status", "train")
    assert "stopped" in shown and "?/h" in shown.splitlines()[0], shown
    planned = second("plan", str(second.write_task()))
    assert (
        "train-main-0: an apply starts" in planned
        and "Changed outside" not in planned
        and "0 to add · 0 to change · 0 to destroy" in planned
    ), planned
    assert power(world) == "stopped"

    # Whoever was never told of it starts it, and its state knows the new address; so does the other's.
    said = second("start", "train")
    assert "1 machine started" in said, said
    assert power(world) == "running"
    assert address(second) == "203.0.113.99"
    assert "healthy" in first("status", "train")
    assert address(first) == "203.0.113.99"
    assert first.serial() == second.serial()
    assert "all machines were running" in first("start", "train")
    assert machines(world)[0].id == before.id

    assert "1 machine stopped" in second("stop", "train")
    # An apply starts it too, after what was approved.
    assert "starting the machines of train.aws-us-east-1" in first.apply("platform")
    assert power(world) == "running" and address(first) == "203.0.113.99"
    assert machines(world)[0].id == before.id
    second("stop", "train")
    assert "destroyed" in first("destroy", "train", "-y")
    assert not world.resources()


@takes_minutes
def test_disks_that_lose_their_data_are_said_first(home: MakeHome, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home("first")
    first.apply()
    monkeypatch.setenv(LOCAL_DISK, "250 GB instance store")
    said = first("stop", "train", code=1)
    assert "local-disks-lost" in said and "train-main-0 (250 GB instance store)" in said
    assert power(world) == "running"
    assert "1 machine stopped" in first("stop", "train", "--lose-local-disks")
    assert "no-cluster" in first("destroy", "train", "-y") + first("start", "train", code=1)
