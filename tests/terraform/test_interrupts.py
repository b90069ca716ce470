"""Interrupts, kills and survivors: whatever ends skyc, Terraform ends by itself and its state holds what it made."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.terraform import Engine, Event, Patience, Phase, checked, running, wait_for

from .conftest import Site, environ, module, thing

pytestmark = [pytest.mark.terraform, pytest.mark.fault, pytest.mark.timeout(120)]

CHILD = Path(__file__).parent / "apply_child.py"


class Gate:
    """A named pipe a resource's creation reads: it is made when the test opens the gate, and no sooner."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def open(self) -> None:
        # Read and write: this must not wait for a reader that has gone.
        os.close(os.open(self.path, os.O_RDWR | os.O_NONBLOCK))

    @property
    def command(self) -> str:
        return f"cat {self.path}"


@pytest.fixture
def gated(site: Site, tmp_path: Path) -> Iterator[tuple[Site, Gate]]:
    """A site whose `a` is made at once, whose `b` waits for the gate, and whose `c` comes after `b`."""
    gate = Gate(tmp_path / "gate")
    site.write(module(a=thing(input="x"), b=thing(run=gate.command, needs="a"), c=thing(needs="b")))
    yield site, gate
    while (left := running(site.directory)) is not None and left.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(left.pid, signal.SIGKILL)


@contextlib.contextmanager
def child(site: Site, engine: Engine, *, inherit: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    arguments = [str(site.directory), str(site.home), json.dumps(dataclasses.asdict(engine)), ",".join(map(str, inherit))]
    with subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True, pass_fds=inherit, env=environ()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def until_b_is_being_made(said: Iterator[dict[str, Any]]) -> None:
    assert any(line.get("action") == "provision" and line["address"] == "terraform_data.b" for line in said)


def test_ctrl_c_lets_terraform_save_its_state(engine: Engine, gated: tuple[Site, Gate]) -> None:
    site, gate = gated
    with child(site, engine) as process:
        said = lines(process)
        until_b_is_being_made(said)
        process.send_signal(signal.SIGINT)
        rest = list(said)
        gate.open()
        assert process.wait(30) == 0
    result = next(line for line in rest if "result" in line)
    assert result == {"result": 1, "interrupted": True, "killed": False, "ok": False}
    assert rest[-1] == {"next": "refused"}
    assert any("asked Terraform to stop" in line["message"] for line in rest if line.get("phase") == "note")
    terraform = site.terraform(engine)
    state = terraform.state()
    assert state is not None and "terraform_data.a" in state.resources and "terraform_data.c" not in state.resources
    assert "Two interrupts" not in "".join(path.read_text() for path in (site.directory / "runs").glob("*/std*"))
    assert checked(terraform.plan()).has_changes, "the lock was released"


def test_kill_9_of_skyc_loses_nothing(engine: Engine, gated: tuple[Site, Gate], tmp_path: Path) -> None:
    site, gate = gated
    lock = os.open(tmp_path / "deployment-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with child(site, engine, inherit=(lock,)) as process:
        os.close(lock)
        until_b_is_being_made(lines(process))
        process.kill()
        process.wait(30)
    survivor = running(site.directory)
    assert survivor is not None and survivor.command == "apply" and survivor.engine_version == engine.version
    with (tmp_path / "deployment-lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    locked = site.terraform(engine).plan()
    assert not locked.ok and {d.slug for d in locked.diagnostics} == {"state-locked", "run-still-going"}
    assert str(survivor.pid) in "".join(d.detail for d in locked.diagnostics)
    assert not wait_for(survivor, timeout=0).ended

    gate.open()
    events: list[Event] = []
    end = wait_for(survivor, timeout=60, on_event=events.append)
    assert end.ended and end.finished and end.diagnostics == ()
    made = [event.address for event in events if event.phase is Phase.COMPLETE and event.action == "create"]
    assert made == ["terraform_data.a", "terraform_data.b", "terraform_data.c"]
    with (tmp_path / "deployment-lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert running(site.directory) is None
    assert not checked(site.terraform(engine).plan()).has_changes


def test_stop_from_another_thread(any_engine: Engine, gated: tuple[Site, Gate]) -> None:
    site, gate = gated
    terraform = site.terraform(any_engine, on_event=lambda event: stop_at_b(event, lambda: terraform.stop()))
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    run = terraform.apply(plan.plan_file)
    gate.open()
    assert run.interrupted and not run.killed and not run.ok
    for refused in (terraform.plan, lambda: terraform.apply(plan.plan_file)):
        with pytest.raises(SkycError) as raised:
            refused()
        assert raised.value.exit_code == 130
    assert terraform.state() is not None, "reading still works"


def stop_at_b(event: Event, stop: Callable[[], None]) -> None:
    if event.action == "provision" and event.address == "terraform_data.b":
        stop()


def test_a_terraform_that_does_not_stop_is_killed_and_said_so(any_engine: Engine, gated: tuple[Site, Gate]) -> None:
    site, gate = gated

    def freeze(event: Event) -> None:
        if event.action == "provision" and event.address == "terraform_data.b":
            facts = running(site.directory)
            assert facts is not None and facts.pid is not None
            os.kill(facts.pid, signal.SIGSTOP)
            terraform.stop()

    terraform = site.terraform(any_engine, on_event=freeze, patience=Patience(lock=0, grace=0.3))
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    run = terraform.apply(plan.plan_file)
    gate.open()
    assert run.killed and run.interrupted and not run.ok
    assert "terraform-killed" in {d.slug for d in run.diagnostics}
    assert running(site.directory) is None


def test_a_time_limit_is_an_interrupt(any_engine: Engine, gated: tuple[Site, Gate]) -> None:
    site, gate = gated
    terraform = site.terraform(any_engine, patience=Patience(lock=0, change=0.5))
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    run = terraform.apply(plan.plan_file)
    gate.open()
    assert run.timed_out and not run.killed and not run.ok
    assert "terraform-timeout" in {d.slug for d in run.diagnostics}
    assert not [event for event in site.events if event.phase is Phase.COMPLETE and event.address == "terraform_data.c"]
