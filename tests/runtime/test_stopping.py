"""When machines are not stopped, on a home made by hand. The target is a fake that could stop them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.compiler.test_addresses import PROVIDERS, compiled, everywhere, placed
from tests.runtime.test_standing import DIGITS, SITE, job, on_head, session, slugs

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Addresses, SiteId
from skyc.providers.base import HEALTHY, Capability, NetworkChoice, Node
from skyc.providers.local.client import LocalProvider
from skyc.runtime.clusters import clusters
from skyc.runtime.records import SiteRecord
from skyc.runtime.session import Session
from skyc.runtime.sites import site_directory
from skyc.runtime.stopping import start, still_paid, stop

__all__ = ["session"]


class Stoppable(LocalProvider):
    """`stopped`: names of nodes it was asked to stop."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.STOP}

    def health(self, node: Node, *, home: Path) -> str:
        return HEALTHY

    def stop(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        self.stopped += [node.name for node in nodes]
        return ()


def test_nodes_on_this_machine_are_neither_stopped_nor_started(session: Session) -> None:
    with pytest.raises(SkycError) as stopping:
        stop(session, DIGITS, lose_local=True, wait=0)
    with pytest.raises(SkycError) as starting:
        start(session, DIGITS, wait=0)
    assert slugs(stopping) == slugs(starting) == ["cannot-stop"]


def test_a_running_job_is_not_stopped(session: Session) -> None:
    target = Stoppable()
    session.__dict__["providers"] = {"local": target}
    record = job(session)
    # Its head has it, and nobody can say that it was never submitted: Ray does not answer.
    on_head(session, record)
    with pytest.raises(SkycError) as refused:
        stop(session, DIGITS, lose_local=True, wait=0)
    (said,) = refused.value.diagnostics
    assert said.slug == "job-still-running" and record.id in said.detail
    assert f"skyc cancel {DIGITS}" in said.commands
    assert target.stopped == []


def test_an_unknown_deployment_is_said(session: Session) -> None:
    with pytest.raises(SkycError) as refused:
        stop(session, "digit", lose_local=False, wait=0)
    assert slugs(refused) == ["unknown-deployment"]


@pytest.mark.parametrize(
    ("cloud", "paid"),
    [
        ("aws", {"disk": "0.0561", "gateway": "0.05"}),
        ("azure", {"disk": "0.0526", "address": "0.005", "gateway": "0.05"}),
        ("gcp", {"disk": "0.0701", "gateway": "0.0064"}),
    ],
)
def test_what_stays_paid_is_said(session: Session, tmp_path: Path, cloud: str, paid: dict[str, str]) -> None:
    """Of two machines, as they were planned."""
    made = placed(tmp_path, cloud)
    assert made.placement is not None
    assert still_paid(session, DIGITS) == ()
    session.store.save_placement(DIGITS, made.placement)
    session.__dict__["providers"] = {**PROVIDERS, "local": Stoppable()}
    found = {one.kind: one.hourly for one in still_paid(session, DIGITS)}
    assert {kind: None if hourly is None else str(round(hourly, 4).normalize()) for kind, hourly in found.items()} == paid


def test_addresses_that_stay_where_most_are_lost_are_counted(session: Session, tmp_path: Path) -> None:
    """At AWS machines with several network cards have addresses of their own, which the state still shows when they are stopped."""
    text = "name: train\nresources: {infra: aws/us-east-1, instance_type: p4d.24xlarge, network_tier: best}\nnum_nodes: 2\nrun: x\n"
    made = compiled(text, tmp_path, everywhere("aws", NetworkChoice(public=Addresses.ALL))).placement
    assert made is not None
    session.store.save_placement(DIGITS, made)
    session.__dict__["providers"] = {**PROVIDERS, "local": Stoppable()}
    site = SiteId("train.aws-us-east-1")
    folder = site_directory(session.home, DIGITS, site)
    folder.mkdir(parents=True)
    session.store.save_site(SiteRecord(deployment=DIGITS, site=site, provider="aws", directory=str(folder), graph_digest="g"))
    for addresses, hourly in ((("", ""), None), (("203.0.113.7", ""), "0.005"), (("203.0.113.7", "203.0.113.8"), "0.01")):
        rows = [{**row_of(session), "rank": rank, "address": address} for rank, address in enumerate(addresses)]
        outputs = {"nodes": {"value": rows, "type": "dynamic"}}
        (folder / "terraform.tfstate").write_text(json.dumps({"version": 4, "lineage": "l", "serial": 1, "outputs": outputs}))
        found = {one.kind: one.hourly for one in still_paid(session, DIGITS)}
        assert found.get("address") == (None if hourly is None else Decimal(hourly)), addresses


def row_of(session: Session) -> dict[str, Any]:
    """A node's row, as a state has it."""
    (cluster,) = [cluster for cluster in clusters(session, DIGITS) if cluster.site == SITE]
    row = {
        name: value for name, value in dataclasses.asdict(cluster.nodes[0]).items() if name not in ("login", "via", "health")
    }
    return {**row, "accelerators": {}}
