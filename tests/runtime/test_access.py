"""Ranges and keys of a deployment."""

from __future__ import annotations

import stat
import subprocess
import threading
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.providers.base import Access
from skyc.runtime.access import access_of, bucket_keys, ssh_ranges, storage_accounts

DEMO = DeploymentId("demo")


def test_keys_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    begin = threading.Barrier(6)
    seen: list[Access] = []

    def ask() -> None:
        begin.wait()
        seen.append(access_of(tmp_path, DEMO))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6 and len(set(seen)) == 1
    folder = tmp_path / "deployments" / "demo" / "ssh"
    assert sorted(path.name for path in folder.iterdir()) == ["host", "login"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert seen[0].login_key.startswith("ssh-ed25519 ") and seen[0].login_key != seen[0].host_key_public
    assert "PRIVATE" in seen[0].host_key and "PRIVATE" not in repr(seen[0])
    read = subprocess.run(["ssh-keygen", "-y", "-f", folder / "login"], capture_output=True, text=True, check=True).stdout
    assert seen[0].login_key.startswith(read.split(" skyc")[0].strip())


def test_ranges_are_read_in_order_and_addresses_are_ranges_too(tmp_path: Path) -> None:
    assert ssh_ranges(tmp_path) == ()
    (tmp_path / "config.yaml").write_text("access:\n  ssh_from: [203.0.113.7, 198.51.100.0/24, 2001:db8::/32]\n")
    assert ssh_ranges(tmp_path) == ("203.0.113.7/32", "198.51.100.0/24", "2001:db8::/32")
    (tmp_path / "config.yaml").write_text("access: {ssh_from: 203.0.113.7/32}\n")
    assert ssh_ranges(tmp_path) == ("203.0.113.7/32",)


def test_storage_accounts_are_read_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    assert dict(storage_accounts(tmp_path)) == {}
    (tmp_path / "config.yaml").write_text("access:\n  storage_accounts: {teamdata: /subscriptions/s/teamdata}\n")
    assert dict(access_of(tmp_path, DEMO).storage_accounts) == {"teamdata": "/subscriptions/s/teamdata"}
    (tmp_path / "config.yaml").write_text("access: {storage_accounts: [teamdata]}\n")
    with pytest.raises(SkycError) as caught:
        storage_accounts(tmp_path)
    assert caught.value.diagnostics[0].slug == "bad-config"


@pytest.mark.parametrize("text", ["here", "203.0.113.7/24", "[1, 2"])
def test_what_is_no_range_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(f"access: {{ssh_from: {text}}}\n")
    with pytest.raises(SkycError) as caught:
        ssh_ranges(tmp_path)
    assert caught.value.diagnostics[0].slug in ("bad-ssh-range", "bad-config")


def test_a_key_that_was_damaged_is_not_replaced(tmp_path: Path) -> None:
    access_of(tmp_path, DEMO)
    path = tmp_path / "deployments" / "demo" / "ssh" / "login"
    path.write_text("nothing")
    with pytest.raises(SkycError) as caught:
        access_of(tmp_path, DEMO)
    assert caught.value.diagnostics[0].slug == "bad-ssh-key"
    assert path.read_text() == "nothing"


def test_keys_of_buckets_are_read_one_or_several(tmp_path: Path) -> None:
    assert dict(bucket_keys(tmp_path)) == {}
    (tmp_path / "config.yaml").write_text("access: {bucket_keys: {data: k1, out: [k2, k3]}}\n")
    assert dict(access_of(tmp_path, DEMO).bucket_keys) == {"data": ("k1",), "out": ("k2", "k3")}
    for wrong in ("[k1]", "{data: []}", "{data: 3}", "{data: {k1: k2}}", "{3: k1}"):
        (tmp_path / "config.yaml").write_text(f"access: {{bucket_keys: {wrong}}}\n")
        with pytest.raises(SkycError) as caught:
            bucket_keys(tmp_path)
        assert caught.value.diagnostics[0].slug == "bad-config", wrong
