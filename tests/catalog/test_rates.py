"""Rates beside machines, by hand from the tables: what data costs on its way, and what it lies on."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.ir.catalog import CatalogPart, Place, PriceStep
from skyc.providers import registry
from skyc.providers.build_catalog import FOLDERS
from skyc.providers.catalog_conformance import transfer_rule
from skyc.providers.snapshot import read_part
from skyc.providers.stored import CATALOG_FILE

PROVIDERS = Path(__file__).parents[2] / "providers"
PARTS = {name: read_part(PROVIDERS / folder / CATALOG_FILE) for name, folder in FOLDERS}


def place(text: str) -> Place | str:
    """`region/zone`, `region`, `internet`, or `internet:<continent>`."""
    if text.startswith("internet"):
        return text.partition(":")[2]
    region, _, zone = text.partition("/")
    return Place(region=region, zone=zone or None)


def bill(steps: tuple[PriceStep, ...], volume: Decimal) -> Decimal | None:
    """What `volume` costs when each step is the price of further units."""
    total = Decimal(0)
    for step, above in [*((a, b.above) for a, b in pairwise(steps)), (steps[-1], volume)]:
        units = min(volume, above) - step.above
        if units <= 0:
            continue
        if step.price is None:
            return None
        total += units * step.price
    return total


@pytest.mark.parametrize(
    ("provider", "source", "destination", "price", "both_ways"),
    [
        ("aws", "us-east-1/use1-az1", "us-east-1/use1-az2", "0.01", True),
        ("aws", "us-east-1", "us-east-2", "0.01", False),
        ("aws", "us-east-1", "us-west-2", "0.02", False),
        ("aws", "us-east-1", "internet", "0.09", False),
        ("aws", "us-east-1", "internet:asia", "0.09", False),
        ("aws", "af-south-1", "us-east-1", "0.147", False),
        ("aws", "ap-southeast-4", "us-east-1", None, False),
        ("azure", "eastus", "westus", "0.02", False),
        ("azure", "eastus", "westeurope", "0.05", False),
        ("azure", "japaneast", "koreacentral", "0.08", False),
        ("azure", "brazilsouth", "eastus", "0.16", False),
        ("azure", "brazilsouth", "internet", "0.181", False),
        ("azure", "westeurope", "internet", "0", False),
        ("gcp", "us-central1/us-central1-a", "us-central1/us-central1-b", "0.01", False),
        ("gcp", "us-central1", "us-east1", "0.01", False),
        ("gcp", "us-central1", "northamerica-northeast1", "0.01", False),
        ("gcp", "us-central1", "europe-west1", "0.08", False),
        ("gcp", "us-central1", "australia-southeast1", "0.15", False),
        ("gcp", "australia-southeast1", "us-central1", "0.15", False),
        ("gcp", "australia-southeast1", "australia-southeast2", "0.08", False),
        ("gcp", "asia-southeast2", "asia-east1", "0.15", False),
        ("gcp", "asia-east1", "asia-southeast2", "0.15", False),
        ("gcp", "asia-east1", "asia-northeast1", "0.05", False),
        ("gcp", "europe-west1", "internet:china", "0.23", False),
        ("gcp", "europe-west1", "internet:oceania", "0.19", False),
        ("gcp", "europe-west1", "internet", "0.12", False),
        ("ibm", "us-south", "internet", "0.09", False),
        ("ibm", "us-south", "eu-de", None, False),
        ("lambda", "us-east-1", "internet", None, False),
        ("runpod", "US", "internet", "0", False),
        ("runpod", "US", "CA", "0", False),
    ],
)
def test_the_first_gigabyte(provider: str, source: str, destination: str, price: str | None, both_ways: bool) -> None:
    start = place(source)
    assert isinstance(start, Place)
    rule = transfer_rule(PARTS[provider].rates, start, place(destination))
    assert rule is not None
    assert rule.steps[0].price == (None if price is None else Decimal(price))
    assert rule.both_ways == both_ways


def test_data_that_stays_in_its_zone_costs_nothing() -> None:
    here = Place(region="us-east-1", zone="use1-az1")
    assert transfer_rule(PARTS["aws"].rates, here, here) is None


def internet(provider: str, region: str) -> tuple[PriceStep, ...]:
    rule = transfer_rule(PARTS[provider].rates, Place(region=region), "")
    assert rule is not None
    return rule.steps


def test_ten_terabytes_are_not_free_and_not_all_at_the_last_price() -> None:
    """Each further step is the price of further units only."""
    steps = internet("gcp", "us-central1")
    assert bill(steps, Decimal(10_240)) == 1024 * Decimal("0.12") + 9_216 * Decimal("0.11")
    assert bill(internet("ibm", "us-south"), Decimal(1_000)) == 90, "50 and 150 are terabytes"
    assert bill(internet("azure", "eastus"), Decimal(2)) == Decimal("0.0875"), "the first GB is free"
    assert bill(internet("aws", "us-east-1"), Decimal(200_000)) is None, "above 150 TB nobody has said"


@given(st.sampled_from(sorted(PARTS)), st.data())
def test_more_data_never_costs_less(provider: str, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(PARTS[provider].rates.transfers))
    less, more = sorted(data.draw(st.tuples(*[st.decimals(0, 10**7, places=2)] * 2)))
    low, high = bill(rule.steps, less), bill(rule.steps, more)
    if high is not None:
        assert low is not None, "what is known for more is known for less"
        assert low <= high
    if low == 0 and less > 0:
        assert rule.steps[0].price == 0


@given(st.sampled_from(sorted(PARTS)), st.data())
def test_a_bill_does_not_jump_at_the_edge_of_a_step(provider: str, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(PARTS[provider].rates.transfers))
    edge = data.draw(st.sampled_from(rule.steps)).above
    tiny = Decimal("0.000001")
    before, after = bill(rule.steps, edge), bill(rule.steps, edge + tiny)
    if before is not None and after is not None:
        assert after - before <= tiny, "no price is above a dollar per GB"


def disk(part: CatalogPart, tier: str, size: int) -> Decimal | None:
    rate = next(rate for rate in part.rates.disks if rate.tier == tier)
    if rate.per_gb is not None:
        return size * rate.per_gb
    return next((price for step, price in rate.ladder if step >= size), None)


def test_disks() -> None:
    aws, azure, gcp = PARTS["aws"], PARTS["azure"], PARTS["gcp"]
    assert disk(aws, "medium", 256) == Decimal("20.48")
    assert disk(aws, "high", 256) == 256 * Decimal("0.08") + 4_000 * Decimal("0.005") + 375 * Decimal("0.04")
    assert disk(aws, "ultra", 100) == 100 * (Decimal("0.125") + 20 * Decimal("0.065"))
    assert disk(azure, "high", 128) == Decimal("19.71")
    assert disk(azure, "high", 129) == Decimal("38.02"), "a size takes the first that is large enough"
    assert disk(azure, "medium", 9_999) is None, "none is large enough"
    assert disk(gcp, "high", 100) == 17
    assert disk(PARTS["ibm"], "medium", 100) is None


def test_object_storage_and_addresses() -> None:
    assert PARTS["aws"].rates.storages[0].steps[0].price == Decimal("0.023")
    assert [rate.region for rate in PARTS["azure"].rates.storages] == ["westus", "*"]
    assert PARTS["gcp"].rates.storages[0].steps[0].price == Decimal("0.020")
    assert {name: part.rates.schemes for name, part in PARTS.items() if part.rates.schemes} == {
        "aws": ("s3",),
        "azure": ("az", "https"),
        "gcp": ("gs",),
        "ibm": ("cos",),
    }
    for name in ("aws", "azure", "gcp"):
        assert PARTS[name].rates.addresses[0].hourly == Decimal("0.005")
    assert PARTS["ibm"].rates.addresses[0].hourly is None


def test_what_one_owns_costs_nothing_beside_the_machines(tmp_path: Path) -> None:
    rates = registry.load("local").catalog(home=tmp_path).rates
    rule = transfer_rule(rates, Place(region="local"), "")
    assert rule is not None
    assert bill(rule.steps, Decimal(10**6)) == 0
    assert rates.schemes == ("file",)
    assert rates.storages[0].steps[0].price == Decimal(0)
