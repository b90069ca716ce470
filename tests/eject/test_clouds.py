"""Ejected code of every cloud in the hands of real Terraform: made by skyc's JSON, it plans to no change as plain Terraform."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import FrozenMap, NodeRuntime, ResourceGraph
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.compiler.synth import synth
from skyc.compiler.terraform import Engine
from skyc.providers.base import Access
from skyc.providers.registry import load
from skyc.runtime.eject import module_files
from tests.aws.conftest import account, at, compiled, moto
from tests.aws.test_real_provider import TASK as AWS_TASK
from tests.lengths import takes_minutes
from tests.simulator.conftest import Site, opened
from tests.simulator.real_provider import SOURCE, configuration, mirror, version
from tests.terraform.conftest import any_engine

__all__ = ["account", "any_engine", "moto"]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
ACCESS = Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="the one-time key\n", host_key_public=KEY)
PLACES = {
    "aws": "infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge, use_spot: true",
    "azure": "infra: azure/eastus, instance_type: Standard_D4s_v5",
    "gcp": "infra: gcp/us-central1, instance_type: n2-standard-4",
    "ibm": "infra: ibm/us-south/us-south-1, instance_type: bx2-8x32, image_id: r006-14140f94-fcc4-11e9-96e7-a72723715315",
}


def graphs(cloud: str, home: Path) -> tuple[ResourceGraph, ...]:
    text = (
        f"name: train\nresources: {{{PLACES[cloud]}, ports: 8080, disk_size: 250}}\nnum_nodes: 2\n"
        "storage: {data: {infra: REGION, size_gb: 10}}\nfile_mounts: {/skyc/data: {name: data, mode: COPY}}\n"
        'run: echo "${HOME} %{x}"\n'
    )
    region = "/".join(PLACES[cloud].partition(",")[0].removeprefix("infra: ").split("/")[:2])
    made = compile_source(
        SourceFile(path="task.yaml", text=text.replace("REGION", region)),
        CompileOptions(
            providers={cloud: load(cloud)},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            access=lambda _: ACCESS,
            offline=True,
        ),
        until="lower",
    )
    assert not has_errors(made.diagnostics), made.diagnostics
    assert made.graphs is not None
    return made.graphs


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ejected")
    with opened(("aws", "azurerm", "google", "ibm"), folder, folder / "cache") as site:
        yield site


@pytest.mark.terraform
@takes_minutes
@pytest.mark.parametrize("cloud", PLACES)
def test_no_change_and_no_format(cloud: str, simulated: Site, tmp_path: Path, any_engine: Engine) -> None:
    """One site after the other: the same world, a state for each."""
    for graph in graphs(cloud, tmp_path):
        site = Site(tmp_path / graph.site, simulated.home, simulated.cache, simulated.attachments)
        site.directory.mkdir()
        site.write(graph)
        applied = site.apply()
        assert applied.ok, applied.diagnostics
        text = (site.directory / "cdk.tf.json").read_text()
        (site.directory / "cdk.tf.json").unlink()
        write(site.directory, text)
        assert not list(site.directory.glob("*.tf.json")), "it is Terraform's own language"
        assert site.changes() == {}
        format_is_terraforms(site.directory, any_engine)


def write(directory: Path, text: str) -> None:
    for name, content in module_files(json.loads(text), text, head="Made by a test.").items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def format_is_terraforms(directory: Path, engine: Engine) -> None:
    done = subprocess.run(
        [*engine.argv, "fmt", "-check", "-diff", str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(600)
def test_the_released_aws_provider_without_skyc(tmp_path: Path, account: Any, moto: str, any_engine: Engine) -> None:
    """Applied by skyc, planned by `terraform init && terraform plan` and nothing else."""
    mirror()
    home, site = tmp_path / "home", tmp_path / "site"
    site.mkdir()
    home.mkdir()
    graph = compiled(AWS_TASK.replace("TEAM", "research"), home, deployment="left", versions=FrozenMap({SOURCE: version()}))
    _, text = synth(at(graph), cache=home / "cache")
    (site / "cdk.tf.json").write_text(text)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "SKYC_", "PYTHON"))},
        "TF_CLI_CONFIG_FILE": str(configuration(tmp_path)),
        "CHECKPOINT_DISABLE": "1",
    }

    def terraform(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*any_engine.argv, *words], cwd=site, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

    assert terraform("init", "-no-color").returncode == 0
    applied = terraform("apply", "-auto-approve", "-no-color")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    (site / "cdk.tf.json").unlink()
    write(site, text)
    planned = terraform("plan", "-detailed-exitcode", "-no-color")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert terraform("destroy", "-auto-approve", "-no-color").returncode == 0
