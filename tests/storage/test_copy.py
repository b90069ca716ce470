"""copy_tree: whole, resumable, verified, and never outside its destination."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skyc.runtime.storage import copy as copying
from skyc.runtime.storage.base import StoreError, StoreFault
from skyc.runtime.storage.copy import UNFINISHED, CopyReport, copy_tree
from skyc.runtime.storage.tree import remove_tree


def snapshot(root: Path) -> dict[str, tuple[int, bytes | str | None]]:
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in sorted(root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = (0, os.fsdecode(path.readlink()))
        else:
            found[name] = (mode, path.read_bytes() if path.is_file() else None)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "deep/er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "big").write_bytes(os.urandom(3_000_001))
    (root / "deep/er/é\udcff name").write_bytes(b"odd")
    (root / "deep/run.sh").write_text("echo\n")
    (root / "deep/run.sh").chmod(0o755)
    (root / "zero").write_bytes(b"")
    (root / "deep/link").symlink_to("../big")
    (root / "dangling").symlink_to("deep/not-yet")
    (root / "deep").chmod(0o555)
    return root


def test_copies_everything_and_then_nothing(source: Path, tmp_path: Path) -> None:
    report = copy_tree(source, tmp_path / "new/target")
    assert report == CopyReport(files=4, bytes=3_000_001 + 3 + 5, skipped=0)
    assert snapshot(tmp_path / "new/target") == snapshot(source)
    assert (tmp_path / "new/target/big").stat().st_mtime_ns == (source / "big").stat().st_mtime_ns
    again = copy_tree(source, tmp_path / "new/target")
    assert again == CopyReport(files=0, bytes=0, skipped=4)


def test_only_what_differs_is_copied_again_even_with_equal_size_and_time(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    copy_tree(source, target)
    content = bytearray((source / "big").read_bytes())
    content[1_500_000] ^= 1
    times = (source / "big").stat()
    (source / "big").write_bytes(content)
    os.utime(source / "big", ns=(times.st_atime_ns, times.st_mtime_ns))
    (target / "extra").write_text("kept")
    assert copy_tree(source, target) == CopyReport(files=1, bytes=3_000_001, skipped=3)
    assert (target / "big").read_bytes() == content
    assert (target / "extra").read_text() == "kept"


def test_an_absolute_link_inside_becomes_relative(source: Path, tmp_path: Path) -> None:
    (source / "latest").symlink_to(source / "deep/run.sh")
    copy_tree(source, tmp_path / "target")
    remove_tree(source)
    assert (tmp_path / "target/latest").read_text() == "echo\n"


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "deep/../../outside", "sideways/../../x", "../source/big"])
def test_links_that_leave_are_refused(source: Path, tmp_path: Path, target: str) -> None:
    (source / "sideways").symlink_to("deep/er")
    (source / "bad").symlink_to(target)
    with pytest.raises(StoreError) as caught:
        copy_tree(source, tmp_path / "target")
    assert caught.value.kind is StoreFault.INVALID
    assert "bad" in str(caught.value)
    assert not (tmp_path / "target").exists()


def test_special_files_are_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(StoreError, match="pipe"):
        copy_tree(source, tmp_path / "target")
    (source / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(source)  # a socket's path must be short
        listener.bind("sock")
        with pytest.raises(StoreError, match="sock"):
            copy_tree(source, tmp_path / "target")


def test_never_writes_through_a_link_at_the_destination(source: Path, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (outside / "big").write_text("mine")
    (target / "big").symlink_to(outside / "big")
    (target / "empty").symlink_to(outside)
    with pytest.raises(StoreError) as caught:
        copy_tree(source, target)
    assert caught.value.kind is StoreFault.INVALID
    (target / "empty").unlink()
    copy_tree(source, target)
    assert snapshot(target) == snapshot(source)
    assert snapshot(outside) == {"big": (stat.S_IMODE((outside / "big").stat().st_mode), b"mine")}


def test_directories_inside_each_other_and_relative_destinations_are_refused(source: Path) -> None:
    for from_, to in ((source, source / "deep/copy"), (source / "deep", source), (source, Path()), (source, Path("x"))):
        with pytest.raises(StoreError) as caught:
            copy_tree(from_, to)
        assert caught.value.kind is StoreFault.INVALID
    assert not Path("x").exists()


COPIER = """
import sys
from pathlib import Path
from skyc.runtime.storage import copy
real = copy._Copy._record
def record(self, *rest):
    real(self, *rest)
    print("file", flush=True)
    sys.stdin.readline()
copy._Copy._record = record
copy.copy_tree(Path(sys.argv[1]), Path(sys.argv[2]), workers=1)
"""


@pytest.mark.fault
def test_a_killed_copy_is_continued(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for finished in (1, 2):
        child = subprocess.Popen(
            [sys.executable, "-c", COPIER, str(source), str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdin is not None and child.stdout is not None
        try:
            assert child.stdout.readline() == "file\n"
            child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.communicate()
        present = [path for path in target.rglob("*") if path.is_file() and UNFINISHED not in path.parts]
        assert len(present) == finished
        for path in present:
            assert path.read_bytes() == (source / path.relative_to(target)).read_bytes()
        with pytest.raises(StoreError, match="unfinished"):
            copy_tree(target, tmp_path / "third")
    (target / UNFINISHED / "part-left").write_bytes(b"half")
    assert copy_tree(source, target).skipped == 2
    assert snapshot(target) == snapshot(source)


def test_a_source_that_changes_while_read_is_not_copied_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "f").write_bytes(b"0" * 100)
    real = copying._pour
    changes = 0

    def meddle(reader: int, writer: int) -> str:
        nonlocal changes
        digest = real(reader, writer)
        if changes < limit:
            changes += 1
            (source / "f").write_bytes(b"%d" % changes * 100)
            os.utime(source / "f", ns=(changes, changes))
        return digest

    monkeypatch.setattr(copying, "_pour", meddle)
    limit = 99
    with pytest.raises(StoreError) as caught:
        copy_tree(source, target)
    assert caught.value.kind is StoreFault.CHANGING
    assert not (target / "f").exists()
    changes, limit = 0, 1
    assert copy_tree(source, target).files == 1
    assert (target / "f").read_bytes() == b"1" * 100


def test_copies_at_the_same_time_end_whole(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    failures: list[Exception] = []

    def run() -> None:
        try:
            copy_tree(source, target)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert snapshot(target) == snapshot(source)


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_is_named_and_finished_files_stay(tmp_path: Path) -> None:
    source, mount = tmp_path / "source", tmp_path / "mount"
    source.mkdir()
    mount.mkdir()
    for number in range(4):
        (source / f"f{number}").write_bytes(os.urandom(1 << 20))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2560k", "none", str(mount)], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        with pytest.raises(StoreError) as caught:
            copy_tree(source, mount / "t", workers=1)
        assert caught.value.kind is StoreFault.FULL
        assert caught.value.missing_bytes is not None and 1 << 20 <= caught.value.missing_bytes <= 2 << 20
        whole = sorted(path.name for path in (mount / "t").glob("f*"))
        assert whole == ["f0", "f1"]
        assert all((mount / "t" / name).read_bytes() == (source / name).read_bytes() for name in whole)
        subprocess.run(["mount", "-o", "remount,size=6m", str(mount)], check=True)
        assert copy_tree(source, mount / "t") == CopyReport(files=2, bytes=2 << 20, skipped=2)
    finally:
        subprocess.run(["umount", str(mount)], check=True)
