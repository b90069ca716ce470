"""What changes of Google Cloud's resources mean to a reviewer. Facts: the documentation of hashicorp/google and of its services."""

from __future__ import annotations

from ...compiler.ir import Exposure, FrozenMap, Meaning, Meanings, Opening

_IDENTITY = ("service_account.email", "service_account.scopes")
# An interface with this block has an address of the internet's, whatever stands in it.
_PUBLIC_ADDRESS = Opening(exposure=Exposure.ADDRESS, path="network_interface.access_config")

MEANINGS: Meanings = FrozenMap(
    {
        # One inside a subnetwork is the head's, kept for it.
        "google_compute_address": Meaning(
            openings=(Opening(exposure=Exposure.ADDRESS, path="address_type", values=frozenset({"EXTERNAL"})),)
        ),
        "google_compute_firewall": Meaning(
            openings=(
                Opening(
                    exposure=Exposure.REACH,
                    path="source_ranges",
                    when=FrozenMap({"direction": "INGRESS"}),
                    ports=("allow.ports",),
                ),
            ),
            says=("direction", "allow", "deny", "source_ranges", "source_tags", "priority"),
        ),
        "google_compute_instance": Meaning(
            data="boot disk, without a snapshot",
            size="boot_disk.initialize_params.size",
            grants=_IDENTITY,
            openings=(_PUBLIC_ADDRESS,),
            says=(
                "machine_type",
                "guest_accelerator.type",
                "guest_accelerator.count",
                "scheduling.provisioning_model",
                "boot_disk.initialize_params.image",
                "boot_disk.initialize_params.size",
                "boot_disk.initialize_params.type",
                "labels",
            ),
        ),
        "google_compute_network": Meaning(says=("name",)),
        "google_compute_subnetwork": Meaning(says=("ip_cidr_range", "region")),
        "google_compute_instance_template": Meaning(grants=_IDENTITY, openings=(_PUBLIC_ADDRESS,)),
        # "inherited" leaves it to the organization, which may say nothing.
        "google_storage_bucket": Meaning(
            data="objects",
            openings=(Opening(exposure=Exposure.DATA, path="public_access_prevention", values=frozenset({"inherited"})),),
            says=("name", "location", "storage_class", "public_access_prevention"),
        ),
        "google_storage_bucket_iam_member": Meaning(
            grants=("bucket", "role", "member"),
            openings=(Opening(exposure=Exposure.DATA, path="member", values=frozenset({"allUsers", "allAuthenticatedUsers"})),),
        ),
    }
)
PLAIN = frozenset(
    {
        "google_compute_instance_group_manager",
        "google_compute_resource_policy",
        "google_compute_router",
        "google_compute_router_nat",
        "google_service_account",
    }
)
"""What is emitted and means nothing special: it lets nobody in, gives no rights and holds no data."""
