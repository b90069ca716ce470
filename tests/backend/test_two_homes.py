"""A deployment made from one home and gone on with from another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skyc.providers.simulator import World
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.conftest import SECRET, MakeHome, every_kind, index_of, machines
from tests.lengths import takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.e2e, pytest.mark.timeout(500)]


@every_kind
@takes_minutes
def test_a_life_in_two_homes(home: MakeHome, world: World, objects: ConditionalStore) -> None:
    first, second = home("first"), home("second")
    first.apply()
    assert len(machines(world)) == 1
    assert sorted(objects.list("")) == [
        "train/deployment.json",
        "train/lease.json",
        "train/ssh/host",
        "train/ssh/login",
        "train/train.aws-us-east-1.tf.json",
        "train/train.aws-us-east-1.tfstate",
    ]
    # A plain Terraform state, byte for byte what Terraform wrote.
    assert objects.get("train/train.aws-us-east-1.tfstate") == first.state.read_bytes()
    assert index_of(objects)["intents"] == []

    # The other home knows it without having been told, with the same keys, and has nothing to change.
    assert "train · active" in second("status") or "train · failed" in second("status")
    assert "train-main-0" in second("status", "train")
    assert "train-1-1" in second("queue", "train")
    plan = second("plan", str(second.write_task()), code=None)
    assert "no changes" in plan.lower() or "0 to add · 0 to change · 0 to destroy" in plan, plan
    for key in ("login", "host"):
        assert (second.path / f"deployments/train/ssh/{key}").read_bytes() == (
            first.path / f"deployments/train/ssh/{key}"
        ).read_bytes()

    # It changes something; the first sees that, and goes on from there.
    second.apply("platform")
    assert machines(world)[0].attributes["tags"]["team"] == "platform"
    assert first.serial() < second.serial()
    plan = first("plan", str(first.write_task("platform")), code=None)
    assert "0 to add · 0 to change · 0 to destroy" in plan or "no changes" in plan.lower(), plan
    assert first.serial() == second.serial()
    # Numbers of jobs go on over both.
    assert "train-1-2" in first("queue", "train") or "train-2-1" in first("queue", "train")

    # A lost home is no loss.
    shutil.rmtree(first.path / "deployments")
    (first.path / "state.db").unlink()
    assert "train-main-0" in first("status", "train")

    out = first("destroy", "train", "-y")
    assert "destroyed" in out
    assert machines(world) == () and not world.resources()
    assert "train-main-0" not in second("status")
    assert sorted(objects.list("")) == ["train/deployment.json", "train/lease.json"]
    assert "nothing of train is left" in second("destroy", "train", "-y")

    # And made again, from the second.
    second.apply()
    assert len(machines(world)) == 1
    assert "train-main-0" in first("status", "train")


@every_kind
def test_secrets_are_in_no_file(home: MakeHome, objects: ConditionalStore, tmp_path: Path) -> None:
    first = home("first")
    said = first.apply()
    key = (first.path / "deployments/train/ssh/login").read_text()
    kept = {name: objects.get(name) for name in objects.list("")}
    for file in first.path.rglob("*"):
        if file.is_file() and file.name != "login":
            assert key.splitlines()[4] not in file.read_text(errors="replace"), file
        if file.is_file():
            assert SECRET not in file.read_text(errors="replace"), file
    assert SECRET not in said and "PRIVATE KEY" not in said
    assert not any(SECRET.encode() in data for data in kept.values())
    assert [name for name, data in kept.items() if b"PRIVATE KEY" in data and name.startswith("train/ssh/")] == [
        "train/ssh/host",
        "train/ssh/login",
    ]
    assert key.encode() not in kept["train/train.aws-us-east-1.tfstate"]
    assert json.loads(kept["train/lease.json"])["released"] is True
