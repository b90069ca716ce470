"""The golden Terraform keeps the policy, and every way of breaking it is caught."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from skyc.compiler.diagnostics import has_errors
from skyc.compiler.ir import FileMount, FrozenMap, InstanceType, MountMode, Ref, ResourceGraph
from skyc.providers.ibm.lower import check_graph, lower
from tests.checkov import golden as golden_of
from tests.ibm.conftest import ACCESS, context, placed
from tests.ibm.policy import RAY, findings

GOLDEN = Path(__file__).parents[1] / "filetests" / "synth"
SSH = ("203.0.113.0/24",)
PORTS = ((443, 443), (8080, 8080))
Module = dict[str, Any]


def golden(name: str) -> Module:
    module: Module = json.loads((GOLDEN / f"{name}.yaml.test").read_text().partition("-----\n")[2])
    return module


def test_golden_terraform_keeps_the_policy() -> None:
    assert findings(golden("ibm-cpu"), SSH) == set()
    assert findings(golden("ibm-gang"), SSH, PORTS) == set()
    # What was not declared is open for nobody.
    assert findings(golden("ibm-gang"), SSH) == {
        "open-port: ibm_is_security_group_rule.port-443",
        "open-port: ibm_is_security_group_rule.port-8080",
        "acl-open-port-443: ibm_is_network_acl.nodes",
    }


BUCKET_MUTANTS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "forced": ("removed-with-data", lambda bucket: bucket.update(force_delete=True)),
    "as-the-provider-does": ("removed-with-data", lambda bucket: bucket.pop("force_delete")),
    "in-another-instance": ("bucket-among-others", lambda bucket: bucket.update(resource_instance_id="crn:v1:of:somebody")),
}


@pytest.mark.parametrize("name", BUCKET_MUTANTS)
def test_a_bucket_keeps_the_policy_and_a_broken_one_is_caught(name: str) -> None:
    buckets, machines = (json.loads(text) for key, text in sorted(golden_of("ibm").items()) if key.startswith("ibm-bucket"))
    assert findings(machines, SSH) == set()
    assert {found for found in findings(buckets, SSH) if not found.startswith("missing: ")} == set()
    broken, breaking = BUCKET_MUTANTS[name]
    breaking(buckets["resource"]["ibm_cos_bucket"]["out"])
    assert f"{broken}: ibm_cos_bucket.out" in findings(buckets, SSH)


def rule(module: Module, name: str) -> Any:
    return module["resource"]["ibm_is_security_group_rule"][name]


def machine(module: Module) -> Any:
    return module["resource"]["ibm_is_instance"]["main-0"]


def interface(module: Module) -> Any:
    return module["resource"]["ibm_is_virtual_network_interface"]["main-0"]


def rights(module: Module) -> Any:
    return module["resource"]["ibm_iam_trusted_profile_policy"]["write_team-checkpoints_tune"]


def packets(module: Module, name: str) -> Any:
    (row,) = [row for row in module["resource"]["ibm_is_network_acl"]["nodes"]["rules"] if row["name"] == name]
    return row


def attribute(module: Module, name: str) -> Any:
    (row,) = [row for row in rights(module)["resource_attributes"] if row["name"] == name]
    return row


MUTANTS: dict[str, tuple[str, Callable[[Module], Any]]] = {
    "ssh-from-everywhere": ("open-ssh", lambda m: rule(m, "ssh-203-0-113-0-24").update(remote="0.0.0.0/0")),
    "ssh-from-everybody": ("open-ssh", lambda m: rule(m, "ssh-203-0-113-0-24").pop("remote")),
    "another-port": ("open-port", lambda m: rule(m, "port-8080").update(port_min=8081, port_max=8081)),
    "wider-port": ("open-port", lambda m: rule(m, "port-8080").update(port_max=8090)),
    "ray": ("open-ray", lambda m: rule(m, "port-8080").update(port_min=8265, port_max=8265)),
    "ray-within": ("open-ray", lambda m: rule(m, "port-8080").update(port_min=1, port_max=65535)),
    "any-protocol": ("open-to-everything", lambda m: rule(m, "port-8080").update(protocol="any")),
    "no-ports": ("open-to-everything", lambda m: rule(m, "port-8080").pop("port_min")),
    "cluster-to-everybody": ("open-to-everything", lambda m: rule(m, "cluster").update(remote="0.0.0.0/0")),
    "cluster-to-nobody-named": ("open-to-everything", lambda m: rule(m, "cluster").pop("remote")),
    "outbound-turned": ("open-to-everything", lambda m: rule(m, "all-out").update(direction="inbound")),
    "default-rules": ("default-rules", lambda m: m["resource"]["ibm_is_vpc"]["site"].pop("no_sg_acl_rules")),
    "default-acl": ("default-acl", lambda m: m["resource"]["ibm_is_subnet"]["us-south-2"].pop("network_acl")),
    "default-group": ("default-group", lambda m: interface(m).pop("security_groups")),
    "spoofing": ("spoofing", lambda m: interface(m).update(allow_ip_spoofing=True)),
    "acl-ssh": ("acl-open-ssh-203-0-113-0-24", lambda m: packets(m, "ssh-203-0-113-0-24").update(source="0.0.0.0/0")),
    "acl-low-ports": ("acl-open-answers-tcp", lambda m: packets(m, "answers-tcp").update(port_min=1)),
    "acl-everything": ("acl-open-cluster", lambda m: packets(m, "cluster").update(source="0.0.0.0/0")),
    "acl-ping": ("acl-open-too-large", lambda m: packets(m, "too-large").pop("type")),
    "metadata-http": ("metadata", lambda m: machine(m)["metadata_service"].update(protocol="http")),
    "metadata-hops": ("metadata", lambda m: machine(m)["metadata_service"].update(response_hop_limit=2)),
    "metadata-unsaid": ("metadata", lambda m: machine(m).pop("metadata_service")),
    "encryption": ("encryption", lambda m: machine(m)["boot_volume"].update(encryption="none")),
    "disk-stays": ("left-over-disk", lambda m: machine(m)["boot_volume"].update(auto_delete_volume=False)),
    "interface": ("interface-in-place", lambda m: machine(m).update(primary_network_interface={"subnet": "x"})),
    "no-key": ("no-key", lambda m: machine(m).update(user_data="#cloud-config")),
    "rsa": ("weak-key", lambda m: machine(m).update(user_data=machine(m)["user_data"].replace("ssh-ed25519", "ssh-rsa"))),
    "shared-key": ("key-of-the-region", lambda m: machine(m).update(keys=["r006-1"])),
    "any-bucket": ("rights-to-any-bucket", lambda m: attribute(m, "resource").update(value="team-*")),
    "a-match": ("rights-to-any-bucket", lambda m: attribute(m, "resource").update(operator="stringMatch")),
    "another-service": ("rights-of-another-service", lambda m: attribute(m, "serviceName").update(value="is")),
    "writer": ("rights-beyond-objects", lambda m: rights(m).update(roles=["Writer"])),
    "any-prefix": ("rights-to-any-prefix", lambda m: rights(m)["rule_conditions"].pop()),
    "any-path": ("rights-to-any-prefix", lambda m: rights(m)["rule_conditions"][0].update(value=["*"])),
    "a-look-up": ("look-up", lambda m: m.update(data={"ibm_is_image": {}})),
    "a-key": ("key-in-code", lambda m: m["provider"]["ibm"][0].update(ibmcloud_api_key="real")),
    "nothing": ("missing", lambda m: m["resource"].pop("ibm_is_instance")),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_way_of_breaking_it_is_caught(name: str) -> None:
    wanted, change = MUTANTS[name]
    module = copy.deepcopy(golden("ibm-gang"))
    change(module)
    assert {found.partition(":")[0] for found in findings(module, SSH, PORTS)} >= {wanted}


def as_module(graph: ResourceGraph) -> Module:
    """What synth would write, as far as the policy looks at it."""

    def plain(value: Any) -> Any:
        if isinstance(value, FrozenMap):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else str(value) if isinstance(value, Ref) else value

    resources: Module = {}
    for node in graph.resources:
        resources.setdefault(node.address.type, {})[node.address.name] = plain(node.arguments)
    return {"resource": resources, "provider": {"ibm": [plain(need.config) for need in graph.requirements]}}


RANGES = some.lists(some.ip_addresses(v=4).map(lambda address: f"{address}/32") | some.just("2001:db8::/32"), max_size=3)
PORT_RANGES = some.tuples(some.integers(1, 65535), some.integers(0, 3000)).map(
    lambda row: (row[0], min(row[0] + row[1], 65535))
)
KIND = InstanceType(
    name="bx2-8x32",
    provider="ibm",
    cpus=Decimal(8),
    memory_gb=Decimal(32),
    accelerators=(),
    arch="x86_64",
)
WORD = some.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=3, max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    ssh=RANGES,
    ports=some.lists(PORT_RANGES, max_size=4),
    nodes=some.integers(1, 3),
    buckets=some.lists(some.tuples(WORD, WORD | some.just(""), some.booleans()), max_size=3),
    labels=some.dictionaries(WORD, WORD, max_size=2),
    disk=some.none() | some.integers(1, 400),
)
def test_whatever_a_task_asks_for_it_is_refused_or_keeps_the_policy(
    ssh: list[str],
    ports: list[tuple[int, int]],
    nodes: int,
    buckets: list[tuple[str, str, bool]],
    labels: dict[str, str],
    disk: int | None,
) -> None:
    task, placement = placed(KIND, "us-south")
    (group,) = task.groups
    request = replace(
        group.requests[0],
        ports=tuple(f"{first}-{last}" for first, last in ports),
        labels=FrozenMap(labels),
        disk_gb=None if disk is None else Decimal(disk),
    )
    mounts = tuple(
        FileMount(
            origin=request.origin,
            source=f"cos://{bucket}/{prefix}",
            target=f"/data/{index}",
            mode=MountMode.MOUNT if writes else MountMode.COPY,
        )
        for index, (bucket, prefix, writes) in enumerate(buckets)
    )
    task = replace(task, groups=(replace(group, num_nodes=nodes, requests=(request,)),), file_mounts=mounts)
    where = replace(context("us-south"), access=replace(ACCESS, ssh_from=tuple(ssh)))
    graph, said = lower(task, (placement,), where)
    of_ray = any(first <= high and low <= last for first, last in ports for low, high in RAY)
    if graph is None:
        assert has_errors(said)
        return
    assert not of_ray, "a port of Ray's was not refused"
    assert check_graph(graph, None) == ()
    assert findings(as_module(graph), tuple(ssh), tuple(ports)) == set()
