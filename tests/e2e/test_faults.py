"""Things die, fill up and are closed; the next command recovers and nothing runs that no state knows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.lengths import LONG, takes_minutes

from .conftest import Background, Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.fault, pytest.mark.xdist_group("e2e")]

HELLO = "name: hello\nrun: echo hello from $SKYC_NODE_RANK\nhours: 0.01\n"


def recovered(skyc: Skyc, task: str) -> None:
    """After any fault: the next apply works, exactly one node exists, and destroy leaves nothing."""
    done = skyc("apply", task, "-y")
    assert "hello from 0" in done.out, done.both
    leaves_nothing(skyc)


def leaves_nothing(skyc: Skyc) -> None:
    """Exactly one node exists, the one of the state, and destroy leaves nothing."""
    assert len(skyc.processes("skyc.runtime.node.supervisor")) == 1
    state = json.loads((skyc.home / "deployments/hello/sites/hello.local/terraform.tfstate").read_text())
    known = [i["attributes"]["id"] for block in state["resources"] for i in block["instances"]]
    nodes = [json.loads(path.read_text())["id"] for path in skyc.home.glob("deployments/hello/nodes/*/node.json")]
    assert known == nodes
    skyc("destroy", "hello", "-y")
    assert skyc.processes() == []
    assert not list(skyc.home.glob("deployments/hello/nodes/*"))


def creating(skyc: Skyc) -> bool:
    """A node is being made: its record is written and its supervisor runs, but it is not in the state yet."""
    return bool(skyc.processes("skyc.runtime.node.supervisor"))


@pytest.mark.parametrize(
    "victim", ["terraform", *(pytest.param(name, marks=takes_minutes) for name in ("skyc", "provider", "ray"))]
)
def test_kill_9_during_apply(skyc: Skyc, victim: str) -> None:
    """kill -9 of each part while the node is being made."""
    task = skyc.task("hello", HELLO)
    apply = skyc.start("apply", task, "-y")
    skyc.wait_for("a node in the making", 240, lambda: creating(skyc))
    if victim == "skyc":
        os.kill(apply.pid, signal.SIGKILL)
    else:
        killed = skyc.wait_for(victim, 240, lambda: victims(skyc, apply, victim))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
    apply.wait(240)
    recovered(skyc, task)


def victims(skyc: Skyc, apply: Background, victim: str) -> list[int]:
    if victim == "ray":
        return [process.pid for process in skyc.processes("gcs_server")]
    found = []
    for process in psutil.Process(apply.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            terraform = Path(words[0]).name in ("terraform", "tofu") or "skyc.compiler.embedded" in words
            wanted = terraform and "apply" in words if victim == "terraform" else "skyc.providers.tfplugin" in words
            if wanted:
                found.append(process.pid)
    return found


def test_one_interrupt(skyc: Skyc) -> None:
    """Ctrl-C once, at each step of one apply after the other: a clear word, exit 130, and the next apply goes on."""
    task = skyc.task("hello", HELLO.replace("run: ", "run: sleep 3 && "))
    if LONG:
        interrupted(skyc, task, "the plan", lambda apply: "planning" in apply.text)
    interrupted(skyc, task, "a node in the making", lambda apply: creating(skyc))
    assert "goes on" in interrupted(skyc, task, "the job", lambda apply: "running hello" in apply.text)
    assert "hello from 0" in skyc("logs", "-f", "hello").out
    assert "succeeded" in skyc("apply", task, "-y").both
    leaves_nothing(skyc)


def interrupted(skyc: Skyc, task: str, what: str, when: Callable[[Background], bool]) -> str:
    """What an apply says that is interrupted then."""
    apply = skyc.start("apply", task, "-y")
    skyc.wait_for(what, 240, lambda: when(apply))
    os.kill(apply.pid, signal.SIGINT)
    # A shell shows 130 for both: where the interrupt hits an import, Python itself ends by the signal after our message.
    assert apply.wait(240) in (130, -signal.SIGINT), apply.text
    assert "interrupted" in apply.text
    return apply.text


@takes_minutes
def test_damaged_states_are_refused(skyc: Skyc) -> None:
    """An empty, older, edited or missing state is refused with the remedy; the remedy works; destroy needs no state."""
    task = skyc.task("hello", HELLO)
    skyc("apply", task, "-y")
    path = skyc.home / "deployments/hello/sites/hello.local/terraform.tfstate"
    good = path.read_text()
    facts = json.loads(good)
    damaged = {
        "empty": json.dumps({**facts, "resources": [], "outputs": {}}),
        "older": json.dumps({**facts, "serial": facts["serial"] - 1}),
        "foreign": json.dumps({**facts, "lineage": "11111111-2222-3333-4444-555555555555"}),
        "torn": good[: len(good) // 2],
    }
    for name, text in damaged.items():
        path.write_text(text)
        refused = skyc("plan", task, code=1)
        assert "state" in refused.err, (name, refused.both)
        assert len(skyc.processes("skyc.runtime.node.supervisor")) == 1, f"{name}: a healthy node was touched"
    path.unlink()
    refused = skyc("plan", task, code=1)
    remedy = next(line.strip() for line in refused.err.splitlines() if line.strip().startswith("cp "))
    subprocess.run(remedy, shell=True, check=True)
    assert "0 to add" in skyc("plan", task).out
    path.unlink()
    skyc("destroy", "hello", "-y")
    assert skyc.processes() == []


def test_read_only_home(skyc: Skyc) -> None:
    """A home that cannot be written: one clear message, nothing started."""
    if os.geteuid() == 0:
        home = skyc.home / "sealed"
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)], check=True)
        try:
            refused = skyc("plan", skyc.task("hello", HELLO), "--home", str(home), code=1)
        finally:
            subprocess.run(["umount", str(home)], check=True)
    else:
        home = skyc.home / "sealed"
        home.mkdir(mode=0o500)
        refused = skyc("plan", skyc.task("hello", HELLO), "--home", str(home / "x"), code=1)
    assert str(home) in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk(skyc: Skyc, tmp_path: Path) -> None:
    """A disk too small for the node's environment: a clear message; with room a destroy leaves nothing, and an apply works."""
    home = tmp_path / "small"
    home.mkdir(mode=0o700)
    task = skyc.task("hello", HELLO)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(home)], check=True)
    try:
        full = skyc("apply", task, "-y", "--home", str(home), code=1)
        assert "space" in full.err.lower(), full.both
        assert "Traceback" not in full.err
        subprocess.run(["mount", "-o", "remount,size=2g", str(home)], check=True)
        if LONG:
            assert "hello from 0" in skyc("apply", task, "-y", "--home", str(home)).out
        skyc("destroy", "hello", "-y", "--home", str(home))
    finally:
        skyc("destroy", "hello", "-y", "--home", str(home), code=None)
        subprocess.run(["umount", "-l", str(home)], check=True)
