"""`skyc offers` and `skyc catalog` through `main`: what they ask for and how it reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from skyc.cli.catalog_show import _share, _with_age
from skyc.cli.main import main
from skyc.cli.prices import hourly
from skyc.runtime.offers import OfferList

from .fakes import OFFER, FakeApi


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeApi:
    monkeypatch.setenv("SKYC_HOME", str(tmp_path / "home"))
    return FakeApi()


def test_every_filter_is_passed_on(fake: FakeApi) -> None:
    line = (
        "offers --accelerator A100:8 --accelerator H100 --cpus 8+ --memory 4x --cloud aws --region r --zone z --market spot"
        " --max-price 5 --arch arm64 --no-estimates --sort memory --best-region --limit 0"
    )
    assert main(line.split(), api=fake) == 0
    ((name, given),) = fake.calls
    assert (name, given) == (
        "offers",
        {
            "accelerator": ["A100:8", "H100"],
            "cpus": "8+",
            "memory": "4x",
            "cloud": ["aws"],
            "region": ["r"],
            "zone": ["z"],
            "market": "spot",
            "max_price": "5",
            "arch": "arm64",
            "estimates": False,
            "sort": "memory",
            "best_region": True,
            "limit": None,
            "home": None,
        },
    )


def test_the_table_says_what_is_not_known(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["offers"], api=fake) == 0
    out, err = capsys.readouterr()
    headings, row = out.splitlines()
    assert headings.split() == [
        "TARGET",
        "REGION",
        "ZONES",
        "TYPE",
        "ACCELERATORS",
        "CPUS",
        "MEMORY",
        "ON",
        "DEMAND",
        "SPOT",
        "DATED",
    ]
    assert row.split() == ["rented", "north", "3", "zones", "gpu.large", "T4:0.5", "8", "?", "GiB", "~$1.2345", "?", "2021-02"]
    assert err == "~ is an estimate; ? is not known; 2 more: --limit 0 lists all\n"


def test_no_spot_market_is_not_an_unknown_price(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.found = OfferList(offers=(replace(OFFER, sells_spot=False, estimated=False, zones=("north-a",)),), total=1)
    assert main(["offers"], api=fake) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == [
        "rented",
        "north",
        "north-a",
        "gpu.large",
        "T4:0.5",
        "8",
        "?",
        "GiB",
        "$1.2345",
        "–",
        "2021-02",
    ]
    assert err == ""


def test_offers_as_json(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["offers", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["total"]) == ("skyc.offers/v1", 3)
    assert document["offers"] == [
        {
            "provider": "rented",
            "region": "north",
            "zones": ["north-a", "north-b", "north-c"],
            "instance_type": "gpu.large",
            "cpus": "8",
            "memory_gb": None,
            "accelerators": [{"name": "T4", "count": "0.5", "memory_gb": "16"}],
            "arch": "x86_64",
            "local_disk_gb": None,
            "on_demand": "1.2345",
            "spot": None,
            "sells_spot": True,
            "estimated": True,
            "source": "a price list",
            "as_of": "2021-02; spot 2025-05",
            "interruption_rate": None,
            "capacity": None,
        }
    ]


def test_nothing_found_is_said(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.found = OfferList(offers=(), total=0)
    assert main(["offers"], api=fake) == 0
    assert capsys.readouterr() == ("", "No offer matches.\n")


@pytest.mark.parametrize("words", [["--limit", "-1"], ["--market", "black"], ["--sort", "colour"]])
def test_a_wrong_filter_is_a_wrong_command_line(fake: FakeApi, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["offers", *words], api=fake) == 1
    assert capsys.readouterr().err.startswith("error[bad-usage]: ")


def test_the_catalog_says_how_much_it_knows(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "show"], api=fake) == 0
    out = capsys.readouterr().out
    assert ">99%" in out and "<1%" in out, "nearly all is not all, and little is not nothing"
    assert "Something is missing." in out
    assert main(["catalog", "show", "--json"], api=fake) == 0
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert (part["offers"], part["newest"], part["origin"]) == (64284, "2026-07-20", "shipped")


def test_small_texts() -> None:
    assert [hourly(Decimal(text)) for text in ("3.67", "0.0058", "12", "1234.5", "0.00001")] == [
        "$3.67",
        "$0.0058",
        "$12.00",
        "$1,234.50",
        "$0.00001",
    ]
    assert hourly(None) == "?"
    assert hourly(Decimal("0.1"), estimated=True) == "~$0.10"
    assert [_share(0, 10), _share(10, 10), _share(1, 0)] == ["0%", "100%", "–"]
    assert _with_age("2026-07-20", date(2026, 7, 21)) == "2026-07-20 (1 day ago)"
    assert _with_age("2026", date(2026, 7, 21)) == "2026"
    assert _with_age("", date(2026, 7, 21)) == "–"
