"""A deployment at four clouds: 64 nodes, four sites. From the task file to root modules, and in the hands of real Terraform.

The clouds are simulated (`providers/simulator`), which answers at once: what is measured is skyc, Terraform and the protocol, not a cloud.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from .child import Done, Scratch, run
from .child import skyc as skyc_command
from .figures import Figure

CHILD = Path(__file__).with_name("sites_child.py")
IMAGE = "r006-00000000-0000-4000-a000-000000000001"
PLACES = (
    ("aws", "aws/us-east-1/use1-az1", "m5.xlarge"),
    ("gcp", "gcp/us-central1/us-central1-a", "n2-standard-4"),
    ("azure", "azure/eastus", "Standard_D4s_v5"),
    ("ibm", "ibm/us-south/us-south-1", "bx2-8x32"),
)
NODES = 16
TASK = "\n---\n".join(
    ["name: four"]
    + [
        f"name: at-{name}\nresources: {{infra: {place}, instance_type: {type_}}}\nnum_nodes: {NODES}\nrun: echo hi"
        for name, place, type_ in PLACES
    ]
)
OPEN = "\n---\n".join(
    ["name: open\nexecution: parallel"]
    + [
        f"name: t{number}\nresources: {{any_of: [{{infra: aws}}, {{infra: gcp}}, {{infra: azure}}], cpus: {4 + number}+, memory: 16+}}\n"
        f"num_nodes: {NODES}\nrun: echo hi"
        for number in range(10)
    ]
)
"""Ten groups that no two tasks share, each with the fallbacks that a plan has: whether they can be made, lowering is asked."""
CONFIG = f"access: {{ssh_from: [203.0.113.7/32]}}\nimages: {{ibm: {{us-south: {IMAGE}}}}}\n"
WHAT = f"{len(PLACES)} clouds, {len(PLACES) * NODES} nodes"


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when a command fails."""
    task = str(scratch.task("four", TASK))
    _compile(scratch, task, "warm")
    homes = [f"four-{number}" for number in range(2 if quick else 5)]
    cold = tuple(_compile(scratch, task, home) for home in homes)
    again = tuple(_compile(scratch, task, home) for home in homes)
    for state, runs in (("nothing cached", cold), ("unchanged", again)):
        yield Figure(what=f"{WHAT}: compile, {state}, whole process", unit="s", samples=tuple(done.seconds for done in runs))
        yield Figure(what=f"{WHAT}: compile, {state}, processor time", unit="s", samples=tuple(done.cpu for done in runs))
    choosing = str(scratch.task("open", OPEN))
    runs = tuple(_compile(scratch, choosing, homes[0], "lower") for _ in homes)
    yield Figure(
        what=f"10 tasks of {NODES} nodes at three clouds, with their fallbacks: lowered, processor time",
        unit="s",
        samples=tuple(done.cpu for done in runs),
    )
    rows = [_child(scratch, task, home) for home in homes[: 1 if quick else 3]]
    for key, what in (
        ("one", "Terraform plans, one site after the other"),
        ("four", "Terraform plans, four sites at once"),
        ("apply", "Terraform applies, one site after the other"),
        ("unchanged", "Terraform plans of what is there, four sites at once"),
    ):
        yield Figure(what=f"{WHAT}: {what} (simulated clouds)", unit="s", samples=tuple(row[key] for row in rows))


def _home(scratch: Scratch, name: str) -> Path:
    home = scratch.home(name)
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return home


def _compile(scratch: Scratch, task: str, name: str, stage: str = "synth") -> Done:
    return skyc_command(scratch, "plan", task, "--emit", stage, home=_home(scratch, name))


def _child(scratch: Scratch, task: str, name: str) -> dict[str, float]:
    home = _home(scratch, name)
    done = run(scratch, (sys.executable, "-P", str(CHILD), task, str(scratch.home(f"{name}-sites"))), home=home)
    row: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return row
