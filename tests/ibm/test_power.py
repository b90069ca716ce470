"""Machines at IBM Cloud are stopped and started, against a fake of its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.rented import power
from tests.ibm.fake_cloud import REGION, FakeCloud
from tests.ibm.test_inventory import cloud
from tests.rented.nodes import is_ready, node_of

__all__ = ["cloud"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(power, "PAUSE", 0.0)
    (tmp_path / "deployments" / "left" / "sites" / f"train.ibm-{REGION}").mkdir(parents=True)
    return tmp_path


def machine(cloud: FakeCloud, **more: Any) -> str:
    vpc = cloud.add("vpcs", "skyc-left", ("skyc-deployment:left",))
    cloud.rows["vpcs"][vpc] |= {"default_security_group": {"id": "own-group"}, "default_network_acl": {"id": "own-acl"}}
    return cloud.add("instances", "skyc-left-0", vpc={"id": vpc}, status="running", **more)


def test_stopped_seen_and_started_again(cloud: FakeCloud, home: Path) -> None:
    id_ = machine(cloud)
    provider, node = IbmProvider(), node_of(home, id_, "left")
    assert provider.cannot_stop([node], lose_local=False, home=home) == ()
    assert provider.stop([node], home=home, tell=print) == (node.name,)
    assert cloud.rows["instances"][id_]["status"] == "stopped"
    assert provider.health(node, home=home) == "stopped"
    assert not is_ready(node)
    assert provider.stop([node], home=home, tell=print) == ()
    assert provider.start([node], home=home, tell=print) == (node.name,)
    assert cloud.rows["instances"][id_]["status"] == "running"


def test_instance_storage_is_lost(cloud: FakeCloud, home: Path) -> None:
    node = node_of(home, machine(cloud, disks=[{"size": 900}, {"size": 900}]), "left")
    (said,) = IbmProvider().cannot_stop([node], lose_local=False, home=home)
    assert said.slug == "local-disks-lost" and "1800 GB instance storage" in said.detail
