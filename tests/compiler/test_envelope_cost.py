"""What it takes to ask lowering about fallbacks: two nodes of each, and once for both sides of a diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import NodeRuntime, PlacementPlan, Task
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Access
from skyc.providers.gcp.provider import GcpProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
TASK = """\
name: train
resources:
  any_of:
    - {{infra: aws/us-east-1/use1-az1, instance_type: m5.large}}
    - {{infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-32}}
num_nodes: {nodes}
run: echo hi
"""


def test_fallbacks_of_many_nodes_are_tried_with_few_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan for a thousand nodes would take a thousand first boots to write for each fallback."""
    seen: list[int] = []
    tried: dict[object, str] = {}
    lower = GcpProvider.lower

    def counting(self: GcpProvider, task: Task, *rest: Any) -> Any:
        seen.extend(group.num_nodes for group in task.groups)
        return lower(self, task, *rest)

    def placed(nodes: int) -> PlacementPlan:
        options = CompileOptions(
            providers={"aws": AwsProvider(), "gcp": GcpProvider()},
            home=tmp_path,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            access=lambda _: Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="once\n", host_key_public=KEY),
            tried=tried,
        )
        made = compile_source(SourceFile(path="task.yaml", text=TASK.format(nodes=nodes)), options, until="lower")
        assert made.placement is not None and not has_errors(made.diagnostics), made.diagnostics
        return made.placement

    monkeypatch.setattr(GcpProvider, "lower", counting)
    for nodes in (40, 30):
        (fallback,) = placed(nodes).fallbacks
        assert (fallback.provider, fallback.num_nodes) == ("gcp", nodes)
        assert seen == [2], "what was found out is asked again"
