"""Which processes belong to a node's life: those started here, each in one of the ways a job could start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.providers.local import lifecycle, processes
from skyc.providers.local.processes import Process
from skyc.providers.local.record import NodeRecord, load, new_life, save
from skyc.runtime.node import supervisor

from .conftest import is_running, pretend, record_of, wait_for

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def record(home: Path) -> Iterator[NodeRecord]:
    record = pretend(record_of(home))
    yield record
    for left in lifecycle.find_records(home, record.deployment):
        lifecycle.delete(left)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start(*argv: str, env: dict[str, str] | None = None, cwd: Path = tmp_path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv or ("/bin/sleep", "600"), env=env or {}, cwd=cwd, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def found(record: NodeRecord) -> set[int]:
    return {process.pid for process in processes.find(record)}


def note(record: NodeRecord, pid: int, start: int | None = None) -> None:
    row = processes._row(pid)
    assert row is not None
    with (record.directory / "processes").open("a") as file:
        file.write(f"{pid} {row.process.start if start is None else start}\n")


def test_by_the_marker_whole_and_exact(record: NodeRecord, start: Start) -> None:
    mine = start(env={"SKYC_NODE_LIFE": record.id})
    start(env={"SKYC_NODE_LIFE": record.id[:-1]})
    start(env={"SKYC_NODE_LIFE": f"{record.id}0"})
    start(env={"OTHER": f"SKYC_NODE_LIFE={record.id}"})
    start(env={"SKYC_NODE_LIFE": new_life(record).id})
    assert found(record) == {mine.pid}


def test_by_the_supervisors_record_with_its_start(record: NodeRecord, start: Start) -> None:
    mine, reused = start(env={"A": "1"}), start(env={"A": "1"})
    note(record, mine.pid)
    note(record, reused.pid, start=1)
    with (record.directory / "processes").open("ab") as file:
        file.write(b"\xff\xfe x\n-1 5\n1\n\n12 3")
    assert found(record) == {mine.pid}
    save(replace(record, boot="another"))
    assert found(replace(record, boot="another")) == set(), "pids of before a restart mean nothing"


def test_by_place_only_without_an_environment(record: NodeRecord, start: Start) -> None:
    directory, temp_dir = str(record.directory), record.temp_dir
    mine = {
        start(cwd=record.directory).pid,
        start(cwd=Path(temp_dir)).pid,
        start("/bin/sh", "-c", "sleep 600; :", f"--log={directory}/logs/x").pid,
        start("/bin/sh", "-c", "sleep 600; :", f'{{"temp":"{temp_dir}"}}').pid,
    }
    others = [
        start("/bin/sh", "-c", "sleep 600; :", f"{directory}-too/logs"),
        start("/bin/sh", "-c", "sleep 600; :", f"/mnt/backup{directory}/logs"),
        start("/bin/sh", "-c", "sleep 600; :", f"/x{temp_dir}"),
        start("/bin/sh", "-c", "sleep 600; :", f"{temp_dir}0"),
        start(cwd=record.directory, env={"HOME": "/root"}),
        start("/bin/sh", "-c", "sleep 600; :", directory, env={"HOME": "/root"}),
        start(cwd=record.directory.parent),
    ]
    assert mine <= found(record)
    below = {other.pid for other in others} | {pid for other in others for pid in _children(other.pid)}
    assert not below & found(record), "somebody's shell, editor or other directory was taken for the node's"


def _children(pid: int) -> set[int]:
    return {row.process.pid for row in processes._table().values() if row.parent == pid}


def test_descendants_and_never_the_caller(record: NodeRecord, start: Start) -> None:
    parent = start("/bin/sh", "-c", "env -i sleep 600; :", env={"SKYC_NODE_LIFE": record.id, "PATH": os.defpath})
    (child,) = wait_for(lambda: _children(parent.pid))
    assert found(record) == {parent.pid, child}
    note(record, os.getpid())
    assert os.getpid() not in found(record) and os.getppid() not in found(record)
    (record.directory / "processes").unlink()


def test_a_node_is_not_removed_from_within(record: NodeRecord) -> None:
    note(record, os.getpid())
    assert processes.runs_inside(record)
    with pytest.raises(lifecycle.NodeError, match="from within"):
        lifecycle.delete(record)
    assert load(record.directory) == record
    (record.directory / "processes").unlink()
    assert not processes.runs_inside(record)


def test_an_older_life_does_not_end_the_newer_ones_processes(record: NodeRecord, start: Start) -> None:
    """Its own marker and temporary directory still find what it left; the directory is not its any more."""
    newer = new_life(record)
    save(newer)
    old, new, recorded = start(env={"SKYC_NODE_LIFE": record.id}), start(cwd=record.directory), start(env={"A": "1"})
    note(record, recorded.pid)
    assert found(record) == {old.pid}
    assert found(newer) == {new.pid, recorded.pid}
    lifecycle.delete(record)
    assert not is_running(old.pid) and is_running(new.pid) and is_running(recorded.pid)


def test_one_that_ignores_sigterm_ends_too(record: NodeRecord, start: Start, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"
    stubborn = start("/bin/sh", "-c", script, env={"SKYC_NODE_LIFE": record.id, "PATH": os.defpath})
    wait_for(ready.exists)
    assert processes.end(record) == frozenset()
    assert stubborn.wait(5) == -signal.SIGKILL


def test_a_reused_pid_is_not_signalled(start: Start) -> None:
    somebody = start()
    row = processes._row(somebody.pid)
    assert row is not None
    before = Process(somebody.pid, row.process.start - 1)
    processes._signal(before, signal.SIGKILL)
    supervisor.send(supervisor.Process(before.pid, before.start), signal.SIGKILL)
    assert is_running(somebody.pid)
    supervisor.send(supervisor.Process(row.process.pid, row.process.start), signal.SIGKILL)
    assert somebody.wait(5) == -signal.SIGKILL


ORPHANS = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "600"], {})
    os._exit(0)
"""


