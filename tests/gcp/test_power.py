"""Machines at Google Cloud are stopped and started, against a fake of its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.rented import power
from tests.gcp.fake import EXHAUSTED, FakeGoogle
from tests.gcp.test_inventory import REGION, ZONE, bare, google
from tests.rented.nodes import is_ready, node_of

__all__ = ["bare", "google"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(power, "PAUSE", 0.0)
    (tmp_path / "deployments" / "left" / "sites" / f"train.gcp-{REGION}").mkdir(parents=True)
    return tmp_path


def machine(google: FakeGoogle, number: int, **more: Any) -> dict[str, Any]:
    path = f"projects/mine/{ZONE}/instances/left-{number}"
    google.add(path, id=str(number), status="RUNNING", labels={"skyc-deployment": "left"}, networkInterfaces=[], **more)
    return google.resources[path]


def test_stopped_seen_and_started_again(google: FakeGoogle, home: Path) -> None:
    row = machine(google, 7)
    provider, node = GcpProvider(), node_of(home, "7", "left")
    assert provider.cannot_stop([node], lose_local=False, home=home) == ()
    assert provider.stop([node], home=home, tell=print) == (node.name,)
    assert row["status"] == "TERMINATED"
    assert provider.health(node, home=home) == "stopped"
    assert not is_ready(node)
    assert provider.stop([node], home=home, tell=print) == ()
    assert provider.start([node], home=home, tell=print) == (node.name,)
    assert row["status"] == "RUNNING"
    assert provider.health(node, home=home).startswith("unreachable")


def test_local_disks_are_lost_only_when_that_is_said(google: FakeGoogle, home: Path) -> None:
    row = machine(
        google, 7, disks=[{"type": "PERSISTENT", "diskSizeGb": "100"}, *({"type": "SCRATCH", "diskSizeGb": "375"},) * 2]
    )
    provider, node = GcpProvider(), node_of(home, "7", "left")
    (said,) = provider.cannot_stop([node], lose_local=False, home=home)
    assert said.slug == "local-disks-lost" and "750 GB local SSD" in said.detail
    assert provider.cannot_stop([node], lose_local=True, home=home) == ()
    provider.stop([node], home=home, tell=print)
    assert row["status"] == "TERMINATED"


def test_a_zone_without_room_is_said(google: FakeGoogle, home: Path) -> None:
    machine(google, 7, full=True)
    provider, node = GcpProvider(), node_of(home, "7", "left")
    provider.stop([node], home=home, tell=print)
    with pytest.raises(SkycError) as refused:
        provider.start([node], home=home, tell=print)
    (said,) = refused.value.diagnostics
    assert said.slug == "not-started" and EXHAUSTED in said.detail and "keeps its disks" in said.detail
