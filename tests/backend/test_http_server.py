"""`skyc backend create` and `show` for Terraform's HTTP protocol, against a stand-in for GitLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.runtime.backend.settings import configured
from skyc.runtime.storage.tfhttp import HttpStore
from tests.storage.fake_gitlab import BASE, FakeGitLab
from tests.storage.serving import Served, serving


@pytest.fixture
def gitlab() -> FakeGitLab:
    return FakeGitLab(users={"me": "hidden-token", "developer": "hidden-token"}, readers={"developer"})


@pytest.fixture
def server(gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("TF_HTTP_USERNAME", "me")
    monkeypatch.setenv("TF_HTTP_PASSWORD", "hidden-token")
    with serving(gitlab.answer) as served:
        yield served


def test_it_is_proven_and_told_what_to_configure(server: Served, tmp_path: Path) -> None:
    uri = f"{server.url}{BASE}skyc"
    made = skyc.backend_create(uri)
    assert not made.made and made.setting == f"state: {uri}\n"
    assert {row.name: row.holds for row in made.properties} == {
        "locks": True,
        "TLS only": False,
        "versions": None,
        "encryption": None,
    }
    assert [said.slug for said in made.diagnostics] == ["backend-readers"]
    (tmp_path / "config.yaml").write_text(made.setting)
    assert isinstance(configured(tmp_path), HttpStore)
    shown = skyc.backend_show(home=tmp_path)
    assert shown is not None and shown.deployments == () and shown.properties == made.properties
    assert skyc.backend_create(uri).setting == made.setting


def test_other_ways_to_lock_are_kept_in_the_setting(gitlab: FakeGitLab, server: Served, tmp_path: Path) -> None:
    gitlab.methods = ("LOCK", "UNLOCK")
    made = skyc.backend_create(f"{server.url}{BASE}skyc?lock_method=LOCK&unlock_method=UNLOCK")
    assert "lock_method: LOCK\n" in made.setting
    (tmp_path / "config.yaml").write_text(made.setting)
    objects = configured(tmp_path)
    assert objects is not None
    objects.put("k", b"x")
    assert objects.get("k") == b"x"


@pytest.mark.parametrize("careless", ["none", "locks", "post", "unlock"])
def test_a_server_without_real_locks_is_refused(gitlab: FakeGitLab, server: Served, careless: str) -> None:
    gitlab.careless.add(careless)
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"{server.url}{BASE}skyc")
    assert caught.value.diagnostics[0].slug == "backend-unlocked"


def test_who_may_only_read_is_told(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_HTTP_USERNAME", "developer")
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"{server.url}{BASE}skyc")
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-not-usable" and "Maintainer" in said.detail
    assert "hidden-token" not in str(said)


def test_plain_http_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("http://gitlab.example.com/state/skyc")
    assert caught.value.diagnostics[0].slug == "bad-storage-uri"
