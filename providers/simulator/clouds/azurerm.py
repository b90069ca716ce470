"""Azure: ids are paths below a resource group; errors name the call, the HTTP status, a code and a message.

The texts follow errors quoted in the provider's public issues.
"""

from __future__ import annotations

from typing import Any

from ...azure import errors
from ..making import Cloud, Making, Refusal

NETWORK, COMPUTE, STORAGE = "Microsoft.Network", "Microsoft.Compute", "Microsoft.Storage"

PATHS = {
    "azurerm_application_security_group": (NETWORK, "applicationSecurityGroups"),
    "azurerm_availability_set": (COMPUTE, "availabilitySets"),
    "azurerm_linux_virtual_machine": (COMPUTE, "virtualMachines"),
    "azurerm_linux_virtual_machine_scale_set": (COMPUTE, "virtualMachineScaleSets"),
    "azurerm_nat_gateway": (NETWORK, "natGateways"),
    "azurerm_network_interface": (NETWORK, "networkInterfaces"),
    "azurerm_network_security_group": (NETWORK, "networkSecurityGroups"),
    "azurerm_proximity_placement_group": (COMPUTE, "proximityPlacementGroups"),
    "azurerm_public_ip": (NETWORK, "publicIPAddresses"),
    "azurerm_ssh_public_key": (COMPUTE, "sshPublicKeys"),
    "azurerm_storage_account": (STORAGE, "storageAccounts"),
    "azurerm_user_assigned_identity": ("Microsoft.ManagedIdentity", "userAssignedIdentities"),
    "azurerm_virtual_network": (NETWORK, "virtualNetworks"),
}
"""Types that lie directly in a resource group: namespace and collection."""

ASSOCIATIONS = {
    "azurerm_network_interface_application_security_group_association": (
        "network_interface_id",
        "application_security_group_id",
    ),
    "azurerm_nat_gateway_public_ip_association": ("nat_gateway_id", "public_ip_address_id"),
    "azurerm_network_interface_security_group_association": ("network_interface_id", "network_security_group_id"),
    "azurerm_subnet_nat_gateway_association": ("subnet_id", ""),
    "azurerm_subnet_network_security_group_association": ("subnet_id", ""),
}

WORDS = {
    "azurerm_linux_virtual_machine": ("Linux Virtual Machine", "Virtual Machine Name"),
    "azurerm_linux_virtual_machine_scale_set": ("Linux Virtual Machine Scale Set", "Virtual Machine Scale Set Name"),
    "azurerm_storage_account": ("Storage Account", "Storage Account Name"),
    "azurerm_virtual_network": ("Virtual Network", "Virtual Network Name"),
}

ACTIONS = {
    "azurerm_network_security_rule": "Microsoft.Network/networkSecurityGroups/securityRules/write",
    "azurerm_resource_group": "Microsoft.Resources/subscriptions/resourcegroups/write",
    "azurerm_role_assignment": "Microsoft.Authorization/roleAssignments/write",
    "azurerm_storage_container": "Microsoft.Storage/storageAccounts/blobServices/containers/write",
    "azurerm_subnet": "Microsoft.Network/virtualNetworks/subnets/write",
}

HOLDERS = {
    "azurerm_nat_gateway": frozenset({"azurerm_subnet_nat_gateway_association"}),
    "azurerm_network_interface": frozenset({"azurerm_linux_virtual_machine"}),
    "azurerm_application_security_group": frozenset({"azurerm_network_interface_application_security_group_association"}),
    "azurerm_network_security_group": frozenset(
        {
            "azurerm_network_interface_security_group_association",
            "azurerm_subnet_network_security_group_association",
        }
    ),
    "azurerm_public_ip": frozenset({"azurerm_nat_gateway_public_ip_association", "azurerm_network_interface"}),
    "azurerm_resource_group": frozenset(PATHS),
    "azurerm_subnet": frozenset({"azurerm_linux_virtual_machine_scale_set", "azurerm_network_interface"}),
    "azurerm_virtual_network": frozenset({"azurerm_linux_virtual_machine_scale_set", "azurerm_network_interface"}),
}

IN_USE = {
    "azurerm_network_interface": "NicInUse",
    "azurerm_public_ip": "PublicIPAddressCannotBeDeleted",
    "azurerm_subnet": "InUseSubnetCannotBeDeleted",
    "azurerm_virtual_network": "InUseSubnetCannotBeDeleted",
}

