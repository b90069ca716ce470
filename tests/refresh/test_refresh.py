"""The whole of `skyc.catalog_refresh`: files, locks, loss, several clouds, what is said."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.providers.refresh import RefreshProgress
from skyc.providers.registry import CLOUDS, refresher
from skyc.providers.retry import Schedule
from skyc.providers.snapshot import offer_rows, read_part
from skyc.runtime.catalog_refresh import CloudRefresh, RefreshState
from skyc.runtime.regions import encode_regions, told_regions

from .conftest import HURRY, found, kind, offer, part, put
from .fakes import clouds
from .fakes.server import Asked, FakeServer, Reply

H100 = kind("gpu_1x_h100_pcie", "26", "200", ("H100-PCIE", "1"))
REGIONS = tuple(f"region-{number}" for number in range(10))
LAMBDA = part("lambda", [H100], [offer(H100, region, None, "2") for region in REGIONS], sells_spot=False)
KEY = "THE-KEY-OF-LAMBDA"
ENTRY = clouds.lambda_type(300, vcpus=26, memory_gib=200, gpus=1)
Refresh = Callable[..., tuple[CloudRefresh, ...]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put(tmp_path / "home", LAMBDA)
    return tmp_path / "home"


@pytest.fixture
def refresh(server: FakeServer, home: Path) -> Refresh:
    clouds.lambda_types(server, KEY, {"gpu_1x_h100_pcie": ENTRY})
    environ = {"SKYC_LAMBDA_URL": server.url, "LAMBDA_API_KEY": KEY, "HOME": str(home)}

    def call(names: list[str] | None = None, **given: Any) -> tuple[CloudRefresh, ...]:
        more = given.pop("environ", {})
        return skyc.catalog_refresh(
            ["lambda"] if names is None else names,
            home=home,
            environ={**environ, **more},
            schedule=given.pop("schedule", HURRY),
            now=lambda: datetime(2026, 11, 25, 1, tzinfo=UTC),
            **given,
        )

    return call


def file_of(home: Path, name: str = "lambda") -> Path:
    return home / "catalog" / f"{name}.skyc"


def test_every_cloud_has_a_refresh() -> None:
    for name in CLOUDS:
        assert callable(refresher(name))


def test_what_changed_is_counted_and_shown(refresh: Refresh, home: Path) -> None:
    (result,) = refresh()
    assert result.state is RefreshState.REFRESHED
    assert result.before is not None
    assert result.after is not None
    assert (result.before.offers, result.after.offers, result.changed) == (10, 10, 10)
    assert result.moves[0].change == Decimal("0.5")
    assert [move.region for move in result.moves] == list(REGIONS)
    written = read_part(file_of(home))
    assert written.digest == result.after.digest
    assert {row.on_demand for row in offer_rows(written)} == {Decimal(3)}
    assert file_of(home).stat().st_mode & 0o777 == 0o600


def test_the_same_answers_give_the_same_bytes(refresh: Refresh, home: Path) -> None:
    refresh()
    first = file_of(home).read_bytes()
    put(home, LAMBDA)
    refresh()
    assert file_of(home).read_bytes() == first
    refresh()
    assert file_of(home).read_bytes() == first, "and a second refresh on the same day changes nothing"


def test_what_regions_the_account_has_is_kept_where_it_was_told(
    refresh: Refresh, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh()
    assert not told_regions(home, "lambda").exists()
    real = refresher("lambda")
    for regions in (("us-east-1", "eu-south-2"), None):
        monkeypatch.setattr(
            "skyc.runtime.catalog_refresh.refresher",
            lambda name, regions=regions: lambda *given: replace(real(*given), regions=regions),
        )
        refresh()
        # Where nothing was told this time, what was known stays.
        assert told_regions(home, "lambda").read_bytes() == encode_regions(("eu-south-2", "us-east-1"))


def test_a_catalog_that_lost_much_is_refused_unless_accepted(refresh: Refresh, home: Path, server: FakeServer) -> None:
    clouds.lambda_types(server, KEY, {"gpu_1x_h100_pcie": {**ENTRY, "instance_type": {"price_cents_per_hour": 0, "specs": {}}}})
    before = file_of(home).read_bytes()
    (result,) = refresh()
    assert result.state is RefreshState.REFUSED
    assert result.failed
    (odd, lost) = result.diagnostics
    assert odd.slug == "odd-prices"
    assert lost.commands == ("skyc catalog refresh --cloud lambda --accept-loss",)
    assert "10 offers, 10 of them with a price, and now there are 10 and 0" in lost.detail
    assert file_of(home).read_bytes() == before
    (accepted,) = refresh(accept_loss=True)
    assert accepted.state is RefreshState.REFRESHED
    assert {row.on_demand for row in offer_rows(read_part(file_of(home)))} == {None}, "unknown, not free"


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["write", "sync", "rename"])
def test_killed_while_writing_the_old_file_stands(server: FakeServer, home: Path, refresh: Refresh, moment: str) -> None:
    clouds.lambda_types(server, "k", {"gpu_1x_h100_pcie": ENTRY})
    before = file_of(home).read_bytes()
    child = [sys.executable, str(Path(__file__).with_name("killed_child.py")), server.url, moment]
    done = subprocess.run(child, env={**os.environ, "SKYC_HOME": str(home)}, capture_output=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    assert file_of(home).read_bytes() == before
    assert len(list(file_of(home).parent.glob(".lambda*"))) == 1
    clouds.lambda_types(server, KEY, {"gpu_1x_h100_pcie": ENTRY})
    (result,) = refresh(wait=0.0)
    assert result.state is RefreshState.REFRESHED
    assert sorted(path.name for path in file_of(home).parent.iterdir()) == ["lambda.skyc", "refresh.lock"]


def test_a_full_disk_is_said_and_leaves_the_old_file(refresh: Refresh, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_of(home).read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (result,) = refresh()
    assert result.state is RefreshState.FAILED
    assert result.diagnostics[-1].slug == "disk-full"
    assert file_of(home).read_bytes() == before
    assert sorted(path.name for path in file_of(home).parent.iterdir()) == ["lambda.skyc", "refresh.lock"]


def test_two_at_once_wait_for_each_other(refresh: Refresh, home: Path) -> None:
    with (home / "catalog" / "refresh.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SkycError) as busy:
            refresh(wait=0.0)
        assert busy.value.diagnostics[0].slug == "catalog-busy"
        told: list[RefreshProgress] = []
        done: list[CloudRefresh] = []
        second = threading.Thread(target=lambda: done.extend(refresh(on_progress=told.append)))
        second.start()
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told[0].text == "another refresh is at work; waiting for it"
        assert done == []
    second.join(10)
    assert done[0].state is RefreshState.REFRESHED


def test_a_damaged_file_is_passed_over_and_replaced(refresh: Refresh, home: Path) -> None:
    file_of(home).write_bytes(file_of(home).read_bytes()[:-5])
    (result,) = refresh(accept_loss=True)
    assert result.state is RefreshState.REFRESHED
    assert result.diagnostics[0].slug == "catalog-passed-over"
    assert read_part(file_of(home)).provider == "lambda"


def test_clouds_fail_alone(refresh: Refresh, home: Path, server: FakeServer) -> None:
    """One without a key, one that does not answer, one with a bad address, one that is fine."""
    gpu = kind("1x_L40S_SECURE", "16", "62", ("L40S", "1"))
    put(home, part("runpod", [gpu], [offer(gpu, "US", "US-TX-1", "7")]))
    server.faults += [("/graphql", Reply(status=500))] * 4
    more = {"SKYC_RUNPOD_URL": server.url, "SKYC_AZURE_PRICES_URL": "http://prices.example.com"}
    results = {result.provider: result for result in refresh(["lambda", "runpod", "jarvislabs", "azure"], environ=more)}
    assert {name: result.state.value for name, result in results.items()} == {
        "azure": "failed",
        "jarvislabs": "failed",
        "lambda": "refreshed",
        "runpod": "failed",
    }
    said = {name: result.diagnostics[-1] for name, result in results.items() if result.diagnostics}
    assert {name: diagnostic.slug for name, diagnostic in said.items()} == {
        "azure": "bad-endpoint",
        "jarvislabs": "no-credentials",
        "runpod": "catalog-not-refreshed",
    }
    assert "4 attempts" in said["runpod"].detail
    assert "JL_API_KEY" in said["jarvislabs"].detail


def test_a_cloud_nobody_named_is_skipped_without_a_key(server: FakeServer, home: Path) -> None:
    # Every address leads to the fake, which knows none of the paths: nothing of the outside is asked.
    small = kind("small")
    for name in ("aws", "azure", "gcp", "ibm", "runpod"):
        put(home, part(name, [small], [offer(small, "r", None, "7")]))
    urls = ("AWS_PRICE_LIST", "AZURE_PRICES", "GCP_BILLING", "IBM_CATALOG", "RUNPOD")
    environ = {f"SKYC_{name}_URL": server.url for name in urls} | {"HOME": str(home)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
        patch.setenv("AWS_CONFIG_FILE", str(home / "none"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        results = skyc.catalog_refresh(home=home, environ=environ, schedule=Schedule(pauses=()))
    assert {result.provider: result.state.value for result in results} == {
        "aws": "failed",
        "azure": "failed",
        "gcp": "skipped",
        "ibm": "failed",
        "jarvislabs": "skipped",
        "lambda": "skipped",
        "runpod": "failed",
    }
    assert offer_rows(read_part(file_of(home, "aws")))[0].as_of == "2021-02"


def test_only_regions_named_are_new(refresh: Refresh, home: Path) -> None:
    (result,) = refresh(regions=["region-3", "nowhere"])
    assert result.changed == 1
    rows = offer_rows(read_part(file_of(home)))
    assert found(rows, "gpu_1x_h100_pcie", "region-3").on_demand == 3
    assert found(rows, "gpu_1x_h100_pcie", "region-4").as_of == "2021-02"
    (none,) = refresh(regions=["nowhere"])
    assert none.failed
    assert none.diagnostics[0].slug == "no-such-region"


def test_an_unknown_cloud_is_said_before_anything_is_asked(refresh: Refresh, server: FakeServer) -> None:
    with pytest.raises(SkycError) as unknown:
        refresh(["lamda"])
    assert unknown.value.diagnostics[0].hint == "did you mean `lambda`?"
    assert server.asked == []


def test_progress_is_told(refresh: Refresh) -> None:
    told: list[RefreshProgress] = []
    refresh(on_progress=told.append)
    assert {progress.provider for progress in told} == {"lambda"}
    assert [(progress.done, progress.total) for progress in told] == [(0, 1), (1, 1), (1, 1)]
    assert told[-1].text == "checking the answers"


def test_ctrl_c_ends_it_soon_and_leaves_the_old_file(refresh: Refresh, home: Path, server: FakeServer) -> None:
    before = file_of(home).read_bytes()

    def busy(asked: Asked) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return Reply(status=429, headers={"Retry-After": "50"})

    server.get("/instance-types", busy)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        refresh(schedule=None)
    assert time.monotonic() - began < 20
    assert len(server.asked) == 1
    assert file_of(home).read_bytes() == before
