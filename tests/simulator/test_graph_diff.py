"""What is worked out of two graphs is what Terraform plans for a deployment that is exactly as the first one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.graph_diff import graph_changes
from skyc.compiler.ir import Action, Objective, ResourceGraph
from skyc.providers.registry import forces_new
from skyc.runtime.revisions.compiling import Workshop
from skyc.runtime.revisions.git import Snapshot
from skyc.runtime.revisions.task_files import sketch
from tests.lengths import takes_minutes
from tests.simulator.conftest import Site

pytestmark = pytest.mark.terraform

ACTIONS = {
    Action.CREATE: ["create"],
    Action.UPDATE: ["update"],
    Action.DELETE: ["delete"],
    Action.REPLACE: ["delete", "create"],
}
PLACES = {
    "aws": ("infra: aws/us-east-1", ("m5.xlarge", "m5.2xlarge")),
    "gcp": ("infra: gcp/us-central1", ("n2-standard-4", "n2-standard-8")),
    "azure": ("infra: azure/eastus", ("Standard_D4s_v5", "Standard_D8s_v5")),
    "ibm": ("infra: ibm/us-south, image_id: r006-12345678-1234-1234-1234-123456789012", ("bx2-8x32",)),
}
CHANGES = ("machine", "nodes", "disk", "ports", "nothing")


def compiled(folder: Path, place: str, change: str) -> ResourceGraph:
    """A task with one thing changed, lowered as a diff lowers it."""
    where, machines = PLACES[place]
    machine = machines[-1 if change == "machine" else 0]
    more = {"disk": ", disk_size: 200", "ports": ", disk_size: 100, ports: [8080]"}.get(change, ", disk_size: 100")
    text = f"name: train\nnum_nodes: {2 if change == 'nodes' else 1}\nresources: {{{where}, instance_type: {machine}{more}}}\nrun: echo\n"
    found = sketch(text.encode(), "train.yaml")
    assert found is not None
    with Workshop(home=folder / "home", env={}, objective=Objective.COST) as workshop:
        snapshot = Snapshot(label="x", commit=None, entries={})
        made = workshop.compile("base", snapshot, "train.yaml", text.encode(), found, {})
    assert not made.failed, made.diagnostics
    (graph,) = made.graphs
    return graph


# IBM's catalog has one machine without devices, and those with some need an image of their own.
@takes_minutes
@pytest.mark.parametrize(
    ("place", "change"), [(place, change) for place in PLACES for change in CHANGES if (place, change) != ("ibm", "machine")]
)
def test_it_is_what_terraform_plans(site: Site, tmp_path: Path, place: str, change: str) -> None:
    before, after = compiled(tmp_path, place, "first"), compiled(tmp_path, place, change)
    site.write(before)
    assert site.apply().finished
    site.write(after)
    planned = site.changes()
    found = {
        item.address: ACTIONS[item.action]
        for changed in graph_changes((before,), (after,), forces=forces_new)
        for item in changed.changes
    }
    assert found == planned
    assert bool(found) == (change != "nothing")
