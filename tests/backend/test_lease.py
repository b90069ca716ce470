"""The lease: one writer, a dead one is replaced, a living one never. Real processes, really killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.runtime.backend import lease as lease_module
from skyc.runtime.backend.lease import Lease, hold, read_tenant, tenant_text, who_holds
from skyc.runtime.backend.settings import conditional
from skyc.runtime.lock import deployment_lock
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.conftest import LONG_OTHERS
from tests.lengths import takes_minutes

DEMO = DeploymentId("demo")
KEY = "demo/lease.json"

CHILD = """
import os, subprocess, sys, time
from pathlib import Path
from skyc.compiler.ir import DeploymentId
from skyc.runtime.backend.lease import hold
from skyc.runtime.backend.settings import conditional
from skyc.runtime.lock import deployment_lock
home, uri, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
demo = DeploymentId("demo")
with deployment_lock(home, demo, command="skyc apply task.yaml") as lock:
    with hold(conditional(uri), demo, lock=home / "deployments/demo/lock", command="skyc apply task.yaml") as lease:
        if what == "race":
            # Nobody else may be here at the same time.
            mark = Path(sys.argv[4])
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            time.sleep(0.05)
            mark.unlink()
            sys.exit()
        child = None
        if what == "terraform":
            child = subprocess.Popen(["sleep", "300"], pass_fds=(lock.fd,), start_new_session=True, stdout=subprocess.DEVNULL)
        print(child.pid if child else 0, flush=True)
        sys.stdin.readline()
        try:
            lease._renewed = -1e9
            lease.check()
            print("kept", flush=True)
        except Exception as failure:
            print(failure.diagnostics[0].slug, flush=True)
"""


@pytest.fixture(params=["file", "s3", *LONG_OTHERS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ConditionalStore:
    if request.param == "file":
        return conditional((tmp_path / "shared").as_uri())
    return conditional(request.getfixturevalue("place")(request.param))


@pytest.fixture
def files(tmp_path: Path) -> ConditionalStore:
    return conditional((tmp_path / "shared").as_uri())


class Holder:
    """A process with the lease; `terraform`: with a child that holds the home's lock too."""

    def __init__(self, home: Path, store: ConditionalStore, what: str = "hold") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(home), store.uri, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.terraform = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)

    def end(self) -> str:
        out, _ = self.process.communicate("\n", timeout=60)
        return out.strip()


def taken(home: Path, store: ConditionalStore, wait: float | None = 0) -> Iterator[Lease]:
    with (
        deployment_lock(home, DEMO, command="skyc plan", wait=0),
        hold(store, DEMO, lock=home / "deployments/demo/lock", command="skyc plan", wait=wait) as lease,
    ):
        yield lease


def refused(home: Path, store: ConditionalStore) -> str:
    with pytest.raises(SkycError) as caught:
        list(taken(home, store))
    assert caught.value.diagnostics[0].slug == "deployment-busy"
    return caught.value.diagnostics[0].detail


def test_a_living_holder_is_named_and_never_replaced(store: ConditionalStore, tmp_path: Path) -> None:
    holder = Holder(tmp_path / "a", store)
    said = refused(tmp_path / "b", store)
    assert f"process {holder.process.pid} on" in said and "`skyc apply task.yaml`" in said and "since 2" in said
    assert holder.end() == "kept"
    assert list(taken(tmp_path / "b", store))
    assert who_holds(store, DEMO) is None


def test_a_killed_holder_is_replaced_at_once(store: ConditionalStore, tmp_path: Path) -> None:
    for home in ("a", "b"):
        # By its own home, and by another one of this machine.
        Holder(tmp_path / "a", store).kill()
        assert who_holds(store, DEMO) is not None
        assert list(taken(tmp_path / home, store))


def test_terraform_of_a_killed_holder_keeps_it(files: ConditionalStore, tmp_path: Path) -> None:
    holder = Holder(tmp_path / "a", files, "terraform")
    holder.kill()
    try:
        refused(tmp_path / "b", files)
    finally:
        os.kill(holder.terraform, signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert list(taken(tmp_path / "b", files))
            return
        except SkycError:
            time.sleep(0.05)
    raise AssertionError("a lease that nobody has was not taken over")


def on_another_machine(store: ConditionalStore, *, silent: float = 0, **changes: object) -> None:
    """The lease looks as if it were of a machine nothing is known about, which was silent for so many seconds."""
    tenant = read_tenant(store.get(KEY))
    assert tenant is not None
    elsewhere = replace(tenant.place, host="elsewhere", machine="another", boot="another")
    store.put(KEY, tenant_text(replace(tenant, place=elsewhere, **changes)))  # type: ignore[arg-type]
    path = Path(str(store.root)) / KEY  # type: ignore[attr-defined]
    then = time.time() - silent
    os.utime(path, (then, then))


def test_of_another_machine_only_silence_is_known(files: ConditionalStore, tmp_path: Path) -> None:
    Holder(tmp_path / "a", files).kill()
    on_another_machine(files, silent=lease_module.PATIENCE - 10)
    assert "on elsewhere" in refused(tmp_path / "b", files)
    on_another_machine(files, silent=lease_module.PATIENCE + 10, applying=True)
    assert "is taken over after 660 s" in refused(tmp_path / "b", files)
    on_another_machine(files, silent=lease_module.PATIENCE + 10, applying=False)
    assert list(taken(tmp_path / "b", files))


def test_a_machine_that_started_anew_has_nothing_running(files: ConditionalStore, tmp_path: Path) -> None:
    Holder(tmp_path / "a", files).kill()
    tenant = read_tenant(files.get(KEY))
    assert tenant is not None
    before = replace(tenant, place=replace(tenant.place, boot="the one before", device=0), applying=True)
    files.put(KEY, tenant_text(before))
    refused(tmp_path / "b", files)
    assert list(taken(tmp_path / "a", files))


def test_a_holder_that_slept_finds_out(files: ConditionalStore, tmp_path: Path) -> None:
    holder = Holder(tmp_path / "a", files)
    holder.process.send_signal(signal.SIGSTOP)
    on_another_machine(files, silent=lease_module.PATIENCE + 10)
    for lease in taken(tmp_path / "b", files):
        holder.process.send_signal(signal.SIGCONT)
        assert holder.end() == "lease-lost"
        lease.check()
        lease._renewed = -1e9
        lease.check()


def test_a_lease_nobody_can_read_runs_out(files: ConditionalStore, tmp_path: Path) -> None:
    files.put(KEY, b"{}")
    assert "nobody can read" in refused(tmp_path / "b", files)
    path = Path(str(files.root)) / KEY  # type: ignore[attr-defined]
    os.utime(path, (1, 1))
    assert list(taken(tmp_path / "b", files))


def test_renewals_go_on_by_themselves(files: ConditionalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEWAL", 0.05)
    for lease in taken(tmp_path / "a", files):
        end = time.monotonic() + 30
        while json.loads(files.get(KEY))["beat"] < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        lease.applying()
        assert json.loads(files.get(KEY))["applying"] is True
    assert json.loads(files.get(KEY))["released"] is True


@pytest.mark.parametrize("store", ["file", pytest.param("s3", marks=takes_minutes), *LONG_OTHERS], indirect=True)
def test_sixteen_at_once_one_at_a_time(store: ConditionalStore, tmp_path: Path) -> None:
    mark = tmp_path / "inside"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / f"home-{number % 8}"), store.uri, "race", str(mark)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(16)
    ]
    said = [process.communicate(timeout=200)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 16, said
    assert not mark.exists()
