"""Files and commands of a local node."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from skyc.providers.base import Node, TransportError
from skyc.providers.local.transport import LocalTransport

from .conftest import is_running, wait_for


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "node"
    (place / "home").mkdir(parents=True)
    return place


@pytest.fixture
def transport(place: Path) -> LocalTransport:
    return LocalTransport(
        Node(
            id="0" * 16, name="n", group="g", rank=0, ip="127.0.0.1", directory=str(place), python=sys.executable, user_bin="/bin",
            gcs_port=1, dashboard_port=2, agent_port=3, cpus=1, memory_mb=1,
        )
    )  # fmt: skip


def files(place: Path) -> Iterator[str]:
    return (str(entry.relative_to(place)) for entry in sorted(place.rglob("*")))


def test_a_file_appears_whole_with_its_mode(transport: LocalTransport, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = place / "a" / "secret"
    transport.put_file(b"one", str(target))
    assert target.stat().st_mode & 0o777 == 0o600 and target.parent.stat().st_mode & 0o777 == 0o700
    transport.put_file(b"two", str(target), mode=0o755)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"two", 0o755)

    def full(handle: int) -> None:
        assert target.read_bytes() == b"two", "the old content was touched before the new was on disk"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skyc.providers.local.transport.os.fsync", full)
    with pytest.raises(TransportError, match="No space left"):
        transport.put_file(b"three", str(target))
    assert target.read_bytes() == b"two"
    assert list(files(target.parent)) == ["secret"], "half a file stayed"


def test_a_tree_arrives_as_it_is_and_only_changes_are_sent(transport: LocalTransport, place: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "data").write_bytes(os.urandom(3000))
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o750)
    (source / "broken").symlink_to("nowhere")
    (source / "link").symlink_to("sub/data")
    (source / "empty").mkdir()
    target = place / "workdir"
    transport.put_tree(source, str(target))
    assert list(files(target)) == list(files(source))
    assert (target / "tool").stat().st_mode & 0o777 == 0o750
    assert (target / "link").readlink() == Path("sub/data") and (target / "broken").is_symlink()

    before = {name: (target / name).lstat().st_ino for name in files(target)}
    (source / "tool").write_text("#!/bin/sh\nnew\n")
    (source / "link").unlink()
    (source / "link").symlink_to("tool")
    os.utime(source / "sub" / "data")
    (target / "own").write_text("the job's")
    transport.put_tree(source, str(target))
    after = {name: (target / name).lstat().st_ino for name in before}
    assert {name for name in before if before[name] != after[name]} == {"tool", "link"}
    assert (target / "own").read_text() == "the job's"

    same_size = (source / "sub" / "data").read_bytes()[::-1]
    facts = (target / "sub" / "data").stat()
    (source / "sub" / "data").write_bytes(same_size)
    os.utime(source / "sub" / "data", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    transport.put_tree(source, str(target))
    assert (target / "sub" / "data").read_bytes() == same_size, "size and time do not tell; the content does"


def test_a_link_on_the_node_is_not_written_through(transport: LocalTransport, place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("new")
    (source / "top").write_text("new")
    target = place / "workdir"
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / "top").symlink_to(outside / "file")
    transport.put_tree(source, str(target))
    transport.put_file(b"new", str(target / "top"))
    assert (outside / "file").read_text() == "precious" and len(list(outside.iterdir())) == 1
    assert (target / "sub" / "file").read_text() == "new" and not (target / "sub").is_symlink()


def test_what_cannot_be_copied_is_an_error(transport: LocalTransport, place: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TransportError, match="neither a file"):
        transport.put_tree(tmp_path / "pipe", str(place / "pipe"))
    for path in ("relative", "", f"{place}/../x"):
        with pytest.raises(TransportError, match="absolute"):
            transport.put_file(b"", path)
    with pytest.raises(FileNotFoundError):
        transport.get_file(str(place / "absent"))


def test_a_node_that_is_gone_is_not_made_again(transport: LocalTransport, place: Path, tmp_path: Path) -> None:
    place.rename(tmp_path / "moved")
    for attempt in (
        lambda: transport.put_file(b"", str(place / "x")),
        lambda: transport.get_file(str(place / "x")),
        lambda: transport.put_tree(tmp_path / "moved", str(place / "x")),
        lambda: transport.run(["true"]),
    ):
        with pytest.raises(TransportError, match="is gone"):
            attempt()
    assert not place.exists()


def test_a_command_sees_what_it_is_given(transport: LocalTransport, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    done = transport.run(["/usr/bin/env"], env={"GIVEN": "a b"})
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert seen == {
        "PATH": os.defpath,
        "HOME": str(place / "home"),
        "LANG": "C.UTF-8",
        "SKYC_NODE_LIFE": "0" * 16,
        "GIVEN": "a b",
    }
    with pytest.raises((TransportError, FileNotFoundError)):
        transport.run(["/no/such/program"])


def _ended(pid: int) -> bool:
    return not is_running(pid)


def test_a_timeout_ends_the_whole_command(transport: LocalTransport, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(TimeoutError):
        transport.run(["sh", "-c", f"sleep 600 & echo $! > {pids}; echo $$ >> {pids}; wait"], timeout=3)
    for pid in pids.read_text().split():
        wait_for(partial(_ended, int(pid)), 5)


def test_what_a_command_leaves_running_does_not_hold_it_up(transport: LocalTransport, tmp_path: Path) -> None:
    done = transport.run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path / 'pid'}; echo done"], timeout=20)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert done.stdout == "done\n" and is_running(pid)
    finally:
        os.kill(pid, 9)
