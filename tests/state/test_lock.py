"""The deployment lock, with real processes that are really killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.runtime import lock as lock_module
from skyc.runtime.lock import Holder, deployment_lock, lock_holder

DIGITS = DeploymentId("digits")

HOLD = """
import subprocess, sys
from pathlib import Path
from skyc.compiler.ir import DeploymentId
from skyc.runtime.lock import deployment_lock
with deployment_lock(Path(sys.argv[1]), DeploymentId("digits"), command="skyc apply task.yaml") as lock:
    child = None
    if sys.argv[2] == "child":
        # As Terraform is run: its own session, and the lock with it. It ends when its standard input does.
        child = subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, pass_fds=(lock.fd,), start_new_session=True)
    print("held", child.pid if child else 0, flush=True)
    if child is None or sys.argv[3] == "stay":
        import signal
        signal.pause()
"""


class Process:
    """A process that holds the lock. `release` ends the child it started."""

    def __init__(self, home: Path, child: str = "", then: str = "stay") -> None:
        self.read_end, self.write_end = os.pipe()
        argv = [sys.executable, "-c", HOLD, str(home), child or "none", then]
        self.process = subprocess.Popen(argv, stdin=self.read_end, stdout=subprocess.PIPE, text=True)
        os.close(self.read_end)
        assert self.process.stdout is not None
        word, child_pid = self.process.stdout.readline().split()
        assert word == "held"
        self.child_pid = int(child_pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def release(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def clean_up(self) -> None:
        self.kill()
        self.release()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.clean_up()


def busy(home: Path) -> str:
    """What somebody who does not wait is told; empty if the lock was free."""
    try:
        with deployment_lock(home, DIGITS, command="skyc destroy digits", wait=0):
            return ""
    except SkycError as failure:
        (diagnostic,) = failure.diagnostics
        assert diagnostic.slug == "deployment-busy"
        return diagnostic.detail


def test_the_second_command_learns_who_holds_it_and_waits(tmp_path: Path, processes: list[Process]) -> None:
    processes.append(holder := Process(tmp_path))
    assert f"`skyc apply task.yaml` (process {holder.process.pid} on" in busy(tmp_path)
    assert "is working on it" in busy(tmp_path)
    known = lock_holder(tmp_path, DIGITS)
    assert known is not None
    assert known.alive is True
    heard: list[Holder | None] = []

    def on_wait(found: Holder | None) -> None:
        heard.append(found)
        holder.kill()  # whoever is waited for goes away while we wait

    with deployment_lock(tmp_path, DIGITS, command="skyc destroy digits", wait=30, on_wait=on_wait) as lock:
        assert lock.holder.pid == os.getpid()
        assert [found.pid for found in heard if found] == [holder.process.pid]
    assert lock_holder(tmp_path, DIGITS) is None


@pytest.mark.fault
def test_kill_9_frees_the_lock_and_its_stale_note_does_no_harm(tmp_path: Path, processes: list[Process]) -> None:
    processes.append(holder := Process(tmp_path))
    holder.kill()
    assert (tmp_path / "deployments" / "digits" / "lock.holder").exists()
    assert lock_holder(tmp_path, DIGITS) is None
    assert busy(tmp_path) == ""


@pytest.mark.fault
@pytest.mark.parametrize("end", ["killed", "over"])
def test_a_terraform_that_outlives_skyc_keeps_the_lock(tmp_path: Path, processes: list[Process], end: str) -> None:
    processes.append(holder := Process(tmp_path, "child", "stay" if end == "killed" else "leave"))
    if end == "killed":
        holder.process.send_signal(signal.SIGKILL)
    holder.process.wait(30)
    assert "is over, but a Terraform run it started is still working" in busy(tmp_path)
    os.kill(holder.child_pid, 0)
    heard: list[Holder | None] = []

    def on_wait(found: Holder | None) -> None:
        heard.append(found)
        holder.release()

    with deployment_lock(tmp_path, DIGITS, command="c", wait=30, on_wait=on_wait):
        pass
    assert len(heard) == 1
    assert heard[0] is not None
    assert heard[0].left_behind


CONTEND = """
import os, sys
from pathlib import Path
from skyc.compiler.ir import DeploymentId
from skyc.runtime.lock import deployment_lock
home = Path(sys.argv[1])
sys.stdin.readline()  # all start together
for _ in range(3):
    with deployment_lock(home, DeploymentId("digits"), command="c", wait=60):
        os.close(os.open(home / "inside", os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # fails if anybody else is in here
        count = int((home / "count").read_text())
        (home / "count").write_text(str(count + 1))
        (home / "inside").unlink()
"""


def test_sixteen_contenders_get_it_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    argv = [sys.executable, "-c", CONTEND, str(tmp_path)]
    contenders = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) for _ in range(16)
    ]
    try:
        for contender in contenders:
            assert contender.stdin is not None
            contender.stdin.write("\n")
            contender.stdin.flush()
        said = [contender.communicate(timeout=100)[1] for contender in contenders]
    finally:
        for contender in contenders:
            contender.kill()
            contender.wait()
    assert said == [""] * 16
    assert (tmp_path / "count").read_text() == "48"


def test_two_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with deployment_lock(tmp_path, DIGITS, command="first"):
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(busy(tmp_path)))
        thread.start()
        thread.join(30)
    assert len(said) == 1
    assert "`first`" in said[0]
    assert busy(tmp_path) == ""


def test_a_purge_under_the_lock_does_not_let_two_in(tmp_path: Path) -> None:
    directory = tmp_path / "deployments" / "digits"
    waiting = threading.Event()
    inside = threading.Event()

    def second() -> None:
        with deployment_lock(tmp_path, DIGITS, command="second", wait=30, on_wait=lambda _: waiting.set()):
            inside.set()
            done.wait(30)

    done = threading.Event()
    thread = threading.Thread(target=second)
    with deployment_lock(tmp_path, DIGITS, command="purge"):
        thread.start()
        assert waiting.wait(30)
        shutil.rmtree(directory)
    assert inside.wait(30)
    assert "`second`" in busy(tmp_path), "the file that stands there now is the one that is locked"
    done.set()
    thread.join(30)


def test_a_lock_file_purged_between_opening_and_locking_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "deployments" / "digits"
    tries: list[int] = []
    really = lock_module._try

    def purged_first(fd: int, kind: int) -> bool:
        tries.append(fd)
        if len(tries) == 1:
            shutil.rmtree(directory)
        return really(fd, kind)

    monkeypatch.setattr(lock_module, "_try", purged_first)
    with deployment_lock(tmp_path, DIGITS, command="c", wait=5) as lock:
        assert os.path.samestat(os.fstat(lock.fd), (directory / "lock").stat())
        assert len(tries) == 2


def test_a_program_left_by_a_finished_call_of_a_living_process_is_named(tmp_path: Path) -> None:
    with deployment_lock(tmp_path, DIGITS, command="skyc.apply()") as lock:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(lock.fd,))
    try:
        assert lock.holder.alive is True
        assert "is over, but a Terraform run it started is still working" in busy(tmp_path)
    finally:
        child.communicate(timeout=30)
    assert busy(tmp_path) == ""


def test_other_deployments_are_not_held_up_and_children_do_not_inherit_by_accident(tmp_path: Path) -> None:
    with deployment_lock(tmp_path, DIGITS, command="c") as lock:
        assert not os.get_inheritable(lock.fd)
        with deployment_lock(tmp_path, DeploymentId("other"), command="c", wait=0):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', json.dumps({"pid": 1}), "\x00"])
def test_a_damaged_holder_note_is_only_less_to_say(tmp_path: Path, processes: list[Process], content: str) -> None:
    with deployment_lock(tmp_path, DIGITS, command="c"):
        (tmp_path / "deployments" / "digits" / "lock.holder").write_text(content)
        assert "Another process holds its lock" in busy(tmp_path)


def test_an_exception_inside_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), deployment_lock(tmp_path, DIGITS, command="c"):
        raise ZeroDivisionError
    assert busy(tmp_path) == ""


def test_a_process_number_used_again_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    with deployment_lock(tmp_path, DIGITS, command="c") as lock:
        path = tmp_path / "deployments" / "digits" / "lock.holder"
        note = json.loads(path.read_text())
        assert lock.holder.alive is True
        path.write_text(json.dumps({**note, "pid_started": note["pid_started"] - 3600}))
        assert "is over, but" in busy(tmp_path)
