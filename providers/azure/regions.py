"""Azure's regions: those every subscription has, and those that want a request to Microsoft first.

Source: "List of Azure regions" (Azure documentation, 2025-09-23), where a mark says that access to a region is restricted to specific
customer scenarios, and "Azure region access request process". The two regions of Jio are in Azure's price list and not in that list of
Azure's regions: who may use them is believed to be a matter between Azure, Jio and its customers. A test holds both lists
against the catalog, so that a new region has to be put into one of them.
"""

from __future__ import annotations

ALWAYS = frozenset(
    {
        "australiacentral",
        "australiaeast",
        "australiasoutheast",
        "austriaeast",
        "belgiumcentral",
        "brazilsouth",
        "canadacentral",
        "canadaeast",
        "centralindia",
        "centralus",
        "chilecentral",
        "eastasia",
        "eastus",
        "eastus2",
        "francecentral",
        "germanywestcentral",
        "indonesiacentral",
        "israelcentral",
        "italynorth",
        "japaneast",
        "japanwest",
        "koreacentral",
        "koreasouth",
        "malaysiawest",
        "mexicocentral",
        "newzealandnorth",
        "northcentralus",
        "northeurope",
        "norwayeast",
        "polandcentral",
        "qatarcentral",
        "southafricanorth",
        "southcentralus",
        "southeastasia",
        "southindia",
        "spaincentral",
        "swedencentral",
        "switzerlandnorth",
        "uaenorth",
        "uksouth",
        "ukwest",
        "westcentralus",
        "westeurope",
        "westindia",
        "westus",
        "westus2",
        "westus3",
    }
)

RESTRICTED = frozenset(
    {
        "australiacentral2",
        "brazilsoutheast",
        "francesouth",
        "germanynorth",
        "jioindiacentral",
        "jioindiawest",
        "norwaywest",
        "southafricawest",
        "swedensouth",
        "switzerlandwest",
        "uaecentral",
    }
)


def on_request(region: str) -> bool:
    return region in RESTRICTED
