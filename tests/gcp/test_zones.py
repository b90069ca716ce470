"""Zones: which there are, and where a machine goes that the catalog knows by region alone."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Diagnostic, SourceFile
from skyc.compiler.failover import Refused, next_placement
from skyc.compiler.ir import DeploymentId, FrozenMap, GroupPlacement, NodeRuntime, PlacementPlan, Reach
from skyc.compiler.optimize.explain import WhyNot, why_not
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.policy.load import PolicyFile
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.zones import ZONES as AZURE_ZONES
from skyc.providers.base import ExistingNetwork, NetworkChoice, Provider
from skyc.providers.gcp.facts import continent
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.gcp.zones import AI_ZONES, SOLD, ZONES, is_zone, zones_of
from skyc.runtime.offers import find, query
from skyc.runtime.still_offered import StillOffered
from tests.gcp.conftest import ACCESS

IOWA = ("us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f")
C4 = "{infra: gcp/us-central1, instance_type: c4-standard-8}"


def planned(
    resources: str, home: Path, provider: Provider | None = None, **options: Any
) -> tuple[PlacementPlan | None, tuple[Diagnostic, ...]]:
    return compiled(f"name: t\nresources: {resources}\nrun: x\n", home, provider or GcpProvider(), **options)


def compiled(text: str, home: Path, provider: Provider, **options: Any) -> tuple[PlacementPlan | None, tuple[Diagnostic, ...]]:
    made = compile_all(text, home, provider, **options)
    return made.placement, made.diagnostics


def compile_all(text: str, home: Path, provider: Provider, **options: Any) -> Compilation:
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={provider.name: provider},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: ACCESS,
            **options,
        ),
        until="lower",
    )


def why_not_zone(zone: str, home: Path) -> WhyNot:
    provider = GcpProvider()
    made = compile_all(f"name: t\nresources: {C4}\nrun: x\n", home, provider)
    assert made.graph is not None and made.candidates is not None and made.placement is not None
    can = {provider.name: provider.capabilities}
    (answer,) = why_not(made.graph, made.candidates, made.placement, made.sources, f"gcp/us-central1/{zone}", can)
    return answer


def zones(plan: PlacementPlan | None) -> tuple[str | None, ...]:
    """Of the choice and of its fallbacks, in order."""
    assert plan is not None
    return tuple(item.zone for item in (*plan.placements, *plan.fallbacks))


def about_zones(diagnostics: tuple[Diagnostic, ...]) -> list[str]:
    """What is said of zones that nobody knows, each at the user's line."""
    found = [item for item in diagnostics if item.slug == "zone-not-known"]
    assert all(item.span is not None and item.span.line == 2 for item in found)
    return [item.detail for item in found]


@pytest.mark.parametrize(
    ("region", "letters"),
    [
        ("us-east1", "bcd"),
        ("europe-west1", "bcd"),
        ("us-central1", "abcf"),
        ("us-central2", "b"),
        ("us-east4", "abc"),
        ("me-central2", "abc"),
        ("northamerica-south1", "abc"),
    ],
)
def test_the_zones_of_a_region(region: str, letters: str) -> None:
    """As "Regions and zones" lists them."""
    assert ZONES[region] == tuple(f"{region}-{letter}" for letter in letters)


def test_the_catalog_has_no_zone_that_there_is_not(tmp_path: Path) -> None:
    part = GcpProvider().catalog(home=tmp_path)
    listed: dict[str, set[str]] = defaultdict(set)
    for place in part.offers.places:
        listed[place.region] |= {place.zone} - {None}  # type: ignore[arg-type]
    assert set(listed) == set(ZONES) and part.zones == ZONES and part.zone_needed
    further = {zone for region, here in listed.items() for zone in here - set(ZONES[region])}
    assert further <= AI_ZONES, "us-east1-a and us-central1-d are in older tables, and nowhere else"
    missing = {region: sorted(set(ZONES[region]) - here) for region, here in listed.items() if here}
    assert {region: zones for region, zones in missing.items() if zones} == {"me-central2": ["me-central2-b"]}, "of G2 alone"
    assert all(continent(region) for region in ZONES)


def test_where_machines_are_is_said_of_zones_that_there_are(tmp_path: Path) -> None:
    assert all(zone in ZONES[name.split()[1]] for name, found in SOLD.items() for zone in found)
    names = set(GcpProvider().catalog(home=tmp_path).offers.types.names)
    assert all(any(name.startswith(f"{kind.split()[0]}-") for name in names) for kind in SOLD)


def test_what_a_source_lists_counts_before_what_is_known() -> None:
    assert zones_of("n2d-standard-8", "us-east1", ("us-east1-a", "us-east1-c")) == ("us-east1-c",)
    assert zones_of("a4-highgpu-8g", "us-central1", ()) == ("us-central1-b",)
    assert zones_of("a4-highgpu-8g", "us-central1", ("us-central1-f",)) == ("us-central1-f",)
    assert zones_of("c3-standard-4", "us-central1", ("us-central1-d",)) == (None,), "the region has it, in a zone nobody named"
    assert is_zone("us-central1", "us-central1-ai1a") and not is_zone("us-central1", "us-central1-ai1")
    assert is_zone("us-south1", "us-south1-ai1b") and not is_zone("us-west1", "us-south1-ai1b")
    assert is_zone("mars-north1", "mars-north1-a"), "a region that is new here"


