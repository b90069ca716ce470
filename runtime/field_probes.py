"""What fields are tried out with: for every field of a task file two values it may have, and what the file needs beside it.

Data, and no answers: what a change does is found by compiling both (`field_effects.py`). A test holds this complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

FIRST = "prep"
"""The task that comes before the probed one, where a field is about another task."""
PROBED = "probe"
_TYPES = ("TYPE_A", "TYPE_B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a probe asks for at one target. Words in capitals in a probe are put in from here. `one_machine`: it has one machine type,
    of which nodes take shares, so a probe names amounts instead of a type."""

    name: str
    place: str
    region: str
    other_region: str
    zones: tuple[str, str]
    types: tuple[str, str]
    image: tuple[str, str]
    accelerators: tuple[str, str] = ("T4:1", "T4:4")
    uris: tuple[str, str] = ("s3://team-a/x", "s3://team-b/x")
    elsewhere: str = "aws/eu-west-1"
    one_machine: bool = False

    @property
    def words(self) -> Mapping[str, str]:
        return {
            "CLOUD": self.name,
            "OTHER_CLOUD": self.elsewhere.partition("/")[0],
            "PLACE": self.place,
            "OTHER_PLACE": self.elsewhere if self.place == self.name else f"{self.name}/{self.other_region}",
            "ELSEWHERE": self.elsewhere,
            "IN_ZONE_A": f"{self.place}/{self.zones[0]}",
            "IN_ZONE_B": f"{self.place}/{self.zones[1]}",
            "REGION": self.region,
            "OTHER_REGION": self.other_region,
            "ZONE_A": self.zones[0],
            "ZONE_B": self.zones[1],
            "TYPE_A": self.types[0],
            "TYPE_B": self.types[1],
            "IMAGE_A": self.image[0],
            "IMAGE_B": self.image[1],
            "DEVICES_A": self.accelerators[0],
            "DEVICES_B": self.accelerators[1],
            "URI_A": self.uris[0],
            "URI_B": self.uris[1],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`values`: before and after; None: the field is absent. More are taken where the user's file has the second already.
    `beside`: what else the task says. `first`: whether a task `prep` stands before it."""

    values: tuple[Any, ...]
    beside: Document = field(default_factory=dict)
    first: bool = False


TARGETS: tuple[Target, ...] = (
    Target(
        name="aws",
        place="aws/us-east-1",
        region="us-east-1",
        other_region="us-west-2",
        zones=("use1-az1", "use1-az2"),
        elsewhere="gcp/us-central1",
        types=("m5.xlarge", "m5.2xlarge"),
        image=("ami-0123456789abcdef0", "ami-0fedcba9876543210"),
    ),
    Target(
        name="azure",
        place="azure/eastus",
        region="eastus",
        other_region="westeurope",
        zones=("1", "2"),
        types=("Standard_D4s_v5", "Standard_D8s_v5"),
        image=(
            "Canonical:ubuntu-24_04-lts:server:latest",
            "Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2:latest",
        ),
        uris=("azure://teama/x", "azure://teamb/x"),
    ),
    Target(
        name="gcp",
        place="gcp/us-central1",
        region="us-central1",
        other_region="europe-west4",
        zones=("us-central1-a", "us-central1-b"),
        types=("n2-standard-4", "n2-standard-8"),
        image=("projects/debian-cloud/global/images/family/debian-12", "projects/debian-cloud/global/images/family/debian-13"),
        uris=("gs://team-a/x", "gs://team-b/x"),
    ),
    Target(
        name="ibm",
        place="ibm/us-south",
        region="us-south",
        other_region="eu-de",
        zones=("us-south-1", "us-south-2"),
        types=("bx2-8x32", "gx2-8x64x1v100"),
        image=("r006-14140f94-fcc4-11e9-96e7-a72723715315", "r006-2b3d1cf0-9c11-4b53-8b5c-2b9b1f6a0f0d"),
        accelerators=("V100:1", "V100:2"),
        uris=("cos://us-south/team-a/x", "cos://us-south/team-b/x"),
    ),
    Target(
        name="local",
        place="local",
        region="local",
        other_region="elsewhere",
        one_machine=True,
        zones=("here", "there"),
        types=("this-machine", "another"),
        image=("ubuntu:24.04", "ubuntu:22.04"),
        uris=("file:///srv/a", "file:///srv/b"),
    ),
    Target(
        name="owned",
        place="owned",
        region="owned",
        other_region="elsewhere",
        zones=("here", "there"),
        types=("host", "another"),
        image=("ubuntu:24.04", "ubuntu:22.04"),
        uris=("file:///srv/a", "file:///srv/b"),
    ),
)

BASE: Document = {
    "name": PROBED,
    "num_nodes": 2,
    "resources": {"infra": "PLACE", "cpus": "4+", "memory": "16+"},
    "hours": 1,
    "run": "python train.py",
}
_PINNED: Document = {"resources": {"infra": "PLACE", "cpus": None, "memory": None, "instance_type": "TYPE_A"}}
_STORED: Document = {
    **_PINNED,
    "storage": {"data": {"infra": "PLACE", "size_gb": 10}},
    "file_mounts": {"data": {"name": "data"}},
}
_NAMED: Document = {**_PINNED, "storage": {"data": {"uri": "URI_A"}}, "file_mounts": {"data": {"name": "data"}}}
_SAVING: Document = {**_PINNED, "checkpoint": {"path": "ckpt", "storage": "data"}, "storage": {"data": {"uri": "URI_A"}}}
_GROUPS: Document = {
    **_PINNED,
    "num_nodes": None,
    "groups": {"actors": {"num_nodes": 1}, "probed": {"num_nodes": 2}},
}


def _with(beside: Document, name: str, value: Any) -> Document:
    return {**beside, "resources": {**beside.get("resources", {}), name: value}}


def _either(one: str, other: str) -> Document:
    """A task that is at `one` unless something keeps it from there."""
    return {"resources": {"infra": None, "ordered": [{"infra": one}, {"infra": other}]}}


_RULES = Probe(values=(["one/rules.yaml"], ["two/rules.yaml"]), beside=_PINNED)
"""Rules that an example meets: one that is not met refuses the task, whatever else it would change."""

PROBES: Mapping[str, Probe] = {
    "name": Probe(values=(PROBED, "renamed"), beside=_PINNED),
    "workdir": Probe(values=("one", "two"), beside=_PINNED),
    "num_nodes": Probe(values=(2, 3, 4), beside=_PINNED),
    "envs": Probe(values=({"A": "1"}, {"A": "2"}, {"A": "3"}), beside=_PINNED),
    "secrets": Probe(values=({"A": "x"}, {"A": "x", "B": "y"}), beside=_PINNED),
    "setup": Probe(values=("pip install numpy", "pip install scipy"), beside=_PINNED),
    "run": Probe(values=("python train.py", "python train.py --fast"), beside=_PINNED),
    "hours": Probe(values=(1, 2, 3), beside=_PINNED),
    "deadline": Probe(values=("20h", "30h"), beside=_PINNED),
    "budget": Probe(values=(900, 1000), beside=_PINNED),
    "policy": _RULES,
    "traffic": Probe(values=("10GB", "20GB"), beside=_GROUPS),
    "needs": Probe(values=(None, [FIRST]), beside=_PINNED, first=True),
    "inputs": Probe(values=({"URI_A": 5}, {"URI_A": 10}), beside=_PINNED),
    "outputs": Probe(values=({"URI_A": 5}, {"URI_A": 10}), beside=_PINNED),
    "file_mounts": Probe(values=({"data": "URI_A"}, {"data": "URI_B"}), beside=_PINNED),
    "file_mounts.PATH.name": Probe(
        values=("data", "more"),
        beside={
            **_PINNED,
            "storage": {"data": {"uri": "URI_A"}, "more": {"uri": "URI_B"}},
            "file_mounts": {"data": {"name": "data"}},
        },
    ),
    "groups.NAME.num_nodes": Probe(values=(2, 3, 4), beside=_GROUPS),
    "groups.NAME.run": Probe(values=(None, "python act.py", "python act.py --fast"), beside=_GROUPS),
    "storage.NAME.uri": Probe(values=("URI_A", "URI_B"), beside=_NAMED),
    "storage.NAME.source": Probe(values=("URI_A", "URI_B"), beside={**_NAMED, "storage": {"data": {"uri": None}}}),
    "storage.NAME.store": Probe(values=(None, "s3"), beside=_STORED),
    "storage.NAME.mode": Probe(values=("COPY", "MOUNT"), beside=_STORED),
    "storage.NAME.persistent": Probe(values=(True, False), beside=_STORED),
    "storage.NAME.placement": Probe(values=(None, "auto"), beside=_STORED),
    "storage.NAME.infra": Probe(values=("PLACE", "OTHER_PLACE"), beside=_STORED),
    "storage.NAME.size_gb": Probe(values=(10, 20, 30), beside=_STORED),
    "storage.NAME.keep_days": Probe(values=(10, 20, 30), beside=_STORED),
    "checkpoint.path": Probe(values=("ckpt", "saved"), beside=_SAVING),
    "checkpoint.storage": Probe(
        values=("data", "more"),
        beside={**_SAVING, "storage": {"data": {"uri": "URI_A"}, "more": {"uri": "URI_B"}}},
    ),
    "checkpoint.every": Probe(values=("5m", "10m", "20m"), beside=_SAVING),
    "checkpoint.keep": Probe(values=(3, 4, 5), beside=_SAVING),
    "resources.infra": Probe(values=("PLACE", "OTHER_PLACE"), beside=_with(_PINNED, "instance_type", "TYPE_A")),
    "resources.cloud": Probe(values=("CLOUD", "OTHER_CLOUD"), beside=_with({}, "infra", None)),
    "resources.region": Probe(
        values=("REGION", "OTHER_REGION"), beside={"resources": {**_PINNED["resources"], "infra": None, "cloud": "CLOUD"}}
    ),
    "resources.zone": Probe(
        values=("ZONE_A", "ZONE_B"),
        beside={"resources": {**_PINNED["resources"], "infra": None, "cloud": "CLOUD", "region": "REGION"}},
    ),
    "resources.cpus": Probe(values=("4+", "8+", "16+")),
    "resources.memory": Probe(values=("16+", "64+", "32+")),
    "resources.accelerators": Probe(values=("DEVICES_A", "DEVICES_B"), beside={"resources": {"cpus": None, "memory": None}}),
    "resources.instance_type": Probe(values=_TYPES, beside=_PINNED),
    "resources.use_spot": Probe(values=(False, True), beside=_PINNED),
    "resources.market": Probe(values=("on-demand", "spot"), beside=_PINNED),
    "resources.interruption_rate": Probe(values=(0.05, 0.1, 0.2), beside=_PINNED),
    "resources.disk_size": Probe(values=(100, 200, 150), beside=_PINNED),
    "resources.disk_tier": Probe(values=("medium", "high", "low"), beside=_PINNED),
    "resources.local_disk": Probe(values=(None, "nvme"), beside={}),
    "resources.network_tier": Probe(values=("standard", "best"), beside=_PINNED),
    "resources.ports": Probe(values=(8080, 9090, 9091), beside=_PINNED),
    "resources.labels": Probe(values=({"team": "research"}, {"team": "platform"}, {"team": "vision"}), beside=_PINNED),
    "resources.image_id": Probe(values=("IMAGE_A", "IMAGE_B"), beside=_PINNED),
    "resources.arch": Probe(values=("x86_64", "arm64")),
    "resources.max_hourly_cost": Probe(values=(900, 800), beside=_PINNED),
    "affinity.same.cloud": Probe(values=(None, [FIRST]), beside=_either("ELSEWHERE", "PLACE"), first=True),
    "affinity.same.region": Probe(values=(None, [FIRST]), beside=_either("OTHER_PLACE", "PLACE"), first=True),
    "affinity.same.zone": Probe(values=(None, [FIRST]), beside=_either("IN_ZONE_B", "IN_ZONE_A"), first=True),
    "affinity.distinct.cloud": Probe(values=(None, [FIRST]), beside=_either("PLACE", "ELSEWHERE"), first=True),
    "affinity.distinct.region": Probe(values=(None, [FIRST]), beside=_either("PLACE", "OTHER_PLACE"), first=True),
    "affinity.distinct.zone": Probe(values=(None, [FIRST]), beside=_either("IN_ZONE_A", "IN_ZONE_B"), first=True),
    "header.name": Probe(values=("whole", "renamed"), beside=_PINNED, first=True),
    "header.execution": Probe(values=("parallel", "serial"), beside=_PINNED, first=True),
    "header.policy": Probe(values=_RULES.values, beside=_PINNED, first=True),
}
