"""What every provider's part of the catalog must hold, as tests; and what a target must do that is priced only.

Contract: as in `conformance`. Everything is checked on the columns, so the suite takes no longer for a large cloud.

    class TestAws(PricedConformance):
        def make_provider(self): return AwsProvider()
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy

from ..compiler.diagnostics import Severity
from ..compiler.ir import (
    DeploymentId,
    FrozenMap,
    GroupName,
    NodeGroup,
    NodeRuntime,
    ResourceRequest,
    SiteId,
    SpecPath,
    Task,
    TaskId,
    accelerators,
)
from ..compiler.ir.catalog import ANY_REGION, UNKNOWN, CatalogPart, Place, PriceStep, Rates, TransferRule
from . import registry
from .base import LowerContext, Provider
from .snapshot import decode, encode

CONTINENTS = (
    "africa",
    "asia",
    "china",
    "europe",
    "middle-east",
    "north-america",
    "oceania",
    "south-america",
)
TIERS = ("low", "medium", "high", "ultra", "best")


class CatalogConformance:
    """What holds for every provider."""

    owned_names = False
    """True where accelerators are named by an owner and not by a price list."""

    def make_provider(self) -> Provider:
        raise NotImplementedError

    def catalog_home(self, scratch: Path) -> Path:
        """A home in which the provider offers something."""
        return scratch

    def part(self, scratch: Path) -> CatalogPart:
        return self.make_provider().catalog(home=self.catalog_home(scratch))

    def test_it_is_registered_under_its_name(self) -> None:
        provider = self.make_provider()
        assert provider.name in registry.names(), f"{provider.name} is not in the registry"
        assert type(registry.load(provider.name)) is type(provider), "the registry loads another class"
        assert re.fullmatch(r"[a-z][a-z0-9]*", provider.name), "a name is lower-case letters and digits: it goes into addresses"

    def test_offers_are_sorted_and_unique(self, tmp_path: Path) -> None:
        part = self.part(tmp_path)
        offers, types = part.offers, part.offers.types
        assert part.provider == self.make_provider().name, "the part of somebody else"
        assert len(offers.type), "it offers nothing"
        order = offers.place.astype(numpy.int64) * len(types.names) + offers.type
        assert (order[1:] > order[:-1]).all(), "rows are not sorted by place and type, or one stands twice"
        places = [(place.region, place.zone or "") for place in offers.places]
        assert places == sorted(set(places)), "places are not sorted, or one stands twice"
        assert all(place.region for place in offers.places), "a place without a region"

    def test_prices_are_facts(self, tmp_path: Path) -> None:
        offers = self.part(tmp_path).offers
        for column in (offers.on_demand, offers.spot):
            sold = offers.capacity == UNKNOWN
            assert ((column > 0) | (column == UNKNOWN) | ((column == 0) & ~sold)).all(), "a price of zero or less"
        both = (offers.on_demand != UNKNOWN) & (offers.spot != UNKNOWN)
        assert (offers.spot[both] < offers.on_demand[both]).all(), "a spot price that is no lower than on demand"
        assert offers.sells_spot or (offers.spot == UNKNOWN).all(), "a spot price where there is no spot market"
        known = (offers.on_demand != UNKNOWN) | (offers.spot != UNKNOWN)
        assert not (offers.estimated & ~known).any(), "an estimate of nothing"
        assert all(offers.sources[index][0] for index in numpy.unique(offers.source)), "a row without a source"

    def test_types_are_described(self, tmp_path: Path) -> None:
        types = self.part(tmp_path).offers.types
        for column in (types.cpus, types.memory, types.local_disk):
            assert (column >= UNKNOWN).all(), "less than nothing"
        assert (types.cpus != 0).all() and (types.memory != 0).all(), "a machine without CPUs or memory"
        assert (types.device_count > 0).all(), "no device is counted"
        assert list(types.accelerators) == sorted(set(types.accelerators)), "accelerators are not sorted"
        strange = [name for name in types.accelerators if accelerators.canonical(name) != name]
        assert self.owned_names or not strange, f"no canonical names: {strange}"

    def test_the_digest_names_the_bytes(self, tmp_path: Path) -> None:
        part = self.part(tmp_path)
        content = encode(part)
        assert part.digest == hashlib.sha256(content).hexdigest(), "the digest is of other bytes"
        assert decode(content, name="the part").digest == part.digest, "decoding gives another part"
        assert self.make_provider().catalog(home=self.catalog_home(tmp_path)).digest == part.digest, "two readings differ"
        assert part.as_of, "nothing says how old it is"

    def test_regions_have_continents_where_prices_need_them(self, tmp_path: Path) -> None:
        part = self.part(tmp_path)
        continents = part.rates.continents
        regions = {place.region for place in part.offers.places}
        assert set(continents.values()) <= set(CONTINENTS), "a continent nobody knows"
        needed = any("continent" in rule.source + rule.destination for rule in part.rates.transfers)
        if needed or continents:
            assert regions <= set(continents), f"no continent for {sorted(regions - set(continents))}"

    def test_every_transfer_rule_is_the_price_of_something(self, tmp_path: Path) -> None:
        part = self.part(tmp_path)
        used = {id(rule) for rule in _first_rules(part)}
        idle = [f"{rule.source} → {rule.destination}" for rule in part.rates.transfers if id(rule) not in used]
        # Only regions with several zones have traffic between zones.
        idle = [text for text in idle if not text.endswith("other-zone")]
        assert not idle, f"rules that nothing reaches: {idle}"

    def test_rates_are_marginal_steps(self, tmp_path: Path) -> None:
        rates = self.part(tmp_path).rates
        for steps in (*(rule.steps for rule in rates.transfers), *(rate.steps for rate in rates.storages)):
            _check_steps(steps)
        for rate in rates.disks:
            assert rate.tier in TIERS, f"{rate.tier} is no tier"
            assert rate.per_gb is None or not rate.ladder, f"{rate.name} has two prices"
            assert rate.per_gb is None or rate.per_gb > 0, f"{rate.name} costs nothing"
            for (size, price), (larger, dearer) in pairwise(rate.ladder):
                assert size < larger and price < dearer, f"{rate.name}: the ladder does not ascend"
        for address in rates.addresses:
            assert address.hourly is None or address.hourly >= 0, "an address of less than nothing"
            if address.spot_hourly is not None:
                assert address.hourly is not None and 0 <= address.spot_hourly <= address.hourly, "dearer with a spot machine"
        assert len({(rate.region, rate.tier) for rate in rates.disks}) == len(rates.disks), "a tier has two rates"

    def test_a_rate_says_where_it_comes_from(self, tmp_path: Path) -> None:
        rates = self.part(tmp_path).rates
        said = [
            *(rule.price_source for rule in rates.transfers),
            *(rate.price_source for rate in rates.disks),
            *(rate.price_source for rate in rates.storages),
            *(rate.price_source for rate in rates.addresses),
        ]
        assert all(said), "a rate without a source"


class PricedConformance(CatalogConformance):
    """A target that is in the catalog and cannot be compiled yet says so at every turn."""

    def test_it_claims_nothing(self, tmp_path: Path) -> None:
        provider = self.make_provider()
        assert provider.capabilities == frozenset(), "it cannot do anything yet"
        report = provider.check(home=self.catalog_home(tmp_path))
        assert not report.usable, "it cannot be used yet"
        assert report.facts["state"] == "priced, not yet compiled"
        assert provider.nodes({}) == () and provider.observe(DeploymentId("other"), home=tmp_path) == ()

    def test_lowering_is_refused_with_a_reason(self, tmp_path: Path) -> None:
        provider = self.make_provider()
        graph, said = provider.lower(_plain_task(), (), _context(provider, tmp_path))
        assert graph is None
        assert [diagnostic.slug for diagnostic in said] == ["cannot-compile-yet"]
        assert said[0].severity is Severity.ERROR
        assert f"`{provider.name}`" in said[0].detail and said[0].hint, "what is refused, and what can be done"


def transfer_rule(rates: Rates, source: Place, destination: Place | str) -> TransferRule | None:
    """The first rule for data that leaves `source`. `destination`: a place of the same provider, a continent elsewhere, or "".

    None for data that stays in its zone, and where there is no rule: then the price is unknown.
    """
    for rule in rates.transfers:
        origins = (ANY_REGION, source.region, f"continent:{rates.continents.get(source.region)}")
        if rule.source in origins and rule.destination in _names(rates, source, destination):
            return rule
    return None


def _names(rates: Rates, source: Place, destination: Place | str) -> tuple[str, ...]:
    """Every way in which a rule can name where the data goes."""
    if isinstance(destination, str):
        return ("internet", f"internet:{destination}")
    if destination.region == source.region:
        return ("other-zone",) if destination.zone != source.zone else ()
    same = rates.continents.get(source.region) == rates.continents.get(destination.region)
    return (destination.region, "other-region", *(("same-continent",) if same and rates.continents else ()))


def _first_rules(part: CatalogPart) -> Iterator[TransferRule]:
    regions = sorted({place.region for place in part.offers.places})
    for region in regions:
        source = Place(region=region, zone="one")
        everywhere: tuple[Place | str, ...] = (
            Place(region=region, zone="two"),
            *(Place(region=other) for other in regions),
            *CONTINENTS,
            "",
        )
        for destination in everywhere:
            rule = transfer_rule(part.rates, source, destination)
            if rule is not None:
                yield rule


def _check_steps(steps: tuple[PriceStep, ...]) -> None:
    """Each step is the price of further units, so a bill is continuous in the volume: nothing is charged twice or left out."""
    assert steps and steps[0].above == 0, "the first units have no price"
    for step, further in pairwise(steps):
        assert step.above < further.above, "steps do not ascend"
    assert all(step.price is None or step.price >= 0 for step in steps), "a price below zero"


def _plain_task() -> Task:
    origin = SpecPath(("resources",))
    group = NodeGroup(
        name=GroupName("main"),
        origin=origin,
        num_nodes=1,
        requests=(ResourceRequest(origin=origin),),
        ordered=False,
        run="true",
    )
    return Task(
        id=TaskId("sample"),
        origin=SpecPath(("name",)),
        groups=(group,),
        setup="",
        envs=FrozenMap(),
        secrets=(),
        workdir=None,
        hours=Decimal(1),
    )


def _context(provider: Provider, home: Path) -> LowerContext:
    return LowerContext(
        deployment=DeploymentId("conformance"),
        site=SiteId(f"sample.{provider.name}"),
        home=str(home),
        runtime=NodeRuntime(python="3.11"),
    )
