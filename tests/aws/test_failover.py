"""Failover with the released AWS provider, against a pretended account whose calls can be refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.destroy import destroy
from tests.aws.fault_proxy import Proxy, Refuse, proxied
from tests.aws.runnable import DEPLOYMENT, TASK, at_length, aws, everything, machines, no_capacity, zones_of
from tests.failover.pretended import Account
from tests.lengths import takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.fault, pytest.mark.timeout(600), pytest.mark.xdist_group("moto")]


@pytest.fixture
def proxy(moto: str) -> Iterator[Proxy]:
    with proxied(moto) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with aws(tmp_path / "home", proxy, monkeypatch) as account:
        yield account


@takes_minutes
def test_the_next_zone_is_up_soon(home: Account, proxy: Proxy, account: Any) -> None:
    """Capacity at one zone, then a life at the next, and nothing left at its end."""
    before = everything(account)
    first, second = zones_of(home)[:2]
    proxy.rule = no_capacity(first)
    home.up(TASK)
    assert machines(account, "train") == [(second, "g5.xlarge")] * 2
    asked = [call.seconds for call in proxy.calls if call.operation == "RunInstances" and call.zone == second]
    refused = [call.seconds for call in proxy.calls if call.operation == "RunInstances" and call.zone == first]
    print(f"from the first refusal to the next placement: {asked[0] - refused[0]:.1f} s")
    rows = home.session.store.attempts(DEPLOYMENT)
    assert [(row.outcome.value, row.code) for row in rows] == [("failed", "InsufficientInstanceCapacity"), ("up", "")]
    proxy.forget()
    destroy(home.session, "train", confirm=None)
    assert everything(account) == before


@at_length
def test_a_quota_and_a_permission_are_told_apart(home: Account, proxy: Proxy, account: Any) -> None:
    """A quota of the region ends a search within it; a missing permission is named. Nothing stays of either."""
    before = everything(account)
    zones = zones_of(home)
    proxy.rule = lambda call: Refuse("VcpuLimitExceeded") if call.operation == "RunInstances" else None
    with pytest.raises(SkycError) as caught:
        home.up(TASK)
    said = caught.value.diagnostics[0]
    assert said.slug == "no-capacity"
    assert "VcpuLimitExceeded (quota)" in said.detail
    assert all(f"/{zone} g5.xlarge" in said.detail for zone in zones)
    assert {call.zone for call in proxy.calls if call.operation == "RunInstances"} == {zones[0]}
    assert everything(account) == before

    text = "User: arn:aws:iam::1:user/x is not authorized to perform: ec2:RunInstances on resource: *"
    proxy.rule = lambda call: Refuse("UnauthorizedOperation", 403, text) if call.operation == "RunInstances" else None
    with pytest.raises(SkycError) as caught:
        home.up(TASK)
    said = caught.value.diagnostics[0]
    assert said.slug == "permission-missing"
    assert "`ec2:RunInstances`" in said.detail
    assert everything(account) == before
