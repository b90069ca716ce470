"""One of every AWS type skyc emits, for comparison with the real provider."""

from __future__ import annotations

from typing import Any

from tests.schemas.graphs import AWS_RESOURCES, TAGS, ref

POLICY = '{"Version":"2012-10-17","Statement":[]}'
BUCKET = {"bucket": ref("aws_s3_bucket.data")}

EVERYTHING: dict[str, dict[str, Any]] = {
    **AWS_RESOURCES,
    "aws_vpc_endpoint.s3": {
        "vpc_id": ref("aws_vpc.net"),
        "service_name": "com.amazonaws.us-east-1.s3",
        "route_table_ids": [ref("aws_route_table.out")],
        "tags": TAGS,
    },
    "aws_eip.nat": {"domain": "vpc", "tags": TAGS},
    "aws_nat_gateway.nat": {
        "allocation_id": ref("aws_eip.nat", "allocation_id"),
        "subnet_id": ref("aws_subnet.a"),
        "tags": TAGS,
    },
    "aws_default_security_group.none": {"vpc_id": ref("aws_vpc.net"), "tags": TAGS},
    "aws_vpc_security_group_egress_rule.all": {
        "security_group_id": ref("aws_security_group.nodes"),
        "cidr_ipv4": "0.0.0.0/0",
        "ip_protocol": "-1",
    },
    "aws_iam_role.node": {"name": "demo-node", "assume_role_policy": POLICY, "tags": TAGS},
    "aws_iam_role_policy.node": {"name": "buckets", "role": ref("aws_iam_role.node"), "policy": POLICY},
    "aws_iam_instance_profile.node": {"name": "demo-node", "role": ref("aws_iam_role.node", "name"), "tags": TAGS},
    "aws_launch_template.node": {
        "name": "demo-node",
        "image_id": "ami-0123456789abcdef0",
        "instance_type": "g5.xlarge",
        "user_data": "IyEvYmluL3NoCg==",
        "metadata_options": {"http_tokens": "required"},
        "instance_market_options": {"market_type": "spot", "spot_options": {"spot_instance_type": "one-time"}},
        "block_device_mappings": {"device_name": "/dev/sda1", "ebs": {"encrypted": "true", "volume_size": 50}},
        "tag_specifications": {"resource_type": "instance", "tags": TAGS},
        "tags": TAGS,
    },
    "aws_autoscaling_group.nodes": {
        "name": "demo-nodes",
        "min_size": 2,
        "max_size": 2,
        "vpc_zone_identifier": [ref("aws_subnet.a")],
        "launch_template": {"id": ref("aws_launch_template.node"), "version": "$Latest"},
        "tag": {"key": "skyc-deployment", "value": "demo", "propagate_at_launch": True},
    },
    "aws_placement_group.gang": {"name": "demo", "strategy": "cluster", "tags": TAGS},
    "aws_spot_instance_request.node": {
        "ami": "ami-0123456789abcdef0",
        "instance_type": "g5.xlarge",
        "spot_type": "one-time",
        "subnet_id": ref("aws_subnet.a"),
        "tags": TAGS,
    },
    "aws_s3_bucket.data": {"bucket": "demo-data", "tags": TAGS},
    "aws_s3_bucket_public_access_block.data": {**BUCKET, "block_public_acls": True, "block_public_policy": True},
    "aws_s3_bucket_server_side_encryption_configuration.data": {
        **BUCKET,
        "rule": {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}},
    },
    "aws_s3_bucket_versioning.data": {**BUCKET, "versioning_configuration": {"status": "Enabled"}},
    "aws_s3_bucket_lifecycle_configuration.data": {
        **BUCKET,
        "rule": {
            "id": "old",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": 7},
        },
    },
    "aws_s3_bucket_ownership_controls.data": {**BUCKET, "rule": {"object_ownership": "BucketOwnerEnforced"}},
    "aws_s3_bucket_policy.data": {**BUCKET, "policy": POLICY},
}