def test_a_machine_whose_zone_is_known_is_there_and_nothing_is_said(tmp_path: Path) -> None:
    plan, said = planned("{infra: gcp/us-central1, accelerators: B200:8, use_spot: true}", tmp_path)
    assert zones(plan) == ("us-central1-b",) and about_zones(said) == []


def test_the_envelope_has_every_zone_of_a_region(tmp_path: Path) -> None:
    plan, said = planned(C4, tmp_path)
    assert zones(plan) == IOWA
    (detail,) = about_zones(said)
    assert "`us-central1-a` is tried first" in detail and "goes on with us-central1-b, us-central1-c, us-central1-f." in detail
    assert plan is not None
    task, group = plan.placements[0].task, plan.placements[0].group
    refused: list[Refused] = []
    tried: list[GroupPlacement] = []
    item: GroupPlacement | None = plan.placements[0]
    while item is not None:
        tried.append(item)
        refused.append(Refused(placement=item, reach=Reach.MACHINE_IN_ZONE))
        item = next_placement(plan, task, group, refused)
    assert tuple(one.zone for one in tried) == IOWA, "a refusal of one zone leads to the next"


def test_an_envelope_stays_as_small_as_it_was(tmp_path: Path) -> None:
    """Zones come before dearer machines, and count among the eight."""
    several, _ = planned("{infra: gcp, instance_type: c4-standard-8}", tmp_path)
    assert several is not None and len(several.fallbacks) == 8
    names = [(one.region, one.zone) for one in (*several.placements, *several.fallbacks)]
    assert len(set(names)) == 9 and [one.hourly for one in several.fallbacks] == sorted(
        one.hourly or 0 for one in several.fallbacks
    )


@pytest.mark.parametrize("zone", ["us-central1-b", "us-central1-f"])
def test_a_zone_that_is_named_is_taken_and_no_other(tmp_path: Path, zone: str) -> None:
    plan, said = planned(C4.replace("us-central1,", f"us-central1/{zone},"), tmp_path)
    assert zones(plan) == (zone,)
    assert ["what the task names. Where there are none, an apply fails" in text for text in about_zones(said)] == [True]


def test_a_zone_that_there_is_not_is_none(tmp_path: Path) -> None:
    plan, said = planned(C4.replace("us-central1,", "us-central1/us-central1-d,"), tmp_path)
    assert plan is None and "unknown-place" in [item.slug for item in said]


