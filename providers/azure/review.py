"""What changes of Azure's resources mean to a reviewer. Facts: the documentation of hashicorp/azurerm and of its services."""

from __future__ import annotations

from ...compiler.ir import Exposure, FrozenMap, Meaning, Meanings, Opening
from .network import OUT_ADDRESS

_EVERYBODY = frozenset({"*", "Any", "Internet"})
"""Azure's words for all addresses."""


def _rules(above: str = "") -> Meaning:
    """Rules of a firewall, each a resource, or blocks of one below a path."""
    return Meaning(
        openings=tuple(
            Opening(
                exposure=Exposure.REACH,
                path=f"{above}{path}",
                values=_EVERYBODY,
                when=FrozenMap({f"{above}direction": "Inbound", f"{above}access": "Allow"}),
                ports=(f"{above}destination_port_range", f"{above}destination_port_ranges"),
            )
            for path in ("source_address_prefix", "source_address_prefixes")
        ),
        says=tuple(
            f"{above}{path}"
            for path in (
                "access",
                "direction",
                "source_address_prefix",
                "source_address_prefixes",
                "destination_port_range",
                "destination_port_ranges",
                "protocol",
                "priority",
            )
        ),
    )


_MACHINE = Meaning(
    data="OS disk, without a snapshot",
    size="os_disk.disk_size_gb",
    grants=("identity.identity_ids",),
    openings=(Opening(exposure=Exposure.ADDRESS, path="network_interface.ip_configuration.public_ip_address"),),
)

MEANINGS: Meanings = FrozenMap(
    {
        "azurerm_linux_virtual_machine": Meaning(
            data=_MACHINE.data,
            size=_MACHINE.size,
            grants=_MACHINE.grants,
            says=(
                "size",
                "priority",
                "zone",
                "os_disk.disk_size_gb",
                "os_disk.storage_account_type",
                "source_image_id",
                "source_image_reference.offer",
                "source_image_reference.sku",
                "tags",
            ),
        ),
        "azurerm_network_interface": Meaning(says=("ip_configuration.private_ip_address",)),
        "azurerm_linux_virtual_machine_scale_set": _MACHINE,
        "azurerm_network_security_group": _rules("security_rule."),
        "azurerm_network_security_rule": _rules(),
        # The address that an interface may have. Nobody comes in through that of a NAT gateway.
        "azurerm_public_ip": Meaning(
            openings=(Opening(exposure=Exposure.ADDRESS, unless=FrozenMap({"name": OUT_ADDRESS})),),
            says=("allocation_method", "sku"),
        ),
        "azurerm_resource_group": Meaning(data="everything in it", says=("name", "location")),
        "azurerm_role_assignment": Meaning(grants=("role_definition_name", "role_definition_id", "scope", "principal_id")),
        "azurerm_storage_account": Meaning(
            data="containers and objects",
            grants=("identity.identity_ids",),
            openings=(Opening(exposure=Exposure.DATA, path="allow_nested_items_to_be_public", values=frozenset({"true"})),),
        ),
        "azurerm_subnet": Meaning(says=("address_prefixes",)),
        "azurerm_virtual_network": Meaning(says=("address_space",)),
        "azurerm_storage_container": Meaning(
            data="objects",
            openings=(Opening(exposure=Exposure.DATA, path="container_access_type", values=frozenset({"blob", "container"})),),
        ),
    }
)
PLAIN = frozenset(
    {
        # A name for a set of machines; who may reach it is said by rules.
        "azurerm_application_security_group",
        "azurerm_nat_gateway",
        "azurerm_nat_gateway_public_ip_association",
        "azurerm_network_interface_application_security_group_association",
        "azurerm_network_interface_security_group_association",
        "azurerm_availability_set",
        "azurerm_proximity_placement_group",
        "azurerm_ssh_public_key",
        "azurerm_subnet_nat_gateway_association",
        "azurerm_subnet_network_security_group_association",
        "azurerm_user_assigned_identity",
    }
)
"""What is emitted and means nothing special: it lets nobody in, gives no rights and holds no data."""
