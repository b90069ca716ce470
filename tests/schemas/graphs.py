"""Resource graphs written by hand: small networks with one machine at each cloud, as the lowering of a cloud would make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    ProviderRequirement,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
    Value,
)

ORIGIN = SpecPath(("tasks", 0, "resources"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
TAGS = {"skyc-deployment": "demo"}


def value(plain: Any) -> Value:
    """Dicts and lists as IR values."""
    if isinstance(plain, Mapping):
        return FrozenMap({name: value(item) for name, item in plain.items()})
    if isinstance(plain, list | tuple):
        return tuple(value(item) for item in plain)
    result: Value = plain
    return result


def ref(address: str, attribute: str = "id") -> Ref:
    type_, _, name = address.partition(".")
    return Ref(ResourceAddress(type_, name), attribute)


def graph(name: str, version: str, config: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> ResourceGraph:
    nodes = [
        ResourceNode(
            address=ResourceAddress(*address.split(".", 1)),
            origin=ORIGIN,
            arguments=FrozenMap({key: value(item) for key, item in arguments.items()}),
        )
        for address, arguments in sorted(resources.items())
    ]
    source = "ibm-cloud/ibm" if name == "ibm" else f"hashicorp/{name}"
    need = ProviderRequirement(
        name=name, source=source, version=version, config=FrozenMap({key: value(item) for key, item in config.items()})
    )
    return ResourceGraph(
        deployment=DeploymentId("demo"),
        site=SiteId(f"demo.{name}"),
        provider=name,
        requirements=(need,),
        resources=tuple(nodes),
        outputs=FrozenMap({"nodes": ()}),
    )


def changed(original: ResourceGraph, address: str, remove: Iterable[str] = (), **arguments: Any) -> ResourceGraph:
    """The graph with some arguments of one resource replaced."""
    nodes = []
    for node in original.resources:
        if str(node.address) == address:
            kept = {key: item for key, item in node.arguments.items() if key not in set(remove)}
            node = replace(node, arguments=FrozenMap({**kept, **{key: value(item) for key, item in arguments.items()}}))
        nodes.append(node)
    return replace(original, resources=tuple(nodes))


def few(original: ResourceGraph, *addresses: str) -> ResourceGraph:
    """Only these resources of a graph. What they refer to must be among them."""
    return replace(original, resources=tuple(node for node in original.resources if str(node.address) in addresses))


AWS_RESOURCES: dict[str, dict[str, Any]] = {
    "aws_vpc.net": {"cidr_block": "10.0.0.0/16", "enable_dns_hostnames": True, "tags": TAGS},
    "aws_subnet.a": {
        "vpc_id": ref("aws_vpc.net"),
        "cidr_block": "10.0.1.0/24",
        "availability_zone_id": "use1-az1",
        "tags": TAGS,
    },
    "aws_ec2_subnet_cidr_reservation.head": {
        "subnet_id": ref("aws_subnet.a"),
        "cidr_block": "10.0.1.10/32",
        "reservation_type": "explicit",
    },
    "aws_internet_gateway.out": {"vpc_id": ref("aws_vpc.net"), "tags": TAGS},
    "aws_route_table.out": {"vpc_id": ref("aws_vpc.net"), "tags": TAGS},
    "aws_route.out": {
        "route_table_id": ref("aws_route_table.out"),
        "destination_cidr_block": "0.0.0.0/0",
        "gateway_id": ref("aws_internet_gateway.out"),
    },
    "aws_route_table_association.a": {
        "subnet_id": ref("aws_subnet.a"),
        "route_table_id": ref("aws_route_table.out"),
    },
    "aws_security_group.nodes": {"name": "demo-nodes", "vpc_id": ref("aws_vpc.net"), "tags": TAGS},
    "aws_vpc_security_group_ingress_rule.ssh": {
        "security_group_id": ref("aws_security_group.nodes"),
        "cidr_ipv4": "203.0.113.7/32",
        "from_port": 22,
        "to_port": 22,
        "ip_protocol": "tcp",
    },
    "aws_key_pair.login": {"key_name": "demo", "public_key": KEY, "tags": TAGS},
    "aws_instance.node": {
        "ami": "ami-0123456789abcdef0",
        "instance_type": "g5.xlarge",
        "subnet_id": ref("aws_subnet.a"),
        "vpc_security_group_ids": [ref("aws_security_group.nodes")],
        "key_name": ref("aws_key_pair.login", "key_name"),
        "metadata_options": {"http_tokens": "required", "http_put_response_hop_limit": 1},
        "root_block_device": {"encrypted": True, "volume_size": 100, "volume_type": "gp3"},
        "tags": TAGS,
    },
}

AWS_CONFIG = {
    "region": "us-east-1",
    "access_key": "test",
    "secret_key": "test",
    "skip_credentials_validation": True,
    "skip_requesting_account_id": True,
    "skip_metadata_api_check": True,
    "skip_region_validation": True,
    "max_retries": 1,
}


def aws(version: str = "6.69.1") -> ResourceGraph:
    return graph("aws", version, AWS_CONFIG, AWS_RESOURCES)


def aws_machine() -> ResourceGraph:
    """The machine and what it needs."""
    return few(aws(), "aws_vpc.net", "aws_subnet.a", "aws_security_group.nodes", "aws_key_pair.login", "aws_instance.node")


def google() -> ResourceGraph:
    return graph(
        "google",
        "8.7.0",
        {"project": "demo", "region": "us-central1"},
        {
            "google_compute_network.net": {"name": "demo", "auto_create_subnetworks": False},
            "google_compute_subnetwork.a": {
                "name": "demo",
                "network": ref("google_compute_network.net"),
                "region": "us-central1",
                "ip_cidr_range": "10.0.0.0/20",
            },
            "google_compute_address.head": {
                "name": "demo-head",
                "region": "us-central1",
                "address_type": "INTERNAL",
                "subnetwork": ref("google_compute_subnetwork.a"),
            },
            "google_compute_firewall.ssh": {
                "name": "demo-ssh",
                "network": ref("google_compute_network.net"),
                "allow": [{"protocol": "tcp", "ports": ["22"]}],
                "source_ranges": ["203.0.113.7/32"],
            },
            "google_service_account.node": {"account_id": "demo-node"},
            "google_compute_instance.node": {
                "name": "demo-0",
                "zone": "us-central1-a",
                "machine_type": "g2-standard-8",
                "boot_disk": {"initialize_params": {"image": "projects/debian-cloud/global/images/debian-12", "size": 100}},
                "network_interface": {"subnetwork": ref("google_compute_subnetwork.a")},
                "scheduling": {"provisioning_model": "SPOT", "preemptible": True, "automatic_restart": False},
                "service_account": {
                    "email": ref("google_service_account.node", "email"),
                    "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                },
                "labels": TAGS,
            },
            "google_storage_bucket.data": {
                "name": "demo-data",
                "location": "US-CENTRAL1",
                "uniform_bucket_level_access": True,
                "public_access_prevention": "enforced",
            },
            "google_storage_bucket_iam_member.node": {
                "bucket": ref("google_storage_bucket.data", "name"),
                "role": "roles/storage.objectAdmin",
                "member": ref("google_service_account.node", "member"),
            },
        },
    )


def google_machine() -> ResourceGraph:
    return few(
        google(),
        "google_compute_network.net",
        "google_compute_subnetwork.a",
        "google_service_account.node",
        "google_compute_instance.node",
    )


def azurerm() -> ResourceGraph:
    group = {"resource_group_name": ref("azurerm_resource_group.all", "name"), "location": "eastus"}
    return graph(
        "azurerm",
        "4.81.0",
        {"features": {}, "subscription_id": "00000000-0000-0000-0000-000000000000"},
        {
            "azurerm_resource_group.all": {"name": "demo", "location": "eastus", "tags": TAGS},
            "azurerm_virtual_network.net": {"name": "demo", "address_space": ["10.0.0.0/16"], **group},
            "azurerm_subnet.a": {
                "name": "a",
                "resource_group_name": ref("azurerm_resource_group.all", "name"),
                "virtual_network_name": ref("azurerm_virtual_network.net", "name"),
                "address_prefixes": ["10.0.1.0/24"],
            },
            "azurerm_application_security_group.nodes": {"name": "members", **group},
            "azurerm_network_security_group.nodes": {"name": "nodes", **group},
            "azurerm_network_interface_application_security_group_association.node": {
                "network_interface_id": ref("azurerm_network_interface.node"),
                "application_security_group_id": ref("azurerm_application_security_group.nodes"),
            },
            "azurerm_network_interface_security_group_association.node": {
                "network_interface_id": ref("azurerm_network_interface.node"),
                "network_security_group_id": ref("azurerm_network_security_group.nodes"),
            },
            "azurerm_network_interface.node": {
                "name": "demo-0",
                **group,
                "ip_configuration": {
                    "name": "main",
                    "subnet_id": ref("azurerm_subnet.a"),
                    "private_ip_address_allocation": "Dynamic",
                },
            },
            "azurerm_linux_virtual_machine.node": {
                "name": "demo-0",
                **group,
                "size": "Standard_NC8as_T4_v3",
                "zone": "1",
                "admin_username": "skyc",
                "admin_ssh_key": {"username": "skyc", "public_key": KEY},
                "network_interface_ids": [ref("azurerm_network_interface.node")],
                "os_disk": {"caching": "ReadWrite", "storage_account_type": "Premium_LRS", "disk_size_gb": 100},
                "source_image_reference": {"publisher": "debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"},
                "priority": "Spot",
                "eviction_policy": "Delete",
                "custom_data": "IyEvYmluL3NoCg==",
                "tags": TAGS,
            },
            "azurerm_storage_account.data": {
                "name": "demodata",
                **group,
                "account_tier": "Standard",
                "account_replication_type": "LRS",
                "allow_nested_items_to_be_public": False,
            },
            "azurerm_storage_container.data": {
                "name": "data",
                "storage_account_id": ref("azurerm_storage_account.data"),
            },
        },
    )


def ibm() -> ResourceGraph:
    return graph(
        "ibm",
        "2.5.0",
        {"region": "us-south"},
        {
            "ibm_is_vpc.net": {"name": "demo", "tags": ["skyc:demo"]},
            "ibm_is_vpc_address_prefix.b": {
                "name": "b",
                "vpc": ref("ibm_is_vpc.net"),
                "zone": "us-south-2",
                "cidr": "10.64.32.0/20",
            },
            "ibm_is_network_acl.nodes": {
                "name": "nodes",
                "vpc": ref("ibm_is_vpc.net"),
                "rules": [
                    {
                        "name": "out",
                        "action": "allow",
                        "direction": "outbound",
                        "source": "0.0.0.0/0",
                        "destination": "0.0.0.0/0",
                        "protocol": "any",
                    }
                ],
            },
            "ibm_is_virtual_network_interface.spare": {
                "name": "spare",
                "subnet": ref("ibm_is_subnet.a"),
                "primary_ip": {"auto_delete": True},
            },
            "ibm_is_subnet.a": {
                "name": "a",
                "vpc": ref("ibm_is_vpc.net"),
                "zone": "us-south-1",
                "total_ipv4_address_count": 256,
            },
            "ibm_is_ssh_key.login": {"name": "demo", "public_key": KEY, "type": "ed25519"},
            "ibm_is_instance.node": {
                "name": "demo-0",
                "vpc": ref("ibm_is_vpc.net"),
                "zone": "us-south-1",
                "profile": "gx3-16x80x1l4",
                "image": "r006-12345678-1234-1234-1234-123456789012",
                "keys": [ref("ibm_is_ssh_key.login")],
                "primary_network_interface": {"subnet": ref("ibm_is_subnet.a")},
                "metadata_service": {"enabled": True, "protocol": "https", "response_hop_limit": 1},
            },
        },
    )


ALL = {"aws": aws, "azurerm": azurerm, "google": google, "ibm": ibm}
