"""A plan has the price of a public address for each machine that lowering gives one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import FrozenMap, NodeRuntime
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.policy.amounts import worst_of
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import EVERY_ZONE, ExistingNetwork
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.ibm.provider import IbmProvider

PROVIDERS = {"aws": AwsProvider(), "azure": AzureProvider(), "gcp": GcpProvider(), "ibm": IbmProvider()}
PLACES = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1", "ibm": "us-south"}
PORTS = {"closed": "", "open": ", ports: [8080]"}


def placed(
    home: Path, cloud: str, ports: str = "", networks: dict[tuple[str, str], ExistingNetwork] | None = None
) -> Compilation:
    text = f"name: train\nresources: {{infra: {cloud}/{PLACES[cloud]}, cpus: 4+{ports}}}\nnum_nodes: 2\nhours: 10\nrun: x\n"
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers=PROVIDERS,
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            networks=networks or {},
        ),
        until="optimize",
    )


def addresses(found: Compilation) -> list[tuple[Decimal, Decimal | None]]:
    """Node-hours and unit price of each such line."""
    assert found.placement is not None, found.diagnostics
    return [(line.quantity, line.unit_price) for line in found.placement.placements[0].lines if line.kind == "address"]


def test_a_spot_machine_of_googles_pays_half_and_its_worst_case_does_not(tmp_path: Path) -> None:
    made = placed(tmp_path, "gcp", ", use_spot: true")
    found, graph = made.placement, made.graph
    assert found is not None and graph is not None
    (item,) = found.placements
    (line,) = [line for line in item.lines if line.kind == "address"]
    assert (line.unit_price, line.dearer_price) == (Decimal("0.0025"), Decimal("0.005")) and line.source
    others = sum((line.unit_price for line in item.lines[1:] if line.unit_price is not None), Decimal(0))
    assert item.beside_worst == others + Decimal("0.0025")
    assert found.worst_case is not None and item.worst_hourly is not None
    assert found.worst_case == (item.worst_hourly + item.beside_worst) * 20
    assert worst_of(graph.tasks[0], item) == found.worst_case
    assert addresses(placed(tmp_path, "aws", ", use_spot: true")) == [(Decimal(20), Decimal("0.005"))]


def own(*, public: bool) -> ExistingNetwork:
    return ExistingNetwork(id="theirs", subnets=FrozenMap({EVERY_ZONE: "subnet"}), public=public)


@pytest.mark.parametrize("cloud", PROVIDERS)
@pytest.mark.parametrize("ports", PORTS.values(), ids=PORTS)
def test_every_machine_has_one(tmp_path: Path, cloud: str, ports: str) -> None:
    price = None if cloud == "ibm" else Decimal("0.005")
    assert addresses(placed(tmp_path, cloud, ports)) == [(Decimal(20), price)]


@pytest.mark.parametrize("cloud", PROVIDERS)
def test_in_the_users_network_it_is_as_that_says(tmp_path: Path, cloud: str) -> None:
    where = cloud, PLACES[cloud]
    inside = placed(tmp_path, cloud, PORTS["open"], {where: own(public=False)})
    outside = placed(tmp_path, cloud, "", {where: own(public=True)})
    assert addresses(inside) == [] and len(addresses(outside)) == 1
    assert inside.candidates is not None and outside.candidates is not None
    assert inside.candidates.catalog.digest != outside.candidates.catalog.digest


def test_another_region_keeps_its_own(tmp_path: Path) -> None:
    assert len(addresses(placed(tmp_path, "aws", "", {("aws", "us-east-2"): own(public=False)}))) == 1
