"""What changes of IBM Cloud's resources mean to a reviewer. Facts: the documentation of ibm-cloud/ibm and of its services."""

from __future__ import annotations

from ...compiler.ir import Exposure, FrozenMap, Meaning, Meanings, Opening

_POLICY = Meaning(grants=("roles", "resources.service", "resources.resource", "resource_attributes.value"))

MEANINGS: Meanings = FrozenMap(
    {
        "ibm_cos_bucket": Meaning(data="objects"),
        "ibm_iam_authorization_policy": Meaning(grants=("roles", "source_service_name", "target_service_name")),
        "ibm_iam_service_policy": _POLICY,
        # Who may be the profile.
        "ibm_iam_trusted_profile_claim_rule": Meaning(grants=("type", "conditions.claim", "conditions.value")),
        "ibm_iam_trusted_profile_policy": _POLICY,
        "ibm_is_floating_ip": Meaning(
            # A public gateway's names its zone, a machine's what it is on. Nobody comes in through the first.
            openings=(Opening(exposure=Exposure.ADDRESS, unless=FrozenMap({"zone": "*"})),),
        ),
        "ibm_is_instance": Meaning(
            data="boot volume, without a snapshot",
            size="boot_volume.size",
            grants=("default_trusted_profile_target",),
            says=("profile", "zone", "boot_volume.size", "boot_volume.profile", "image", "tags"),
        ),
        # A second fence around the security group, which says who is let in: it has to admit what may be an answer from anywhere.
        "ibm_is_network_acl": Meaning(says=("name",)),
        "ibm_is_security_group_rule": Meaning(
            openings=(
                Opening(
                    exposure=Exposure.REACH,
                    path="remote",
                    when=FrozenMap({"direction": "inbound"}),
                    ports=("port_min", "port_max"),
                ),
            ),
            says=("direction", "protocol", "remote", "port_min", "port_max"),
        ),
        "ibm_is_virtual_network_interface": Meaning(says=("primary_ip.address",)),
        "ibm_is_vpc": Meaning(says=("name",)),
        "ibm_resource_instance": Meaning(data="buckets and objects"),
    }
)
PLAIN = frozenset(
    {
        "ibm_iam_service_id",
        "ibm_iam_trusted_profile",
        "ibm_is_placement_group",
        # Lets out, and nobody in.
        "ibm_is_public_gateway",
        "ibm_is_security_group",
        "ibm_is_ssh_key",
        "ibm_is_subnet",
        "ibm_is_subnet_public_gateway_attachment",
        "ibm_is_vpc_address_prefix",
    }
)
"""What is emitted and means nothing special: it lets nobody in, gives no rights and holds no data."""
