"""A Storage whose place the optimizer chooses lies where the machines that mount it can open it: at their own provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import NodeRuntime
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.gcp.provider import GcpProvider

PROVIDERS = {"aws": AwsProvider(), "azure": AzureProvider(), "gcp": GcpProvider()}
MOUNTED = "file_mounts: {data: {name: data, mode: COPY}}"
CHECKPOINT = "checkpoint: {path: ckpt, storage: data}"
JOB_ITS_OWN = "outputs: {data: 1GB}"


def placed(home: Path, resources: str, storage: str, uses: str, until: str = "optimize") -> Compilation:
    data = f"{{placement: auto, size_gb: 2000, keep_days: 30{storage}}}"
    text = f"name: train\nresources: {{{resources}}}\nstorage:\n  data: {data}\n{uses}\nrun: x\n"
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers=PROVIDERS, home=home, runtime=NodeRuntime(python="3.11"), overrides=EnvOverrides.of(environ={})
        ),
        until=until,
    )


def where(found: Compilation) -> tuple[str, str]:
    """The provider of the machine, and of the Storage."""
    assert found.placement is not None, found.diagnostics
    (storage,) = found.placement.storages
    assert storage.location is not None
    return found.placement.placements[0].provider, storage.location.provider


@pytest.mark.parametrize("cloud", PROVIDERS)
@pytest.mark.parametrize("uses", [MOUNTED, CHECKPOINT])
def test_what_is_mounted_lies_at_the_machines_provider(tmp_path: Path, cloud: str, uses: str) -> None:
    assert where(placed(tmp_path, f"infra: {cloud}, cpus: 4+", "", uses)) == (cloud, cloud)


def test_what_the_job_opens_itself_lies_where_it_is_cheapest(tmp_path: Path) -> None:
    """So the tests above can fail: two of the three would lie elsewhere."""
    found = {where(placed(tmp_path, f"infra: {cloud}, cpus: 4+", "", ""))[1] for cloud in PROVIDERS}
    assert len(found) == 1


@pytest.mark.parametrize("cloud", PROVIDERS)
def test_a_machine_goes_where_its_data_must_be(tmp_path: Path, cloud: str) -> None:
    found = placed(tmp_path, "cpus: 4+", f", infra: {cloud}", MOUNTED)
    assert where(found) == (cloud, cloud)
    assert found.placement is not None and {item.provider for item in found.placement.fallbacks} == {cloud}


@pytest.mark.parametrize("uses", [MOUNTED, CHECKPOINT])
def test_what_cannot_be_opened_is_said_at_the_storage(tmp_path: Path, uses: str) -> None:
    found = placed(tmp_path, "infra: gcp, cpus: 4+", ", infra: aws", uses)
    (said,) = [item for item in found.diagnostics if item.slug == "not-reachable"]
    assert found.failed and "`train` mounts `data`" in said.detail
    assert said.span is not None and said.span.line == 4


def test_it_is_not_blamed_for_what_something_else_forbids(tmp_path: Path) -> None:
    found = placed(tmp_path, "infra: gcp, cpus: 4+", ", infra: aws", f"{MOUNTED}\nbudget: 0.001\nhours: 5")
    assert [item.slug for item in found.diagnostics if item.severity == 0] == ["not-reachable"]
    found = placed(tmp_path, "infra: gcp, cpus: 4+", "", f"{MOUNTED}\nbudget: 0.001\nhours: 5")
    assert [item.slug for item in found.diagnostics if item.severity == 0] == ["over-budget"]


def unopened(found: Compilation) -> list[int]:
    """The lines that are warned of."""
    return [item.span.line for item in found.diagnostics if item.slug == "storage-unopened" and item.span is not None]


@pytest.mark.parametrize("uses", [MOUNTED, CHECKPOINT])
@pytest.mark.parametrize(("cloud", "lines"), [("aws", []), ("azure", []), ("gcp", [])])
def test_a_plan_warns_of_what_its_nodes_cannot_open(tmp_path: Path, cloud: str, lines: list[int], uses: str) -> None:
    """As an apply refuses it (`runtime.places.refuse_unopened`)."""
    assert unopened(placed(tmp_path, f"infra: {cloud}, cpus: 4+", "", uses, "lower")) == lines


def test_a_mount_of_a_bucket_that_is_only_copied_from_is_warned_of(tmp_path: Path) -> None:
    assert unopened(placed(tmp_path, "infra: aws, cpus: 4+", "", MOUNTED.replace("COPY", "MOUNT"), "lower")) == [5]


def test_what_the_job_opens_itself_is_not_warned_of(tmp_path: Path) -> None:
    assert unopened(placed(tmp_path, "infra: gcp, cpus: 4+", "", JOB_ITS_OWN, "lower")) == []
