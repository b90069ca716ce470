"""When machines are not stopped, on a home made by hand. The target is a fake that could stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.compiler.test_addresses import PROVIDERS, placed
from tests.runtime.test_standing import DIGITS, job, on_head, session, slugs

from skyc.compiler.diagnostics import SkycError
from skyc.providers.base import HEALTHY, Capability, Node
from skyc.providers.local.client import LocalProvider
from skyc.runtime.session import Session
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
    session.__dict__["providers"] = PROVIDERS
    found = {one.kind: one.hourly for one in still_paid(session, DIGITS)}
    assert {kind: None if hourly is None else str(round(hourly, 4).normalize()) for kind, hourly in found.items()} == paid
