"""The file store: the shared suite, and what only a directory can do wrong."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.storage.base import Store, StoreError, StoreFault, open_store, store_error
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from skyc.runtime.storage.file import INCOMING, FileStore
from skyc.runtime.storage.tree import remove_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a root with spaces, %25 and é"


class TestFileStore(StoreConformance, ConditionalConformance):
    @pytest.fixture
    def store(self, root: Path) -> Store:
        return open_store(root.as_uri())


def test_nothing_is_readable_by_others(root: Path) -> None:
    old = os.umask(0)
    try:
        FileStore(root).put("a/b", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o600
    for directory in (root, root / "a", root / INCOMING):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_links_in_the_root_are_not_objects(root: Path, tmp_path: Path) -> None:
    store = FileStore(root)
    store.put("real", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    assert list(store.list("")) == ["real"]
    with pytest.raises(StoreError):
        store.get("link")
    store.put("link", b"mine")
    assert (tmp_path / "secret").read_bytes() == b"secret"


WRITER = """
import sys
from pathlib import Path
from skyc.runtime.storage.file import FileStore
store = FileStore(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    store.put(f"object-{number % 3}", b"%d" % number * 200_000)
    store.put(f"once-{number}", b"once" * 1000, if_absent=True)
    print(number, flush=True)
    number += 1
"""


@pytest.mark.fault
def test_killed_writers_leave_whole_objects_and_no_leftovers(root: Path) -> None:
    for round_ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True)
        try:
            assert writer.stdout is not None
            acknowledged = -1
            assert writer.stdout.readline() == "ready\n"
            for _ in range(3 + round_):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in writer.stdout.read().split())])
        finally:
            writer.kill()
            writer.communicate()
        store = FileStore(root)
        for key in list(store.list("object-")):
            data = store.get(key)
            number = data[: len(data) // 200_000]
            assert data == number * 200_000
        assert [store.get(f"once-{number}") for number in range(acknowledged + 1)] == [b"once" * 1000] * (acknowledged + 1)
        for key in list(store.list("once-")):
            store.delete(key)
    (root / INCOMING / "planted").write_bytes(b"left by a killed writer")
    old = time.time() - 3600
    for leftover in (root / INCOMING).iterdir():
        os.utime(leftover, (old, old))
    FileStore(root).put("next", b"x")
    assert list((root / INCOMING).iterdir()) == []


def test_a_live_writer_is_not_swept(root: Path) -> None:
    FileStore(root).put("first", b"x")
    live = root / INCOMING / "live"
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(live, (1, 1))
        FileStore(root).put("second", b"x")
        assert live.exists()


def test_a_key_below_an_object_is_refused_with_a_reason(root: Path) -> None:
    store = FileStore(root)
    store.put("a", b"x")
    with pytest.raises(StoreError) as caught:
        store.put("a/b", b"x")
    assert caught.value.kind is StoreFault.INVALID
    assert store.get("a") == b"x"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFault.FULL),
        (errno.EDQUOT, StoreFault.FULL),
        (errno.EROFS, StoreFault.READ_ONLY),
        (errno.EACCES, StoreFault.DENIED),
        (errno.EIO, StoreFault.DAMAGED),
        (errno.ENOTCONN, StoreFault.UNREACHABLE),
        (errno.ESTALE, StoreFault.UNREACHABLE),
    ],
)
def test_system_errors_have_kinds(number: int, kind: StoreFault) -> None:
    failure = store_error(OSError(number, os.strerror(number)), "/some/place")
    assert failure.kind is kind
    assert "/some/place" in failure.diagnostics[0].detail


@pytest.mark.parametrize("uri", ["oss://bucket/x", "/plain/path", "gopher://x"])
def test_unknown_schemes_are_named(uri: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    assert caught.value.diagnostics[0].slug == "unknown-storage-scheme"


@pytest.mark.parametrize("uri", ["file://otherhost/x", "file:relative", "file:///x%00y"])
def test_bad_file_uris_are_refused(uri: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    assert caught.value.diagnostics[0].slug == "bad-storage-uri"


@pytest.mark.parametrize("path", ["", ".", "..", "below", "/"])
def test_only_absolute_paths_are_removed(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path is the current directory. The guard is asked alone: `rmtree` itself is out of reach here."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    reached: list[object] = []
    monkeypatch.setattr("skyc.runtime.storage.tree.shutil.rmtree", lambda *found, **more: reached.append(found))
    with pytest.raises(ValueError, match="refusing"):
        remove_tree(Path(path))
    assert reached == []
    assert (tmp_path / "below").exists()