MACHINES = frozenset({"azurerm_linux_virtual_machine", "azurerm_linux_virtual_machine_scale_set"})


def identity(making: Making) -> str:
    subscription = f"/subscriptions/{_subscription(making)}"
    group = f"{subscription}/resourceGroups/{making.text('resource_group_name')}"
    name = making.text("name")
    if making.type in PATHS:
        namespace, collection = PATHS[making.type]
        return f"{group}/providers/{namespace}/{collection}/{name}"
    if making.type in ASSOCIATIONS:
        left, right = ASSOCIATIONS[making.type]
        return f"{making.text(left)}|{making.text(right)}" if right else making.text(left)
    match making.type:
        case "azurerm_resource_group":
            return f"{subscription}/resourceGroups/{name}"
        case "azurerm_subnet":
            return f"{group}/providers/{NETWORK}/virtualNetworks/{making.text('virtual_network_name')}/subnets/{name}"
        case "azurerm_network_security_rule":
            above = f"{NETWORK}/networkSecurityGroups/{making.text('network_security_group_name')}"
            return f"{group}/providers/{above}/securityRules/{name}"
        case "azurerm_storage_container":
            return f"{making.text('storage_account_id', group)}/blobServices/default/containers/{name}"
        case "azurerm_role_assignment":
            role = name or making.uuid()
            return f"{making.text('scope')}/providers/Microsoft.Authorization/roleAssignments/{role}"
    return f"{group}/{making.type}/{name}"


def fact(making: Making, name: str) -> Any:
    account = making.text("name")
    match name:
        case "name":
            return making.uuid()
        case "principal_id" | "client_id" | "tenant_id" | "virtual_machine_id" | "unique_id" | "guid" | "resource_guid":
            return making.uuid("tenant" if name == "tenant_id" else name)
        case "computer_name" | "computer_name_prefix":
            return account
        case "primary_blob_endpoint":
            return f"https://{account}.blob.core.windows.net/"
        case "primary_access_key" | "secondary_access_key":
            return making.hex(64, name)
        case "private_ip_addresses" | "public_ip_addresses":
            return [text for text in (_address(making, name.startswith("public")),) if text]
        case "private_ip_address" | "public_ip_address":
            return _address(making, name.startswith("public"))
        case "ip_address":
            return making.public_ip(name)
        case "principal_type":
            return "ServicePrincipal"
        case "primary_location":
            return making.text("location")
    return None


def _address(making: Making, public: bool) -> str:
    """Of an interface, what it was given, else one of its own; of a machine, its first interface's."""
    if making.type in MACHINES:
        ids = making.known("network_interface_ids") or ()
        found = making.world.resources.get(f"azurerm_network_interface/{ids[0]}") if ids else None
        if found is None:
            return ""
        if not public:
            return str(found.attributes.get("private_ip_address") or "")
        lent = [inner.get("public_ip_address_id") for inner in found.attributes.get("ip_configuration") or ()]
        address = making.world.resources.get(f"azurerm_public_ip/{lent[0]}") if lent else None
        return str(address.attributes.get("ip_address") or "") if address is not None else ""
    inner = making.known("ip_configuration") or ()
    given = inner[0].get("private_ip_address") if inner else None
    return given if isinstance(given, str) and given else making.private_ip("private_ip_addresses")


def zones(making: Making) -> tuple[str, ...]:
    """`eastus-1` and `1` for a zone, `eastus` where none was asked for."""
    location = making.text("location")
    zone = making.text("zone")
    several = making.known("zones") or ()
    found = [zone] if zone else [item for item in several if isinstance(item, str)]
    return tuple(name for item in found for name in (f"{location}-{item}", item)) or (location,)


def size(making: Making) -> str:
    return making.text("size") or making.text("sku")


