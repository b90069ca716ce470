"""What may be removed, and above all what may not. Nothing here reaches the real removal: it is replaced by an alarm, except
where a whole tree in the test's own scratch directory is meant to go."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skyc.providers.local import lifecycle, processes, trees
from skyc.providers.local.record import NodeRecord, RecordError, load, owners, save

from .conftest import pretend, record_of


class Alarm(BaseException):
    """Something was about to be removed or signalled. Not an Exception, so that nobody can swallow it."""


@pytest.fixture
def alarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, nothing can be removed and nobody signalled by the provider."""

    def alarm(*found: object, **more: object) -> None:
        raise Alarm(found)

    def scandir(*found: object) -> None:
        raise Alarm(found)

    monkeypatch.setattr(trees, "shutil", SimpleNamespace(rmtree=alarm))
    monkeypatch.setattr(trees, "_make_writable", scandir)
    monkeypatch.setattr(processes, "_signal", alarm)
    for name in ("unlink", "rmdir"):
        original = getattr(Path, name)

        def guarded(path: Path, *more: Any, original: Any = original, **named: Any) -> None:
            if not path.name.endswith((".lock", ".tmp")):
                raise Alarm(path)
            original(path, *more, **named)

        monkeypatch.setattr(Path, name, guarded)


@pytest.fixture
def node(home: Path) -> Path:
    place = home / "deployments" / "d" / "nodes" / "n0"
    place.mkdir(parents=True)
    (place / "precious").write_text("keep")
    return place


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/", "//", "/tmp", "/tmp/", "/etc", "/root", "nodes/n0", "deployments/d/nodes/n0", "/tmp/skyc-", "/tmp/skyc-x",
     "/tmp/skyc-0123456789/r", "/tmp/skyc-012345678", "/tmp/skyc-01234567890", "/tmp/skyc-0123456789\n", "/tmp/skyc-ABCDEF0123",
     "/var/tmp/skyc-0123456789", "/tmp/../tmp/skyc-0123456789", "skyc-0123456789", "/tmp/x/skyc-0123456789"],
)  # fmt: skip
def test_no_other_place_is_ever_removed(path: str, home: Path, alarmed: None) -> None:
    with pytest.raises(trees.NotRemovable):
        trees.remove_node_tree(Path(path), home)


@pytest.mark.parametrize(
    "below",
    ["", "deployments", "deployments/d", "deployments/d/nodes", "deployments/d/nodes/n0/workdir", "deployments/d/sites/n0",
     "deployments/d/nodes/.n0", "deployments/d/nodes/..", "deployments/../nodes/n0", "deployments/d/nodes/n0/../..",
     "deployments/D/nodes/n0", "runtimes", "storage/x"],
)  # fmt: skip
def test_only_a_whole_node_of_the_home_is_removed(below: str, home: Path, node: Path, alarmed: None) -> None:
    with pytest.raises(trees.NotRemovable):
        trees.remove_node_tree(home / below, home)


@pytest.mark.parametrize("bad_home", ["", ".", "/", "relative", "/tmp/..", "/tmp/../tmp"])
def test_a_home_that_is_no_place_has_no_nodes(bad_home: str, alarmed: None) -> None:
    with pytest.raises(trees.NotRemovable):
        trees.remove_node_tree(Path(bad_home) / "deployments" / "d" / "nodes" / "n0", Path(bad_home))
    with pytest.raises(ValueError):
        trees.nodes_folder(Path(bad_home), "d")


def test_another_homes_node_is_not_this_ones(home: Path, node: Path, alarmed: None) -> None:
    with pytest.raises(trees.NotRemovable):
        trees.remove_node_tree(node, home.with_name("other"))


@pytest.mark.parametrize("part", ["deployments/d/nodes/n0", "deployments/d/nodes", "deployments/d", "deployments"])
def test_a_link_is_not_followed_on_the_way(part: str, home: Path, node: Path, tmp_path: Path, alarmed: None) -> None:
    real = tmp_path / "elsewhere"
    (home / part).rename(real)
    (home / part).symlink_to(real)
    assert (node / "precious").exists(), "the test is wrong"
    with pytest.raises(trees.NotRemovable, match="symbolic link"):
        trees.remove_node_tree(node, home)


def test_the_current_directory_is_not_removed(home: Path, node: Path, monkeypatch: pytest.MonkeyPatch, alarmed: None) -> None:
    (node / "workdir").mkdir()
    for place in (node, node / "workdir"):
        monkeypatch.chdir(place)
        with pytest.raises(trees.NotRemovable, match="current directory"):
            trees.remove_node_tree(node, home)


def test_another_users_directory_is_not_removed(home: Path, node: Path, monkeypatch: pytest.MonkeyPatch, alarmed: None) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(trees.NotRemovable, match="another user"):
        trees.remove_node_tree(node, home)


def test_what_is_mounted_in_it_is_not_removed(
    home: Path, node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alarmed: None
) -> None:
    table = tmp_path / "mountinfo"
    point = str(node / "my data").replace(" ", "\\040")
    table.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n99 22 8:1 /precious {point} rw - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr(trees, "_MOUNTS", table)
    with pytest.raises(trees.NotRemovable, match="my data' is mounted"):
        trees.remove_node_tree(node, home)
    table.write_text(table.read_text().replace("/n0/", "/n0-too/"))
    with pytest.raises(Alarm):
        trees.remove_node_tree(node, home)


