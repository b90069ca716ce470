"""What could not be made, or logged in to, is no fallback: failover never rents it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic, SourceFile, has_errors
from skyc.compiler.ir import DeploymentId, FrozenMap, GroupPlacement, NodeRuntime, ResourceGraph, Task
from skyc.compiler.ir.catalog import CatalogPart
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Access, Capability, LowerContext, Provider
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.ibm.provider import IbmProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
AWS = "{infra: aws/us-east-1/use1-az1, instance_type: m5.large}"
GCP = "{infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-32}"
IBM = "{infra: ibm/us-south/us-south-1, instance_type: bx2-8x32}"
LATER = "{infra: aws/us-east-1/use1-az2, instance_type: m5.4xlarge}"


class Priced(GcpProvider):
    """Google Cloud as it was when machines could be made there and no job be started."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - {Capability.RUN}

    def catalog(self, *, home: Path) -> CatalogPart:
        return GcpProvider().catalog(home=home)


class BothFamilies(AwsProvider):
    """AWS if its machines were reached over IPv6 too: every range declared can come."""

    def catalog(self, *, home: Path) -> CatalogPart:
        return AwsProvider().catalog(home=home)

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        graph, said = super().lower(task, placements, context)
        return graph, tuple(found for found in said if found.slug != "ssh-closed")


def compiled(
    home: Path,
    *requests: str,
    ssh_from: str = "203.0.113.7/32",
    gcp: Provider | None = None,
    aws: Provider | None = None,
    **options: Any,
) -> Compilation:
    providers: dict[str, Provider] = {"aws": aws or AwsProvider(), "gcp": gcp or GcpProvider(), "ibm": IbmProvider()}
    text = f"name: train\nresources: {{any_of: [{', '.join(requests)}]}}\nrun: echo hi\n"
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers=providers,
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: Access(ssh_from=(ssh_from,), login_key=KEY, host_key="once\n", host_key_public=KEY),
            **options,
        ),
        until="lower",
    )


def where(found: Compilation) -> tuple[str, set[str]]:
    """The provider of the choice, and those of the fallbacks."""
    assert found.placement is not None and not has_errors(found.diagnostics), found.diagnostics
    return found.placement.placements[0].provider, {item.provider for item in found.placement.fallbacks}


def notes(found: Compilation) -> list[str]:
    return [item.detail for item in found.diagnostics if item.slug == "fallbacks-left-out"]


def test_what_can_be_made_stays(tmp_path: Path) -> None:
    found = compiled(tmp_path, AWS, GCP, LATER)
    assert where(found) == ("aws", {"aws", "gcp"}) and not notes(found)


def test_machines_that_nobody_could_log_in_to_are_no_fallback(tmp_path: Path) -> None:
    """Machines at Google Cloud have IPv4 addresses only."""
    found = compiled(tmp_path, AWS, GCP, LATER, ssh_from="2001:db8::/32", aws=BothFamilies())
    assert where(found) == ("aws", {"aws"})
    (note,) = notes(found)
    assert "gcp/us-central1/us-central1-a n2-standard-32 on-demand: nobody could log in to the machines." in note


def test_where_nobody_could_log_in_to_the_choice_either_nothing_is_left_out(tmp_path: Path) -> None:
    """An apply refuses that plan; until an address is declared it shows what there is."""
    gcp = GCP.replace("n2-standard-32", "n2-standard-2")
    found = compiled(tmp_path, gcp, GCP, LATER.replace("4x", "24x"), ssh_from="2001:db8::/32", aws=BothFamilies())
    assert where(found) == ("gcp", {"aws", "gcp"}) and not notes(found)


def test_what_no_module_can_be_written_for_is_no_fallback(tmp_path: Path) -> None:
    found = compiled(tmp_path, AWS, IBM)
    assert where(found) == ("aws", set())
    (note,) = notes(found)
    assert "bx2-8x32 on-demand: No image is named for these machines." in note
    named = FrozenMap({"ibm/us-south": "r006-00000000-0000-4000-a000-000000000001"})
    assert where(compiled(tmp_path, AWS, IBM, images=named)) == ("aws", {"ibm"})


def test_beside_the_error_about_the_choice_nothing_is_said_of_its_fallbacks(tmp_path: Path) -> None:
    found = compiled(tmp_path, "{infra: gcp/us-central1, accelerators: V100:1}")
    assert [item.slug for item in found.diagnostics] == ["unsupported-here"]


def test_where_no_job_can_be_started_is_no_fallback(tmp_path: Path) -> None:
    found = compiled(tmp_path, AWS, GCP, gcp=Priced())
    assert where(found) == ("aws", set())
    assert "skyc cannot start jobs at gcp yet" in notes(found)[0]


def test_the_same_file_gives_the_same_plan(tmp_path: Path) -> None:
    first, second = (compiled(tmp_path, AWS, GCP, IBM, ssh_from="2001:db8::/32", aws=BothFamilies()) for _ in range(2))
    assert first.placement == second.placement and first.graphs == second.graphs
    assert first.diagnostics == second.diagnostics
