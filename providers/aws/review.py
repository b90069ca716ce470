"""What changes of AWS resources mean to a reviewer. Facts: the documentation of hashicorp/aws and of the services behind it."""

from __future__ import annotations

from dataclasses import replace

from ...compiler.ir import Exposure, FrozenMap, Meaning, Meanings, Opening
from .resources import NAT, USE_TAG

_PUBLIC_ADDRESS = Opening(exposure=Exposure.ADDRESS, path="associate_public_ip_address", values=frozenset({"true"}))
_MACHINE = Meaning(
    data="root disk, without a snapshot",
    size="root_block_device.volume_size",
    openings=(_PUBLIC_ADDRESS,),
    says=(
        "instance_type",
        "root_block_device.volume_size",
        "root_block_device.volume_type",
        "associate_public_ip_address",
        "iam_instance_profile",
        "tags",
    ),
)
_PORTS = ("from_port", "to_port")
_GROUP = Meaning(
    openings=tuple(
        Opening(exposure=Exposure.REACH, path=f"ingress.{family}", ports=("ingress.from_port", "ingress.to_port"))
        for family in ("cidr_blocks", "ipv6_cidr_blocks")
    )
)
_BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")

MEANINGS: Meanings = FrozenMap(
    {
        "aws_default_security_group": _GROUP,
        "aws_eip": Meaning(openings=(Opening(exposure=Exposure.ADDRESS, unless=FrozenMap({f"tags.{USE_TAG}": NAT})),)),
        "aws_iam_instance_profile": Meaning(grants=("role",), says=("role",)),
        "aws_iam_role": Meaning(
            policies=("assume_role_policy", "inline_policy.policy"),
            grants=("managed_policy_arns",),
            says=("name", "assume_role_policy"),
        ),
        "aws_iam_role_policy": Meaning(policies=("policy",)),
        "aws_instance": replace(_MACHINE, says=("instance_type", "instance_market_options.market_type", *_MACHINE.says[1:])),
        "aws_key_pair": Meaning(says=("key_name",)),
        "aws_launch_template": Meaning(
            openings=(
                Opening(
                    exposure=Exposure.ADDRESS,
                    path="network_interfaces.associate_public_ip_address",
                    values=frozenset({"true"}),
                ),
            ),
            says=(
                "image_id",
                "instance_type",
                "instance_market_options.market_type",
                "block_device_mappings.ebs.volume_size",
                "block_device_mappings.ebs.volume_type",
                "block_device_mappings.ebs.encrypted",
                "metadata_options.http_tokens",
                # Last, since there can be 32.
                "network_interfaces.interface_type",
            ),
        ),
        # Its policy is a resource of its own; the attribute repeats it.
        "aws_s3_bucket": Meaning(
            data="objects",
            says=("bucket",),
            openings=(
                Opening(
                    exposure=Exposure.DATA,
                    path="acl",
                    values=frozenset({"authenticated-read", "public-read", "public-read-write"}),
                ),
            ),
        ),
        "aws_s3_bucket_policy": Meaning(policies=("policy",)),
        "aws_s3_bucket_public_access_block": Meaning(
            openings=tuple(Opening(exposure=Exposure.DATA, path=path, values=frozenset({"false"})) for path in _BLOCKS)
        ),
        "aws_security_group": replace(_GROUP, says=("name", "description")),
        "aws_spot_instance_request": _MACHINE,
        "aws_subnet": Meaning(
            openings=(Opening(exposure=Exposure.ADDRESS, path="map_public_ip_on_launch", values=frozenset({"true"})),),
            says=("availability_zone_id", "cidr_block"),
        ),
        "aws_vpc": Meaning(says=("cidr_block",)),
        "aws_vpc_security_group_ingress_rule": Meaning(
            openings=tuple(Opening(exposure=Exposure.REACH, path=path, ports=_PORTS) for path in ("cidr_ipv4", "cidr_ipv6"))
        ),
    }
)
PLAIN = frozenset(
    {
        "aws_autoscaling_group",
        "aws_ec2_subnet_cidr_reservation",
        "aws_internet_gateway",
        "aws_nat_gateway",
        "aws_placement_group",
        "aws_route",
        "aws_route_table",
        "aws_route_table_association",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_versioning",
        # Its policy limits what goes through it, and gives nobody a right.
        "aws_vpc_endpoint",
        "aws_vpc_security_group_egress_rule",
    }
)
"""What is emitted and means nothing special: it lets nobody in, gives no rights and holds no data."""
