"""What moto lacks, made by the simulator: spot machines in a placement group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers.aws.provider import AwsProvider
from tests.aws.conftest import compiled
from tests.simulator.conftest import Site, opened

GANG = """\
name: train
resources:
  infra: aws/us-east-1/use1-az1
  instance_type: p4d.24xlarge
  use_spot: true
  network_tier: best
  labels: {team: research}
num_nodes: 2
run: echo hi
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(("aws",), tmp_path, tmp_path / "cache") as site:
        yield site


@pytest.mark.terraform
def test_a_spot_gang_is_made_changed_and_removed(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    nodes = AwsProvider().nodes(site.terraform.outputs())
    assert [(node.name, node.rank, node.accelerators["A100"]) for node in nodes] == [
        ("train-main-0", 0, 8),
        ("train-main-1", 1, 8),
    ]
    assert nodes[0].ip == "10.64.16.10"
    assert site.changes() == {}
    site.write(compiled(GANG.replace("research", "platform"), tmp_path, offline=True))
    assert site.changes() == {"aws_instance.main-0": ["update"], "aws_instance.main-1": ["update"]}
    # Another type is another machine, and nothing else: at the same addresses, as long as it has several network cards too.
    replaced = {
        "aws_instance.main-0": ["delete", "create"],
        "aws_instance.main-1": ["delete", "create"],
        "aws_launch_template.main": ["update"],
        "aws_launch_template.main_head": ["update"],
    }
    site.write(compiled(GANG.replace("p4d.24xlarge", "g6e.48xlarge"), tmp_path, offline=True))
    assert site.changes() == {**replaced, "aws_eip.main-0": ["update"]}
    site.write(compiled(GANG.replace("p4d.24xlarge", "g5.48xlarge"), tmp_path, offline=True))
    assert site.changes() == {**replaced, "aws_eip.main-0": ["delete"]}
    assert site.apply().ok and site.changes() == {}
    assert site.apply(destroy=True).ok
    assert not site.world.resources()
