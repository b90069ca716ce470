"""The shipped catalog is what its tables say, and its prices hang together."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.build_catalog import FOLDERS, build
from skyc.providers.facts import steps, tables
from skyc.providers.gcp.zones import is_zone
from skyc.providers.snapshot import encode, offer_rows, read_part, type_rows
from skyc.providers.stored import CATALOG_FILE

ROOT = Path(__file__).parents[2]
PROVIDERS = ROOT / "providers"
LARGEST = 5_000_000
"""Bytes of all parts together: they are in every wheel."""


def tables_folder() -> Path | None:
    """The collected tables, beside the checkout or one folder further up (a worktree)."""
    for parent in ROOT.parents[:2]:
        if (parent / "shared" / "catalog" / "offers.csv.gz").is_file():
            return parent / "shared" / "catalog"
    return None


def shipped(folder: str) -> CatalogPart:
    return read_part(PROVIDERS / folder / CATALOG_FILE)


@pytest.fixture(scope="module")
def facts_folder() -> Path:
    found = tables_folder()
    if found is None:
        pytest.skip("the collected tables are not beside this checkout")
    return found


@pytest.mark.parametrize(("provider", "folder"), FOLDERS)
def test_a_rebuild_gives_the_committed_bytes(provider: str, folder: str, facts_folder: Path) -> None:
    content = encode(build(tables(facts_folder)(provider), folder))
    assert content == (PROVIDERS / folder / CATALOG_FILE).read_bytes(), (
        f"run python -m skyc.providers.build_catalog {facts_folder}"
    )


def test_no_offer_is_lost_without_a_word(facts_folder: Path) -> None:
    """Every row of the tables is in the catalog, or in one of the groups that the notes name."""
    of = tables(facts_folder)
    for provider, folder in FOLDERS:
        part = shipped(folder)
        kept = {(row.type[0], row.region, row.zone) for row in offer_rows(part)}
        names = {kind.name for kind in type_rows(part)}
        somewhere = {place[:2] for place in kept}
        for row in of(provider).offers:
            for zone in row["zones"].split(";"):
                if (row["instance_type"], row["region"], zone or None) not in kept:
                    left_out = row["region"] == "" or row["instance_type"] not in names
                    # What is known better than in the tables: zones that there are not, and in which machines are.
                    elsewhere = provider == "gcp" and (row["instance_type"], row["region"]) in somewhere
                    left_out |= elsewhere and (zone == "" or not is_zone(row["region"], zone))
                    assert left_out, f"{provider} {row['instance_type']} {row['region']} {zone} is missing"
        missing = {row["instance_type"] for row in of(provider).types} - names
        assert all(name.startswith("mac") or "_A10_v4" in name or "_V620_" in name or "_V710_" in name for name in missing)


def test_prices_of_single_offers() -> None:
    """Read by hand from the tables."""
    aws = {(row.type[0], row.zone): row for row in offer_rows(shipped("aws")) if row.type[0] in ("p5e.48xlarge", "m6i.2xlarge")}
    assert aws["p5e.48xlarge", "use2-az1"].spot == Decimal("62.9957")
    assert aws["p5e.48xlarge", "use2-az3"].spot == Decimal("18.7359")
    assert aws["p5e.48xlarge", "use2-az2"].spot is None, "a zone without a price of its own has no known market"
    assert aws["p5e.48xlarge", "use2-az1"].on_demand is None
    assert aws["m6i.2xlarge", "afs1-az3"].spot == Decimal("0.3627")
    lamb = {row.type[0]: row.on_demand for row in offer_rows(shipped("lambdalabs"))}
    assert lamb["gpu_8x_a100"] == Decimal("15.92")
    assert lamb["gpu_1x_h100_pcie"] == Decimal("3.29")


def test_one_name_per_device_over_all_clouds() -> None:
    from skyc.compiler.ir.accelerators import canonical, device

    for _, folder in FOLDERS:
        for kind in type_rows(shipped(folder)):
            for found in kind.accelerators:
                assert canonical(found.name) == found.name
                row = device(found.name)
                assert row is not None and row.memory_gb == found.memory_gb, "the memory it is sold with"
                assert found.count > 0


def test_no_machine_with_accelerators_is_listed_without() -> None:
    """Families that have them in every size; a machine without would look like a cheap way to many CPUs."""
    families = {
        "aws": ("p", "g5.", "g6", "g7", "inf", "trn"),
        "azure": ("Standard_NC", "Standard_ND", "Standard_NV", "Standard_NG"),
        "gcp": ("a2-", "a3-", "a4", "g2-", "g4-", "tpu-"),
        "ibm": ("gx",),
        "lambdalabs": ("gpu_",),
    }
    for folder, prefixes in families.items():
        bare = [row.name for row in type_rows(shipped(folder)) if not row.accelerators and row.name.startswith(prefixes)]
        assert bare == []


def test_old_and_derived_prices_are_marked() -> None:
    for _, folder in FOLDERS:
        for row in offer_rows(shipped(folder)):
            if row.on_demand is None and row.spot is None:
                assert not row.estimated, "nothing is estimated where nothing is known"
                continue
            doubtful = "DERIVED" in row.source or "derived from" in row.source or "(est.)" in row.as_of
            old = row.as_of[:4].isdigit() and row.as_of < "2025"
            assert row.estimated or not (doubtful or old), row


def test_tiers_must_meet() -> None:
    def tier(start: str, end: str, price: str = "1") -> dict[str, str]:
        return {"tier_from_gb": start, "tier_to_gb": end, "price_per_gb": price}

    made = steps([tier("10", "", "0.05"), tier("0", "10", "0.09")])
    assert [(step.above, step.price) for step in made] == [(Decimal(0), Decimal("0.09")), (Decimal(10), Decimal("0.05"))]
    assert steps([tier("0", "10")])[-1].price is None, "beyond the last tier nobody has said"
    for rows in ([tier("0", "10"), tier("20", "")], [tier("0", "10"), tier("5", "")], [tier("1", "")]):
        with pytest.raises(ValueError, match="a tier begins"):
            steps(rows)


def test_all_of_it_is_small() -> None:
    assert sum((PROVIDERS / folder / CATALOG_FILE).stat().st_size for _, folder in FOLDERS) < LARGEST