def supervise(record: NodeRecord, command: list[str]) -> int:
    (record.directory / "logs").mkdir()
    file = record.directory / "start.json"
    file.write_text(json.dumps({"command": command}))
    argv = [sys.executable, "-m", "skyc.runtime.node.supervisor", str(record.directory), str(file)]
    subprocess.run(argv, env={**os.environ, "SKYC_NODE_LIFE": record.id}, check=True, timeout=30)
    facts = wait_for(lambda: _report(record))
    return int(facts["pid"])


def _report(record: NodeRecord) -> dict[str, object] | None:
    try:
        report: dict[str, object] = json.loads((record.directory / "supervisor.json").read_text())
    except FileNotFoundError:
        return None
    return report


def test_the_supervisor_takes_what_its_program_left(record: NodeRecord) -> None:
    pid = supervise(record, [sys.executable, "-c", ORPHANS + "time.sleep(1.2)\nsys.exit(7)"])
    recorded = record.directory / "processes"
    wait_for(lambda: len(recorded.read_text().splitlines()) >= 3)
    wait_for(lambda: not is_running(pid))
    report = _report(record)
    assert report is not None and report["state"] == "ended" and report["reason"] == "`ray start` ended with status 7"
    assert [line for line in recorded.read_text().splitlines() if is_running(int(line.split()[0]))] == []


def test_the_supervisor_ends_when_its_directory_is_gone(record: NodeRecord, tmp_path: Path) -> None:
    pid = supervise(record, [sys.executable, "-c", ORPHANS + "time.sleep(600)"])
    wait_for(lambda: len((record.directory / "processes").read_text().splitlines()) >= 3)
    below = {process.pid for process in supervisor.process_tree(pid)}
    assert below
    record.directory.rename(tmp_path / "moved")
    wait_for(lambda: not is_running(pid))
    assert not any(is_running(child) for child in below)
