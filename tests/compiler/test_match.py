"""What `match` looks up by machine type and place is what the code of every single offer says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest

from skyc.compiler.ir import AcceleratorRequest, Bound, Catalog, Infra, Market, Quota, ResourceRequest, SpecPath
from skyc.compiler.match import Filter, Size, codes_of, match
from skyc.compiler.shelves import Shelves
from skyc.providers.base import Capability
from skyc.providers.build_catalog import FOLDERS
from skyc.providers.snapshot import read_part
from skyc.providers.stored import CATALOG_FILE

PROVIDERS = Path(__file__).resolve().parents[2] / "providers"
CATALOG = Catalog(
    parts=tuple(sorted((read_part(PROVIDERS / folder / CATALOG_FILE) for _, folder in FOLDERS), key=lambda part: part.provider))
)
SHELVES = Shelves(CATALOG)
ONE = Size(task_nodes=1, group_nodes=1)


def at_least(amount: int) -> Bound:
    return Bound(amount=Decimal(amount), exact=False)


REQUESTS = {
    "nothing": ResourceRequest(origin=SpecPath()),
    "cpus": ResourceRequest(origin=SpecPath(), cpus=at_least(4)),
    "exact": ResourceRequest(origin=SpecPath(), cpus=Bound(amount=Decimal(8), exact=True), memory_gb=at_least(32)),
    "spot": ResourceRequest(origin=SpecPath(), cpus=at_least(16), market=Market.SPOT),
    "auto": ResourceRequest(origin=SpecPath(), cpus=at_least(16), market=Market.AUTO),
    "accelerator": ResourceRequest(origin=SpecPath(), accelerators=(AcceleratorRequest(name="A100", count=Decimal(8)),)),
    "place": ResourceRequest(origin=SpecPath(), cpus=at_least(2), infra=Infra(provider="aws", region="us-east-1")),
    "ports": ResourceRequest(origin=SpecPath(), cpus=at_least(2), ports=("8080",)),
    "arm": ResourceRequest(origin=SpecPath(), cpus=at_least(2), arch="arm64"),
    "ceiling": ResourceRequest(origin=SpecPath(), cpus=at_least(2), max_hourly_cost=Decimal("0.5"), market=Market.AUTO),
    "nowhere": ResourceRequest(origin=SpecPath(), cpus=at_least(100_000)),
}
NO_PORTS = {"aws": frozenset[Capability]()}


@pytest.mark.parametrize("name", REQUESTS)
def test_candidates_counts_and_examples_are_those_of_single_offers(name: str) -> None:
    request = REQUESTS[name]
    found = match(request, CATALOG, ONE, NO_PORTS, SHELVES)
    rows: list[tuple[int, int, bool, int]] = []
    counts: dict[Filter, int] = {}
    examples: dict[Filter, tuple[int, int, bool]] = {}
    for codes in codes_of(request, CATALOG, ONE, NO_PORTS):
        offers = CATALOG.parts[codes.part].offers
        fitting = []
        for spot, values, prices in ((False, codes.on_demand, offers.on_demand), (True, codes.spot, offers.spot)):
            fitting += [(int(row), spot, int(prices[row])) for row in numpy.flatnonzero(values == 0)]
            for rule in Filter:
                ruled = numpy.flatnonzero(values >> rule & 1)
                if len(ruled):
                    counts[rule] = counts.get(rule, 0) + len(ruled)
                    examples.setdefault(rule, (codes.part, int(ruled[0]), spot))
        rows += [(codes.part, *each) for each in sorted(fitting)]
    columns = (found.part, found.row, found.spot, found.hourly)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == rows
    assert found.counts == counts
    assert found.examples == examples


def test_a_quota_rules_out_what_is_more_than_it_in_its_region_and_market_alone() -> None:
    quota = Quota(provider="aws", region="us-east-1", market=Market.SPOT, accelerator=None, limit=Decimal(64))
    limited = Catalog(parts=CATALOG.parts, quotas=(quota,))
    request = ResourceRequest(origin=SpecPath(), cpus=at_least(4), market=Market.AUTO)
    size = Size(task_nodes=8, group_nodes=8)
    free, found = (match(request, catalog, size, {}, Shelves(catalog)) for catalog in (CATALOG, limited))
    kept = []
    for part, row, spot in zip(free.part.tolist(), free.row.tolist(), free.spot.tolist(), strict=True):
        offers = CATALOG.parts[part].offers
        there = CATALOG.parts[part].provider == "aws" and offers.places[offers.place[row]].region == "us-east-1"
        if not (there and spot and offers.types.cpus[offers.type[row]] * 8 > 64_000):
            kept.append((part, row, spot))
    assert list(zip(found.part.tolist(), found.row.tolist(), found.spot.tolist(), strict=True)) == kept
    assert found.counts[Filter.QUOTA] > 0
    assert len(kept) < len(free.row)


def test_equal_sets_of_offers_share_their_columns() -> None:
    first = match(ResourceRequest(origin=SpecPath(), cpus=at_least(4)), CATALOG, ONE, {}, SHELVES)
    again = match(ResourceRequest(origin=SpecPath(), cpus=at_least(4), disk_gb=Decimal(100)), CATALOG, ONE, {}, SHELVES)
    assert first.row is again.row


@pytest.mark.parametrize(
    ("asked", "least_cpus", "least_memory"),
    [
        ({}, 2, 4),
        ({"cpus": at_least(1)}, 1, 4),
        ({"memory_gb": at_least(1)}, 0, 1),
        ({"cpus": at_least(1), "memory_gb": at_least(1)}, 1, 1),
        ({"instance_type": "t3.nano"}, 2, 0.5),
    ],
    ids=["nothing", "cpus", "memory", "both", "type"],
)
def test_what_is_not_asked_for_still_has_room_for_ray(asked: dict[str, Any], least_cpus: float, least_memory: float) -> None:
    """The smallest that fits is as small as that, and no smaller."""
    request = ResourceRequest(origin=SpecPath(), infra=Infra(provider="aws"), **asked)
    found = match(request, CATALOG, ONE, {}, SHELVES)
    sizes = set()
    for part, row in zip(found.part.tolist(), found.row.tolist(), strict=True):
        offers = CATALOG.parts[part].offers
        kind = CATALOG.parts[part].instance_type(int(offers.type[row]))
        sizes.add((kind.cpus, kind.memory_gb))
    assert min(cpus for cpus, _ in sizes) == max(least_cpus, 1)
    assert min(memory for _, memory in sizes) == least_memory
