"""kill -9 of skyc, Terraform and the released AWS provider in the middle of an apply or a destroy, and replies that are lost.

After the next apply or destroy there is no orphan, nothing twice, and nobody had to unlock anything. `make faults` kills at 100 points
and loses replies; a run of all tests kills at one point, since each takes some ten starts of the real provider.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.terraform_files import state_ids
from skyc.runtime.destroy import destroy
from tests.aws.fault_proxy import Call, LoseReply, Proxy, proxied
from tests.aws.runnable import TASK, at_length, aws, environment, everything, machines
from tests.failover.pretended import Account

pytestmark = [pytest.mark.terraform, pytest.mark.fault, pytest.mark.timeout(1800), pytest.mark.xdist_group("moto")]

POINTS = int(os.environ.get("SKYC_KILL_POINTS", "1"))
FIRST = int(os.environ.get("SKYC_KILL_FIRST", "1"))
VICTIMS = ("everything", "terraform", "provider", "skyc")
CHANGING_CALLS = 26
"""About how many calls of an apply, and of a destroy, change something."""


@pytest.fixture
def proxy(moto: str) -> Iterator[Proxy]:
    with proxied(moto) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with aws(tmp_path / "home", proxy, monkeypatch) as account:
        yield account


def as_planned(home: Account, account: Any, before: frozenset[str]) -> None:
    """Both machines, once, and nothing new in the account that no state knows."""
    assert len(machines(account, "train")) == 2
    known = frozenset().union(*(state_ids(file) for file in home.home.glob("deployments/train/sites/*/terraform.tfstate")))
    # What a network brings along, and a machine's own disk, are in no state.
    attached = {str(row["VolumeId"]) for row in account("ec2").describe_volumes()["Volumes"] if row["Attachments"]}
    vpcs = {row["VpcId"] for row in account("ec2").describe_vpcs()["Vpcs"]} & known
    tables = account("ec2").describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    along = {row["RouteTableId"] for row in tables if row["VpcId"] in vpcs}
    assert everything(account) - before - known - attached - along == frozenset()


class Victim:
    """An apply or destroy in a process of its own, killed when a certain call arrives; that call still reaches the account."""

    def __init__(self, home: Account, proxy: Proxy, what: str) -> None:
        argv = [sys.executable, "-m", "tests.aws.kill_child", str(home.home), proxy.url, what]
        self.process = subprocess.Popen(
            argv, cwd=Path(__file__).parents[2], env=environment(proxy.url), stdout=subprocess.DEVNULL, start_new_session=True
        )
        self.proxy, self.left = proxy, 0
        self.mutex = threading.Lock()
        self.killed: list[str] = []

    def family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def kill_at(self, number: int, who: str) -> None:
        self.left = number
        self.proxy.before = lambda call: self._heard(call, who)

    def _heard(self, call: Call, who: str) -> None:
        with self.mutex:
            self.left -= call.changes
            if self.left != 0 or not call.changes:
                return
            self.left = -1
            for process in self.family():
                with contextlib.suppress(psutil.Error):
                    name = process.name()
                    role = {"terraform": "terraform"}.get(name, "provider" if name.startswith("terraform-pro") else "skyc")
                    if who in ("everything", role):
                        os.kill(process.pid, signal.SIGKILL)
                        self.killed.append(f"{role} at {call.operation}")

    def wait(self) -> None:
        """Until skyc and all that it started is over: Terraform goes on without skyc."""
        family = self.family()
        self.process.wait(600)
        deadline = time.monotonic() + 600
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family):
            assert time.monotonic() < deadline
            time.sleep(0.2)
            family = [process for process in family if process.is_running()]
        self.proxy.before = lambda call: None


@pytest.mark.parametrize("point", range(FIRST, FIRST + POINTS))
def test_killed_at_a_call(point: int, home: Account, proxy: Proxy, account: Any) -> None:
    chance = random.Random(point)
    what = "destroy" if point % 4 == 3 else "apply"
    number, who = chance.randint(1, CHANGING_CALLS), VICTIMS[point % 4] if what == "apply" else chance.choice(VICTIMS)
    before = everything(account)
    if what == "destroy":
        home.up(TASK)
    victim = Victim(home, proxy, what)
    victim.kill_at(number, who)
    victim.wait()
    print(f"point {point}: {what}, call {number}: {victim.killed or 'ended before'}")
    if what == "apply" and point % 2 == 0:
        home.up(TASK)
        as_planned(home, account, before)
    destroy(home.session, "train", confirm=None)
    assert everything(account) == before, "something is left"


@at_length
def test_lost_replies(home: Account, proxy: Proxy, account: Any) -> None:
    """The first reply to each kind of call that changes something is lost: the clients ask again, and what was made twice goes."""
    lost: set[str] = set()

    def rule(call: Call) -> LoseReply | None:
        with proxy.mutex:
            if not call.changes or call.operation in lost:
                return None
            lost.add(call.operation)
        return LoseReply()

    before = everything(account)
    proxy.rule = rule
    for _ in range(8):
        with contextlib.suppress(SkycError):
            home.up(TASK)
            break
    # What a retry within the last apply made twice, the next one finds by its tag.
    home.up(TASK)
    as_planned(home, account, before)
    assert {"CreateVpc", "CreateSubnet", "RunInstances", "CreateRole", "ImportKeyPair", "CreateLaunchTemplate"} <= lost
    for _ in range(4):
        with contextlib.suppress(SkycError):
            destroy(home.session, "train", confirm=None)
            break
    assert everything(account) == before
    assert {"TerminateInstances", "DeleteVpc", "DeleteRole"} <= lost
    print(f"lost: {', '.join(sorted(lost))}")
