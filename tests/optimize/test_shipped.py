"""On the catalog that comes with skyc: what was measured to go wrong elsewhere, as cases that must not."""

from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from tests.optimize.test_cases import ask, found_in, group, place, task

from skyc.compiler.ir import Bound, Catalog, DataFlow, Infra, Market, Storage
from skyc.compiler.ir.accelerators import asked, matching
from skyc.compiler.ir.catalog import UNKNOWN
from skyc.providers.registry import load_all

D = Decimal
TEN_TIB = D(10240)


@cache
def shipped(*, home: Path = Path("/nonexistent")) -> Catalog:
    """Every target that sells machines, as it comes with skyc."""
    clouds = [provider for provider in load_all() if provider.name not in ("local", "owned")]
    return Catalog(parts=tuple(provider.catalog(home=home) for provider in clouds))


CLOUDS = ("aws", "azure", "gcp")


def at(provider: str, region: str | None = None) -> Infra:
    return Infra(provider=provider, region=region)


@pytest.mark.parametrize("source", CLOUDS)
@pytest.mark.parametrize("destination", CLOUDS)
def test_ten_tebibytes_to_another_cloud_are_not_free(source: str, destination: str) -> None:
    if source == destination:
        return
    flow = DataFlow(key="d", storage=None, gb=TEN_TIB, origin=task(group(ask())).origin)
    first = replace(task(group(replace(ask(), infra=at(source))), name="a"), outputs=(flow,))
    second = replace(task(group(replace(ask(), infra=at(destination))), name="b"), inputs=(flow,), needs=(first.id,))
    plan = place(shipped(), first, second)
    (transfer,) = plan.transfers
    assert transfer.line.amount is not None
    assert D(300) < transfer.line.amount < D(2000)


@pytest.mark.parametrize("home", ["aws", "gcp", "azure"])
def test_a_bucket_draws_the_task_that_reads_it(home: str) -> None:
    """Alone the task goes where its machine is cheapest; ten tebibytes are dearer to move than any difference in machines."""
    where = {part.provider: part.rates.reference_region for part in shipped().parts}
    one = task(group(ask("L4" if home != "azure" else "T4")))
    storage = Storage(name="data", origin=one.origin, uri=None, infra=at(home, where[home] or "us-east-1"))
    flow = DataFlow(key="data", storage="data", gb=TEN_TIB, origin=one.origin)
    with_data = place(shipped(), replace(one, storages=(storage,), inputs=(flow,)))
    assert with_data.placements[0].provider == home
    away = next((alternative for alternative in with_data.alternatives if alternative.placement.provider != home), None)
    assert away is None or (away.extra is not None and away.extra > 100 and "moving data" in away.reason)


def test_a_task_stays_away_without_its_bucket() -> None:
    one = task(group(ask("T4")))
    free = place(shipped(), one).placements[0]
    others = [part.provider for part in shipped().parts if part.provider in CLOUDS and part.provider != free.provider]
    other = others[0]
    region = next(part.rates.reference_region for part in shipped().parts if part.provider == other)
    storage = Storage(name="data", origin=one.origin, uri=None, infra=at(other, region))
    flow = DataFlow(key="data", storage="data", gb=TEN_TIB, origin=one.origin)
    assert place(shipped(), replace(one, storages=(storage,), inputs=(flow,))).placements[0].provider == other


def test_every_type_with_one_a10g_is_tried() -> None:
    wanted = set()
    for part in shipped().parts:
        types = part.offers.types
        for row in {int(row) for row in part.offers.type}:
            if any(device.name == "A10G" and device.count == 1 for device in types.devices(row)):
                wanted.add((part.provider, types.names[row]))
    graph, found = found_in(shipped(), task(group(ask("A10G:1"))))
    (options,) = found.options
    got = {
        (shipped().parts[p].provider, shipped().parts[p].offers.types.names[int(shipped().parts[p].offers.type[row])])
        for p, row in zip(options.part.tolist(), options.row.tolist(), strict=True)
    }
    assert got == wanted
    assert len({name for _, name in got}) > 4
    plan = place(shipped(), *graph.tasks)
    tried = {p.instance_type for p in (*plan.placements, *plan.fallbacks, *(a.placement for a in plan.alternatives))}
    assert len(tried) > 1


@pytest.mark.parametrize("name", ["A10G:1", "H100:8", "T4:1", "A100-80GB:8", "L4:1", "V100:1", "MI300X:8"])
@pytest.mark.parametrize("market", Market)
def test_unknown_prices_never_win(name: str, market: Market) -> None:
    graph, found = found_in(shipped(), task(group(ask(name, market=market))))
    (options,) = found.options
    known = [int(price) for price in options.hourly if price != UNKNOWN]
    if not known:
        return
    plan = place(shipped(), *graph.tasks)
    assert plan.placements[0].hourly is not None
    assert plan.total is not None
    prices = [fallback.hourly is None for fallback in plan.fallbacks]
    assert prices == sorted(prices)


def test_spot_is_never_above_on_demand() -> None:
    for part in shipped().parts:
        offers = part.offers
        both = (offers.spot != UNKNOWN) & (offers.on_demand != UNKNOWN)
        assert not (offers.spot[both] > offers.on_demand[both]).any(), part.provider
        assert not (offers.spot == 0).any()
        assert not (offers.on_demand == 0).any()


def test_a_request_for_h100_is_met_by_its_forms() -> None:
    _, found = found_in(shipped(), task(group(ask("H100:8"))))
    (options,) = found.options
    names = set()
    for p, row in zip(options.part.tolist(), options.row.tolist(), strict=True):
        part = shipped().parts[p]
        (device,) = part.offers.types.devices(int(part.offers.type[row]))
        assert device.count == 8
        names.add(device.name)
    assert names <= set(matching("H100"))
    assert len(names) > 1
    assert "H100-NVL" not in names


@pytest.mark.parametrize(("slice_", "chips"), [("tpu-v5litepod-8", 8), ("tpu-v4-8", 4), ("tpu-v6e-8", 8), ("tpu-v5p-8", 4)])
def test_tpu_slices_are_counted_in_chips(slice_: str, chips: int) -> None:
    assert asked(slice_, D(1))[1] == chips
    _, found = found_in(shipped(), task(group(ask(f"{slice_}:1"))))
    (options,) = found.options
    assert len(options), slice_
    for p, row in zip(options.part.tolist(), options.row.tolist(), strict=True):
        part = shipped().parts[p]
        devices = part.offers.types.devices(int(part.offers.type[row]))
        assert [device.count for device in devices] == [chips]


def test_tpu_machines_without_known_memory_meet_no_request_for_it() -> None:
    request = replace(ask("tpu-v4-8:1"), memory_per_cpu=Bound(amount=D(1)))
    found = found_in(shipped(), task(group(request)))[1]
    for p, row in zip(found.options[0].part.tolist(), found.options[0].row.tolist(), strict=True):
        part = shipped().parts[p]
        assert part.offers.types.memory[part.offers.type[row]] != UNKNOWN
