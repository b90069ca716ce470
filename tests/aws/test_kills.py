"""kill -9 of skyc, Terraform and the released AWS provider in the middle of an apply or a destroy, and replies that are lost.

After the next apply or destroy that is let be there is no orphan, nothing twice, and nobody had to unlock anything. A run of all tests
kills eight times: each of four victims in an apply and in a destroy. `make faults` kills a hundred times and loses replies.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
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

CHAINS = -(-int(os.environ.get("SKYC_KILL_POINTS", "8")) // 8)
"""Eight kills each."""
FIRST = int(os.environ.get("SKYC_KILL_FIRST", "0"))
DEEPEST = 5
"""Of the calls that change something, the last at which a victim is killed: after three such kills an apply or destroy has more to make."""


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
        self.relatives: list[psutil.Process] = []

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
            if self.killed or not call.changes:
                return
            self.left -= 1
            if self.left > 0:
                return
            # What skyc removes itself comes before Terraform runs: then the first call that finds the victim is its last.
            self.relatives = self.family()
            for process in self.relatives:
                with contextlib.suppress(psutil.Error):
                    name = process.name()
                    role = {"terraform": "terraform"}.get(name, "provider" if name.startswith("terraform-pro") else "skyc")
                    if who in ("everything", role):
                        os.kill(process.pid, signal.SIGKILL)
                        self.killed.append(f"{role} at {call.operation}")

    def wait(self) -> None:
        """Until skyc and all that it started is over: Terraform goes on without skyc."""
        self.process.wait(600)
        _, alive = psutil.wait_procs(self.relatives, timeout=600)
        assert not alive
        self.proxy.before = lambda call: None


@pytest.mark.parametrize("chain", range(FIRST, FIRST + CHAINS))
def test_killed_in_a_row(chain: int, home: Account, proxy: Proxy, account: Any) -> None:
    """Four applies are killed one after the other, the fifth comes up; four destroys are killed, the fifth leaves nothing."""
    chance = random.Random(chain)
    before = everything(account)
    killed = [kill(home, proxy, "apply", who, chance) for who in victims(chance)]
    home.up(TASK)
    as_planned(home, account, before)
    killed += [kill(home, proxy, "destroy", who, chance) for who in victims(chance)]
    destroy(home.session, "train", confirm=None)
    assert everything(account) == before, "something is left"
    print(f"chain {chain}: {'; '.join(killed)}")


def victims(chance: random.Random) -> tuple[str, ...]:
    """Each once. Terraform goes on to the end without skyc, so skyc is last."""
    return (*chance.sample(("everything", "terraform", "provider"), k=3), "skyc")


def kill(home: Account, proxy: Proxy, what: str, who: str, chance: random.Random) -> str:
    """Kill one command at one of its calls, and say where."""
    victim = Victim(home, proxy, what)
    victim.kill_at(chance.randint(1, DEEPEST), who)
    victim.wait()
    assert victim.killed, f"the {what} ended before its {who} could be killed"
    return f"{what}: {', '.join(victim.killed)}"


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
