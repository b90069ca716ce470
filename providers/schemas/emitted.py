"""What skyc emits at each cloud, and where the schema of it comes from. Adding a resource type to a cloud begins here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaOrigin:
    """One Terraform provider's origin. `wheel` and `wheel_version` name the prebuilt CDK wheel on PyPI; without one the schema is
    written by hand from the provider's documentation of `documented` version. `types` are without the provider's prefix."""

    name: str
    """Prefix of the provider's types, and of this package's files."""
    source: str
    types: tuple[str, ...]
    wheel: str = ""
    wheel_version: str = ""
    documented: str = ""

    @property
    def type_names(self) -> tuple[str, ...]:
        return tuple(sorted(f"{self.name}_{name}" for name in self.types))


AWS = SchemaOrigin(
    name="aws",
    source="registry.terraform.io/hashicorp/aws",
    wheel="cdktn-provider-aws",
    wheel_version="25.8.1",
    types=(
        "vpc",
        "subnet",
        "ec2_subnet_cidr_reservation",
        "route_table",
        "route",
        "route_table_association",
        "internet_gateway",
        "nat_gateway",
        "vpc_endpoint",
        "eip",
        "security_group",
        "default_security_group",
        "vpc_security_group_ingress_rule",
        "vpc_security_group_egress_rule",
        "key_pair",
        "iam_role",
        "iam_role_policy",
        "iam_instance_profile",
        "instance",
        "launch_template",
        "autoscaling_group",
        "placement_group",
        "spot_instance_request",
        "s3_bucket",
        "s3_bucket_public_access_block",
        "s3_bucket_server_side_encryption_configuration",
        "s3_bucket_versioning",
        "s3_bucket_lifecycle_configuration",
        "s3_bucket_ownership_controls",
        "s3_bucket_policy",
    ),
)

GOOGLE = SchemaOrigin(
    name="google",
    source="registry.terraform.io/hashicorp/google",
    wheel="cdktn-provider-google",
    wheel_version="21.1.0",
    types=(
        "compute_network",
        "compute_subnetwork",
        "compute_firewall",
        "compute_address",
        "compute_router",
        "compute_router_nat",
        "compute_instance",
        "compute_instance_template",
        "compute_instance_group_manager",
        "compute_resource_policy",
        "service_account",
        "storage_bucket",
        "storage_bucket_iam_member",
    ),
)

AZURERM = SchemaOrigin(
    name="azurerm",
    source="registry.terraform.io/hashicorp/azurerm",
    wheel="cdktn-provider-azurerm",
    # The first whose code says everything that is read here, and the last of the provider's version 4.
    wheel_version="17.0.0",
    types=(
        "resource_group",
        "virtual_network",
        "subnet",
        "network_security_group",
        "application_security_group",
        "network_security_rule",
        "subnet_network_security_group_association",
        "network_interface_security_group_association",
        "network_interface_application_security_group_association",
        "public_ip",
        "nat_gateway",
        "nat_gateway_public_ip_association",
        "subnet_nat_gateway_association",
        "network_interface",
        "linux_virtual_machine",
        "linux_virtual_machine_scale_set",
        "proximity_placement_group",
        "availability_set",
        "ssh_public_key",
        "storage_account",
        "storage_container",
        "user_assigned_identity",
        "role_assignment",
    ),
)

IBM = SchemaOrigin(
    name="ibm",
    source="registry.terraform.io/ibm-cloud/ibm",
    documented="2.5.0",
    types=(
        "is_vpc",
        "is_vpc_address_prefix",
        "is_network_acl",
        "is_subnet",
        "is_public_gateway",
        "is_subnet_public_gateway_attachment",
        "is_security_group",
        "is_security_group_rule",
        "is_ssh_key",
        "is_virtual_network_interface",
        "is_placement_group",
        "is_instance",
        "is_floating_ip",
        "resource_instance",
        "cos_bucket",
        "iam_service_id",
        "iam_service_policy",
        "iam_trusted_profile",
        "iam_trusted_profile_policy",
        "iam_trusted_profile_claim_rule",
        "iam_authorization_policy",
    ),
)

ORIGINS = (AWS, AZURERM, GOOGLE, IBM)
