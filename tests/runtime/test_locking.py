"""`skyc lock` and `plan --locked`: the same bytes on two machines, and every difference named."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lengths import LONG, takes_minutes
from tests.simulator.real_provider import MIRROR, SOURCE, mirror

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap
from skyc.providers import registry
from skyc.providers.snapshot import encode, read_part
from skyc.runtime.lockfile import NAME, Lock, LockedProvider, lock_text, read_lock
from skyc.runtime.provider_hashes import hashes_in, package_text

OLD_KEY = "G5JDIs29NDpINRFKXiYrRJI90l7IPAJxudOiK5cVFbj"
NEW_KEY = "AMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7"
TASK = """\
name: train
workdir: work
num_nodes: 2
resources: {infra: aws/us-east-1, cpus: 4}
file_mounts: {extra: ../beside, data: s3://team/x}
storage: {out: {infra: aws/us-east-1, size_gb: 5}}
hours: 2
run: python train.py
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account, and no mirror unless a test names one."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    if MIRROR in os.environ:
        monkeypatch.setenv("TEST_MIRROR", os.environ[MIRROR])
        monkeypatch.delenv(MIRROR)


def checkout(folder: Path, lock: bytes | None = None) -> Path:
    """A checkout of the same repository somewhere."""
    tasks = folder / "repository"
    (tasks / "work").mkdir(parents=True)
    (folder / "beside").mkdir()
    (tasks / "task.yaml").write_text(TASK)
    if lock is not None:
        (tasks / NAME).write_bytes(lock)
    return tasks / "task.yaml"


def refreshed(home: Path) -> None:
    """As after a refresh: IBM's part is another one, and newer."""
    part = read_part(registry.shipped_catalog("ibm"))
    (home / "catalog").mkdir(parents=True, exist_ok=True)
    (home / "catalog" / "ibm.skyc").write_bytes(encode(dataclasses.replace(part, as_of="2099-01-01")))


def emitted(task: Path, home: Path) -> str | None:
    return skyc.plan(task, home=home, offline=True, locked=True, emit="synth").emitted


@pytest.mark.terraform
def test_two_machines_give_the_same_bytes(tmp_path: Path) -> None:
    """Two homes and folders, and everything else an environment can differ in: the module, and with `make long` the report."""
    first = checkout(tmp_path / "one")
    skyc.lock(first, home=tmp_path / "home-one", hashes=False)
    lock = (first.parent / NAME).read_bytes()
    second = checkout(tmp_path / "another place" / "deeper", lock)
    worlds = (
        (first, tmp_path / "home-one", {"TZ": "UTC", "LANG": "C.UTF-8", "PYTHONHASHSEED": "1"}, 0o022),
        (
            second,
            tmp_path / "h2",
            {"TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "7", "HOME": str(tmp_path)},
            0o077,
        ),
    )

    def told(*words: str) -> list[bytes]:
        found = []
        for task, home, environ, umask in worlds:
            argv = [
                sys.executable,
                "-m",
                "skyc.cli.main",
                "plan",
                "task.yaml",
                "--locked",
                "--offline",
                *words,
                "--home",
                str(home),
            ]
            done = subprocess.run(
                argv, cwd=task.parent, env={**os.environ, **environ}, umask=umask, capture_output=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stderr.decode()
            found.append(done.stdout)
        return found

    one, other = told("--emit", "synth")
    assert one == other and b"aws_instance" in one
    if LONG:
        one, other = told("--format", "markdown")
        assert one == other and b"skyc plan" in one


def test_an_older_catalog_is_kept(tmp_path: Path) -> None:
    task, home = checkout(tmp_path), tmp_path / "home"
    made = skyc.lock(task, home=home, hashes=False)
    assert made.written and made.tasks == ("task.yaml",) and made.changed == ()
    assert (task.parent / NAME).stat().st_mode & 0o777 == 0o644
    before = emitted(task, home)
    assert not skyc.lock(task, home=home, hashes=False).written
    refreshed(home)
    assert emitted(task, home) == before, "the part that was locked is still there"
    # Not held to, it is told.
    (said,) = [d for d in skyc.plan(task, home=home, offline=True, emit="lower").diagnostics if d.slug == "not-as-locked"]
    assert "catalog.ibm: locked " in said.detail and "catalog.aws" not in said.detail and "place." not in said.detail
    (changed,) = skyc.lock(task, home=home, hashes=False).changed
    assert changed.name == "catalog.ibm"


def test_what_is_not_to_be_had_is_named(tmp_path: Path) -> None:
    task = checkout(tmp_path)
    skyc.lock(task, home=tmp_path / "home", hashes=False)
    other = tmp_path / "other-home"
    refreshed(other)
    with pytest.raises(SkycError) as caught:
        emitted(task, other)
    assert caught.value.exit_code == 4
    (said,) = caught.value.diagnostics
    locked = read_part(registry.shipped_catalog("ibm")).digest[:3]
    assert said.slug == "not-locked-so"
    assert f"catalog.ibm: locked {locked}" in said.detail and f"copy catalog/kept/{locked}" in said.detail


def test_every_difference_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, home = checkout(tmp_path), tmp_path / "home"
    skyc.lock(task, home=home, hashes=False)
    path = task.parent / NAME
    path.write_text(path.read_text().replace('ray = "2.60.0"', 'ray = "2.59.0"'))
    task.write_text(TASK.replace("num_nodes: 2", "num_nodes: 3"))
    (home / "config.yaml").write_text("access: {ssh_from: [203.0.113.7/32]}\n")
    with pytest.raises(SkycError) as caught:
        emitted(task, home)
    said = [found.detail for found in caught.value.diagnostics]
    assert caught.value.exit_code == 4 and len(said) == 3
    assert any("tools.ray: locked 2.59.0, here 2.60.0" in text for text in said)
    assert any("access.ssh_from: locked none, here 203.0.113.7/32" in text for text in said)
    assert any("place.train.main: locked aws/us-east-1" in text and "here aws/us-east-1" in text for text in said)


def test_which_machines_have_an_address_is_held(tmp_path: Path) -> None:
    task, home = checkout(tmp_path), tmp_path / "home"
    skyc.lock(task, home=home, hashes=False)
    (home / "config.yaml").write_text("networks: {aws: {public: head}}\n")
    assert emitted(task, home)
    (home / "config.yaml").write_text("networks: {aws: {public: true}}\n")
    with pytest.raises(SkycError, match="not-locked-so") as caught:
        emitted(task, home)
    details = [found.detail for found in caught.value.diagnostics]
    assert any("network.aws/us-east-1: locked public: head, here public: true" in text for text in details), details


def test_a_task_that_may_run_here_depends_on_this_machine(tmp_path: Path) -> None:
    task, home = checkout(tmp_path), tmp_path / "home"
    task.write_text("resources: {cpus: 1}\nrun: echo\n")
    skyc.lock(task, home=home, hashes=False)
    path = task.parent / NAME
    held = read_lock(path)
    assert held is not None and "machine.local" in held.tasks["task.yaml"]
    path.write_text(path.read_text().replace(held.tasks["task.yaml"]["machine.local"], "0" * 64))
    with pytest.raises(SkycError, match="not-locked-so") as caught:
        emitted(task, home)
    assert "name another place with `infra`" in caught.value.diagnostics[0].detail


def test_host_keys_of_ones_own_machines_are_held(tmp_path: Path) -> None:
    """For a task that may run on them; a task at a cloud has nothing to do with them."""
    machine = "machines: [{{name: dgx, cpus: 1, memory: 1, price_per_hour: 900, host_key: {}}}]\n"
    old, new = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{rest}" for rest in (OLD_KEY, NEW_KEY))
    cloud, home = checkout(tmp_path), tmp_path / "home"
    anywhere = cloud.with_name("anywhere.yaml")
    anywhere.write_text("resources: {cpus: 1}\nrun: echo\n")
    home.mkdir()
    (home / "config.yaml").write_text(machine.format(old))
    skyc.lock(cloud, anywhere, home=home, hashes=False)
    locked = read_lock(cloud.parent / NAME)
    assert locked is not None
    assert {name for name in locked.tasks["anywhere.yaml"] if name.startswith("host_key")} == {"host_key.owned.dgx"}
    assert not any(name.startswith("host_key") for name in locked.tasks["task.yaml"])

    (home / "config.yaml").write_text(machine.format(f"[{old}, {new}]"))
    assert skyc.plan(cloud, home=home, offline=True, locked=True, emit="lower").emitted
    with pytest.raises(SkycError) as caught:
        skyc.plan(anywhere, home=home, offline=True, locked=True, emit="lower")
    (said,) = caught.value.diagnostics
    was = locked.tasks["anywhere.yaml"]["host_key.owned.dgx"]
    assert caught.value.exit_code == 4 and was.startswith("ssh-ed25519 SHA256:") and "," not in was
    assert f"host_key.owned.dgx: locked {was}, here " in said.detail and said.detail.count("SHA256:") == 3
    (warned,) = [d for d in skyc.plan(anywhere, home=home, offline=True, emit="lower").diagnostics if d.slug == "not-as-locked"]
    assert "host_key.owned.dgx" in warned.detail
    assert not [d for d in skyc.plan(cloud, home=home, offline=True, emit="lower").diagnostics if d.slug == "not-as-locked"]


def test_without_a_lock_and_with_a_bad_one(tmp_path: Path) -> None:
    task, home = checkout(tmp_path), tmp_path / "home"
    with pytest.raises(SkycError, match="no-lock") as caught:
        emitted(task, home)
    assert caught.value.exit_code == 4
    for text in ("format = [", 'format = "skyc.lock/2"\n', 'format = "skyc.lock/1"\n[tools]\nray = 2\n'):
        (task.parent / NAME).write_text(text)
        with pytest.raises(SkycError, match="bad-lock"):
            emitted(task, home)
    (task.parent / NAME).write_text('format = "skyc.lock/1"\n')
    with pytest.raises(SkycError, match="not-locked-so"):
        emitted(task, home)


def test_several_tasks_share_a_file(tmp_path: Path) -> None:
    task, home = checkout(tmp_path / "a"), tmp_path / "home"
    second = task.with_name("second.yaml")
    second.write_text("resources: {infra: gcp/us-central1}\nrun: echo\n")
    skyc.lock(task, home=home, hashes=False)
    skyc.lock(second, home=home, hashes=False)
    held = read_lock(task.parent / NAME)
    assert held is not None and sorted(held.tasks) == ["second.yaml", "task.yaml"]
    assert sorted(source.rpartition("/")[2] for source in held.providers) == ["aws", "google"]
    with pytest.raises(SkycError, match="lock-one-directory"):
        skyc.lock(task, checkout(tmp_path / "b"), home=home, hashes=False)


def test_the_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    held = Lock(
        facts=FrozenMap({"tools.ray": "2.60.0", "catalog.aws": "ab"}),
        providers=FrozenMap({SOURCE: LockedProvider(version="5.100.0", hashes=("h1:a=", "zh:b"))}),
        tasks=FrozenMap({'a "b".yaml': FrozenMap({"place.t.main": "x · 1 × é\n"})}),
    )
    path = tmp_path / NAME
    path.write_text(lock_text(held))
    assert read_lock(path) == held
    assert 'hashes = [\n  "h1:a=",\n  "zh:b",\n]' in lock_text(held)


def test_terraforms_own_lock_file() -> None:
    text = package_text({SOURCE: LockedProvider(version="5.100.0", hashes=("zh:b", "h1:a="))})
    assert dict(hashes_in(text)) == {SOURCE: ("h1:a=", "zh:b")} and 'version     = "5.100.0"' in text
    assert package_text({}) == ""


@takes_minutes
@pytest.mark.terraform
def test_another_package_of_a_provider_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, os.environ.get("TEST_MIRROR", ""))
    mirror()
    task, home = checkout(tmp_path), tmp_path / "home"
    skyc.lock(task, home=home)
    path = task.parent / NAME
    held = read_lock(path)
    assert held is not None
    ((first, *_),) = [provider.hashes for provider in held.providers.values()]
    assert first.startswith("h1:")
    assert skyc.plan(task, home=home, offline=True, locked=True).offline
    path.write_text(path.read_text().replace(first, f"h1:{'A' * 43}="))
    with pytest.raises(SkycError, match="not-locked-so") as caught:
        skyc.plan(task, home=home, offline=True, locked=True)
    assert caught.value.exit_code == 4 and "checksums" in caught.value.diagnostics[0].detail
