"""What is not called unknown: names that a catalog without zones cannot judge, and what it does have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skyc.compiler.pipeline import zone_names_of
from skyc.compiler.unknown import unknown_region, unknown_zone
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.zones import WITHOUT, ZONES
from skyc.providers.base import Provider

PROVIDERS: dict[str, Provider] = {"aws": AwsProvider(), "azure": AzureProvider()}
PARTS = [provider.catalog(home=Path("/nowhere")) for provider in PROVIDERS.values()]
NAMES = zone_names_of(PROVIDERS)


@pytest.mark.parametrize("zone", ["westus-1", "westus-9"])
def test_a_zone_of_the_right_form_is_not_called_unknown_where_the_catalog_has_none(zone: str) -> None:
    silent = NAMES | {"azure": replace(NAMES["azure"], without=frozenset())}
    assert unknown_zone(zone, "westus", PARTS, silent) is None


def test_a_region_that_is_known_to_have_no_zones_is_said_to_have_none() -> None:
    odd = unknown_zone("westus-1", "westus", PARTS, NAMES)
    assert odd is not None and odd.certain and odd.why.endswith("azure/westus has no zones.")
    assert odd.hint == "write `infra: azure/westus`"
    assert WITHOUT.isdisjoint(ZONES)


@pytest.mark.parametrize(("zone", "certain"), [("1", True), ("westus-1", True), ("eastus-9", False)])
def test_where_it_has_zones_it_judges(zone: str, certain: bool) -> None:
    odd = unknown_zone(zone, "eastus", PARTS, NAMES)
    assert odd is not None and odd.certain is certain


@pytest.mark.parametrize(("zone", "region"), [("use1-az1", "us-east-1"), ("use1-az1", None), ("eastus-1", "eastus")])
def test_what_is_known_or_may_be_is_left_alone(zone: str, region: str | None) -> None:
    assert unknown_zone(zone, region, PARTS, NAMES) is None


def test_only_what_the_catalog_does_not_have_is_uncertain() -> None:
    newer, wrong = (unknown_region(name, PARTS, NAMES) for name in ("us-east-9", "us-east-1a"))
    assert newer is not None and not newer.certain and wrong is not None and wrong.certain
    assert unknown_region("us-east-1", PARTS, NAMES) is None and unknown_region("any", [], NAMES) is None