def test_the_alarm_rings(home: Path, node: Path, alarmed: None) -> None:
    """Otherwise the refusals above would prove nothing."""
    with pytest.raises(Alarm):
        trees.remove_node_tree(node, home)


def test_a_node_goes_and_nothing_else(home: Path, node: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (node / "link").symlink_to(outside)
    (node / "deep" / "er").mkdir(parents=True)
    (node / "deep" / "er" / "link").symlink_to(outside)
    (node / "deep" / "er").chmod(0o500)
    sibling = node.with_name("n0-too")
    sibling.mkdir()
    trees.remove_node_tree(node, home)
    trees.remove_node_tree(node, home)
    assert not node.exists()
    assert sibling.exists() and (outside / "precious").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_removes_read_only_directories() -> None:
    """Root may write anywhere, so an unprivileged process does it, in a directory that it can reach."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        node = home / "deployments" / "d" / "nodes" / "n0"
        closed = node / "cache" / "mod"
        closed.mkdir(parents=True)
        (closed / "file").write_text("x")
        for place in (closed, closed.parent):
            place.chmod(0o500)
        for place in (home, *home.rglob("*")):
            os.lchown(place, 65534, 65534)
        child = os.fork()
        if child == 0:
            try:
                os.chdir("/")
                os.setgid(65534)
                os.setuid(65534)
                trees.remove_node_tree(node, home)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not node.exists() and home.exists()


def test_the_record_goes_last(home: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that is cut short can be found and finished."""
    for name in ("a", "z"):
        (node / name).mkdir()
    (node / "node.json").write_text("{}")

    def cut_short(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(trees, "shutil", SimpleNamespace(rmtree=cut_short))
    with pytest.raises(PermissionError):
        trees.remove_node_tree(node, home)
    assert (node / "node.json").exists() and (node / "z").exists()


@pytest.mark.parametrize(
    "changes",
    [{"temp_dir": ""}, {"temp_dir": "/"}, {"temp_dir": "/tmp"}, {"temp_dir": "/tmp/skyc-0123456789/"}, {"temp_dir": "."},
     {"temp_dir": "/tmp//skyc-0123456789"}, {"home": ""}, {"home": "/"}, {"home": "x"}, {"home": "/a/../b"}, {"name": ""},
     {"name": ".."}, {"name": "a/b"}, {"name": "."}, {"deployment": ""}, {"deployment": "../x"}, {"id": ""}, {"id": "0123"}],
)  # fmt: skip
def test_a_record_with_another_place_cannot_be_made_or_read(changes: dict[str, str], home: Path, alarmed: None) -> None:
    with pytest.raises(ValueError):
        record_of(home, **changes)
    record = record_of(home)
    record.directory.mkdir(parents=True)
    save(record)
    file = record.directory / "node.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(RecordError):
        load(record.directory)
    with pytest.raises(lifecycle.NodeError):
        lifecycle.find_records(home, record.deployment)
    assert file.exists()


def test_a_copied_home_does_not_lead_to_the_nodes_of_the_first(home: Path, tmp_path: Path, alarmed: None) -> None:
    record = record_of(home)
    record.directory.mkdir(parents=True)
    save(record)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", home, copy], check=True)
    with pytest.raises(lifecycle.NodeError, match="another place"):
        lifecycle.find_records(copy, record.deployment)


def test_deleting_a_record_whose_directory_became_a_link_touches_nothing(home: Path, tmp_path: Path, alarmed: None) -> None:
    record = record_of(home)
    real = tmp_path / "precious"
    real.mkdir()
    record.directory.parent.mkdir(parents=True)
    record.directory.symlink_to(real)
    with pytest.raises(lifecycle.NodeError, match="Nothing was ended or removed"):
        lifecycle.delete(record)
    assert lifecycle.bare_directories(home, record.deployment) == ()


def test_a_temporary_directory_counts_only_when_it_is_its_own(home: Path) -> None:
    """Anybody may make directories in /tmp and write into them what they like."""
    record = pretend(record_of(home))
    foreign = Path(record_of(home).temp_dir)
    foreign.mkdir()
    try:
        assert [found.id for found in owners() if found.home == str(home)] == [record.id]
        (foreign / "owner.json").write_bytes((Path(record.temp_dir) / "owner.json").read_bytes())
        assert [found.id for found in owners() if found.home == str(home)] == [record.id]
        (foreign / "owner.json").unlink()
        (foreign / "owner.json").symlink_to(Path(record.temp_dir) / "owner.json")
        assert [found.temp_dir for found in owners() if found.home == str(home)] == [record.temp_dir]
    finally:
        (foreign / "owner.json").unlink(missing_ok=True)
        foreign.rmdir()
        lifecycle.delete(record)
    assert not Path(record.temp_dir).exists() and not record.directory.exists()


def test_a_temporary_directory_of_another_life_stays(home: Path) -> None:
    owner = pretend(record_of(home, "n0"))
    other = record_of(home, "n1", temp_dir=owner.temp_dir)
    other.directory.mkdir(parents=True)
    save(other)
    try:
        lifecycle.delete(other)
        assert Path(owner.temp_dir, "owner.json").exists()
    finally:
        lifecycle.delete(owner)


def test_an_older_life_does_not_take_the_newer_one_along(home: Path) -> None:
    older: NodeRecord = pretend(record_of(home))
    newer = record_of(home)
    save(newer)
    try:
        lifecycle.delete(older)
        assert load(newer.directory) == newer
        assert not Path(older.temp_dir).exists()
    finally:
        lifecycle.delete(newer)
    assert not newer.directory.exists()
