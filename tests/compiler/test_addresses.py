"""A plan has the price of a public address for each machine that lowering gives one, and of what the others reach out through."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import Addresses, FrozenMap, NodeRuntime
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.policy.amounts import hourly, worst_of
from skyc.compiler.report.placement import per_hour
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.ibm.provider import IbmProvider

PROVIDERS = {"aws": AwsProvider(), "azure": AzureProvider(), "gcp": GcpProvider(), "ibm": IbmProvider()}
PLACES = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1", "ibm": "us-south"}
PORTS = {"closed": "", "open": ", ports: [8080]"}


def placed(
    home: Path, cloud: str, ports: str = "", networks: dict[tuple[str, str], NetworkChoice] | None = None, nodes: int = 2
) -> Compilation:
    resources = f"{{infra: {cloud}/{PLACES[cloud]}, cpus: 4+{ports}}}"
    return compiled(f"name: train\nresources: {resources}\nnum_nodes: {nodes}\nhours: 10\nrun: x\n", home, networks)


def compiled(text: str, home: Path, networks: dict[tuple[str, str], NetworkChoice] | None = None) -> Compilation:
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
    made = placed(tmp_path, "gcp", ", use_spot: true", everywhere("gcp", OPEN))
    found, graph = made.placement, made.graph
    assert found is not None and graph is not None
    (item,) = found.placements
    (line,) = [line for line in item.lines if line.kind == "address"]
    assert (line.unit_price, line.dearer_price) == (Decimal("0.0025"), Decimal("0.005")) and line.source
    others = sum((line.unit_price for line in item.lines[1:] if line.unit_price is not None), Decimal(0))
    assert item.beside_worst == (others + Decimal("0.0025")) * 2
    assert found.worst_case is not None and item.worst_hourly is not None
    assert found.worst_case == (item.worst_hourly * 2 + item.beside_worst) * 10
    assert worst_of(graph.tasks[0], item) == found.worst_case
    same = placed(tmp_path, "aws", ", use_spot: true", everywhere("aws", OPEN))
    assert addresses(same) == [(Decimal(20), Decimal("0.005"))]


OPEN = NetworkChoice(public=Addresses.ALL)


def everywhere(cloud: str, choice: NetworkChoice) -> dict[tuple[str, str], NetworkChoice]:
    return {(cloud, PLACES[cloud]): choice}


def own(public: Addresses) -> NetworkChoice:
    return NetworkChoice(existing=ExistingNetwork(id="theirs", subnets=FrozenMap({EVERY_ZONE: "subnet"})), public=public)


@pytest.mark.parametrize("cloud", PROVIDERS)
@pytest.mark.parametrize("ports", PORTS.values(), ids=PORTS)
def test_every_machine_has_one_when_asked(tmp_path: Path, cloud: str, ports: str) -> None:
    price = None if cloud == "ibm" else Decimal("0.005")
    made = placed(tmp_path, cloud, ports, everywhere(cloud, OPEN))
    assert addresses(made) == [(Decimal(20), price)] and lines(made, "gateway") == []


@pytest.mark.parametrize("cloud", PROVIDERS)
def test_in_the_users_network_it_is_as_that_says(tmp_path: Path, cloud: str) -> None:
    where = cloud, PLACES[cloud]
    inside = placed(tmp_path, cloud, PORTS["open"], {where: own(Addresses.NONE)})
    outside = placed(tmp_path, cloud, "", {where: own(Addresses.ALL)})
    assert addresses(inside) == [] and len(addresses(outside)) == 1
    assert inside.candidates is not None and outside.candidates is not None
    assert inside.candidates.catalog.digest != outside.candidates.catalog.digest


def test_another_region_keeps_its_own(tmp_path: Path) -> None:
    assert len(addresses(placed(tmp_path, "aws", "", {("aws", "us-east-2"): own(Addresses.NONE)}))) == 1


HEAD = NetworkChoice(public=Addresses.HEAD)
GATEWAYS = {"aws": Decimal("0.05"), "azure": Decimal("0.05"), "gcp": Decimal("0.0064"), "ibm": None}
GROUPS = """\
name: train
groups:
  first: {num_nodes: 2, resources: {infra: aws/us-east-1, cpus: 4+}}
  second: {num_nodes: 3, resources: {infra: aws/us-east-1, cpus: 4+}}