def test_a_policy_chooses_among_zones(tmp_path: Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("rules:\n  - name: zones\n    reason: r\n    allow: {zones: ['us-central1-[bc]']}\n")
    policies = (PolicyFile(path=rules, shown="policy.yaml"),)
    plan, _ = planned(C4, tmp_path, policies=policies)
    assert zones(plan) == ("us-central1-b", "us-central1-c")
    plan, said = planned(C4.replace("us-central1,", "us-central1/us-central1-a,"), tmp_path, policies=policies)
    assert plan is None and ["us-central1-a is not among" in item.detail for item in said if item.slug == "policy-denied"] == [
        True
    ]


def test_a_network_of_ones_own_chooses_among_zones(tmp_path: Path) -> None:
    plan, _ = planned(C4, tmp_path, networks=network("us-central1", "us-central1-c", "us-central1-f"))
    assert zones(plan) == ("us-central1-c", "us-central1-f")


def network(region: str, *names: str) -> dict[tuple[str, str], NetworkChoice]:
    """One of the user's own with subnets in these zones."""
    subnets = FrozenMap(dict.fromkeys(names, f"projects/net/regions/{region}/subnetworks/s"))
    return {("gcp", region): NetworkChoice(existing=ExistingNetwork(id="projects/net/global/networks/n", subnets=subnets))}


def test_a_policy_and_a_network_without_a_zone_in_common_leave_none(tmp_path: Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("rules:\n  - name: zones\n    reason: r\n    allow: {zones: ['us-central1-b', 'us-east4-*']}\n")
    own: dict[str, Any] = {
        "policies": (PolicyFile(path=rules, shown="policy.yaml"),),
        "networks": network("us-central1", "us-central1-f"),
    }
    plan, _ = planned("{infra: gcp, instance_type: c4-standard-8}", tmp_path, **own)
    assert plan is not None and {one.region for one in (*plan.placements, *plan.fallbacks)} == {"us-east4"}
    plan, said = planned(C4, tmp_path, **own)
    assert plan is None and "is not among the zones allowed" in " ".join(item.detail for item in said)


def test_a_network_in_none_of_the_zones_that_a_machine_may_be_in_leaves_none(tmp_path: Path) -> None:
    own = network("us-south1", "us-south1-ai1b")
    plan, said = planned(C4.replace("us-central1", "us-south1"), tmp_path, networks=own)
    assert plan is None and "without a subnet in any zone they may be in" in " ".join(item.detail for item in said)


def test_what_was_approved_in_a_zone_is_still_offered_there(tmp_path: Path) -> None:
    plan, _ = planned(C4, tmp_path)
    assert plan is not None
    still = StillOffered([GcpProvider().catalog(home=tmp_path)])
    assert [still.moved(item) for item in (*plan.placements, *plan.fallbacks)] == [None] * 4


def test_offers_of_a_region_are_found_by_zone(tmp_path: Path) -> None:
    part = GcpProvider().catalog(home=tmp_path)
    names = {row.instance_type for row in find([part], query(zone=["us-central1-f"], limit=None)).offers}
    assert {"c4-standard-8", "n2-standard-8"} <= names and "a4-highgpu-8g" not in names


def test_what_is_pinned_to_one_zone_shares_it(tmp_path: Path) -> None:
    """Where the task names the zone the optimizer knows it, though the offers do not say it."""
    task = "name: {}\nresources: {{infra: gcp/us-central1/{}, instance_type: c4-standard-8}}\nrun: x\n"
    affinity = "affinity: {same: {zone: one}}\n"
    for zone, fits in (("us-central1-b", True), ("us-central1-c", False)):
        text = f"name: two\n---\n{task.format('one', 'us-central1-b')}---\n{task.format('other', zone)}{affinity}"
        plan, said = compiled(text, tmp_path, GcpProvider())
        assert (plan is not None) is fits, said


def two(first: str, other: str, *, more: str = "", home: Path) -> tuple[PlacementPlan | None, tuple[Diagnostic, ...]]:
    """Two tasks; the other one has `more`."""
    one = f"name: one\nresources: {first}\noutputs: {{x: 1000GB}}\nrun: x\n"
    text = f"name: two\n---\n{one}---\nname: other\nresources: {other}\n{more}run: x\n"
    return compiled(text, home, GcpProvider())


def test_data_is_priced_between_the_zones_that_are_planned(tmp_path: Path) -> None:
    there = "{infra: gcp/us-central1/us-central1-b, instance_type: n2-standard-8}"
    needs = "needs: one\ninputs: {x: 1000GB}\n"
    totals = []
    for first in (C4, C4.replace("us-central1,", "us-central1/us-central1-a,")):
        plan, said = two(first, there, more=needs, home=tmp_path)
        assert plan is not None, said
        assert [item.zone for item in plan.placements] == ["us-central1-a", "us-central1-b"]
        assert [transfer.line.amount for transfer in plan.transfers] == [Decimal(10)]
        totals.append(plan.total)
    assert totals[0] == totals[1]


@pytest.mark.parametrize("other", [C4, C4.replace("c4", "n2")])
def test_machines_whose_zone_nobody_named_can_share_one(tmp_path: Path, other: str) -> None:
    plan, said = two(C4, other, more="affinity: {same: {zone: one}}\n", home=tmp_path)
    assert plan is not None, said
    assert zones(plan)[:2] == ("us-central1-a", "us-central1-a")
    assert {item.zone for item in plan.fallbacks} <= {"us-central1-a"}, "another would part them"


@pytest.mark.parametrize("apart", [True, False])
def test_where_zones_conflict_a_plan_says_to_name_one(tmp_path: Path, apart: bool) -> None:
    more, other = ("distinct", C4) if apart else ("same", C4.replace("us-central1,", "us-central1/us-central1-b,"))
    plan, said = two(C4, other, more=f"affinity: {{{more}: {{zone: one}}}}\n", home=tmp_path)
    (found,) = [item for item in said if item.slug == "affinities-conflict"]
    assert plan is None and "name the zone with `infra`" in (found.hint or "")


def test_why_not_another_zone_is_answered_of_it(tmp_path: Path) -> None:
    found = why_not_zone("us-central1-f", tmp_path)
    assert found.best is not None and found.best.zone == "us-central1-f" and (found.extra, found.fitting) == (Decimal(0), 1)


def test_at_azure_a_zone_is_taken_when_it_is_named(tmp_path: Path) -> None:
    """Azure chooses one itself where none is."""
    size = "instance_type: Standard_D4s_v5"
    plan, said = planned(f"{{infra: azure/eastus, {size}}}", tmp_path, AzureProvider())
    assert zones(plan) == (None,) and about_zones(said) == []
    plan, said = planned(f"{{infra: azure/eastus/eastus-2, {size}}}", tmp_path, AzureProvider())
    assert zones(plan) == ("eastus-2",) and len(about_zones(said)) == 1
    plan, _ = planned(f"{{infra: azure/westus/westus-1, {size}}}", tmp_path, AzureProvider())
    assert plan is None, "the region has no zones"
    regions = {place.region for place in AzureProvider().catalog(home=tmp_path).offers.places}
    assert set(AZURE_ZONES) - regions == {"belgiumcentral"}, "where nothing is priced yet"