def refuse(fault: str, making: Making, about: str) -> Refusal:
    word, label = WORDS.get(making.type, (making.type, "Name"))
    location, machine = making.text("location"), size(making)
    what = (
        f'creating {word} (Subscription: "{_subscription(making)}"\n'
        f'Resource Group Name: "{making.text("resource_group_name")}"\n{label}: "{making.text("name")}")'
    )
    performing = f"{what}: performing CreateOrUpdate: unexpected status"
    match fault:
        case "no-capacity" if making.text("zone") or making.type != "azurerm_linux_virtual_machine":
            zone = making.text("zone")
            code = errors.NO_CAPACITY_IN_ZONE if zone else errors.NO_CAPACITY_IN_REGION
            where = "in this zone" if zone else "in this region"
            return Refusal(
                summary=f"{what}: polling after CreateOrUpdate: polling failed: the Azure API returned the following error:\n\n"
                f'Status: "{code}"\nCode: ""\nMessage: "Allocation failed. We do not have sufficient capacity for the requested VM '
                f'size {where}. Read more about improving likelihood of allocation success at http://aka.ms/allocation-guidance"',
            )
        case "no-capacity":
            return Refusal(
                summary=f"{performing} 409 (409 Conflict) with error: {errors.NO_CAPACITY}: The requested VM size for resource 'Following "
                f"SKUs have failed for Capacity Restrictions: {machine}' is currently not available in location '{location}'. Please "
                "try another size or deploy to a different location or different zone. See https://aka.ms/azureskunotavailable "
                "for details."
            )
        case "not-sold":
            # kubernetes/test-infra#24049
            return Refusal(
                summary=f"{performing} 400 (400 Bad Request) with error: {errors.NO_ZONE}: The zone(s) '{making.text('zone')}'"
                f" for resource "
                f"'Microsoft.Compute/virtualMachines/{making.text('name')}' is not supported. The supported zones for location "
                f"'{location}' are ''."
            )
        case "no-region":
            # cloud-barista/cb-spider#527
            return Refusal(
                summary=f"{performing} 400 (400 Bad Request) with error: {errors.NO_PLACE}: The provided location '{location}' is not "
                "available for resource group. List of available regions is 'eastus,westeurope'."
            )
        case "unknown-caller":
            return Refusal(
                summary=f"{performing} 401 (401 Unauthorized) with error: {errors.NOT_KNOWN}: The received access token is not valid."
            )
        case "quota":
            family = machine.removeprefix("Standard_")
            return Refusal(
                summary=f"{performing} 409 (409 Conflict) with error: {errors.NO_QUOTA}: Operation could not be completed as it "
                f"results in exceeding approved {family} Family Cores quota. Additional details - Deployment Model: Resource "
                f"Manager, Location: {location}, Current Limit: 0, Current Usage: 0, Additional Required: 8, (Minimum) New Limit "
                "Required: 8. Setup Alerts when Quota reaches threshold."
            )
        case "throttled":
            return Refusal(
                summary=f"{performing} 429 (429 Too Many Requests) with error: {errors.THROTTLED}: The request is being throttled as the "
                "limit has been reached for operation type - Write."
            )
        case "denied":
            return Refusal(
                summary=f"{performing} 403 (403 Forbidden) with error: {errors.NOT_ALLOWED}: The client '{making.uuid('client')}' with "
                f"object id '{making.uuid('object')}' does not have authorization to perform action "
                f"'{about or _action(making.type)}' over scope '{identity(making)}' or the scope is invalid. If access was "
                "recently granted, please refresh your credentials."
            )
        case "in-use" if making.type == "azurerm_resource_group":
            return Refusal(
                summary=f'deleting Resource Group "{making.text("name")}": the Resource Group still contains Resources.'
            )
        case "in-use":
            return Refusal(
                summary=f"deleting {word} ({making.id}): performing Delete: unexpected status 400 (400 Bad Request) with error: "
                f"{IN_USE.get(making.type, 'InUse')}: {making.text('name')} is in use by {about} and cannot be deleted."
            )
    return Refusal(
        summary=f'A resource with the ID "{identity(making)}" already exists - to be managed via Terraform this resource needs to be '
        f'imported into the State. Please see the resource documentation for "{making.type}" for more information.'
    )


def at_plan(type_: str, planned: dict[str, Any]) -> None:
    """This provider knows nothing more at plan than what is written."""


def _action(type_: str) -> str:
    if type_ in PATHS:
        return f"{PATHS[type_][0]}/{PATHS[type_][1]}/write"
    return ACTIONS.get(type_, f"{NETWORK}/{type_}/write")


def _subscription(making: Making) -> str:
    return making.setting("subscription_id", "00000000-0000-0000-0000-000000000000")


AZURERM = Cloud(
    name="azurerm",
    machines=MACHINES,
    identity=identity,
    fact=fact,
    zones=zones,
    size=size,
    refuse=refuse,
    at_plan=at_plan,
    holders=HOLDERS,
)