hours: 10
run: x
"""


def lines(found: Compilation, kind: str, group: int = 0) -> list[tuple[Decimal, Decimal | None]]:
    assert found.placement is not None, found.diagnostics
    return [(line.quantity, line.unit_price) for line in found.placement.placements[group].lines if line.kind == kind]


@pytest.mark.parametrize("cloud", PROVIDERS)
def test_a_head_alone_has_one_and_its_site_a_gateway(tmp_path: Path, cloud: str) -> None:
    made = placed(tmp_path, cloud)
    said = placed(tmp_path, cloud, "", everywhere(cloud, HEAD))
    assert said.placement == made.placement
    (address,) = addresses(made)
    (gateway,) = lines(made, "gateway")
    assert address[0] == 10 and gateway == (Decimal(10), GATEWAYS[cloud])
    assert made.placement is not None and "per GB" in made.placement.notes["gateway"]
    # What a policy's limits and the report's rate count is what an hour of all of it costs.
    (item,) = made.placement.placements
    rate = hourly({(item.task, item.group): (item,)}, [item.task])
    if cloud != "ibm":
        assert per_hour(item).exact == rate == sum((line.amount or Decimal(0) for line in item.lines), Decimal(0)) / 10


def test_in_a_network_of_the_users_there_is_no_gateway(tmp_path: Path) -> None:
    made = placed(tmp_path, "aws", "", {("aws", "us-east-1"): own(Addresses.HEAD)})
    assert addresses(made) == [(Decimal(10), Decimal("0.005"))] and lines(made, "gateway") == []
    assert made.placement is not None and "in aws/us-east-1 all nodes but the head" in made.placement.notes["way-out"]
    for alone in (
        placed(tmp_path, "aws", "", {("aws", "us-east-1"): own(Addresses.HEAD)}, nodes=1),
        placed(tmp_path, "aws", "", {("aws", "us-east-1"): own(Addresses.ALL)}),
        placed(tmp_path, "aws"),
    ):
        assert alone.placement is not None and "way-out" not in alone.placement.notes


def test_one_node_is_the_head_and_needs_no_gateway(tmp_path: Path) -> None:
    made = placed(tmp_path, "aws", nodes=1)
    assert addresses(made) == [(Decimal(10), Decimal("0.005"))] and lines(made, "gateway") == []
    assert made.placement is not None and "gateway" not in made.placement.notes


def test_the_heads_group_pays_for_all(tmp_path: Path) -> None:
    made = compiled(GROUPS, tmp_path)
    assert lines(made, "address") == [(Decimal(10), Decimal("0.005"))] and lines(made, "address", 1) == []
    assert lines(made, "gateway") == [(Decimal(10), Decimal("0.05"))] and lines(made, "gateway", 1) == []


def test_a_spot_heads_worst_case_counts_its_address_once(tmp_path: Path) -> None:
    made = placed(tmp_path, "gcp", ", use_spot: true")
    found, graph = made.placement, made.graph
    assert found is not None and graph is not None and addresses(made) == [(Decimal(10), Decimal("0.0025"))]
    (item,) = found.placements
    disk = next(line.unit_price for line in item.lines if line.kind == "disk")
    assert item.worst_hourly is not None and disk is not None
    assert found.worst_case == (item.worst_hourly * 2 + disk * 2 + Decimal("0.005") + Decimal("0.0064")) * 10
    assert worst_of(graph.tasks[0], item) == found.worst_case


def test_what_google_asks_for_each_machine_has_an_end() -> None:
    (rate,) = PROVIDERS["gcp"].catalog(home=Path("/nowhere")).rates.gateways
    assert [rate.of(count) for count in (1, 32, 33, 500)] == [
        Decimal("0.0064"), Decimal("0.0498"), Decimal("0.049"), Decimal("0.049"),
    ]  # fmt: skip
